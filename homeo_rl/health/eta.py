"""How long a training will take, from what its first seconds took: arithmetic alone."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

Point = tuple[int, float]  # environment steps done, and the time then (s)

_DRIFT = 0.1
"""What a training of hours may differ by from its first seconds: caches, other episodes, a machine that gets warm."""

_ALONE = (0.7, 1.5)  # a single window says how fast, not how steady

_PREDICTING = 3.0
"""Evaluations during a training go through Stable-Baselines3, one decision at a time: up to so many times slower."""


@dataclass(frozen=True)
class Pace:
    """Seconds an environment step: the mean over windows, and between the fastest and the slowest, a little wider."""

    seconds: float
    low: float
    high: float
    windows: int


@dataclass(frozen=True)
class Measured:
    """What was measured."""

    setup: float  # seconds before the first step
    collecting: Pace | None  # pace before learning starts; None where learning starts at once
    learning: Pace  # pace afterwards
    steps: int
    env_step: float  # seconds of a step of one environment
    decision: float
    episode: float  # steps of an episode, with random actions
    limit: int | None  # most steps of an episode, if there is a limit


@dataclass(frozen=True)
class Work:
    """What is to be done: environment steps, those of them before learning starts, and episodes of evaluations."""

    steps: int
    starts: int
    episodes: int


@dataclass(frozen=True)
class Eta:
    """Seconds, and what they may be between."""

    seconds: float
    low: float
    high: float

    @property
    def text(self) -> str:
        """The estimate for people."""
        return f"about {format_duration(self.seconds)} ({format_duration(self.low)} to {format_duration(self.high)})"


def eta(measured: Measured, work: Work) -> Eta:
    """Return how long the work will take.

    Evaluations count with episodes between those of random actions and the longest there can be. Checkpoints are not
    counted.
    """
    before = min(work.starts, work.steps) if measured.collecting is not None else 0
    waiting = measured.collecting or measured.learning
    step = measured.env_step + measured.decision
    shortest = work.episodes * step * min(measured.episode, measured.limit or measured.episode)
    longest = work.episodes * step * (measured.limit or measured.episode) * _PREDICTING
    values = [
        measured.setup
        + before * getattr(waiting, name)
        + (work.steps - before) * getattr(measured.learning, name)
        + judged
        for name, judged in (("seconds", (shortest + longest) / 2), ("low", shortest), ("high", longest))
    ]
    return Eta(*values)


def pace(windows: Sequence[float]) -> Pace | None:
    """Return the pace of windows, in seconds a step; None where there are none."""
    if not windows:
        return None
    mean = statistics.fmean(windows)
    if len(windows) == 1:
        return Pace(mean, mean * _ALONE[0], mean * _ALONE[1], 1)
    return Pace(mean, min(windows) * (1 - _DRIFT), max(windows) * (1 + _DRIFT), len(windows))


def stretches(points: Sequence[Point], least: int = 1) -> list[float]:
    """Return seconds a step between points that lie at least so many steps apart."""
    paces, begun = [], None
    for steps, when in points:
        if begun is None:
            begun = (steps, when)
        elif steps - begun[0] >= least:
            paces.append((when - begun[1]) / (steps - begun[0]))
            begun = (steps, when)
    return paces


def iterations(points: Sequence[Point], rollout: int) -> list[float]:
    """Return seconds a step of whole iterations of an on-policy algorithm, which acts first and learns then.

    Points seldom lie at the beginning of an iteration; how fast it acts tells when that was.

    There are several points an iteration, and ``rollout`` steps in it.
    """
    inside = [(a, b) for a, b in pairwise(points) if (a[0] - 1) // rollout == (b[0] - 1) // rollout]
    acting = sum(b[1] - a[1] for a, b in inside) / max(sum(b[0] - a[0] for a, b in inside), 1)
    begins: dict[int, float] = {}
    for steps, when in points:
        number = (steps - 1) // rollout
        begins.setdefault(number, when - (steps - number * rollout) * acting)
    return [(begins[n + 1] - begins[n]) / rollout for n in sorted(begins) if n + 1 in begins]


def format_duration(seconds: float) -> str:
    """Return a time for people."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"
