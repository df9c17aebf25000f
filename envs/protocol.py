"""What an environment may tell beyond Gymnasium's contract, and how it says that it does.

Infos belong to whoever wrote the environment: a name that means something here may mean another thing there. So
`DriveInfo` is read only where the environment says so, by an attribute ``drive_info = True`` of its class.
"""

from collections.abc import Sequence
from typing import Any, Required, TypedDict

import numpy as np

RESERVED = frozenset({"episode", "terminal_observation", "TimeLimit.truncated", "unstable", "discarded", "limit_taken"})
"""Info names that wrappers of Stable-Baselines3 and of this package write; an environment's own are dropped."""

SUCCESS = ("is_success", "success")  # names of success: Stable-Baselines3's first


class DriveInfo(TypedDict, total=False):
    """Infos of an environment in which a robot drives to a goal, of resets and of steps.

    ``goal`` and ``pose`` begin with x and y (m); ``path_length`` (m) and ``time`` (s) count from the episode's begin.
    """

    pose: Required[Sequence[float]]
    goal: Required[Sequence[float]]
    collision: Required[bool]
    is_success: Required[bool]
    path_length: float
    time: float


def is_driving(env: Any) -> bool:
    """Whether the infos of an environment, scalar or vectorised, are `DriveInfo`."""
    return getattr(env.unwrapped, "drive_info", False) is True


def success_of(info: dict[str, Any]) -> bool | None:
    """Return whether an info tells of success; None where it does not, or says something else than yes or no."""
    return next((truth for name in SUCCESS if (truth := as_bool(info.get(name))) is not None), None)


def as_bool(value: Any) -> bool | None:
    """Return a truth value in any of its forms (True, 1, 1.0, an array of one of them); None for everything else."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | float | np.number | np.ndarray):
        array = np.asarray(value)
        if array.size == 1 and array.dtype.kind in "biuf" and array.item() in (0, 1):
            return bool(array.item())
    return None
