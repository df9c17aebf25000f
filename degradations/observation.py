"""Sensors that fail: degradations of the raw observation, before any normalising."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from homeo_rl.degradations.protocol import DegradationWrapper, Env, EnvDegradation, require_box


@dataclass(frozen=True, kw_only=True)
class SensorDegradation(EnvDegradation):
    """Base: needs a vector of sensor readings."""

    def reason_against(self, env: Env, *, spiking: bool) -> str | None:
        """Refuse anything but a vector."""
        return require_box(env.observation_space, "observation")


class _Gaussian(DegradationWrapper):
    degradation: GaussianObservation

    def observe(self, observation: Any) -> Any:
        noise = self.rng.normal(0.0, self.severity * self.degradation.std, observation.shape)
        return (observation + noise).astype(observation.dtype)


@dataclass(frozen=True, kw_only=True)
class GaussianObservation(SensorDegradation):
    """Every entry += N(0, severity * std) at every step."""

    kind: ClassVar[str] = "obs-gaussian"
    wrapper: ClassVar[type[DegradationWrapper]] = _Gaussian
    std: float = 0.1


class _Normalised(DegradationWrapper):
    degradation: NormalisedGaussianObservation

    def observe(self, observation: Any) -> Any:
        spread = np.asarray(self.degradation.spread or 1.0)
        noise = self.rng.normal(0.0, self.severity * self.degradation.std, observation.shape) * spread
        return (observation + noise).astype(observation.dtype)


@dataclass(frozen=True, kw_only=True)
class NormalisedGaussianObservation(SensorDegradation):
    """Every entry += N(0, severity * std) standard deviations of its own, as the policy's normaliser knows them.

    ``spread`` is the deviation of each entry; () takes the policy's, or 1 where there is no policy or no normaliser.
    """

    kind: ClassVar[str] = "obs-gaussian-normalised"
    wrapper: ClassVar[type[DegradationWrapper]] = _Normalised
    std: float = 0.2
    spread: tuple[float, ...] = ()

    def reason_against(self, env: Env, *, spiking: bool) -> str | None:
        """Refuse a spread of another length than the observation's."""
        reason = super().reason_against(env, spiking=spiking)
        if reason is None and self.spread and (len(self.spread),) != env.observation_space.shape:
            entries = int(np.prod(env.observation_space.shape or ()))
            return f"spread: expected {entries} entries, got {len(self.spread)}"
        return reason

    def knowing(self, spread: np.ndarray) -> EnvDegradation:
        """Take ``spread``, where the suite does not say."""
        return self if self.spread else replace(self, spread=tuple(float(value) for value in spread))


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
class StuckSensors(SensorDegradation):
    """A fraction severity * fraction of the entries, drawn per episode, keeps its reading of the onset for ever."""

    kind: ClassVar[str] = "obs-stuck"
    wrapper: ClassVar[type[DegradationWrapper]] = _Stuck
    fraction: float = 0.5


class _Dropped(DegradationWrapper):
    degradation: DroppedSensors

    def observe(self, observation: Any) -> Any:
        lost = self.rng.random(observation.shape) < self.severity * self.degradation.probability
        return np.where(lost, np.zeros((), observation.dtype), observation)


@dataclass(frozen=True, kw_only=True)
class DroppedSensors(SensorDegradation):
    """Each entry reads 0 with probability severity * probability, drawn anew at every step."""

    kind: ClassVar[str] = "obs-dropped"
    wrapper: ClassVar[type[DegradationWrapper]] = _Dropped
    probability: float = 0.5


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
class DelayedSensors(SensorDegradation):
    """The policy sees the observation of round(severity * steps) steps ago (the first one, until there are as many)."""

    kind: ClassVar[str] = "obs-delayed"
    wrapper: ClassVar[type[DegradationWrapper]] = _Delayed
    steps: int = 4


class _JointFault(DegradationWrapper):
    degradation: JointFault

    def after_reset(self, observation: Any) -> None:
        self.entry = int(self.rng.choice(joint_entries(self.env, self.degradation.group)))

    def observe(self, observation: Any) -> Any:
        seen = observation.copy()
        fault = self.rng.normal(0.0, self.degradation.std)
        seen[self.entry] = (1.0 - self.severity) * observation[self.entry] + self.severity * fault
        return seen


@dataclass(frozen=True, kw_only=True)
class JointFault(SensorDegradation):
    """Base: one entry of a group, drawn per episode, reads N(0, std) at every step; severity mixes in the truth."""

    wrapper: ClassVar[type[DegradationWrapper]] = _JointFault
    group: ClassVar[str] = ""
    std: float = 1.0

    def reason_against(self, env: Env, *, spiking: bool) -> str | None:
        """Refuse environments that do not say where the entries of the group are."""
        reason = super().reason_against(env, spiking=spiking)
        if reason is None and not len(joint_entries(env, self.group)):
            reason = f"needs an environment that lists its joint entries ({self.group}), such as HalfCheetah-v5"
        return reason


@dataclass(frozen=True, kw_only=True)
class PoseFault(JointFault):
    """A fault of one joint-position sensor."""

    kind: ClassVar[str] = "pose"
    group: ClassVar[str] = "qpos"
    std: float = 0.1


@dataclass(frozen=True, kw_only=True)
class VelocityFault(JointFault):
    """A fault of one joint-velocity sensor."""

    kind: ClassVar[str] = "velocity"
    group: ClassVar[str] = "qvel"
    std: float = 10.0


def joint_entries(env: Env, group: str) -> np.ndarray:
    """Return the observation entries that hold joint positions ("qpos") or velocities ("qvel").

    MuJoCo environments of Gymnasium list them first, in this order (HalfCheetah: 0-7 and 8-16, Ant: 0-12 and 13-26).
    """
    structure = getattr(env.unwrapped, "observation_structure", {})
    if not isinstance(structure, Mapping):
        return np.arange(0)
    positions, velocities = int(structure.get("qpos", 0)), int(structure.get("qvel", 0))
    return np.arange(positions) if group == "qpos" else np.arange(positions, positions + velocities)


def _share(fraction: float, size: int) -> int:
    """Return the entries that a fraction of ``size`` stands for; at least one for any fraction above 0."""
    return max(1, int(fraction * size + 0.5)) if fraction > 0 else 0
