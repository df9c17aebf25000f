"""Stop at the first number that nothing real gives, before it can spread into weights or averages."""

from typing import Any

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs

from homeo_rl.envs.contract import name_of
from homeo_rl.errors import NumericalFault
from homeo_rl.numerics.limits import LIMIT, wrong_entry


class FiniteGuard(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Check every observation, reward and action: finite, and within `homeo_rl.numerics.limits.LIMIT`.

    Raises NumericalFault: naming the environment, the step of the episode, the entry and its value.
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
        if wrong_entry(value) is not None:
            require_finite(name_of(self), self._step, what, value)


def require_finite(name: str, step: int, what: str, value: Any) -> None:
    """Check an observation, reward or action of a step of the environment ``name``.

    Raises NumericalFault: an entry is not finite, or larger than anything that is measured, earned or done.
    """
    entry = wrong_entry(value)
    if entry is not None:
        place, number = entry
        where = "" if place == () else f" entry {place[0] if len(place) == 1 else place}"
        raise NumericalFault(
            f"{name}: step {step}: {what}{where} is {number}; expected finite "
            f"numbers within {LIMIT:g}; stopped before it reached the policy (steps are those of the episode)"
        )
