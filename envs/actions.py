"""Actions as a policy gives them, made those that an environment takes.

A policy gives choices from 0 on, or a row of floats that may be any number between two bounds. Here stand in between:
choices that begin elsewhere, whole numbers, entries whose two bounds are one, tables of numbers, and bounds that the
arithmetic of a policy oversteps by a rounding error.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.utils import RecordConstructorArgs

from homeo_rl.envs.contract import name_of
from homeo_rl.errors import UsageError
from homeo_rl.numerics.limits import LIMIT

Env = gym.Env[Any, Any]


class ShiftedChoice(gym.ActionWrapper[Any, Any, Any], RecordConstructorArgs):
    """Choices from 0 on for an environment whose choices begin elsewhere."""

    def __init__(self, env: Env) -> None:
        RecordConstructorArgs.__init__(self)
        gym.ActionWrapper.__init__(self, env)
        space = env.action_space
        assert isinstance(space, Discrete)
        self.action_space = Discrete(int(space.n))
        self._start = space.start

    def action(self, action: Any) -> Any:
        """Return the environment's choice."""
        return np.int64(action + self._start)


class PlainBox(gym.ActionWrapper[Any, Any, Any], RecordConstructorArgs):
    """A row of float32 for an environment with another Box: rounded where it holds whole numbers, held to its bounds.

    Entries whose bounds are equal are filled in; a policy does not see them.
    """

    def __init__(self, env: Env) -> None:
        RecordConstructorArgs.__init__(self)
        gym.ActionWrapper.__init__(self, env)
        space = env.action_space
        assert isinstance(space, Box)
        self._box, self._whole = space, space.dtype.kind in "biu"
        self._low, self._high = (bound.astype(np.float64).ravel() for bound in (space.low, space.high))
        self._free = self._low != self._high
        if not self._free.any():
            raise UsageError(
                f"{name_of(env)}: action space: expected an entry that can move, all bounds are equal ({space}); "
                "correct the environment"
            )
        bounded = [np.where(np.abs(part) <= LIMIT, part, np.copysign(np.inf, part)) for part in (self._low, self._high)]
        self.action_space = Box(*(part[self._free].astype(np.float32) for part in bounded), dtype=np.float32)

    def action(self, action: Any) -> Any:
        """Return the environment's action."""
        whole = self._low.copy()
        whole[self._free] = action
        if self._whole:
            np.rint(whole, out=whole)
        return whole.clip(self._low, self._high).astype(self._box.dtype).reshape(self._box.shape)


class BoundAction(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Give actions that have no bounds the bounds ``low`` and ``high``; for ``--env-wrapper``.

    A policy here squashes its outputs to the bounds of the action space; where there are none, somebody has to say
    what actions are worth trying. Bounds that the environment has stay.
    """

    def __init__(self, env: Env, low: float = -1.0, high: float = 1.0) -> None:
        RecordConstructorArgs.__init__(self, low=low, high=high)
        gym.Wrapper.__init__(self, env)
        space = env.action_space
        if not isinstance(space, Box) or not low < high:
            raise UsageError(f"BoundAction: expected a Box of actions and low < high, got {space}, {low} and {high}")
        least, most = np.maximum(space.low, space.dtype.type(-LIMIT)), np.minimum(space.high, space.dtype.type(LIMIT))
        self.action_space = Box(
            np.where(least == -LIMIT, low, least), np.where(most == LIMIT, high, most), dtype=space.dtype.type
        )


def with_plain_actions(env: Env) -> Env:
    """Return ``env`` with actions as policies give them; the same environment where they are so already."""
    space = env.action_space
    if isinstance(space, Discrete):
        return env if space.start == 0 else ShiftedChoice(env)
    if isinstance(space, Box) and not is_plain(space):
        return PlainBox(env)
    return env  # no policy can act in it: `homeo_rl.agents.presets.controller_spec` says so


def is_plain(space: Box) -> bool:
    """Whether every action that a policy gives for this Box is one of its elements."""
    if space.dtype != np.float32 or len(space.shape) != 1:
        return False
    low, high = space.low, space.high
    if not (np.isfinite(low).all() and np.isfinite(high).all()) or (np.abs([low, high]) > LIMIT).any():
        return True  # refused elsewhere
    # The largest and smallest that float32 makes of [-1, 1], as policies here and Stable-Baselines3 scale it.
    half, middle, one = np.float32(0.5) * (high - low), np.float32(0.5) * (high + low), np.float32(1.0)
    ends = [middle - half, middle + half, low + half * (one - one), low + half * (one + one)]
    return bool((low < high).all() and all(((low <= end) & (end <= high)).all() for end in ends))
