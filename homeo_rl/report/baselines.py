"""Stated ends of an environment's scale of returns: acting at random, and the best return that is known.

A return divided by the clean return says nothing where the clean policy was not trained, and is not defined where
returns are negative. Between two stated ends it is: 0 is acting at random, 1 the best known return.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pydantic
import yaml

from homeo_rl.report.decimals import fixed, significant

TRAINED = 0.25
"""A clean policy below this share of the way from random to the best known return counts as untrained."""

WIDEST = 1.0
"""A clean return whose 95 % interval is wider than this share of it (of what it is above random, where that is known)
is too uncertain to divide by."""


@pydantic.with_config(pydantic.ConfigDict(extra="forbid", allow_inf_nan=False))
@dataclass(frozen=True, kw_only=True)
class Baseline:
    """Ends of the scale of one environment's returns.

    Attributes:
        random: mean return of uniformly drawn actions.
        best: best return that is known.
        source: where that is from.
    """

    random: float
    best: float
    source: str

    def normalise(self, total: float) -> float:
        """Return where a return lies between random (0) and best (1)."""
        return (total - self.random) / (self.best - self.random)

    def describe(self) -> str:
        """Return both ends in words."""
        return f"random {self.random:,g}, best {self.best:,g} ({self.source})"


@lru_cache(maxsize=1)
def _baselines() -> dict[str, Baseline]:
    data = yaml.safe_load((Path(__file__).parent / "baselines.yaml").read_text(encoding="utf-8"))
    return pydantic.TypeAdapter(dict[str, Baseline]).validate_python(data)


def baseline_of(env: str) -> Baseline | None:
    """Return the ends of an environment's scale; None where they are not known."""
    return _baselines().get(env)


def doubt(mean: float, low: float, high: float, baseline: Baseline | None) -> str:
    """Return why a policy does not count as trained; "" where it does, or nothing is known against it.

    Args:
        mean: of its clean returns.
        low: lower end of their 95 % interval.
        high: upper end.
        baseline: ends of the scale; without it, returns that are not positive cannot be judged.
    """
    clean, *ends = (significant(value, 4, ",") for value in (mean, low, high))
    if baseline is not None and (share := baseline.normalise(mean)) < TRAINED:
        return (
            f"the clean return {clean} is {fixed(share, 2)} of the way from random to the best known return, less than "
            f"{TRAINED:g} ({baseline.describe()})"
        )
    if baseline is None and mean <= 0.0:
        return ""
    if high - low > WIDEST * abs(mean - (0.0 if baseline is None else baseline.random)):
        return (
            f"the 95 % interval [{', '.join(ends)}] of the clean return is wider than the return itself; evaluate more "
            "--episodes, or train longer"
        )
    return ""
