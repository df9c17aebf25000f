"""Flags of the commands that help with the others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from homeo_rl.flags.common import Common, Positional, Short, Words


@dataclass(frozen=True, kw_only=True)
class Doctor(Common):
    """Look at packages, machine and rendering, measure a training, and say what will not work and what to do."""

    env: str = "InvertedPendulum-v5"
    """Environment of the training that is measured."""
    algo: str = "ppo"
    """Its algorithm."""
    agent: str = "popsan"
    """Its agent."""
    n_timesteps: Annotated[int | None, Short(("-n",))] = None
    """Its environment steps; by default as in train."""
    hyperparams: Annotated[Words, Short(("-params",))] = ()
    """Its hyper-parameters, name:value."""
    env_kwargs: Words = ()
    """Arguments of the environment, name:value."""
    gym_packages: Words = ()
    """Packages that register environments."""
    run: Path | None = None
    """A run whose training is measured instead; of an interrupted one, what is left."""
    log_folder: Annotated[Path, Short(("-f",))] = Path("runs")
    """Where runs go."""
    seconds: float = 5.0
    """How long the training is measured; 0 measures nothing."""


@dataclass(frozen=True, kw_only=True)
class Completion(Common):
    """Print a script that completes commands and flags in the shell.

    bash: homeo-rl completion bash > ~/.local/share/bash-completion/completions/homeo-rl
    zsh: homeo-rl completion zsh > ~/.zfunc/_homeo-rl, with fpath+=~/.zfunc before compinit in ~/.zshrc
    """

    shell: Positional[Literal["bash", "zsh", "tcsh"]]
    """The shell."""


@dataclass(frozen=True, kw_only=True)
class Agents(Common):
    """List the trained agents that come with the package; every command takes their names in place of a run folder."""


@dataclass(frozen=True, kw_only=True)
class Suites(Common):
    """List the suites of degradations that come with the package."""


@dataclass(frozen=True, kw_only=True)
class Conditions(Common):
    """List the conditions of a suite: what is damaged, how much, and from which step on."""

    suite: Positional[str]
    """Name of a suite (homeo-rl suites lists them), or a YAML file."""
    gym_packages: Words = ()
    """Packages that register degradations of your own."""


@dataclass(frozen=True, kw_only=True)
class Arms(Common):
    """List the homeostasis arms that --homeostasis takes, with their parameters."""

    gym_packages: Words = ()
    """Packages that register plug-ins of your own."""
