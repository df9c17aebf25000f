"""SB3's Monitor for long trainings: what it keeps does not grow, and its file can be gone on with."""

from __future__ import annotations

from collections import deque
from typing import Any

import gymnasium as gym
from stable_baselines3.common.monitor import Monitor, ResultsWriter

KEPT = 100
"""Episodes that a monitor remembers; SB3's own remembers all of them, 100 bytes each. The file has them all."""


class Monitored(Monitor[Any, Any]):
    """SB3's Monitor, bounded, whose file is chosen when the run folder is known.

    Args:
        env: what is monitored.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        for name in ("episode_returns", "episode_lengths", "episode_times"):
            setattr(self, name, deque(maxlen=KEPT))

    def monitor_to(self, path: str, header: dict[str, float | str], append: bool) -> None:
        """Write episodes to the file ``path`` from now on; times count from the header's ``t_start``."""
        self.t_start = float(header["t_start"])
        self.results_writer = ResultsWriter(path, header=header, override_existing=not append)
