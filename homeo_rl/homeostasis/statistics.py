"""Running moments of firing rates over clean decisions: what calibration stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor


@dataclass
class RateMoments:
    """Sums of rates and squared rates per layer and neuron, in float64.

    Sums are added in a fixed order by the caller, so the result does not depend on how many environments ran side by
    side.
    """

    decisions: int = 0
    first: list[np.ndarray] = field(default_factory=list)
    second: list[np.ndarray] = field(default_factory=list)

    def add(self, rates: Sequence[Tensor | np.ndarray]) -> None:
        """Add one decision's rates, one array [N] a layer."""
        values = [np.asarray(rate, dtype=np.float64) for rate in rates]
        if not self.first:
            self.first = [np.zeros_like(value) for value in values]
            self.second = [np.zeros_like(value) for value in values]
        for total, square, value in zip(self.first, self.second, values, strict=True):
            total += value
            square += value * value
        self.decisions += 1

    def merge(self, other: RateMoments) -> None:
        """Add another accumulator's sums."""
        if not self.first:
            self.first = [value.copy() for value in other.first]
            self.second = [value.copy() for value in other.second]
        else:
            for mine, theirs in zip(self.first + self.second, other.first + other.second, strict=True):
                mine += theirs
        self.decisions += other.decisions

    def means(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return the mean rate and the mean squared rate of each layer."""
        if not self.decisions:
            raise ValueError("no decision was observed")
        return [s / self.decisions for s in self.first], [s / self.decisions for s in self.second]
