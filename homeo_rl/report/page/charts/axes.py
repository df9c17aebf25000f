"""Scales of charts: map from values to pixels, round ticks, and their labels."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

from matplotlib.ticker import MaxNLocator

MINUS = "\u2212"


class Scale:
    """A linear or logarithmic map from values to pixels."""

    def __init__(self, low: float, high: float, first: float, last: float, *, log: bool = False) -> None:
        self.log = log
        self.low, self.high = self._of(low), self._of(high)
        if self.high <= self.low:
            self.low, self.high = self.low - 0.5, self.high + 0.5
        self.first, self.last = first, last

    def _of(self, value: float) -> float:
        return math.log10(value) if self.log else value

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        share = (self._of(value) - self.low) / (self.high - self.low)
        return round(self.first + share * (self.last - self.first), 1)

    def ticks(self, most: int, *, integer: bool = False) -> list[float]:
        """Return round values inside the range, about ``most`` of them."""
        if self.log:
            powers = range(math.floor(self.low), math.ceil(self.high) + 1)
            factors = (1,) if self.high - self.low > 1.5 else (1, 2, 5)
            decades = [factor * 10.0**power for power in powers for factor in factors]
            return [value for value in decades if self.low - 1e-9 <= math.log10(value) <= self.high + 1e-9]
        values = MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10], integer=integer).tick_values(self.low, self.high)
        near = 1e-9 * (self.high - self.low)
        return [float(v) + 0.0 for v in values if self.low - near <= v <= self.high + near]


def span(values: Iterable[float], margin: float, *, log: bool = False) -> tuple[float, float]:
    """Return the range of values, wider at both ends by a share ``margin``; 0 to 1 without values."""
    numbers = [float(value) for value in values]
    if not numbers:
        return (1.0, 10.0) if log else (0.0, 1.0)
    low, high = min(numbers), max(numbers)
    if log:
        more = 10.0 ** (margin * max(math.log10(high / low), 0.5))
        return low / more, high * more
    room = margin * (high - low) if high > low else 0.5 * max(abs(high), 1e-9)
    return low - room, high + room


def labels(values: Sequence[float], *, percent: bool = False) -> list[str]:
    """Return short labels of ticks, all with the same number of decimals."""
    if not values:
        return []
    if percent:
        return [f"{100 * value:g} %" for value in values]
    largest = max(abs(value) for value in values)
    if largest >= 10_000 or 0 < largest < 1e-4:
        power = 3 * math.floor(math.log10(largest) / 3)
        unit = {3: "k", 6: "M", 9: "G"}.get(power, f"e{power}")
        return ["0" if value == 0 else f"{value / 10.0**power:g}{unit}" for value in values]
    apart = min((abs(b - a) for a, b in pairwise(values)), default=largest or 1.0)
    decimals = next((d for d in range(6) if abs(apart * 10**d - round(apart * 10**d)) < 1e-6), 6)
    return [f"{value:,.{decimals}f}".replace("-", MINUS) for value in values]
