"""Environments as people write them, each with one habit. Importing this registers Field...-v0."""

from __future__ import annotations

import random
import sys
import threading
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces


class Plain(gym.Env[Any, Any]):
    """Three random numbers, one force, 20 steps, one point a step."""

    observation_space: Any = spaces.Box(-1.0, 1.0, (3,), np.float32)
    action_space: Any = spaces.Box(-1.0, 1.0, (1,), np.float32)
    step_info: Any = {}  # noqa: RUF012
    first_info: Any = {}  # noqa: RUF012
    reward: Any = 1.0
    late: Any = True
    early: Any = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.t = 0
        return self.look(), self.first_info

    def look(self) -> Any:
        return self.np_random.uniform(-1, 1, 3).astype(np.float32)

    def step(self, action: Any) -> Any:
        if not self.action_space.contains(action):
            raise ValueError(f"action {action!r} is not in {self.action_space}")
        self.t += 1
        return self.look(), self.reward, self.early, self.t >= 20 and self.late, self.step_info


# Handled: exit 0.


class StartDiscrete(Plain):
    action_space = spaces.Discrete(3, start=-1)


class WholeBox(Plain):
    action_space = spaces.Box(0, 10, (2,), np.int64)


class ByteBox(Plain):
    action_space = spaces.Box(0, 255, (1,), np.uint8)


class WideBox(Plain):
    action_space = spaces.Box(-0.7, 0.3, (2,), np.float64)


class OddBox(Plain):
    action_space = spaces.Box(np.float32(-0.71), np.float32(0.33), (2,), np.float32)


class TableBox(Plain):
    action_space = spaces.Box(-1.0, 1.0, (2, 2), np.float32)


class Pinned(Plain):
    action_space = spaces.Box(np.array([-1.0, 0.5], np.float32), np.array([1.0, 0.5], np.float32))


class PoseMatrix(Plain):
    step_info = {"pose": np.eye(4)}  # noqa: RUF012


class PoseFirst(Plain):
    first_info = {"pose": np.zeros(3)}  # noqa: RUF012


class PoseWord(Plain):
    step_info = {"pose": "standing", "time": "noon", "path_length": [1], "goal": None}  # noqa: RUF012


class CollisionMany(Plain):
    step_info = {"collision": np.zeros(4, bool)}  # noqa: RUF012


class SuccessMany(Plain):
    step_info = {"is_success": np.zeros(4, bool), "success": "perhaps"}  # noqa: RUF012


class EpisodeNumber(Plain):
    step_info = {"episode": 3, "terminal_observation": None, "TimeLimit.truncated": "no", "unstable": 1}  # noqa: RUF012


class LockInfo(Plain):
    step_info = {"lock": threading.Lock(), "deep": [threading.Lock()]}  # noqa: RUF012


class NoInfo(Plain):
    step_info = None
    first_info = None


class Worlds(Plain):
    worlds = 3
    model = "a model"
    data = "data"
    observation_structure = ("qpos", 3)


class RewardArray(Plain):
    reward = np.ones(1, np.float32)


class RewardZeroD(Plain):
    reward = np.array(1)


class RewardBool(Plain):
    reward = True


class EndingInts(Plain):
    early = 0

    def step(self, action: Any) -> Any:
        seen, reward, early, late, info = super().step(action)
        return seen, reward, early, np.array([late]), info


class ListSeen(Plain):
    def look(self) -> Any:
        return [0.1, 0.2, 0.3]


class TupleSeen(Plain):
    def look(self) -> Any:
        return (1, 0.2, np.float64(0.3))


class SameArray(Plain):
    """One array, written again in every step."""

    memory = np.zeros(3, np.float32)

    def look(self) -> Any:
        self.memory[:] = self.np_random.uniform(-1, 1, 3)
        return self.memory


class CloseRaises(Plain):
    def close(self) -> None:
        raise RuntimeError("nothing is open")


class NoOptions(Plain):
    def reset(self, seed: int | None = None) -> Any:  # type: ignore[override]
        return super().reset(seed=seed)


class OldGenerator(Plain):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        if seed is not None or not isinstance(self.np_random, np.random.RandomState):
            self.np_random = np.random.RandomState(seed)  # type: ignore[assignment]
        self.t = 0
        return self.look(), {}


class OtherGenerator(OldGenerator):
    kind: Any = np.random.Philox

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        if seed is not None:
            self.np_random = np.random.Generator(self.kind(seed))
        self.t = 0
        return self.look(), {}


class PythonGenerator(Plain):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        if seed is not None or not isinstance(self.np_random, random.Random):
            self.np_random = random.Random(seed)  # type: ignore[assignment]
        self.t = 0
        return self.look(), {}

    def look(self) -> Any:
        return np.array([self.np_random.random() for _ in range(3)], np.float32)


class NeedsMode(Plain):
    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(self, render_mode: str | None) -> None:
        self.render_mode = render_mode

    def render(self) -> Any:
        return np.zeros((64, 64, 4))


# Refused before anything is written: exit 2.


class Unbounded(Plain):
    action_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)


class Huge(Plain):
    action_space = spaces.Box(np.float32(-3e38), np.float32(3e38), (1,), np.float32)


class WholeUnbounded(Plain):
    action_space = spaces.Box(np.iinfo(np.int64).min, np.iinfo(np.int64).max, (1,), np.int64)


class AllPinned(Plain):
    action_space = spaces.Box(0.5, 0.5, (2,), np.float32)


class Several(Plain):
    action_space = spaces.MultiDiscrete([3, 3])


class Switches(Plain):
    action_space = spaces.MultiBinary(3)


class DictDone(Plain):
    action_space = spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Box(-1, 1, (2,))})


class Scalar(Plain):
    observation_space = spaces.Box(-1.0, 1.0, (), np.float64)

    def look(self) -> Any:
        return 0.5


class Table(Plain):
    observation_space = spaces.Box(-1.0, 1.0, (2, 3), np.float64)

    def look(self) -> Any:
        return np.zeros((2, 3))


class ChoiceSeen(Plain):
    observation_space = spaces.Discrete(5)

    def look(self) -> Any:
        return int(self.np_random.integers(5))


class SwitchesSeen(Plain):
    observation_space = spaces.MultiBinary(4)

    def look(self) -> Any:
        return np.array([0, 1, 1, 0], np.int8)


class DictSeen(Plain):
    observation_space = spaces.Dict({"place": spaces.Box(-1.0, 1.0, (2, 2)), "mode": spaces.Discrete(3)})

    def look(self) -> Any:
        return {"place": [[0.1, 0.2], [0.3, 0.4]], "mode": 1}


# Faults: exit 3.


class NoSeed(Plain):
    def reset(self) -> Any:  # type: ignore[override]
        self.t = 0
        return self.look(), {}


class OldReset(Plain):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return super().reset(seed=seed)[0]


class FourValues(Plain):
    def step(self, action: Any) -> Any:
        seen, reward, _, late, info = super().step(action)
        return seen, reward, late, info


class NoReward(Plain):
    reward = None


class RewardMany(Plain):
    reward = np.ones(2)


class EndingWord(Plain):
    early = "no"


class ListInfo(Plain):
    step_info = [1, 2]  # noqa: RUF012


class ShapeChanges(Plain):
    def look(self) -> Any:
        return np.ones(3 if self.t < 7 else 1, np.float32)


class WrongShape(Plain):
    def look(self) -> Any:
        return np.ones((3, 1), np.float32)


class WordSeen(Plain):
    def look(self) -> Any:
        return ["a", "b", "c"]


class RaisesInStep(Plain):
    def step(self, action: Any) -> Any:
        if self.t == 9:
            raise KeyError("wheel\nof the left")
        return super().step(action)


class RaisesInReset(Plain):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        raise OSError(2, "no such robot", "robot.xml")


class RaisesInInit(Plain):
    def __init__(self) -> None:
        raise ZeroDivisionError("in the maker")


class Leaves(Plain):
    def step(self, action: Any) -> Any:
        sys.exit(0)


class NotGymnasium:
    observation_space = Plain.observation_space
    action_space = Plain.action_space


class Endless(Plain):
    late = False


HANDLED = [
    StartDiscrete, WholeBox, ByteBox, WideBox, OddBox, TableBox, Pinned, PoseMatrix, PoseFirst, PoseWord, CollisionMany,
    SuccessMany, EpisodeNumber, LockInfo, NoInfo, Worlds, RewardArray, RewardZeroD, RewardBool, EndingInts, ListSeen,
    TupleSeen, SameArray, CloseRaises, NoOptions, OldGenerator, OtherGenerator, PythonGenerator, NeedsMode,
]  # fmt: skip
FLATTENED = [Scalar, Table, ChoiceSeen, SwitchesSeen, DictSeen]
REFUSED = [Unbounded, Huge, WholeUnbounded, AllPinned, Several, Switches, DictDone, *FLATTENED]
FAULTY = [
    NoSeed, OldReset, FourValues, NoReward, RewardMany, EndingWord, ListInfo, ShapeChanges, WrongShape, WordSeen,
    RaisesInStep, RaisesInReset, RaisesInInit, Leaves, NotGymnasium,
]  # fmt: skip

for _kind in [Plain, Endless, *HANDLED, *REFUSED, *FAULTY]:
    if f"Field{_kind.__name__}-v0" not in gym.registry:
        gym.register(f"Field{_kind.__name__}-v0", entry_point=f"{__name__}:{_kind.__name__}")
