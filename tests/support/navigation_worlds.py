"""Worlds and helpers of the navigation tests."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np

import homeo_rl  # noqa: F401  # registers the environments
from homeo_rl.envs.navigation.world import Disc, World

STATIC, DYNAMIC, TRAIN = "homeo_rl/Navigation-v0", "homeo_rl/NavigationDynamic-v0", "homeo_rl/NavigationTrain-v0"


IDS = {STATIC: 1000, DYNAMIC: 3000, TRAIN: 1000}
BEAMS = np.radians(85.0 - 10.0 * np.arange(18))


TRAINING = ["train-1", "train-2", "train-3", "train-4"]


# 10 m x 10 m and empty: the robot in the middle, the goal to the right.
ROOM: dict[str, Any] = {
    "name": "room",
    "outer": [[-5, -5], [5, -5], [5, 5], [-5, 5]],
    "start": {"fixed": [0, 0]},
    "goal": {"fixed": [4, 0]},
}


BOX = [[-1.1, 1], [1.1, 1], [1.1, 2], [-1.1, 2]]


def put(env: gym.Env[Any, Any], **fields: float) -> None:
    """Set fields of the robot of a scalar environment."""
    robot = env.unwrapped.fleet.state[0]  # type: ignore[attr-defined]
    for name, value in fields.items():
        robot[name] = value
    robot["distance"] = math.hypot(robot["goal_x"] - robot["x"], robot["goal_y"] - robot["y"])


def crowd(obstacles: int = 330, discs: int = 50, seed: int = 1) -> World:
    """A world of 20 m x 20 m with small random triangles and discs, some across each other."""
    rng = np.random.default_rng(seed)
    centres, angles = rng.uniform(-9.6, 9.6, (obstacles, 2)), rng.uniform(0, 2 * math.pi, obstacles)
    turns = angles[:, None] + np.radians([0, 110, 240]) + rng.uniform(-0.3, 0.3, (obstacles, 3))
    corners = centres[:, None] + rng.uniform(0.1, 0.3, (obstacles, 3, 1)) * np.stack([np.cos(turns), np.sin(turns)], -1)
    return World(
        name="crowd",
        outer=((-10, -10), (10, -10), (10, 10), (-10, 10)),
        obstacles=tuple(tuple((float(x), float(y)) for x, y in polygon) for polygon in corners),
        discs=tuple(
            Disc(center=(float(x), float(y)), radius=float(r))
            for x, y, r in zip(*rng.uniform(-9, 9, (2, discs)), rng.uniform(0.05, 0.3, discs), strict=True)
        ),
    )


def trajectory(env: gym.Env[Any, Any], seed: int | None, steps: int = 150) -> list[Any]:
    """What fixed random actions lead to, through episodes that start unseeded after the first."""
    rng = np.random.default_rng(9)
    seen: list[Any] = list(env.reset(seed=seed))
    for _ in range(steps):
        *step, info = env.step(rng.random(2, dtype=np.float32))
        seen += [*step, info]
        if step[2] or step[3]:
            seen += list(env.reset())
    return seen


def equal(one: Any, other: Any) -> bool:
    """Equal to the bit, types and shapes included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, np.ndarray):
        same = one.shape == other.shape and one.dtype == other.dtype
        return same and (all(map(equal, one, other)) if one.dtype == object else np.array_equal(one, other))
    return bool(one == other)
