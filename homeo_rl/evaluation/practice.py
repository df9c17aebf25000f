"""Practice: the policy acts under faults of its own making while the truth is recorded.

Clean episodes alone do not teach a forward model what happens off the beaten track, which is where faults lead. Every
`CHANGE_EVERY` steps a fault is drawn anew: none, noise, stuck, dropped or shifted sensors, latency, or noise of the
actuators. The recording holds true observations and executed actions. A third of the episodes stays clean.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import gymnasium as gym
import numpy as np

from homeo_rl.agents.session import Session
from homeo_rl.evaluation.episode import episode_seed
from homeo_rl.evaluation.rollout import Env, one_thread
from homeo_rl.numerics.arrays import whole_number
from homeo_rl.observer.recording import Recording
from homeo_rl.seeding import generator

CHANGE_EVERY = 100
"""Steps between two faults."""

SLOTS = 9
"""Robots that practise side by side; every third one stays without faults."""


@dataclass
class _Fault:
    """What lies between a robot and its policy for some steps; sizes are in deviations of each sensor."""

    kind: str = "none"
    noise: np.ndarray | float = 0.0
    stuck: np.ndarray | None = None
    lost: float = 0.0
    offset: np.ndarray | float = 0.0
    latency: int = 0
    action_noise: float = 0.0
    held: np.ndarray | None = None
    past: deque[np.ndarray] = field(default_factory=lambda: deque(maxlen=4))

    @classmethod
    def draw(cls, rng: np.random.Generator, size: int, past: deque[np.ndarray]) -> _Fault:
        kind = ("none", "noise", "stuck", "dropped", "offset", "latency", "action")[int(rng.integers(7))]
        fault = cls(kind, past=past)
        some = rng.random(size) < rng.choice([0.1, 0.3, 1.0])
        if kind == "noise":
            fault.noise = np.where(some, np.exp(rng.uniform(np.log(0.03), np.log(0.5))), 0.0)
        elif kind == "stuck":
            fault.stuck = rng.random(size) < rng.uniform(0.05, 0.3)
        elif kind == "dropped":
            fault.lost = float(rng.uniform(0.03, 0.3))
        elif kind == "offset":
            fault.offset = np.where(rng.random(size) < 0.2, rng.normal(0.0, 0.7, size), 0.0)
        elif kind == "latency":
            fault.latency = int(rng.integers(1, 4))
        elif kind == "action":
            fault.action_noise = float(rng.uniform(0.05, 0.4))
        return fault

    def sense(self, truth: np.ndarray, unit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        self.past.append(truth)
        seen = self.past[max(0, len(self.past) - 1 - self.latency)].astype(np.float64)
        if self.stuck is not None:
            self.held = truth.copy() if self.held is None else self.held
            seen = np.where(self.stuck, self.held, seen)
        seen = seen + unit * (self.offset + self.noise * rng.normal(size=truth.shape))
        return np.where(rng.random(truth.shape) < self.lost, 0.0, seen) if self.lost else seen


@one_thread()
def practise(
    new_session: Callable[[int], Session],
    new_env: Callable[[], Env],
    steps: int,
    *,
    seed: int = 0,
    on_step: Callable[[int], None] | None = None,
) -> Recording:
    """Record ``steps`` steps of practice.

    Args:
        new_env: makes an undamaged environment.
        steps: how many; episodes are as long as they get.
        seed: of episodes and faults; the streams belong to practice alone.
        on_step: called with the number of steps made since the last call.
    """
    steps = whole_number(steps, what="steps", least=SLOTS)
    session = new_session(SLOTS)
    unit = session.controller.observation_std
    envs = [new_env() for _ in range(SLOTS)]
    try:
        robots = [_Robot(session, slot, env, seed) for slot, env in enumerate(envs)]
        unit = np.ones(len(robots[0].truth)) if unit is None else unit
        for row in range(-(-steps // SLOTS)):
            if row and row % CHANGE_EVERY == 0 and on_step is not None:
                on_step(CHANGE_EVERY * SLOTS)
            if row % CHANGE_EVERY == 0:
                for robot in robots:
                    robot.change_fault()
            actions = session.act(np.stack([robot.sense(unit) for robot in robots]).astype(np.float32))
            for robot, action in zip(robots, actions, strict=True):
                robot.step(action)
    finally:
        for env in envs:
            env.close()
    return _join(robots)


class _Robot:
    """One of the robots that practise side by side, and what it recorded."""

    def __init__(self, session: Session, slot: int, env: Env, seed: int) -> None:
        self.session, self.slot, self.env, self.seed = session, slot, env, seed
        self.rng = generator(seed, "practice", "faults", slot)
        self.episodes, self.fault = 0, _Fault()
        self.rows: list[tuple[np.ndarray, np.ndarray, bool, bool]] = []
        self.begin()

    def begin(self) -> None:
        seed = episode_seed(self.seed, "practice", self.episodes * SLOTS + self.slot)
        self.episodes += 1
        observation, _ = self.env.reset(seed=seed % 2**32)
        self.truth = np.asarray(observation, np.float32)
        self.session.begin(self.slot, generator(seed, "encoder"))
        self.fault.past.clear()

    def change_fault(self) -> None:
        if self.slot % 3 != 2:  # the last robot is among those without faults: its sequences are held out
            self.fault = _Fault.draw(self.rng, len(self.truth), self.fault.past)

    def sense(self, unit: np.ndarray) -> np.ndarray:
        return self.truth if self.fault.kind == "none" else self.fault.sense(self.truth, unit, self.rng)

    def step(self, action: np.ndarray) -> None:
        space = self.env.action_space
        if self.fault.action_noise and isinstance(space, gym.spaces.Box):
            half = 0.5 * (space.high - space.low)
            noisy = action + half * self.fault.action_noise * self.rng.normal(size=action.shape)
            action = np.clip(noisy, space.low, space.high).astype(np.float32)
        observation, _, terminated, truncated, _ = self.env.step(action)
        over = bool(terminated or truncated)
        self.rows.append((self.truth, np.array(action, np.float32), over, self.fault.kind == "none"))
        self.truth = np.asarray(observation, np.float32)
        if over:  # the observation after the last action closes the sequence; no action follows it
            self.begin()


def _join(robots: list[_Robot]) -> Recording:
    for robot in robots:
        truth, action, _, clean = robot.rows[-1]
        robot.rows[-1] = truth, action, True, clean
    rows = [row for robot in robots for row in robot.rows]
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    return Recording(*columns)
