"""SB3's Monitor for long trainings: its memory does not grow, and its file can be continued."""

from collections import deque
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.monitor import Monitor, ResultsWriter

KEPT = 100  # episodes that a monitor remembers; SB3's remembers all of them, 100 bytes each. The file has them all.

_PLAIN = (bool, int, float, str, np.bool_, np.number, np.ndarray, list, tuple, dict, type(None))


class Monitored(Monitor[Any, Any]):
    """SB3's Monitor, bounded, whose file is chosen when the run folder is known.

    Of infos plain data is passed on, which can be copied and sent: SB3 copies every info in every step, and that of an
    environment may hold a simulator or a lock.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        for name in ("episode_returns", "episode_lengths", "episode_times"):
            setattr(self, name, deque(maxlen=KEPT))

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        observation, info = super().reset(**kwargs)
        return observation, _plain(info)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step."""
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated, truncated, _plain(info)

    def monitor_to(self, path: str, header: dict[str, float | str], append: bool) -> None:
        """Write episodes to the file ``path`` from now on; times count from the header's ``t_start``."""
        self.t_start = float(header["t_start"])
        self.results_writer = ResultsWriter(path, header=header, override_existing=not append)


def _plain(info: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in info.items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_plain(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN) and not (isinstance(value, np.ndarray) and value.dtype.hasobject)
