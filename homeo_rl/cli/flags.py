"""Flags that several commands share, and the marks that describe a flag."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Short:
    """Other spellings of a flag: short ones, such as ``-n``, and those of earlier versions, such as ``--steps``."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """Marks a field that is given by its position and not by a name."""


Positional = Annotated[T, Place()]
Words = tuple[str, ...]
Flag = bool
Progress = Annotated[bool, Short(("-P",))]
Timesteps = Annotated[int | None, Short(("-n",))]
Hyperparams = Annotated[Words, Short(("-params",))]


@dataclass(frozen=True, kw_only=True)
class Common:
    """Flags of every command."""

    json: Flag = False
    """Print one JSON object on standard output, and everything else on standard error."""
    quiet: Annotated[Flag, Short(("-q",))] = False
    """Print results and errors only: no progress, no notes."""
    debug: Flag = False
    """Show tracebacks."""


@dataclass(frozen=True, kw_only=True)
class WithProgress(Common):
    """Flags of a command that takes a while."""

    progress: Progress = True
    """Show progress."""


@dataclass(frozen=True, kw_only=True)
class WithEnvironment(Common):
    """Flags of a command that trains in an environment."""

    env_kwargs: Words = ()
    """Arguments of the environment, name:value."""
    env_wrapper: Words = ()
    """Wrappers around the environment, innermost first, module.Name or with arguments
    'gymnasium.wrappers.RescaleAction:{min_action: -1, max_action: 1}'; every later command uses them too."""
    flatten_observations: Flag = False
    """Flatten observations that are matrices, discrete or dictionaries into vectors."""
    frame_stack: int | None = None
    """Number of observations, the newest last, that the policy sees side by side; every later command stacks them
    too, after any damage."""
    max_episode_steps: int | None = None
    """Steps after which an episode is truncated, instead of the environment's own limit."""
    gym_packages: Words = ()
    """Packages that register environments."""


@dataclass(frozen=True, kw_only=True)
class WithHost(Common):
    """Flags of a command that takes a policy which is no run yet; `homeo-rl import` has the same."""

    env_kwargs: Words = ()
    """Of a policy's file or function: arguments of the environment, name:value."""
    agent: str = ""
    """Of a zip: the architecture of its weights, mlp (the default) or the --agent that train was given."""
    agent_kwargs: Words = ()
    """Of a zip: fields of its network, name:value."""
    normalize_from: Path | None = None
    """Of a zip: statistics of the VecNormalize that it was trained behind, vecnormalize.pkl, or none."""


@dataclass(frozen=True, kw_only=True)
class WithPolicy(Common):
    """Flags of a command that reads the policy of a run."""

    run: Positional[Path]
    """Run folder, or the name of a pretrained agent (homeo-rl agents)."""
    best: Flag = False
    """Use the best policy seen in training instead of the last one."""

    @property
    def which(self) -> str:
        """The name of the policy bundle."""
        return "best" if self.best else "policy"
