"""How many levels a layer needs: the AL metric of its activity (PASCAL), a guide for a choice that is measured."""

from __future__ import annotations

import numpy as np
from scipy import stats
from torch import Tensor

BINS = 5


def activity_level(outputs: Tensor | np.ndarray, theta: float) -> float:
    """Return AL of a layer's QCFS outputs (any shape), which lie in [0, theta].

    With f the counts of K = 5 equal bins, S how many of them reach the mean, g and k skewness and excess kurtosis of
    f: A = 1 - (S - 1) / (K - 1), b = (g^2 + 1)(k + 3 K^2 / ((K - 2)(K - 3))), AL = A b (Ramesh and Srinivasan, TMLR
    2025). High values, at most 41.4, are activity of one kind, for which few levels do; a spread-out one gives 9.5.

    Raises:
        ValueError: there are no outputs.
    """
    values = np.asarray(outputs, dtype=np.float64).ravel()
    if values.size == 0:
        raise ValueError("outputs: expected at least one")
    counts, _ = np.histogram(np.clip(values, 0.0, theta), bins=BINS, range=(0.0, theta))
    f = counts.astype(np.float64)
    if np.ptp(f) == 0:
        return 0.0  # as spread out as can be; skewness is not defined
    reached = int((f >= f.mean()).sum())
    spread = 1.0 - (reached - 1) / (BINS - 1)
    g, k = float(stats.skew(f)), float(stats.kurtosis(f))
    return spread * (g**2 + 1.0) * (k + 3.0 * BINS**2 / ((BINS - 2) * (BINS - 3)))
