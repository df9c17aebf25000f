"""Flags of the search for hyper-parameters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from homeo_rl.flags.common import Common, Flag, Progress, Short, Words


@dataclass(frozen=True, kw_only=True)
class Tune(Common):
    """Look for hyper-parameters with Optuna; the same command goes on, and the best trial becomes a preset."""

    algo: str = "ppo"
    """ppo, a2c, sac, td3 or ddpg."""
    env: str = "InvertedPendulum-v5"
    """Gymnasium id; module:Id-v0 imports the module first."""
    agent: str = "popsan"
    """popsan, san, anytime (spiking), mlp (the control arm) or qcfs (to be converted)."""
    n_trials: int = 50
    """Trials in all; those in the journal count."""
    n_timesteps: Annotated[int | None, Short(("-n",))] = None
    """Environment steps of each training; by default as in train."""
    storage: Path | None = None
    """Optuna's journal, a file of this machine (not sqlite:///... or another data base); by default study.journal in
    OUT."""
    out: Path | None = None
    """Folder of best.yml, summary.md, history.png and the best trial's runs; by default STORAGE without its ending,
    else runs/tune/ALGO-AGENT-ENV."""
    space: Path | None = None
    """YAML file of what to look for, {learning_rate: {low: 1e-4, high: 1e-2, scale: log}, ...}; by default the
    package's, tuning/spaces.yaml."""
    hyperparams: Annotated[Words, Short(("-params",))] = ()
    """Hyper-parameters that are fixed, name:value; nobody looks for them."""
    env_kwargs: Words = ()
    """Arguments of the environment, name:value."""
    env_wrapper: Words = ()
    """Wrappers around the environment, as in train."""
    flatten_observations: Flag = False
    """Make observations that are tables, choices or dictionaries one row of numbers."""
    max_episode_steps: int | None = None
    """Steps after which an episode is truncated, in place of the environment's own limit."""
    gym_packages: Words = ()
    """Packages that register environments."""
    seeds: int = 3
    """Trainings of each trial; their seeds are SEED, SEED + 1, ..."""
    seed: int = 0
    """The first training's seed, and the root of the sampler's randomness."""
    episodes: int = 20
    """Episodes after each training; their mean return is what a training is worth."""
    pruner: str = "median"
    """median gives trials up that lie behind (after five complete ones), none does not."""
    sampler: str = "tpe"
    """tpe or random."""
    eval_freq: int = -1
    """Environment steps between the evaluations that the pruner looks at; by default a tenth of a training."""
    eval_episodes: int = 5
    """Episodes of each of them."""
    workers: int | None = None
    """Trials side by side, by default one a core; several commands may also share a journal and a folder."""
    keep_runs: Flag = False
    """Keep the runs of all trials."""
    progress: Progress = True
    """Show progress."""
