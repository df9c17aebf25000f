"""An environment that does what the first entry of the action says, and nothing good."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import struct
from multiprocessing.connection import Connection
from typing import Any

import gymnasium as gym
import numpy as np

WALK, KILL, STOP, LOOP, EXIT, RAISE, NAN, LOOP_IN_C, SEGFAULT, HALF_AN_ANSWER = range(10)


def misbehave(how: int) -> None:
    me = os.getpid()
    if how == KILL:
        os.kill(me, signal.SIGKILL)
    elif how == STOP:
        os.kill(me, signal.SIGSTOP)
    elif how == LOOP:
        while True:
            pass
    elif how == EXIT:
        os._exit(3)
    elif how == RAISE:
        raise ValueError("the arm came off")
    elif how == LOOP_IN_C:
        ctypes.PyDLL(None).sleep(1000)  # holds the interpreter's lock
    elif how == SEGFAULT:
        os.kill(me, signal.SIGSEGV)
    elif how == HALF_AN_ANSWER:
        pipes = [one for one in gc.get_objects() if type(one) is Connection]
        [pipe] = [one for one in pipes if not one.closed and one.readable and one.writable]
        os.write(pipe.fileno(), struct.pack("!i", 1000) + b"half")
        os.kill(me, signal.SIGSTOP)


class Faulty(gym.Env[np.ndarray, np.ndarray]):
    """A random walk of 30 steps."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012  # gymnasium's own form

    def __init__(self, render_mode: str | None = None, made: int = WALK, obeys: bool = True, fails_at: int = 0) -> None:
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), dtype=np.float32)
        self.action_space = gym.spaces.Box(0.0, 20.0, (1,), dtype=np.float32)
        self.render_mode, self.obeys, self.fails_at = render_mode, obeys, fails_at
        misbehave(made)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        misbehave((options or {}).get("how", WALK))
        self.t, self.place = 0, self.np_random.normal(size=2)
        return self.place.astype(np.float32), {"options": options}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        how = int(action[0]) if self.obeys else WALK
        self.t += 1
        misbehave(RAISE if self.t == self.fails_at else how)
        self.place = self.place + self.np_random.normal(size=2)
        seen = self.place.astype(np.float32)
        if how == NAN:
            seen[1] = np.nan
        return seen, float(self.place[0]), False, self.t >= 30, {"place": self.place.copy()}

    def render(self) -> Any:
        return np.full((4, 6, 3), self.t, dtype=np.uint8)

    def whoami(self) -> int:
        return os.getpid()

    def unsendable(self) -> Any:
        return lambda: None

    def global_draw(self) -> float:
        return float(np.random.random())  # noqa: NPY002  # as older environments draw


if "Faulty-v0" not in gym.registry:
    gym.register("Faulty-v0", entry_point="faulty_envs:Faulty", disable_env_checker=True)
    gym.register("Tame-v0", entry_point="faulty_envs:Faulty", disable_env_checker=True, kwargs={"obeys": False})
