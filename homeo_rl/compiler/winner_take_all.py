"""Which of many: the one with most spikes, the nearest template. A comparator for each pair, then who beats all."""

from collections.abc import Callable, Sequence

import numpy as np

from homeo_rl.compiler.circuit import Builder, Form


def winner(builder: Builder, parts: Sequence[Form], place: int, window: int) -> Form:
    """Return the signal that part ``place``, from 0 on, had most spikes in the last ``window`` steps: comparators of
    counts.

    Equal counts that are not 0 go to the earlier part.
    """
    counts = [[part.delay(k) for k in range(window)] for part in parts]

    def beats(i: int, j: int) -> Form:
        # For i < j: count i >= count j and not 0, which is (window + 1) count i > window count j.
        up, down = (window + 1, window) if i < j and window > 1 else (1, 0) if i < j else (1, 1)
        terms = [(p, up) for p in counts[i]] + [(p, -down) for p in counts[j]]
        return builder.gate(terms, low=-down * window, high=up * window, note=f"{i} > {j}")

    def alone(beaten: Sequence[Form]) -> Form:
        terms = [(p, 1) for p in counts[place]] + [(rival, -window) for rival in beaten]
        return builder.gate(terms, low=-window * len(beaten), high=window, note=f"winner {place}")

    return _best_of(builder, len(parts), place, beats, alone)


def nearest(builder: Builder, taps: Sequence[Form], place: int, templates: Sequence[Sequence[bool]]) -> Form:
    """Return the signal that template ``place`` of all ``templates`` [k][n] is nearest to the ``taps`` [n] (T9).

    Of two templates only the taps that differ tell which is nearer; of equal distances the earlier template wins.
    """
    bits = np.array(templates, dtype=np.int64)

    def beats(i: int, j: int) -> Form:
        # distance j - distance i = 2 sum (t_i - t_j) x + sum t_j - sum t_i, and >= 0 or >= 1 is asked.
        weights = bits[i] - bits[j]
        bias = -(-(int(bits[i].sum() - bits[j].sum()) + (0 if i < j else 1)) // 2)
        low, high = int(weights[weights < 0].sum()), int(weights[weights > 0].sum())
        terms = [(tap, int(w)) for tap, w in zip(taps, weights, strict=True)]
        return builder.gate(terms, 1 - bias, low=low + 1 - bias, high=high + 1 - bias, note=f"{i} > {j}")

    def alone(beaten: Sequence[Form]) -> Form:
        terms = [(rival, -1) for rival in beaten]
        return builder.gate(terms, 1, low=1 - len(beaten), high=1, note=f"nearest {place}")

    return _best_of(builder, len(templates), place, beats, alone)


def _best_of(
    builder: Builder,
    count: int,
    place: int,
    beats: Callable[[int, int], Form],
    alone: Callable[[Sequence[Form]], Form],
) -> Form:
    """Return the signal that ``place`` beats all others.

    Every pair has one comparator, whose silence says that the other one of the pair is ahead. Around a circle each has
    the comparators with the half that follows it; one that has a single comparator needs no clock. ``alone`` builds the
    signal of one that has none, from the comparators that must be silent.
    """
    spiking: list[Form] = []
    silent: list[Form] = []
    for other in range(count):
        if other == place:
            continue
        ahead = (other - place) % count
        if 2 * ahead < count or (2 * ahead == count and place < other):
            spiking.append(beats(place, other))
        else:
            silent.append(beats(other, place))
    if not spiking:
        return alone(silent)
    if len(spiking) == 1 and not silent:
        return spiking[0]
    return builder.gate(
        [(s, 1) for s in spiking] + [(s, -1) for s in silent], 1 - len(spiking),
        low=1 - len(spiking) - len(silent), high=1, note=f"{place} ahead",
    )  # fmt: skip
