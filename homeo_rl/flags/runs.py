"""Flags of the commands that look at runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from homeo_rl.flags.common import Common, Flag, Positional, Progress, Short, Words


@dataclass(frozen=True, kw_only=True)
class Evaluate(Common):
    """Evaluate a run under a suite of degradations, all arms on the same episodes and the same damage."""

    run: Positional[Path]
    """Run folder, or the name of an agent that comes with the package (homeo-rl agents)."""
    out: Path | None = None
    """Folder that gets a copy of the policy and everything that is written, in place of the run (which may be
    read-only); report takes it as a run."""
    suite: str = "quick"
    """clean, quick, paper-mujoco, standard, navigation-paper, navigation-standard, or a YAML file."""
    env: str = ""
    """Gymnasium id in place of the run's own, where the suite names none."""
    routes: Path | None = None
    """JSON file of fixed starts and goals: {"routes": [{"start": [x, y, heading], "goal": [x, y]}, ...]}."""
    homeostasis: str = "none,dwam"
    """Arms, separated by commas: none, dwam, sleep, dwam+sleep, dwam-paper:eta=5e-5, linear, bdett, ..."""
    episodes: int | None = None
    """Episodes of each arm and condition; by default 20, or one a route."""
    max_episode_steps: int | None = None
    """Steps after which an episode is truncated, in place of the run's or the environment's own limit."""
    time_steps: str = ""
    """Spike steps after which decisions are cut, 1,2,3,4: one evaluation each, and a picture of return against them."""
    seed: int = 0
    """Root of episode seeds and damage."""
    gym_packages: Words = ()
    """Packages that register environments, degradations or plug-ins, besides those that the run was trained with."""
    num_envs: int = 10
    """Episodes side by side in a process; does not change the scores."""
    workers: int | None = None
    """Processes, by default one a core; does not change the scores."""
    calibration_episodes: int = 5
    """Clean episodes that teach the plug-ins the normal firing rates."""
    best: Flag = False
    """Evaluate the best policy seen in training instead of the last one."""
    tensorboard_log: Annotated[Path | None, Short(("-tb",))] = None
    """TensorBoard folder; by default tb inside the run."""
    progress: Progress = True
    """Show progress."""


@dataclass(frozen=True, kw_only=True)
class Report(Common):
    """Join runs into a page: a folder with report.md and pictures, or one HTML file that needs nothing else."""

    runs: Positional[tuple[Path, ...]]
    """Run folders; several training seeds become strata of one table."""
    suite: str | None = None
    """Suite to report, for HTML also its YAML file; by default that of the latest evaluation."""
    conditions: str | None = None
    """Conditions, separated by commas, that the paired comparison is restricted to."""
    out: Path | None = None
    """A name that ends in .html, or a folder for report.md and returns.png; by default report inside the first run."""
    play: bool = True
    """HTML: play a few episodes again for spikes and films; this imports the packages that these runs were given."""
    gym_packages: Words = ()
    """Packages to import besides: evaluations of earlier versions do not name those that they were given."""
    progress: Progress = True
    """Show progress."""


@dataclass(frozen=True, kw_only=True)
class Enjoy(Common):
    """Watch a run, on the screen or as a video file."""

    run: Positional[Path]
    """Run folder, or the name of an agent that comes with the package (homeo-rl agents)."""
    video: Path | None = None
    """File to write: .gif, .webp, .png or .mp4; by default a window opens."""
    suite: str = "quick"
    """Suite that --condition is looked up in."""
    env: str = ""
    """Gymnasium id in place of the run's own, where the suite names none."""
    routes: Path | None = None
    """JSON file of fixed starts and goals; episode i follows route i."""
    condition: str = "clean"
    """What is damaged."""
    homeostasis: str = "none"
    """One arm."""
    episodes: int = 1
    """How many episodes."""
    steps: int | None = None
    """Most steps of an episode of a video; by default 300, or 1000 in navigation."""
    seed: int = 0
    """Root of the episodes' seeds."""
    gym_packages: Words = ()
    """Packages that register environments, degradations or plug-ins, besides those that the run was trained with."""
    best: Flag = False
    """Watch the best policy seen in training instead of the last one."""


@dataclass(frozen=True, kw_only=True)
class Inspect(Common):
    """Tell what a run, a policy bundle, a Stable-Baselines3 zip or an .npz holds; nothing in it is executed."""

    path: Positional[Path]
    """Folder or file, or the name of an agent that comes with the package."""
