"""How many levels a layer needs: the AL metric of its activity (PASCAL), a guide for a choice that is measured."""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats
from torch import Tensor

from homeo_rl.errors import UsageError
from homeo_rl.snn.spike_accumulation import Neuron, steps_of

BINS = 5

CANDIDATES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32)  # levels that are tried
RADIX_CANDIDATES = tuple(2**bits - 1 for bits in range(1, 9))  # the same of radix neurons
EXHAUSTIVE = 2000  # up to so many combinations within the budget all are measured


class Choice(NamedTuple):
    """Levels that were chosen, what was measured with them, and the same of the best uniform choice."""

    levels: tuple[int, ...]
    error: float
    uniform: tuple[int, ...]
    uniform_error: float
    measured: int


def choose_levels(
    error: Callable[[tuple[int, ...]], float], activity: Sequence[float], budget: int, *, neuron: Neuron = "pascal"
) -> Choice:
    """Return the levels of a chain of layers with the least measured error within ``budget`` time steps a decision.

    The error decides; the AL metric only says where to look first. With few layers every combination of `CANDIDATES` is
    measured. With many, the search starts at the best uniform choice and, as long as it helps, gives one layer more
    levels, those of low AL first, and takes some from others where the budget asks for it, those of high AL first.

    Args:
        error: measures a choice, such as the root mean square action error on visited states.
        activity: AL of every layer (`activity_level`).
        neuron: as for `homeo_rl.snn.spike_accumulation.steps_of`.

    Raises UsageError: even one level a layer takes more steps.
    """
    count = len(activity)

    def fits(levels: tuple[int, ...]) -> bool:
        return sum(steps_of(levels, neuron)) <= budget

    known: dict[tuple[int, ...], float] = {}

    def measure(levels: tuple[int, ...]) -> float:
        if levels not in known:
            known[levels] = error(levels)
        return known[levels]

    tried = RADIX_CANDIDATES if neuron == "radix" else CANDIDATES
    uniform = [choice for level in tried if fits(choice := (level,) * count)]
    if not uniform:
        least = sum(steps_of([1] * count, neuron))
        raise UsageError(f"--budget-steps: expected at least {least} for {count} layers, got {budget}")
    best_uniform = min(uniform, key=measure)
    every = len(tried) ** count
    if every <= EXHAUSTIVE:
        best = min((c for c in itertools.product(tried, repeat=count) if fits(c)), key=measure)
    else:
        best = _climb(best_uniform, tried, measure, fits, np.argsort(activity).tolist())
    return Choice(best, measure(best), best_uniform, measure(best_uniform), len(known))


def _climb(
    start: tuple[int, ...],
    tried: tuple[int, ...],
    measure: Callable[[tuple[int, ...]], float],
    fits: Callable[[tuple[int, ...]], bool],
    order: list[int],
) -> tuple[int, ...]:
    """Exchange levels between layers, ``order`` from low to high AL, as long as the error falls."""
    best = start
    improved = True
    while improved:
        improved = False
        for gains in order:
            for pays in [gains, *reversed(order)]:
                exchange = _exchange(best, tried, gains, pays)
                if exchange is not None and fits(exchange) and measure(exchange) < measure(best):
                    best, improved = exchange, True
    return best


def _exchange(levels: tuple[int, ...], tried: tuple[int, ...], gains: int, pays: int) -> tuple[int, ...] | None:
    """Return ``levels`` with the next candidate for one layer and the one before for another (none if the same)."""
    places = [tried.index(level) for level in levels]
    places[gains] += 1
    if pays != gains:
        places[pays] -= 1
    if places[gains] >= len(tried) or min(places) < 0:
        return None
    return tuple(tried[place] for place in places)


def activity_level(outputs: Tensor | np.ndarray, theta: float) -> float:
    """Return AL of a layer's QCFS outputs (any shape), which lie in [0, theta].

    With f the counts of K = 5 equal bins, S how many of them reach the mean, g and k skewness and excess kurtosis of
    f: A = 1 - (S - 1) / (K - 1), b = (g^2 + 1)(k + 3 K^2 / ((K - 2)(K - 3))), AL = A b (Ramesh and Srinivasan, TMLR
    2025). High values, at most 41.4, are activity of one kind, for which few levels do; a spread-out one gives 9.5.

    Raises ValueError: there are no outputs.
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
