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
