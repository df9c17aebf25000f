"""Tiny environments that register themselves, as a user's package would."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np


class Point(gym.Env[np.ndarray, np.ndarray]):
    """A point that is pushed towards the origin; 40 steps; success within 0.3."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012  # gymnasium's own form

    def __init__(self, render_mode: str | None = None, steps: int = 40) -> None:
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (3,))
        self.action_space = gym.spaces.Box(-1.0, 1.0, (2,), dtype=np.float32)
        self.render_mode, self.steps = render_mode, steps

    def _see(self) -> np.ndarray:
        return np.array([*self.place, self.t / self.steps], dtype=np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place, self.t = self.np_random.uniform(-2, 2, 2), 0
        # Episodes of different lengths: the batch of an evaluation shrinks while it runs.
        self.length = int(self.np_random.integers(self.steps // 2, self.steps + 1))
        return self._see(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.place = self.place + 0.1 * np.asarray(action) + self.np_random.normal(0, 0.01, 2)
        self.t += 1
        distance = float(np.hypot(*self.place))
        over = self.t >= self.length
        return self._see(), 1.0 - 0.1 * distance, False, over, {"is_success": distance < 0.3}

    def render(self) -> Any:
        picture = np.zeros((24, 32, 3), dtype=np.uint8)
        picture[int(self.t) % 24] = 255
        return picture


class Choice(Point):
    """The same point with three discrete pushes."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.action_space = gym.spaces.Discrete(3)  # type: ignore[assignment]

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return super().step(np.array([[0.0, 1.0], [1.0, 0.0], [-1.0, -1.0]])[int(action)])


class Broken(Point):
    """Entry 1 of the observation becomes NaN at step 7."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, *rest = super().step(action)
        if self.t == 7:
            observation[1] = np.nan
        return observation, *rest  # type: ignore[return-value]


class BadReward(Point):
    """The reward becomes infinite at step 5."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, reward, *rest = super().step(action)
        return observation, np.inf if self.t == 5 else reward, *rest  # type: ignore[return-value]


class Deadly(Point):
    """Kills its process at step 3, as a crashing simulator does."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self.t == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(action)


class Endless(Point):
    """Never answers at step 3, and leaves a file named after its process in the folder ENDLESS."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self.t == 3:
            (Path(os.environ["ENDLESS"]) / str(os.getpid())).touch()
            time.sleep(3600)
        return super().step(action)


class Paced(Point):
    """Its steps last STEP_SECONDS each, where that is set: a signal meets a training that needs no processor."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        time.sleep(float(os.environ.get("STEP_SECONDS", "0")))
        return super().step(action)


for name, kind in {
    "Point": Point,
    "Choice": Choice,
    "Broken": Broken,
    "BadReward": BadReward,
    "Deadly": Deadly,
    "Endless": Endless,
    "Paced": Paced,
}.items():
    gym.register(f"{name}-v0", entry_point=kind)
