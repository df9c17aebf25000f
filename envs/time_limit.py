"""A limit on the steps of an episode for environments that set none: an evaluation must come to an end."""

import multiprocessing
import sys
from typing import Any

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs

from homeo_rl.envs.contract import name_of

DEFAULT_LIMIT = 10_000
"""Steps after which an episode is truncated where neither the registration nor ``--max-episode-steps`` says."""

KEY = "limit_taken"  # key of the info of a step in which the limit was taken

_told: set[str] = set()


class DefaultLimit(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Truncate an episode after ``steps`` steps, and say so once."""

    def __init__(self, env: gym.Env[Any, Any], steps: int = DEFAULT_LIMIT) -> None:
        RecordConstructorArgs.__init__(self, steps=steps)
        gym.Wrapper.__init__(self, env)
        self._limit, self._elapsed = steps, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        self._elapsed = 0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._elapsed += 1
        if self._elapsed >= self._limit and not (terminated or truncated):
            if multiprocessing.parent_process() is None:  # other processes leave it to the one that started them
                tell(name_of(self))
            return observation, reward, terminated, True, {**info, KEY: self._limit}
        return observation, reward, terminated, truncated, info


def tell(name: str) -> None:
    """Say on standard error, once a process, that episodes of an environment were cut."""
    if name not in _told:
        _told.add(name)
        print(
            f"homeo-rl: {name} sets no limit on the steps of an episode: evaluations truncate it after "
            f"{DEFAULT_LIMIT:,}; --max-episode-steps sets another",
            file=sys.stderr,
        )
