"""Sensors that fail: degradations of the raw observation, before any normalising."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import gymnasium as gym
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
class SpreadDegradation(SensorDegradation):
    """Base: errors in units of each entry's standard deviation, as the policy's normaliser knows it.

    ``spread`` is the deviation of each entry; () takes the policy's, or 1 where there is no policy or no normaliser.
    """

    spread: tuple[float, ...] = ()

    @property
    def unit(self) -> np.ndarray:
        """The unit of each entry, [D] or []."""
        return np.asarray(self.spread or 1.0)

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
class NormalisedGaussianObservation(SpreadDegradation):
    """Every entry += N(0, severity * std) of its standard deviations (`SpreadDegradation`)."""

    kind: ClassVar[str] = "obs-gaussian-normalised"
    std: float = 0.2

    def observe(self, at: DegradationWrapper, observation: Any) -> Any:
        """Add the noise."""
        return _add_noise(at, observation, self.std, self.unit)


@dataclass(frozen=True, kw_only=True)
class OffsetSensors(SpreadDegradation):
    """Every entry += s * severity * size of its standard deviations; its sign s is drawn per episode.

    Readings stay within the bounds of the observation space.
    """

    kind: ClassVar[str] = "obs-offset"
    size: float = 0.3

    def on_reset(self, at: DegradationWrapper, observation: Any) -> np.ndarray:
        """Draw the signs."""
        return _signs(at.rng, observation.shape)

    def observe(self, at: DegradationWrapper, observation: Any) -> Any:
        """Add the offsets."""
        return _within_bounds(at, observation + at.memory * at.severity * self.size * self.unit)


@dataclass(frozen=True, kw_only=True)
class MisscaledSensors(SensorDegradation):
    """Every entry is multiplied by 1 + s * severity * error; its sign s is drawn per episode.

    Readings stay within the bounds of the observation space.
    """

    kind: ClassVar[str] = "obs-scale"
    error: float = 0.3

    def on_reset(self, at: DegradationWrapper, observation: Any) -> np.ndarray:
        """Draw the signs."""
        return _signs(at.rng, observation.shape)

    def observe(self, at: DegradationWrapper, observation: Any) -> Any:
        """Scale the entries."""
        return _within_bounds(at, observation * (1.0 + at.memory * at.severity * self.error))


@dataclass(frozen=True, kw_only=True)
class DriftingSensors(SpreadDegradation):
    """Every entry += a random walk that begins at 0 at the onset.

    After n steps its standard deviation is severity * std * sqrt(n / 1000) of the entry's standard deviations. Readings
    stay within the bounds of the observation space.
    """

    kind: ClassVar[str] = "obs-drift"
    std: float = 0.5

    def on_reset(self, at: DegradationWrapper, observation: Any) -> np.ndarray:
        """Return the walk at its beginning, in standard deviations at severity 1."""
        return np.zeros(observation.shape)

    def observe(self, at: DegradationWrapper, observation: Any) -> Any:
        """Take a step of the walk and add it."""
        at.memory = at.memory + at.rng.normal(0.0, self.std / 1000.0**0.5, observation.shape)
        return _within_bounds(at, observation + at.severity * at.memory * self.unit)


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
class MarkovSensors(SensorDegradation):
    """Drop-out of two levels: an entry reads 0 while the entry itself or its group is lost.

    Each of ``groups`` blocks of neighbouring entries, about equally long, and each entry is a Markov chain of its own.
    One that works is lost at the next step with probability severity * fail, one that is lost returns with probability
    recover. Chains begin in their stationary distribution. At severity 1 the default values leave 0.612 of all
    readings. Source: "When Sensors Fail" (arXiv 2603.04648).
    """

    kind: ClassVar[str] = "obs-markov"
    fail: float = 0.01
    recover: float = 0.9
    group_fail: float = 0.55
    group_recover: float = 0.9
    groups: int = 4

    def __post_init__(self) -> None:
        if self.groups < 1:
            raise ValueError(f"groups: expected at least 1, got {self.groups}")
        for name in ("fail", "recover", "group_fail", "group_recover"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name}: expected a probability, got {getattr(self, name)}")

    def on_reset(self, at: DegradationWrapper, observation: Any) -> tuple[np.ndarray, np.ndarray]:
        """Draw which groups [G] and entries [D] are lost at the onset."""
        groups = at.rng.random(self.groups) < _lost_share(at.severity * self.group_fail, self.group_recover)
        entries = at.rng.random(observation.size) < _lost_share(at.severity * self.fail, self.recover)
        return groups, entries

    def observe(self, at: DegradationWrapper, observation: Any) -> Any:
        """Set what is lost to 0, and let the chains go on."""
        groups, entries = at.memory
        block = np.arange(observation.size) * self.groups // observation.size
        lost = groups[block] | entries
        at.memory = (
            _next_state(at.rng, groups, at.severity * self.group_fail, self.group_recover),
            _next_state(at.rng, entries, at.severity * self.fail, self.recover),
        )
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
class JitteringSensors(DelayedSensors):
    """The policy sees the observation of 0 to round(severity * steps) steps ago, drawn evenly at every step."""

    kind: ClassVar[str] = "obs-jitter"
    steps: int = 4

    def observe(self, at: DegradationWrapper, observation: Any) -> Any:
        """Draw the age, and return the observation that is so old."""
        age = int(at.rng.random() * (round(at.severity * self.steps) + 1))
        return at.memory[max(len(at.memory) - 1 - age, 0)].copy()


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


def _signs(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return -1 or 1 for each entry."""
    return np.where(rng.random(shape) < 0.5, -1.0, 1.0)


def _within_bounds(at: DegradationWrapper, readings: np.ndarray) -> np.ndarray:
    """Return readings clipped to the bounds of the observation space, in its type."""
    space = at.observation_space
    assert isinstance(space, gym.spaces.Box)
    bounded: np.ndarray = np.clip(readings, space.low, space.high).astype(space.dtype)
    return bounded


def _lost_share(fail: float, recover: float) -> float:
    """Return the share of the time for which a chain is lost in the long run."""
    return fail / (fail + recover) if fail > 0 else 0.0


def _next_state(rng: np.random.Generator, lost: np.ndarray, fail: float, recover: float) -> np.ndarray:
    """Return which chains are lost at the next step."""
    draws = rng.random(lost.shape)
    following: np.ndarray = np.where(lost, draws >= recover, draws < fail)
    return following
