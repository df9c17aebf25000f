"""How the environments of a batch of episodes are stepped: one after another, or as rows of one simulator.

An `Engine` has a row for each episode of the batch. ``gymnasium`` steps any environments, each with wrappers of its
own; ``rollout`` steps the bodies of `homeo_rl.envs.batched_bodies` in one call, with the faults of all rows in one
call too. Both give the same numbers, bit for bit.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium as gym
import numpy as np

from homeo_rl.degradations.array_fault import ArrayDegradation, joint_entries
from homeo_rl.degradations.dynamics import ModelScale
from homeo_rl.degradations.fault_model import FaultModel
from homeo_rl.degradations.protocol import Condition, EnvDegradation
from homeo_rl.degradations.schedule import Schedule
from homeo_rl.envs.batched_bodies import ENGINES, BatchedBodies, Stepped, body_of
from homeo_rl.errors import UsageError, unknown
from homeo_rl.evaluation.arm import Arm

Env = gym.Env[Any, Any]


class Engine(Protocol):
    """Environments as rows. Another simulator of batches (MJX, MuJoCo Warp) fits in here: ``step`` is one call."""

    @property
    def env(self) -> Env:
        """One of the environments: its spaces, and what it tells of itself."""

    def reset(self, row: int, seed: int, options: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode in a row; return what the policy sees first [D], and an info."""

    def step(self, rows: Sequence[int], actions: np.ndarray) -> Stepped:
        """Take a step in ``rows`` [K], in ascending order, with the policy's ``actions`` [K, A]."""

    def close(self) -> None:
        """Close the environments."""


@dataclass(frozen=True)
class Batched:
    """Environments for the engine ``rollout``: what makes a healthy one, and the threads of the simulations."""

    new_env: Callable[[], Env]
    threads: int = 1


class GymnasiumEngine:
    """An environment for each row, made at the row's first reset."""

    def __init__(self, new_env: Callable[[], Env], condition: Condition, std: np.ndarray | None, count: int) -> None:
        self._new_env, self._condition, self._std = new_env, condition, std
        self._envs = [self._make()]

    def _make(self) -> Env:
        return self._condition.wrap(self._new_env(), self._std)

    @property
    def env(self) -> Env:
        """The first environment."""
        return self._envs[0]

    def reset(self, row: int, seed: int, options: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode in a row; rows begin in ascending order."""
        if row == len(self._envs):
            self._envs.append(self._make())
        return self._envs[row].reset(seed=seed, options=options)

    def step(self, rows: Sequence[int], actions: np.ndarray) -> Stepped:
        """Step one environment after another."""
        steps = [self._envs[row].step(action) for row, action in zip(rows, actions, strict=True)]
        observations, rewards, terminated, truncated, infos = zip(*steps, strict=True)
        return Stepped(observations, [float(reward) for reward in rewards], terminated, truncated, infos)

    def close(self) -> None:
        """Close the environments."""
        for env in self._envs:
            env.close()


class RolloutEngine:
    """Bodies that MuJoCo steps in one call; faults of sensors and actuators are a call each, and models are changed.

    Raises:
        UsageError: `require_rows`.
    """

    def __init__(self, batched: Batched, condition: Condition, std: np.ndarray | None, count: int) -> None:
        self.env = batched.new_env()
        require_rows(self.env, condition)
        self._bodies = BatchedBodies(self.env, count, batched.threads)
        parts = condition.degradations if condition.severity > 0 else ()
        faults = [part for part in parts if isinstance(part, EnvDegradation)]
        if std is not None:
            faults = [part.with_observation_std(std) for part in faults]
        rows = [part for part in faults if isinstance(part, ArrayDegradation)]
        self._faults = _make_faults(rows, condition, self.env, count) if rows else None
        scales = [part for part in faults if isinstance(part, ModelScale)]
        self._damaged: Any = None
        if scales:
            self._damaged = copy.copy(self._bodies.model)
            for part in reversed(scales):  # the outermost wrapper changes the model first
                part.scale(self._damaged, condition.severity)
        self._onset = condition.onset
        self._elapsed = np.zeros(count, np.int64)

    def reset(self, row: int, seed: int, options: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode in a row."""
        observation, info = self._bodies.reset(row, seed, options)
        self._elapsed[row] = 0
        if self._faults is not None:
            self._faults.reset([row], seed=[seed])
            observation = self._faults.observe(observation[None], [row])[0]
        return observation, info

    def step(self, rows: Sequence[int], actions: np.ndarray) -> Stepped:
        """Damage the actions, step all bodies, and damage what is seen of them."""
        at = np.asarray(rows)
        if self._damaged is not None:
            for row in at[self._elapsed[at] == self._onset].tolist():
                self._bodies.set_model(row, self._damaged)
        self._elapsed[at] += 1
        if self._faults is None:
            return self._bodies.step(at, actions)
        some = None if len(at) == self._faults.num_envs else at
        result = self._bodies.step(at, self._faults.act(actions, some))
        return result._replace(observations=self._faults.observe(result.observations, some))

    def close(self) -> None:
        """Close the environment that resets."""
        self._bodies.close()


def require_engine(name: str, arms: Sequence[Arm]) -> None:
    """Raise UsageError where there is no such engine, or an arm of an evaluation is not for it."""
    if name not in ENGINES:
        raise unknown("engine of --engine", name, ENGINES)
    layered = next((arm.text for arm in arms if arm.control or arm.avoid), None)
    if name == "rollout" and layered is not None:
        raise UsageError(
            f"--engine rollout: expected arms without a layer between policy and robot, got {layered!r}; "
            "--engine gymnasium runs every arm"
        )


def make_engine(
    new_env: Callable[[], Env] | Batched, condition: Condition, std: np.ndarray | None, count: int
) -> Engine:
    """Return an engine of ``count`` rows; ``std`` [D] is what the policy knows of the observations' deviations."""
    if isinstance(new_env, Batched):
        return RolloutEngine(new_env, condition, std, count)
    return GymnasiumEngine(new_env, condition, std, count)


def require_rows(env: Env, condition: Condition) -> None:
    """Check that ``rollout`` knows an environment and a condition.

    Raises:
        UsageError: another body, a wrapper, a layer between policy and environment, or a fault of no kind it knows.
    """
    body_of(env)
    if type(condition) is not Condition:
        kind = type(condition).__name__
        raise UsageError(
            f"--engine rollout: expected no layer between policy and robot, got {kind}; use --engine gymnasium"
        )
    for part in condition.degradations:
        if isinstance(part, EnvDegradation) and not isinstance(part, ArrayDegradation | ModelScale):
            raise UsageError(
                f"--engine rollout: expected faults of rows or of the model, got {part.kind}; use --engine gymnasium"
            )


def _make_faults(parts: Sequence[ArrayDegradation], condition: Condition, env: Env, count: int) -> FaultModel:
    """Return the faults of all rows, with the random numbers of the wrappers of suites."""
    spaces: Any = env.observation_space, env.action_space
    return FaultModel(
        parts,
        count,
        schedule=Schedule(severity=condition.severity, onset=condition.onset),
        observation_bounds=(spaces[0].low, spaces[0].high),
        action_bounds=(spaces[1].low, spaces[1].high),
        joints={group: joint_entries(env, group).tolist() for group in ("qpos", "qvel")},
        streams="suite",
    )
