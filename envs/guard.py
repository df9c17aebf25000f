"""Stop at the first number that is not finite, before it can spread into weights or averages."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from homeo_rl.errors import NumericalFault


class FiniteGuard(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Check every observation, reward and action.

    Raises:
        NumericalFault: naming the environment, the step of the episode and the entry.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)
        self._step = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode and check its first observation."""
        self._step = 0
        observation, info = self.env.reset(seed=seed, options=options)
        self._check("observation", observation)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step and check what goes in and comes out."""
        self._step += 1
        self._check("action", action)
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._check("observation", observation)
        self._check("reward", reward)
        return observation, reward, terminated, truncated, info

    def _check(self, what: str, value: Any) -> None:
        if isinstance(value, float) and math.isfinite(value):
            return
        array = np.asarray(value)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = int(np.flatnonzero(~np.isfinite(array.ravel()))[0])
            name = self.spec.id if self.spec is not None else type(self.unwrapped).__name__
            entry = f"{what} entry {bad}" if array.ndim else what
            raise NumericalFault(
                f"{name}: step {self._step}: {entry} is {array.ravel()[bad]}; expected finite numbers; "
                "stopped before it reached the policy"
            )
