"""Sensors that fail: degradations of the raw observation, before any normalising."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from homeo_rl.degradations.array_fault import Memory, Rows, SensorDegradation, SignedDegradation, joint_entries
from homeo_rl.degradations.protocol import Env, EnvDegradation
from homeo_rl.numerics.backend import Array, cast

__all__ = ["SensorDegradation", "joint_entries"]


def _add_noise(rows: Rows, x: Array, std: float, unit: Any = 1.0) -> Array:
    return cast(x + rows.draws.normal(x.shape[1]) * (rows.severity * std) * unit, x.dtype)


@dataclass(frozen=True, kw_only=True)
class GaussianObservation(SensorDegradation):
    """Every entry += N(0, severity * std) at every step."""

    kind: ClassVar[str] = "obs-gaussian"
    std: float = 0.1

    def change(self, rows: Rows, memory: Memory, x: Array) -> tuple[Array, Memory]:
        """Add the noise."""
        return _add_noise(rows, x, self.std), memory


@dataclass(frozen=True, kw_only=True)
class SpreadDegradation(SensorDegradation):
    """Base: errors in units of each entry's standard deviation, as the policy's normaliser knows it.

    ``spread`` is the deviation of each entry; () takes the policy's, or 1 where there is no policy or no normaliser.
    """

    spread: tuple[float, ...] = ()

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

    def change(self, rows: Rows, memory: Memory, x: Array) -> tuple[Array, Memory]:
        """Add the noise."""
        return _add_noise(rows, x, self.std, rows.unit(self.spread)), memory


@dataclass(frozen=True, kw_only=True)
class OffsetSensors(SignedDegradation, SpreadDegradation):
    """Every entry += s * severity * size of its standard deviations; its sign s is drawn per episode.

    Readings stay within the bounds of the observation space.
    """

    kind: ClassVar[str] = "obs-offset"
    size: float = 0.3

    def change(self, rows: Rows, memory: Memory, x: Array) -> tuple[Array, Memory]:
        """Add the offsets."""
        return rows.clip_to_bounds(x + memory["signs"] * rows.severity * self.size * rows.unit(self.spread)), memory


@dataclass(frozen=True, kw_only=True)
class MisscaledSensors(SignedDegradation, SensorDegradation):
    """Every entry is multiplied by 1 + s * severity * error; its sign s is drawn per episode.

    Readings stay within the bounds of the observation space.
    """

    kind: ClassVar[str] = "obs-scale"
    error: float = 0.3

    def change(self, rows: Rows, memory: Memory, x: Array) -> tuple[Array, Memory]:
        """Scale the entries."""
        return rows.clip_to_bounds(x * (1.0 + memory["signs"] * rows.severity * self.error)), memory


@dataclass(frozen=True, kw_only=True)
class DriftingSensors(SpreadDegradation):
    """Every entry += a random walk that begins at 0 at the onset.

    After n steps its standard deviation is severity * std * sqrt(n / 1000) of the entry's standard deviations. Readings
    stay within the bounds of the observation space.
    """

    kind: ClassVar[str] = "obs-drift"
    std: float = 0.5

    def start(self, rows: Rows, like: Array) -> Memory:
        """Return the walk at its beginning, in standard deviations at severity 1."""
        return {"walk": rows.backend.zeros(like.shape, rows.xp.float64)}

    def change(self, rows: Rows, memory: Memory, x: Array) -> tuple[Array, Memory]:
        """Take a step of the walk and add it."""
        walk = memory["walk"] + rows.draws.normal(x.shape[1]) * (self.std / 1000.0**0.5)
        return rows.clip_to_bounds(x + rows.severity * walk * rows.unit(self.spread)), {"walk": walk}


@dataclass(frozen=True, kw_only=True)
class SpikingSensors(SpreadDegradation):
    """Outliers: with probability severity * probability an entry is wrong by ``size`` of its standard deviations.

    Entry, sign and step are drawn anew at every step. Readings stay within the bounds of the observation space.
    """

    kind: ClassVar[str] = "obs-spikes"
    probability: float = 0.05
    size: float = 5.0

    def change(self, rows: Rows, memory: Memory, x: Array) -> tuple[Array, Memory]:
        """Draw the entries and add the errors."""
        draws, limit = rows.draws.uniform(x.shape[1]), rows.severity * self.probability
        signs = 1.0 - 2.0 * cast(draws < 0.5 * limit, rows.xp.float64)
        wrong = rows.clip_to_bounds(x + signs * self.size * rows.unit(self.spread))
        return rows.xp.where(draws < limit, wrong, cast(x, wrong.dtype)), memory


@dataclass(frozen=True, kw_only=True)
class StuckSensors(SensorDegradation):
    """A fraction severity * fraction of the entries, drawn per episode, keeps its reading of the onset for ever."""

    kind: ClassVar[str] = "obs-stuck"
    fraction: float = 0.5

    def start(self, rows: Rows, like: Array) -> Memory:
        """Draw the entries."""
        return {
            "ranks": rows.draws.ranks(like.shape[1], self._count(rows, like)),
            "readings": rows.xp.zeros_like(like),
        }

    def change(self, rows: Rows, memory: Memory, x: Array) -> tuple[Array, Memory]:
        """Keep the readings of the onset."""
        readings = rows.xp.where(rows.since == 0, x, memory["readings"])
        stuck = memory["ranks"] < self._count(rows, x)
        return rows.xp.where(stuck, readings, x), {**memory, "readings": readings}

    def _count(self, rows: Rows, x: Array) -> Array:
        """Return how many entries of each row are stuck, [N, 1]; at least one for any severity above 0."""
        share = rows.severity * self.fraction
        count = cast(share * x.shape[1] + 0.5, rows.xp.int64)
        return rows.xp.where((share > 0) & (count < 1), rows.xp.ones_like(count), count)


@dataclass(frozen=True, kw_only=True)
class DroppedSensors(SensorDegradation):
    """Each entry reads 0 with probability severity * probability, drawn anew at every step."""

    kind: ClassVar[str] = "obs-dropped"
    probability: float = 0.5

    def change(self, rows: Rows, memory: Memory, x: Array) -> tuple[Array, Memory]:
        """Draw the entries and set them to 0."""
        lost = rows.draws.uniform(x.shape[1]) < rows.severity * self.probability
        return rows.xp.where(lost, 0.0, x), memory


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

    def start(self, rows: Rows, like: Array) -> Memory:
        """Draw which groups [N, G] and entries [N, D] are lost at the onset."""
        groups = rows.draws.uniform(self.groups) < _lost_share(rows.severity * self.group_fail, self.group_recover)
        entries = rows.draws.uniform(like.shape[1]) < _lost_share(rows.severity * self.fail, self.recover)
        return {"groups": groups, "entries": entries}

    def change(self, rows: Rows, memory: Memory, x: Array) -> tuple[Array, Memory]:
        """Set what is lost to 0, and let the chains go on."""
        groups, entries = memory["groups"], memory["entries"]
        block = rows.backend.arange(x.shape[1]) * self.groups // x.shape[1]
        lost = groups[:, block] | entries
        following = {
            "groups": _next_state(rows, groups, rows.severity * self.group_fail, self.group_recover),
            "entries": _next_state(rows, entries, rows.severity * self.fail, self.recover),
        }
        return rows.xp.where(lost, 0.0, x), following


@dataclass(frozen=True, kw_only=True)
class DelayedSensors(SensorDegradation):
    """The policy sees the observation of round(severity * steps) steps ago (the first one, until there are as many)."""

    kind: ClassVar[str] = "obs-delayed"
    steps: int = 4

    @property
    def length(self) -> int:
        """The oldest observation that is seen, and all after it."""
        return self.steps + 1

    def change(self, rows: Rows, memory: Memory, x: Array) -> tuple[Array, Memory]:
        """Return the observation that is so old."""
        return rows.input_of(rows.xp.minimum(rows.age(self.steps), rows.step)), memory


@dataclass(frozen=True, kw_only=True)
class JitteringSensors(DelayedSensors):
    """The policy sees the observation of 0 to round(severity * steps) steps ago, drawn evenly at every step."""

    kind: ClassVar[str] = "obs-jitter"

    def change(self, rows: Rows, memory: Memory, x: Array) -> tuple[Array, Memory]:
        """Draw the age, and return the observation that is so old."""
        age = cast(rows.draws.uniform(1) * (rows.age(self.steps) + 1), rows.xp.int64)
        return rows.input_of(rows.xp.minimum(age, rows.step)), memory


@dataclass(frozen=True, kw_only=True)
class JointFault(SensorDegradation):
    """Base: one entry of a group, drawn per episode, reads N(0, std) at every step; severity mixes in the truth."""

    group: ClassVar[str] = ""
    std: float = 1.0

    def start(self, rows: Rows, like: Array) -> Memory:
        """Draw the entry."""
        return {"entry": rows.draws.pick(rows.joints[self.group])}

    def change(self, rows: Rows, memory: Memory, x: Array) -> tuple[Array, Memory]:
        """Mix the entry with noise."""
        noise = rows.severity * (self.std * rows.draws.normal(1))
        mixed = cast(1.0 - rows.severity, x.dtype) * x + cast(noise, x.dtype)
        return rows.xp.where(rows.backend.arange(x.shape[1]) == memory["entry"], mixed, x), memory

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


def _lost_share(fail: Array, recover: float) -> Array:
    """Return the share of the time for which a chain of each row is lost in the long run, [N, 1]."""
    return fail / (fail + recover) if recover > 0 else cast(fail > 0, fail.dtype)


def _next_state(rows: Rows, lost: Array, fail: Array, recover: float) -> Array:
    """Return which chains are lost at the next step."""
    draws = rows.draws.uniform(lost.shape[1])
    return rows.xp.where(lost, draws >= recover, draws < fail)
