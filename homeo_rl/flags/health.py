"""Flags of the commands that look after a spiking network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from homeo_rl.flags.common import Common, Flag, Positional, Progress, Words


@dataclass(frozen=True, kw_only=True)
class Calibrate(Common):
    """Learn what is normal for a run's network: firing rates, and a memory of clean observations and its answers."""

    run: Positional[Path]
    """Run folder, or the name of an agent that comes with the package (homeo-rl agents)."""
    episodes: int = 5
    """Clean episodes."""
    env: str = ""
    """Gymnasium id in place of the run's own."""
    gym_packages: Words = ()
    """Packages that register environments, besides those that the run was trained with."""
    best: Flag = False
    """Calibrate the best policy seen in training instead of the last one."""
    progress: Progress = True
    """Show progress."""


@dataclass(frozen=True, kw_only=True)
class Sleep(Common):
    """Damage a run's network, let it test itself and sleep, and show each neuron before and after; nothing is saved."""

    run: Positional[Path]
    """Run folder, or the name of an agent that comes with the package (homeo-rl agents)."""
    damage: str
    """A condition of --suite that damages the network, weights-zero for one."""
    suite: str = "paper-mujoco"
    """Suite that --damage is looked up in, or a YAML file."""
    homeostasis: str = "sleep"
    """How it sleeps: sleep, or with parameters, sleep:form=bias:observations=50."""
    seed: int = 0
    """Root of the damage."""
    env: str = ""
    """Gymnasium id where the robot is healthy, in place of the run's own."""
    picture: Path | None = None
    """Rates of every neuron, before and after against the remembered ones: .svg, .png or .pdf."""
    gym_packages: Words = ()
    """Packages that register environments and degradations, besides those that the run was trained with."""
    best: Flag = False
    """Take the best policy seen in training instead of the last one."""
    progress: Progress = True
    """Show progress."""
