"""The scale of an environment's returns: from acting at random (0) to the best known return (1).

Normalised returns replace retention where the clean policy was not trained, or where returns are negative.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pydantic
import yaml

from homeo_rl.report.decimals import fixed, significant

TRAINED = 0.25  # a clean policy below this share of the way from random to the best known return counts as untrained

WIDEST = 1.0
"""A clean return is too uncertain a divisor if its 95 % interval is wider than this share of it (of its distance to
random, where that is known)."""


@pydantic.with_config(pydantic.ConfigDict(extra="forbid", allow_inf_nan=False))
@dataclass(frozen=True, kw_only=True)
class Baseline:
    """Ends of the scale of an environment's returns."""

    random: float  # mean return of uniformly drawn actions
    best: float  # best known return
    source: str

    def normalise(self, total: float) -> float:
        """Return a return on the scale from random (0) to best (1)."""
        return (total - self.random) / (self.best - self.random)

    def describe(self) -> str:
        """Return both ends as text."""
        return f"random {self.random:,g}, best {self.best:,g} ({self.source})"


@lru_cache(maxsize=1)
def _baselines() -> dict[str, Baseline]:
    data = yaml.safe_load((Path(__file__).parent / "baselines.yaml").read_text(encoding="utf-8"))
    return pydantic.TypeAdapter(dict[str, Baseline]).validate_python(data)


def baseline_of(env: str) -> Baseline | None:
    """Return the scale of an environment, or None."""
    return _baselines().get(env)


def doubt(mean: float, low: float, high: float, baseline: Baseline | None) -> str:
    """Return why a policy does not count as trained; "" where it does, or where that cannot be judged.

    ``mean``, ``low`` and ``high`` are those of its clean returns and of their 95 % interval; without a ``baseline``,
    returns that are not positive cannot be judged.
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
