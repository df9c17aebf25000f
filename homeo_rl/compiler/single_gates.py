"""Plans around one weighted sum of the variables: one gate, or one that others correct.

- `single`: one gate, its weights by an integer program;
- `intervals`: a weighted sum whose sign changes are few (symmetric functions, lexicographic order and what lies
  between): one gate for each fall, and the output;
- `two_gates`: the first corrects the second (exhaustive for n <= 4).
"""

import itertools
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from homeo_rl.compiler.gate_plan import Bits, Cell, Plan, Threshold, cost, rows


def _signs(bits: Bits, n: int) -> list[int] | None:
    """Return +1 or -1 for each variable that the function only rises or only falls with, None if one does both."""
    cube, signs = bits.reshape((2,) * n), []
    for i in range(n):
        off, on = cube.take(0, n - 1 - i), cube.take(1, n - 1 - i)
        if not np.any(off & ~on):
            signs.append(1)
        elif not np.any(on & ~off):
            signs.append(-1)
        else:
            return None
    return signs


def single(bits: Bits, n: int) -> Iterator[Plan]:
    """Yield plans of one gate, of least weights each: without clock, with it, then both with no level above 1.

    ``bits``: the table [2^n]; every variable matters. Where it is no threshold function, there is no plan.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp  # half a second that only a synthesis needs

    signs = _signs(bits, n)
    if signs is None:
        return
    sign = np.array(signs)
    flips = int(sum(1 << i for i, s in enumerate(signs) if s < 0))
    rising = bits[np.arange(2**n) ^ flips].reshape((2,) * n)  # y_i = z_i, or 1 - z_i where it falls with z_i
    least, most = rising.copy(), ~rising
    for axis in range(n):
        off, on = (rising.take(k, axis) for k in (0, 1))
        drop = np.stack([np.zeros_like(off), off], axis)  # a true point with a true point below it says nothing new
        least &= ~drop
        most &= ~np.stack([~on, np.zeros_like(on)], axis)
    points = rows(n)
    true, false = points[least.ravel()], points[most.ravel()]
    falling = (sign < 0).astype(float)
    for clock, exact in ((False, False), (True, False), (False, True), (True, True)):
        # Variables: weights of y (>= 1: all matter), then the bias b of D = w y + b.
        lines = [
            LinearConstraint(np.c_[true, np.ones(len(true))], 1, np.inf),
            LinearConstraint(np.c_[false, np.ones(len(false))], -np.inf, 0),
        ]
        if not clock:  # in the variables themselves the bias is b + sum of the falling weights
            lines.append(LinearConstraint(np.r_[falling, 1.0][None], 0, 0))
        if exact:
            lines.append(LinearConstraint(np.ones((1, n + 1)), -np.inf, 1))
        result = milp(
            np.r_[np.ones(n), 0.0], constraints=lines, integrality=np.ones(n + 1, dtype=np.int64),
            bounds=Bounds(np.r_[np.ones(n), -np.inf], np.inf), options={"time_limit": 10.0},
        )  # fmt: skip
        if result.x is not None:
            w = np.rint(result.x[:n]).astype(int)
            bias = int(np.rint(result.x[n])) + int(w[sign < 0].sum())
            yield (Cell(tuple((w * sign).tolist()), (), bias),)


@lru_cache(maxsize=16)
def _directions(n: int) -> np.ndarray:
    """Weight vectors [V, n] that intervals are sought along."""
    if n <= 5:
        some = np.array(list(itertools.product((-4, -3, -2, -1, 1, 2, 3, 4), repeat=n)))
        coprime: np.ndarray = some[np.gcd.reduce(some, axis=1) == 1]
        return coprime
    flips = 1 - 2 * rows(n) if n <= 8 else np.vstack([np.ones(n, dtype=int), -np.ones(n, dtype=int)])
    powers = 2 ** np.arange(n)
    orders = list(itertools.permutations(range(n))) if n <= 6 else [tuple(range(n)), tuple(range(n))[::-1]]
    lexical = np.array([powers[list(order)] for order in orders])
    signs = flips if n <= 6 else flips[:1]
    return np.vstack([flips, (lexical[:, None] * signs).reshape(-1, n)])


def intervals(bits: Bits, n: int) -> Iterator[Plan]:
    """Yield a plan along a sum Z with which the function rises and falls seldom, if there is such a sum.

    D is Z, shifted so that the first rise lies at 1; the gate of each fall takes from it until the next rise does.

    ``bits``: the table [2^n].
    """
    directions = _directions(n)
    sums = directions @ rows(n).T
    order = sums.argsort(1, kind="stable")
    ranked, ones = np.take_along_axis(sums, order, 1), bits[order]
    differs = ones[:, 1:] != ones[:, :-1]
    sound = ~np.any(differs & (ranked[:, 1:] == ranked[:, :-1]), axis=1)
    if not sound.any():
        return
    falls = (differs & ones[:, :-1]).sum(1)
    size = np.abs(directions).sum(1)
    v = min(np.flatnonzero(sound), key=lambda v: (falls[v], size[v]))
    if falls[v] > 2**n // 4 + 2:
        return
    levels: dict[int, bool] = dict(zip(ranked[v].tolist(), ones[v].tolist(), strict=True))
    w = tuple(directions[v].tolist())
    cells: list[Cell] = []
    takes: list[int] = []
    rise: int | None = None
    bias, on, reach = 0, False, max(levels)
    for z, one in levels.items():
        if one and not on:
            if rise is None:
                bias = 1 - z
            else:
                takes[-1] = z - rise
            rise = z
        elif on and not one:
            cells.append(Cell(w, (), 1 - z))
            takes.append(reach - (rise if rise is not None else z) + 1)  # enough for good, unless it rises again
        on = one
    yield (*cells, Cell(w, tuple((i, -take) for i, take in enumerate(takes)), bias))


@lru_cache(maxsize=4)
def _threshold_functions(n: int) -> tuple[np.ndarray, list[Threshold]]:
    """All threshold functions of n <= 4 variables as bit masks, with weights and bias."""
    result: dict[int, Threshold] = {}
    span = range(-2, 3) if n <= 3 else range(-3, 4)
    powers = 1 << np.arange(2**n, dtype=np.int64)
    for w in sorted(itertools.product(span, repeat=n), key=lambda w: (sum(x != 0 for x in w), sum(map(abs, w)))):
        z = rows(n) @ np.array(w)
        for bias in range(1 - int(z.max()), 2 - int(z.min())):
            mask = int(((z + bias >= 1) * powers).sum())
            if mask not in result or (
                bias == 0 and result[mask][1] != 0 and sum(map(bool, w)) <= sum(map(bool, result[mask][0]))
            ):
                result[mask] = (w, bias)
    return np.array(list(result)), list(result.values())


@lru_cache(maxsize=4)
def _list_nested_pairs(n: int) -> tuple[np.ndarray, list[tuple[tuple[int, ...], int, int]]]:
    """Pairs of threshold functions [P, 2] of the same weights, with weights, first bias and second."""
    result: dict[tuple[int, int], tuple[tuple[int, ...], int, int]] = {}
    span = range(-2, 3) if n <= 3 else range(-3, 4)
    powers = 1 << np.arange(2**n, dtype=np.int64)
    for w in sorted(itertools.product(span, repeat=n), key=lambda w: (sum(x != 0 for x in w), sum(map(abs, w)))):
        z = rows(n) @ np.array(w)
        masks = {b: int(((z + b >= 1) * powers).sum()) for b in range(-int(z.max()), 2 - int(z.min()))}
        for first, second in itertools.permutations(masks, 2):
            result.setdefault((masks[first], masks[second]), (w, first, second))
    return np.array(list(result)), list(result.values())


def two_gates(bits: Bits, n: int) -> Iterator[Plan]:
    """Yield plans of two gates: the one with fewest weights, and the cheapest one where a level is a neuron.

    The output is [w z + b + c g >= 1]: right with b where the gate g is silent, and with b + c where it fires.

    Args:
        bits: the table [2^n].
        n: variables, at most 4: weights up to 3 are tried.
    """
    wanted = int((bits * (1 << np.arange(2**n, dtype=np.int64))).sum())
    pairs, outs = _list_nested_pairs(n)
    functions, gates = _threshold_functions(n)
    must, mustnt = wanted ^ pairs[:, 0], wanted ^ pairs[:, 1]
    offers: list[Plan] = []
    for p in np.flatnonzero((must & mustnt) == 0)[:4000]:
        fits = np.flatnonzero(((functions & must[p]) == must[p]) & ((functions & mustnt[p]) == 0))
        if len(fits):
            w, first, second = outs[p]
            gate = min(fits, key=lambda g: sum(map(bool, gates[g][0])) + bool(gates[g][1]))
            v, bias = gates[gate]
            offers.append((Cell(v, (), bias), Cell(w, ((0, second - first),), first)))
    if offers:
        yield min(offers, key=lambda plan: sum(cell.weights for cell in plan))
        yield min(offers, key=lambda plan: cost(plan, n, banked=True))
