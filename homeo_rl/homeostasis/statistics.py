"""Running moments of firing rates over clean decisions: what calibration stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor


@dataclass
class RateMoments:
    """Sums of rates and squared rates in float64, of all layers' neurons in a row.

    Sums are added in a fixed order by the caller, so the result does not depend on how many environments ran side by
    side.
    """

    decisions: int = 0
    sizes: list[int] = field(default_factory=list)
    first: np.ndarray = field(default_factory=lambda: np.zeros(0))
    second: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def add(self, rates: Sequence[Tensor | np.ndarray]) -> None:
        """Add one decision's rates, one array [N] a layer."""
        values = np.concatenate(rates, dtype=np.float64)
        if not self.sizes:
            self.sizes = [len(rate) for rate in rates]
            self.first, self.second = np.zeros_like(values), np.zeros_like(values)
        self.first += values
        self.second += values * values
        self.decisions += 1

    def merge(self, other: RateMoments) -> None:
        """Add another accumulator's sums."""
        if not self.sizes:
            self.sizes, self.first, self.second = other.sizes, other.first.copy(), other.second.copy()
        else:
            self.first += other.first
            self.second += other.second
        self.decisions += other.decisions

    def means(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return the mean rate and the mean squared rate of each layer."""
        if not self.decisions:
            raise ValueError("no decision was observed")
        edges = np.cumsum(self.sizes)[:-1]
        first, second = (np.split(total / self.decisions, edges) for total in (self.first, self.second))
        return first, second
