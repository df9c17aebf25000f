"""Actuators that fail: degradations of the action on its way to the environment."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from homeo_rl.degradations.protocol import DegradationWrapper, Env, EnvDegradation, require_box


@dataclass(frozen=True, kw_only=True)
class ActionNoise(EnvDegradation):
    """Continuous: += N(0, severity * std) half-ranges, clipped to the bounds. Discrete: a uniformly drawn action with
    probability severity * std."""  # fmt: skip

    kind: ClassVar[str] = "action-noise"
    std: float = 0.5

    def act(self, at: DegradationWrapper, action: Any) -> Any:
        """Add the noise, or draw another action."""
        space, size = at.action_space, at.severity * self.std
        if isinstance(space, gym.spaces.Box):
            half = 0.5 * (space.high - space.low)
            noisy = action + at.rng.normal(0.0, size, np.shape(action)) * half
            return np.clip(noisy, space.low, space.high).astype(space.dtype)
        if isinstance(space, gym.spaces.Discrete):
            other, hit = int(at.rng.integers(space.n)) + int(space.start), at.rng.random() < size
            return other if hit else action
        return action  # Discrete and Box are the only spaces that an agent of ours accepts


@dataclass(frozen=True, kw_only=True)
class ActionDelay(EnvDegradation):
    """The action of round(severity * steps) steps ago is executed (at first: the one given at the onset)."""

    kind: ClassVar[str] = "action-delay"
    steps: int = 4

    def on_reset(self, at: DegradationWrapper, observation: Any) -> deque[Any]:
        """Return the queue of past actions."""
        return deque(maxlen=round(at.severity * self.steps) + 1)

    def act(self, at: DegradationWrapper, action: Any) -> Any:
        """Return the oldest action of the queue."""
        at.memory.append(np.copy(action) if isinstance(action, np.ndarray) else action)
        return at.memory[0]


@dataclass(frozen=True, kw_only=True)
class ActionGain(EnvDegradation):
    """The action is multiplied by 1 + severity * (factor - 1)."""

    kind: ClassVar[str] = "action-gain"
    factor: float = 0.3

    def act(self, at: DegradationWrapper, action: Any) -> Any:
        """Scale the action."""
        space = at.action_space
        assert isinstance(space, gym.spaces.Box)
        scaled = action * (1.0 + at.severity * (self.factor - 1.0))
        return np.clip(scaled, space.low, space.high).astype(space.dtype)

    def incompatibility(self, env: Env, *, spiking: bool) -> str | None:
        """Refuse anything but a vector of actions."""
        return require_box(env.action_space, "action")


@dataclass(frozen=True, kw_only=True)
class ActionBias(EnvDegradation):
    """Every entry += s * severity * size half-ranges, clipped to the bounds; its sign s is drawn per episode."""

    kind: ClassVar[str] = "action-bias"
    size: float = 0.2

    def on_reset(self, at: DegradationWrapper, observation: Any) -> np.ndarray:
        """Draw the signs."""
        return np.where(at.rng.random(at.action_space.shape) < 0.5, -1.0, 1.0)

    def act(self, at: DegradationWrapper, action: Any) -> Any:
        """Add the bias."""
        space = at.action_space
        assert isinstance(space, gym.spaces.Box)
        half = 0.5 * (space.high - space.low)
        return np.clip(action + at.memory * at.severity * self.size * half, space.low, space.high).astype(space.dtype)

    def incompatibility(self, env: Env, *, spiking: bool) -> str | None:
        """Refuse anything but a vector of actions between bounds."""
        space = env.action_space
        reason = require_box(space, "action")
        if reason is None and isinstance(space, gym.spaces.Box) and not space.is_bounded():
            reason = f"needs actions between bounds, this environment has {space}"
        return reason


@dataclass(frozen=True, kw_only=True)
class DeadActuator(EnvDegradation):
    """``count`` entries, drawn per episode, are multiplied by 1 - severity, and clipped to the bounds.

    At severity 1 a joint has no force, and a wheel of a driving robot is at its slowest. All entries are weakened where
    there are not so many.
    """

    kind: ClassVar[str] = "action-dead"
    count: int = 1

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count: expected at least 1, got {self.count}")

    def on_reset(self, at: DegradationWrapper, observation: Any) -> np.ndarray:
        """Draw the entries."""
        size = int(np.prod(at.action_space.shape or ()))
        return at.rng.choice(size, min(self.count, size), replace=False)

    def act(self, at: DegradationWrapper, action: Any) -> Any:
        """Weaken the entries."""
        space, result = at.action_space, np.array(action)
        assert isinstance(space, gym.spaces.Box)
        result[at.memory] *= 1.0 - at.severity
        return np.clip(result, space.low, space.high).astype(space.dtype)

    def incompatibility(self, env: Env, *, spiking: bool) -> str | None:
        """Refuse anything but a vector of actions."""
        return require_box(env.action_space, "action")
