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

    def incompatibility(self, env: Env, *, spiking: bool) -> str | None:
        """Refuse anything but a vector."""
        return require_box(env.observation_space, "observation")


def _add_noise(at: DegradationWrapper, observation: Any, std: float, unit: Any = 1.0) -> Any:
    noise = at.rng.normal(0.0, at.severity * std, observation.shape) * unit
    return (observation + noise).astype(observation.dtype)


@dataclass(frozen=True, kw_only=True)
class GaussianObservation(SensorDegradation):
    """Every entry += N(0, severity * std) at every step."""

    kind: ClassVar[str] = "obs-gaussian"
    std: float = 0.1

    def observe(self, at: DegradationWrapper, observation: Any) -> Any:
        """Add the noise."""
        return _add_noise(at, observation, self.std)


@dataclass(frozen=True, kw_only=True)
class NormalisedGaussianObservation(SensorDegradation):
    """Every entry += N(0, severity * std) of its standard deviations, as the policy's normaliser knows them.

    ``spread`` is the deviation of each entry; () takes the policy's, or 1 where there is no policy or no normaliser.
    """

    kind: ClassVar[str] = "obs-gaussian-normalised"
    std: float = 0.2
    spread: tuple[float, ...] = ()

    def observe(self, at: DegradationWrapper, observation: Any) -> Any:
        """Add the noise."""
        return _add_noise(at, observation, self.std, np.asarray(self.spread or 1.0))

    def incompatibility(self, env: Env, *, spiking: bool) -> str | None:
        """Refuse a spread of another length than the observation's."""
        reason = super().incompatibility(env, spiking=spiking)
        if reason is None and self.spread and (len(self.spread),) != env.observation_space.shape:
            entries = int(np.prod(env.observation_space.shape or ()))
            return f"spread: expected {entries} entries, got {len(self.spread)}"
        return reason

    def with_observation_std(self, std: np.ndarray) -> EnvDegradation:
        """Take ``std`` as the spread, where the suite does not say one."""
        return self if self.spread else replace(self, spread=tuple(float(value) for value in std))


@dataclass(frozen=True, kw_only=True)
class StuckSensors(SensorDegradation):
    """A fraction severity * fraction of the entries, drawn per episode, keeps its reading of the onset for ever."""

    kind: ClassVar[str] = "obs-stuck"
    fraction: float = 0.5

    def on_reset(self, at: DegradationWrapper, observation: Any) -> dict[str, np.ndarray]:
        """Draw the entries."""
        count = _share(at.severity * self.fraction, observation.size)
        return {"entries": at.rng.choice(observation.size, count, replace=False)}

    def observe(self, at: DegradationWrapper, observation: Any) -> Any:
        """Keep the readings of the first call."""
        entries, result = at.memory["entries"], observation.copy()
        result[entries] = at.memory.setdefault("readings", observation[entries])
        return result


@dataclass(frozen=True, kw_only=True)
class DroppedSensors(SensorDegradation):
    """Each entry reads 0 with probability severity * probability, drawn anew at every step."""

    kind: ClassVar[str] = "obs-dropped"
    probability: float = 0.5

    def observe(self, at: DegradationWrapper, observation: Any) -> Any:
        """Draw the entries and set them to 0."""
        lost = at.rng.random(observation.shape) < at.severity * self.probability
        return np.where(lost, np.zeros((), observation.dtype), observation)


@dataclass(frozen=True, kw_only=True)
class DelayedSensors(SensorDegradation):
    """The policy sees the observation of round(severity * steps) steps ago (the first one, until there are as many)."""

    kind: ClassVar[str] = "obs-delayed"
    steps: int = 4

    def on_reset(self, at: DegradationWrapper, observation: Any) -> deque[Any]:
        """Return the queue of past observations."""
        return deque([observation.copy()], maxlen=round(at.severity * self.steps) + 1)

    def record(self, at: DegradationWrapper, observation: Any) -> None:
        """Append an observation to the queue."""
        at.memory.append(observation.copy())

    def observe(self, at: DegradationWrapper, observation: Any) -> Any:
        """Return the oldest observation of the queue."""
        return at.memory[0].copy()


@dataclass(frozen=True, kw_only=True)
class JointFault(SensorDegradation):
    """Base: one entry of a group, drawn per episode, reads N(0, std) at every step; severity mixes in the truth."""

    group: ClassVar[str] = ""
    std: float = 1.0

    def on_reset(self, at: DegradationWrapper, observation: Any) -> int:
        """Draw the entry."""
        return int(at.rng.choice(joint_entries(at.env, self.group)))

    def observe(self, at: DegradationWrapper, observation: Any) -> Any:
        """Mix the entry with noise."""
        entry, result = at.memory, observation.copy()
        result[entry] = (1.0 - at.severity) * observation[entry] + at.severity * at.rng.normal(0.0, self.std)
        return result

    def incompatibility(self, env: Env, *, spiking: bool) -> str | None:
        """Refuse environments that do not say where the entries of the group are."""
        reason = super().incompatibility(env, spiking=spiking)
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
