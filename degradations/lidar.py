"""Range sensors that fail: degradations of a navigation robot's lidar, in metres."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from homeo_rl.degradations.protocol import DegradationWrapper, Env, EnvDegradation, require_box
from homeo_rl.errors import UsageError

BEAMS = 18
"""Beams of the lidar, left to right."""

NEAR = 0.35
"""A beam of range r (m) is the observation entry clip(NEAR / r, 0, 1)."""


@dataclass(frozen=True, kw_only=True)
class LidarDegradation(EnvDegradation):
    """Base: acts on ``info["ranges"]`` and writes the beams anew, the last 18 entries in either coding.

    Collisions go by what the lidar really measured. Several of them compose, each on the ranges of the one before.
    Degradations of the observation (obs-...) come after them: beams that are written anew would undo those.
    """

    def wrap(self, env: Env, severity: float, onset: int = 0) -> Env:
        """Return ``env`` degraded from step ``onset`` on; severity 0 returns ``env`` itself.

        Raises:
            UsageError: ``env`` has a degraded observation already.
        """
        inner = env
        while isinstance(inner, gym.Wrapper):
            if isinstance(inner, DegradationWrapper) and _observes(inner):
                other = inner.degradation.kind
                raise UsageError(f"{self.kind} would undo {other}, which comes before it; list {self.kind} first")
            inner = inner.env
        return super().wrap(env, severity, onset)

    def sense(self, at: DegradationWrapper, observation: Any, info: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Write the beams anew."""
        ranges, result = self.misread(at, info["ranges"]), observation.copy()
        result[-BEAMS:] = np.clip(NEAR / ranges, 0.0, 1.0)
        return result, {**info, "ranges": ranges}

    def misread(self, at: DegradationWrapper, ranges: np.ndarray) -> np.ndarray:
        """Return what the lidar reads [18] where ``ranges`` is what comes from within; that is not written."""
        raise NotImplementedError

    def incompatibility(self, env: Env, *, spiking: bool) -> str | None:
        """Refuse environments without 18 ranges.

        Judged without a reset: the environment itself must be one of ours, whose ``fleet`` holds the ranges, and no
        wrapper around it may have changed what the last 18 entries lie between.
        """
        ranges = getattr(getattr(env.unwrapped, "fleet", None), "ranges", None)
        if getattr(ranges, "shape", ())[-1:] != (BEAMS,):
            return f"needs a lidar of {BEAMS} beams, such as homeo_rl/Navigation-v0 has, this environment has none"
        space = env.observation_space
        reason = require_box(space, "observation")
        if reason is None and isinstance(space, gym.spaces.Box):
            low, high = space.low[-BEAMS:], space.high[-BEAMS:]
            if len(low) < BEAMS or low.any() or (high != 1.0).any():
                reason = f"needs {BEAMS} beams between 0 and 1 as the last entries of the observation, got {space}"
        return reason


def _observes(wrapper: DegradationWrapper) -> bool:
    """Return whether a degradation changes the observation by its own or its wrapper's ``observe``."""
    kinds = (type(wrapper), DegradationWrapper), (type(wrapper.degradation), EnvDegradation)
    return any(kind.observe is not base.observe for kind, base in kinds)


@dataclass(frozen=True, kw_only=True)
class LidarStuck(LidarDegradation):
    """The first round(severity * len(beams)) of ``beams`` (0 leftmost, 17 rightmost) always read ``range`` metres."""

    kind: ClassVar[str] = "lidar-stuck"
    beams: tuple[int, ...] = (2, 8, 14)
    range: float = 0.2

    def __post_init__(self) -> None:
        if not self.beams or len(set(self.beams)) < len(self.beams) or not set(self.beams) <= {*range(BEAMS)}:
            raise ValueError(f"beams: expected different numbers from 0 to {BEAMS - 1}, got {list(self.beams)}")
        if not 0.0 < self.range < math.inf:
            raise ValueError(f"range: expected a number of metres > 0, got {self.range}")

    def misread(self, at: DegradationWrapper, ranges: np.ndarray) -> np.ndarray:
        """Fix the first beams of the list."""
        result = np.array(ranges)
        result[list(self.beams[: round(at.severity * len(self.beams))])] = self.range
        return result


@dataclass(frozen=True, kw_only=True)
class LidarGaussian(LidarDegradation):
    """Every range r reads clip(r + N(0, severity * std), low, high) at every step; severity scales the noise only."""

    kind: ClassVar[str] = "lidar-gaussian"
    std: float = 1.0
    low: float = 0.2
    high: float = 6.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.std < math.inf:
            raise ValueError(f"std: expected a number of metres >= 0, got {self.std}")
        if not 0.0 < self.low <= self.high < math.inf:
            raise ValueError(f"low, high: expected 0 < low <= high in metres, got {self.low}, {self.high}")

    def misread(self, at: DegradationWrapper, ranges: np.ndarray) -> np.ndarray:
        """Add the noise."""
        return np.clip(ranges + at.rng.normal(0.0, at.severity * self.std, BEAMS), self.low, self.high)
