"""Actuators that fail: degradations of the action on its way to the environment."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from homeo_rl.degradations.protocol import DegradationWrapper, Env, EnvDegradation, require_box


class _Noise(DegradationWrapper):
    degradation: ActionNoise

    def act(self, action: Any) -> Any:
        space, size = self.action_space, self.severity * self.degradation.std
        if isinstance(space, gym.spaces.Box):
            half = 0.5 * (space.high - space.low)
            noisy = action + self.rng.normal(0.0, size, np.shape(action)) * half
            return np.clip(noisy, space.low, space.high).astype(space.dtype)
        if isinstance(space, gym.spaces.Discrete):
            other, hit = int(self.rng.integers(space.n)) + int(space.start), self.rng.random() < size
            return other if hit else action
        return action

    # Discrete and Box are the only spaces that an agent of ours accepts.


@dataclass(frozen=True, kw_only=True)
class ActionNoise(EnvDegradation):
    """Continuous: += N(0, severity * std) half-ranges, clipped to the bounds. Discrete: a uniformly drawn action with
    probability severity * std."""  # fmt: skip

    kind: ClassVar[str] = "action-noise"
    wrapper: ClassVar[type[DegradationWrapper]] = _Noise
    std: float = 0.5


class _Delay(DegradationWrapper):
    degradation: ActionDelay

    def after_reset(self, observation: Any) -> None:
        self.past: deque[Any] = deque(maxlen=round(self.severity * self.degradation.steps) + 1)

    def act(self, action: Any) -> Any:
        self.past.append(np.copy(action) if isinstance(action, np.ndarray) else action)
        return self.past[0]


@dataclass(frozen=True, kw_only=True)
class ActionDelay(EnvDegradation):
    """The action of round(severity * steps) steps ago is executed (at first: the one given at the onset)."""

    kind: ClassVar[str] = "action-delay"
    wrapper: ClassVar[type[DegradationWrapper]] = _Delay
    steps: int = 4


class _Gain(DegradationWrapper):
    degradation: ActionGain

    def act(self, action: Any) -> Any:
        space = self.action_space
        assert isinstance(space, gym.spaces.Box)
        scaled = action * (1.0 + self.severity * (self.degradation.factor - 1.0))
        return np.clip(scaled, space.low, space.high).astype(space.dtype)


@dataclass(frozen=True, kw_only=True)
class ActionGain(EnvDegradation):
    """The action is multiplied by 1 + severity * (factor - 1)."""

    kind: ClassVar[str] = "action-gain"
    wrapper: ClassVar[type[DegradationWrapper]] = _Gain
    factor: float = 0.3

    def reason_against(self, env: Env, *, spiking: bool) -> str | None:
        """Refuse anything but a vector of actions."""
        return require_box(env.action_space, "action")
