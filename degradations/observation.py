"""Sensors that fail: degradations of the raw observation, before any normalising."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from homeo_rl.degradations.protocol import DegradationWrapper, Env, EnvDegradation, require_box


@dataclass(frozen=True, kw_only=True)
class SensorDegradation(EnvDegradation):
    """Base: needs a vector of sensor readings."""

    def reason_against(self, env: Env, *, spiking: bool) -> str | None:
        """Refuse anything but a vector."""
        return require_box(env.observation_space, "observation")


@dataclass(frozen=True, kw_only=True)
class GaussianObservation(SensorDegradation):
    """Every entry += N(0, severity * std) at every step."""

    kind: ClassVar[str] = "obs-gaussian"
    std: float = 0.1

    def wrap(self, env: Env, severity: float, onset: int = 0) -> Env:
        """Add the noise."""
        return _Gaussian(env, self, severity, onset) if severity > 0 else env


class _Gaussian(DegradationWrapper):
    degradation: GaussianObservation

    def observe(self, observation: Any) -> Any:
        noise = self.rng.normal(0.0, self.severity * self.degradation.std, observation.shape)
        return (observation + noise).astype(observation.dtype)


@dataclass(frozen=True, kw_only=True)
class StuckSensors(SensorDegradation):
    """A fraction severity * fraction of the entries, drawn per episode, keeps its reading of the onset for ever."""

    kind: ClassVar[str] = "obs-stuck"
    fraction: float = 0.5

    def wrap(self, env: Env, severity: float, onset: int = 0) -> Env:
        """Freeze the entries."""
        return _Stuck(env, self, severity, onset) if severity > 0 else env


class _Stuck(DegradationWrapper):
    degradation: StuckSensors

    def after_reset(self, observation: Any) -> None:
        count = _share(self.severity * self.degradation.fraction, observation.size)
        self.entries = self.rng.choice(observation.size, count, replace=False)
        self.frozen: Any = None

    def observe(self, observation: Any) -> Any:
        if self.frozen is None:
            self.frozen = observation[self.entries].copy()
        seen = observation.copy()
        seen[self.entries] = self.frozen
        return seen


@dataclass(frozen=True, kw_only=True)
class DroppedSensors(SensorDegradation):
    """Each entry reads 0 with probability severity * probability, drawn anew at every step."""

    kind: ClassVar[str] = "obs-dropped"
    probability: float = 0.5

    def wrap(self, env: Env, severity: float, onset: int = 0) -> Env:
        """Drop the entries."""
        return _Dropped(env, self, severity, onset) if severity > 0 else env


class _Dropped(DegradationWrapper):
    degradation: DroppedSensors

    def observe(self, observation: Any) -> Any:
        lost = self.rng.random(observation.shape) < self.severity * self.degradation.probability
        return np.where(lost, np.zeros((), observation.dtype), observation)


@dataclass(frozen=True, kw_only=True)
class DelayedSensors(SensorDegradation):
    """The policy sees the observation of round(severity * steps) steps ago (the first one, until there are as many)."""

    kind: ClassVar[str] = "obs-delayed"
    steps: int = 4

    def wrap(self, env: Env, severity: float, onset: int = 0) -> Env:
        """Delay the readings."""
        return _Delayed(env, self, severity, onset) if severity > 0 else env


class _Delayed(DegradationWrapper):
    degradation: DelayedSensors

    def after_reset(self, observation: Any) -> None:
        self.past: deque[Any] = deque(maxlen=round(self.severity * self.degradation.steps) + 1)
        self.past.append(observation.copy())

    def record(self, observation: Any) -> None:
        self.past.append(observation.copy())

    def observe(self, observation: Any) -> Any:
        return self.past[0].copy()


@dataclass(frozen=True, kw_only=True)
class PoseFault(SensorDegradation):
    """One joint-position entry, drawn per episode, reads N(0, std) at every step (severity mixes it with the truth)."""

    kind: ClassVar[str] = "pose"
    std: float = 0.1

    def reason_against(self, env: Env, *, spiking: bool) -> str | None:
        """Refuse environments that do not say where joint positions are."""
        return super().reason_against(env, spiking=spiking) or _no_group(env, "qpos")

    def wrap(self, env: Env, severity: float, onset: int = 0) -> Env:
        """Replace the entry."""
        return _JointFault(env, self, severity, onset) if severity > 0 else env

    group: ClassVar[str] = "qpos"


@dataclass(frozen=True, kw_only=True)
class VelocityFault(SensorDegradation):
    """One joint-velocity entry, drawn per episode, reads N(0, std) at every step (severity mixes it with the truth)."""

    kind: ClassVar[str] = "velocity"
    std: float = 10.0

    def reason_against(self, env: Env, *, spiking: bool) -> str | None:
        """Refuse environments that do not say where joint velocities are."""
        return super().reason_against(env, spiking=spiking) or _no_group(env, "qvel")

    def wrap(self, env: Env, severity: float, onset: int = 0) -> Env:
        """Replace the entry."""
        return _JointFault(env, self, severity, onset) if severity > 0 else env

    group: ClassVar[str] = "qvel"


class _JointFault(DegradationWrapper):
    degradation: PoseFault | VelocityFault

    def after_reset(self, observation: Any) -> None:
        self.entry = int(self.rng.choice(joint_entries(self.env, self.degradation.group)))

    def observe(self, observation: Any) -> Any:
        seen = observation.copy()
        fault = self.rng.normal(0.0, self.degradation.std)
        seen[self.entry] = (1.0 - self.severity) * observation[self.entry] + self.severity * fault
        return seen


def joint_entries(env: Env, group: str) -> np.ndarray:
    """Return the observation entries that hold joint positions ("qpos") or velocities ("qvel").

    MuJoCo environments of Gymnasium list them first, in this order (HalfCheetah: 0-7 and 8-16, Ant: 0-12 and 13-26).
    """
    structure = getattr(env.unwrapped, "observation_structure", {})
    positions, velocities = int(structure.get("qpos", 0)), int(structure.get("qvel", 0))
    return np.arange(positions) if group == "qpos" else np.arange(positions, positions + velocities)


def _no_group(env: Env, group: str) -> str | None:
    if len(joint_entries(env, group)):
        return None
    return f"needs an environment that lists its joint entries ({group}), such as HalfCheetah-v5 or Ant-v5"


def _share(fraction: float, size: int) -> int:
    """Return the entries that a fraction of ``size`` stands for; at least one for any fraction above 0."""
    return max(1, int(fraction * size + 0.5)) if fraction > 0 else 0
