"""Truth tables as small networks of threshold gates: a portfolio, of which the cheapest member is taken.

A function of n variables is a table [2^n] whose row number has variable i as bit i. A *plan* is a list of cells without
delays, the last one its output; each is a threshold gate over the variables and the cells before it. Constructions:

- one gate, its weights by an integer program;
- a weighted sum whose sign changes are few ("interval": symmetric functions, lexicographic order and what lies
between):
  one gate for each fall, and the output;
- two gates, the first corrects the second (exhaustive for n <= 4);
- the union of threshold gates or of cubes that cover the ones (or, negated, the zeros); the output is one of them;
- "split": columns (monomials of b variables) and a row gate for each value of the other a;
- "packed": eight rows share three or four gates whose levels are ordered differently, and two of them must agree.

Every plan is checked against its table before it is offered.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from homeo_rl.compiler.circuit import ALWAYS, NEVER, Builder, Form
from homeo_rl.compiler.orders import FOUR_ORDERS, ROWS, orders_for

MOST_TAPS = 20
"""Tables of more variables are refused: a generic one needs about 2^(n/2) gates (T3, T6)."""

Bits = np.ndarray
"""A truth table [2^n] of bool."""


@dataclass(frozen=True)
class Cell:
    """One gate of a plan: ``variables`` [n] and earlier ``gates`` (place, weight) with their weights, and the bias."""

    variables: tuple[int, ...]
    gates: tuple[tuple[int, int], ...]
    bias: int

    @property
    def weights(self) -> int:
        """Synapses, the clock's included."""
        return sum(w != 0 for w in self.variables) + len(self.gates) + (self.bias != 0)


Plan = tuple[Cell, ...]


@lru_cache(maxsize=32)
def rows(n: int) -> np.ndarray:
    """Return all assignments [2^n, n] of n variables, row by row of a table."""
    return (np.arange(2**n)[:, None] >> np.arange(n)) & 1


def drives(plan: Plan, n: int) -> list[np.ndarray]:
    """Return D [2^n] of every cell."""
    found: list[np.ndarray] = []
    for cell in plan:
        drive = rows(n) @ np.array(cell.variables, dtype=np.int64) + cell.bias
        for place, weight in cell.gates:
            drive = drive + weight * (found[place] >= 1)
        found.append(drive)
    return found


def cost(plan: Plan, n: int, *, banked: bool) -> tuple[int, int]:
    """Return neurons and weights; ``banked``: a gate with M firing levels takes M neurons (hard reset)."""
    neurons = weights = 0
    for cell, drive in zip(plan, drives(plan, n), strict=True):
        copies = max(int(drive.max()), 1) if banked else 1
        neurons += copies
        weights += copies * cell.weights
    return neurons, weights


def support(bits: Bits) -> list[int]:
    """Return the variables that matter."""
    n = len(bits).bit_length() - 1
    cube = bits.reshape((2,) * n)  # axis 0 is the last variable
    return [i for i in range(n) if not np.array_equal(cube.take(0, n - 1 - i), cube.take(1, n - 1 - i))]


def restricted(bits: Bits, kept: Sequence[int]) -> Bits:
    """Return the table over the variables ``kept``, the others 0."""
    return bits[rows(len(kept)) @ (1 << np.array(list(kept), dtype=np.int64))] if kept else bits[:1]


@lru_cache(maxsize=4096)
def _best(packed: bytes, n: int, minimise: str, banked: bool) -> tuple[str, Plan]:
    bits = np.frombuffer(packed, dtype=bool)
    offers = [(name, plan) for name, plan in _offers(bits, n, banked) if np.array_equal(drives(plan, n)[-1] >= 1, bits)]

    def price(offer: tuple[str, Plan]) -> tuple[int, int]:
        neurons, weights = cost(offer[1], n, banked=banked)
        return (neurons, weights) if minimise == "neurons" else (weights, neurons)

    return min(offers, key=price)


def best(bits: Bits, *, minimise: str = "neurons", banked: bool = False) -> tuple[str, Plan, list[int]]:
    """Return the cheapest plan for a table: its construction's name, the plan, and the variables it reads.

    Args:
        bits: the table [2^n].
        minimise: "neurons" or "weights", the other one where they are equal.
        banked: count a gate with M firing levels as M neurons.
    """
    kept = support(bits)
    small = np.ascontiguousarray(restricted(bits, kept))
    if not kept:
        return "constant", (Cell((), (), int(small[0])),), kept
    return (*_best(small.tobytes(), len(kept), minimise, banked), kept)


def place(
    builder: Builder,
    bits: Bits,
    signals: Sequence[Form],
    *,
    minimise: str,
    banked: bool,
    note: str = "",
) -> Form:
    """Build the cheapest plan for a table over ``signals`` [n] and return its signal."""
    name, plan, kept = best(bits, minimise=minimise, banked=banked)
    if not kept:
        return ALWAYS if plan[0].bias else NEVER
    if len(kept) == 1:
        signal = signals[kept[0]]
        return signal if plan[0].variables[0] > 0 else signal.negated()
    made: list[Form] = []
    for i, (cell, drive) in enumerate(zip(plan, drives(plan, len(kept)), strict=True)):
        parts = [(signals[k], w) for k, w in zip(kept, cell.variables, strict=True)]
        parts += [(made[j], w) for j, w in cell.gates]
        label = note if i == len(plan) - 1 else ""
        made.append(builder.gate(parts, cell.bias, low=int(drive.min()), high=int(drive.max()), note=label or name))
    return made[-1]


def _offers(bits: Bits, n: int, banked: bool) -> Iterator[tuple[str, Plan]]:
    one = list(_single(bits, n))
    yield from (("gate", plan) for plan in one)
    if n == 1 or (one and not banked):
        return
    yield from (("interval", plan) for plan in _intervals(bits, n))
    if n <= 4:
        yield from (("two gates", plan) for plan in _two_gates(bits, n))
    for ones in (True, False):
        if n <= 8:
            yield "cover", _union(_cube_cover(bits if ones else ~bits, n), n, negated=not ones)
            yield "cover", _union(_cube_cover(bits if ones else ~bits, n), n, negated=not ones, absorb=False)
        if 3 <= n <= 8:
            yield "threshold cover", _union(_threshold_cover(bits if ones else ~bits, n), n, negated=not ones)
    if n >= 5:
        for b in range(max(2, n // 2 - 2), min(n - 2, n // 2 + 1) + 1):
            for first in {0, (n - b) // 2, n - b}:
                columns = list(range(first, first + b))
                yield "split", _split(bits, n, columns, one_hot=False)
                yield "split", _split(bits, n, columns, one_hot=True)
                if n - b >= 3:
                    yield "packed", _packed(bits, n, columns)


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


def _single(bits: Bits, n: int) -> Iterator[Plan]:
    """One gate by an integer program: first without clock, then with it; then with no level above 1."""
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
        found = milp(
            np.r_[np.ones(n), 0.0], constraints=lines, integrality=np.ones(n + 1, dtype=np.int64),
            bounds=Bounds(np.r_[np.ones(n), -np.inf], np.inf), options={"time_limit": 10.0},
        )  # fmt: skip
        if found.x is not None:
            w = np.rint(found.x[:n]).astype(int)
            bias = int(np.rint(found.x[n])) + int(w[sign < 0].sum())
            yield (Cell(tuple((w * sign).tolist()), (), bias),)


@lru_cache(maxsize=16)
def _directions(n: int) -> np.ndarray:
    """Weight vectors [V, n] that intervals are sought along."""
    if n <= 5:
        some = np.array(list(itertools.product((-4, -3, -2, -1, 1, 2, 3, 4), repeat=n)))
        return some[np.gcd.reduce(some, axis=1) == 1]
    flips = 1 - 2 * rows(n) if n <= 8 else np.vstack([np.ones(n, dtype=int), -np.ones(n, dtype=int)])
    powers = 2 ** np.arange(n)
    orders = list(itertools.permutations(range(n))) if n <= 6 else [tuple(range(n)), tuple(range(n))[::-1]]
    lexical = np.array([powers[list(order)] for order in orders])
    signs = flips if n <= 6 else flips[:1]
    return np.vstack([flips, (lexical[:, None] * signs).reshape(-1, n)])


def _intervals(bits: Bits, n: int) -> Iterator[Plan]:
    """Sums Z along which the function rises and falls seldom: D = Z - its last rise, one gate for each fall."""
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
    for v in sorted(np.flatnonzero(sound), key=lambda v: (falls[v], size[v]))[:1]:
        if falls[v] > 2**n // 4 + 2:
            return
        levels = [
            (int(z), bool(one)) for z, one in dict(zip(ranked[v].tolist(), ones[v].tolist(), strict=True)).items()
        ]
        w = tuple(int(x) for x in directions[v])
        cells: list[Cell] = []
        takes: list[int] = []
        rise: int | None = None
        bias, on, reach = 0, False, levels[-1][0]
        for z, one in levels:
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
def _threshold_functions(n: int) -> tuple[np.ndarray, list[tuple[tuple[int, ...], int]]]:
    """All threshold functions of n <= 4 variables as bit masks, with weights and bias."""
    found: dict[int, tuple[tuple[int, ...], int]] = {}
    span = range(-2, 3) if n <= 3 else range(-3, 4)
    powers = 1 << np.arange(2**n, dtype=np.int64)
    for w in sorted(itertools.product(span, repeat=n), key=lambda w: (sum(x != 0 for x in w), sum(map(abs, w)))):
        z = rows(n) @ np.array(w)
        for bias in range(1 - int(z.max()), 2 - int(z.min())):
            mask = int(((z + bias >= 1) * powers).sum())
            if mask not in found or (
                bias == 0 and found[mask][1] != 0 and sum(map(bool, w)) <= sum(map(bool, found[mask][0]))
            ):
                found[mask] = (w, bias)
    return np.array(list(found)), list(found.values())


@lru_cache(maxsize=4)
def _nested_pairs(n: int) -> tuple[np.ndarray, list[tuple[tuple[int, ...], int, int]]]:
    """Pairs of threshold functions [P, 2] of the same weights, with weights, first bias and second."""
    found: dict[tuple[int, int], tuple[tuple[int, ...], int, int]] = {}
    span = range(-2, 3) if n <= 3 else range(-3, 4)
    powers = 1 << np.arange(2**n, dtype=np.int64)
    for w in sorted(itertools.product(span, repeat=n), key=lambda w: (sum(x != 0 for x in w), sum(map(abs, w)))):
        z = rows(n) @ np.array(w)
        masks = {b: int(((z + b >= 1) * powers).sum()) for b in range(-int(z.max()), 2 - int(z.min()))}
        for first, second in itertools.permutations(masks, 2):
            found.setdefault((masks[first], masks[second]), (w, first, second))
    return np.array(list(found)), list(found.values())


def _two_gates(bits: Bits, n: int) -> Iterator[Plan]:
    """An output [w z + b + c g >= 1] that is right where the gate g = 0 with b, and where g = 1 with b + c."""
    wanted = int((bits * (1 << np.arange(2**n, dtype=np.int64))).sum())
    pairs, outs = _nested_pairs(n)
    functions, gates = _threshold_functions(n)
    must, mustnt = wanted ^ pairs[:, 0], wanted ^ pairs[:, 1]
    offers: list[Plan] = []
    for p in np.flatnonzero((must & mustnt) == 0)[:4000]:
        fits = np.flatnonzero(((functions & must[p]) == must[p]) & ((functions & mustnt[p]) == 0))
        if len(fits):
            w, first, second = outs[p]
            gate = min(fits, key=lambda g: sum(map(bool, gates[g][0])) + bool(gates[g][1]))
            offers.append((Cell(*_of(gates[gate])), Cell(w, ((0, second - first),), first)))
    if offers:
        yield min(offers, key=lambda plan: sum(cell.weights for cell in plan))
        yield min(offers, key=lambda plan: cost(plan, n, banked=True))


def _of(gate: tuple[tuple[int, ...], int]) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...], int]:
    return gate[0], (), gate[1]


def _cube_cover(bits: Bits, n: int) -> list[tuple[tuple[int, ...], int]]:
    """Return cubes (as gates) that cover the ones: prime implicants, the fewest of them by an integer program."""
    if not bits.any():
        return []
    ternary = np.array(list(itertools.product((-1, 0, 1), repeat=n)))  # 0: the variable does not matter
    z = 2 * rows(n) - 1
    inside = (ternary @ z.T) == np.abs(ternary).sum(1)[:, None]  # [cubes, 2^n]
    good = ~np.any(inside & ~bits, axis=1)
    cubes, inside = ternary[good], inside[good]
    order = np.abs(cubes).sum(1).argsort(kind="stable")
    cubes, inside = cubes[order], inside[order]
    prime: list[int] = []
    for c in range(len(cubes)):  # larger cubes come first
        if not prime or not np.any((inside[prime] | ~inside[c]).all(1)):
            prime.append(c)
    cubes, inside = cubes[prime], inside[prime]
    literals = np.abs(cubes).sum(1)
    if n <= 6:
        found = milp(
            1.0 + literals / 1000.0, integrality=np.ones(len(cubes), dtype=np.int64), bounds=Bounds(0, 1),
            constraints=LinearConstraint(inside[:, bits].T.astype(float), 1, np.inf), options={"time_limit": 5.0},
        )  # fmt: skip
        chosen = np.flatnonzero(found.x > 0.5).tolist() if found.x is not None else []
    else:
        chosen = []
    if not chosen:
        left = bits.copy()
        while left.any():
            pick = int((inside & left).sum(1).argmax())
            chosen.append(pick)
            left &= ~inside[pick]
    return [(tuple(cubes[c].tolist()), 1 - int((cubes[c] > 0).sum())) for c in chosen]


def _threshold_cover(bits: Bits, n: int) -> list[tuple[tuple[int, ...], int]]:
    """Return threshold gates that fire at no zero and together at every one, by a seeded local search.

    Each gate is the direction along which most of the ones that are left lie above every zero.
    """
    rng = np.random.default_rng(0)
    points = rows(n)
    left, gates = bits.copy(), list[tuple[tuple[int, ...], int]]()
    zeros = ~bits
    if not zeros.any():
        return [((0,) * n, 1)] if bits.any() else []
    span, tries, rounds = 7, 48, 40
    while left.any():

        def worth(w: np.ndarray) -> np.ndarray:
            z = w @ points.T
            return ((z > z[:, zeros].max(1, keepdims=True)) & left).sum(1)  # noqa: B023  # used in this turn only

        seeds = 2 * points[rng.choice(np.flatnonzero(left), min(tries, int(left.sum())), replace=False)] - 1
        best = seeds.astype(np.int64)
        score = worth(best)
        for _ in range(rounds):
            moves = np.repeat(best, 8, axis=0)
            where = rng.integers(n, size=(len(moves), 2))
            change = rng.integers(-2, 3, size=(len(moves), 2))
            change[rng.random(len(moves)) < 0.5, 1] = 0
            for k in range(2):
                moves[np.arange(len(moves)), where[:, k]] += change[:, k]
            np.clip(moves, -span, span, out=moves)
            found = worth(moves).reshape(len(best), 8)
            pick = found.argmax(1)
            better = found[np.arange(len(best)), pick] >= score
            best[better] = moves.reshape(len(best), 8, n)[np.arange(len(best)), pick][better]
            score = np.maximum(score, found[np.arange(len(best)), pick])
        top = np.flatnonzero(score == score.max())
        w = min((best[t] for t in top), key=lambda w: (int((w != 0).sum()), int(np.abs(w).sum())))
        z = points @ w
        floor = int(z[zeros].max())
        gates.append((tuple(w.tolist()), -floor))
        left &= z <= floor
    return gates


def _union(gates: list[tuple[tuple[int, ...], int]], n: int, *, negated: bool, absorb: bool = True) -> Plan:
    """Return the union of gates, or what none of them covers.

    The output is one of the gates with the others on top, so it costs no neuron of its own; negated, it is one whose
    sign is turned.
    """
    if not gates:
        return (Cell((0,) * n, (), int(negated)),)
    cells = [Cell(w, (), bias) for w, bias in gates]
    if not absorb:
        sign = -1 if negated else 1
        return (*cells, Cell((0,) * n, tuple((i, sign) for i in range(len(cells))), int(negated)))
    widest = max(range(len(cells)), key=lambda i: cells[i].weights)
    last = cells.pop(widest)
    z = rows(n) @ np.array(last.variables) + last.bias
    if negated:  # [not (z >= 1) and no other] = [1 - z - M others >= 1]
        turned, bias = tuple(-w for w in last.variables), 1 - last.bias
        others = tuple((i, -max(1 - int(z.min()), 1)) for i in range(len(cells)))
        return (*cells, Cell(turned, others, bias))
    others = tuple((i, max(1 - int(z.min()), 1)) for i in range(len(cells)))
    return (*cells, Cell(last.variables, others, last.bias))


def _monomials(values: np.ndarray) -> np.ndarray:
    """Return the coefficients [..., 2^b] of the multilinear polynomial with ``values`` [..., 2^b] (Moebius
    transform)."""
    out = np.array(values, dtype=np.int64)
    b = out.shape[-1].bit_length() - 1
    for i in range(b):
        parts = out.reshape(*out.shape[:-1], -1, 2, 2**i)
        parts[..., 1, :] -= parts[..., 0, :]
    return out


class _Basis:
    """Features of some variables, of which every function is a weighted sum: monomials, or one gate a value.

    ``silent`` is the value without a gate where there is one a value; None takes monomials.
    """

    def __init__(self, n: int, variables: Sequence[int], *, first: int, silent: int | None = None) -> None:
        self.n, self.variables, self.silent = n, list(variables), silent
        b, one_hot = len(self.variables), silent is not None
        sets = [s for s in range(2**b) if (s != silent if one_hot else s.bit_count() >= 2)]
        self.place = {s: first + i for i, s in enumerate(sets)}
        self.cells: list[Cell] = []
        for s in sets:
            w = [0] * n
            for i, variable in enumerate(self.variables):
                if s >> i & 1:
                    w[variable] = 1
                elif one_hot:
                    w[variable] = -1
            self.cells.append(Cell(tuple(w), (), 1 - s.bit_count()))

    def add(self, values: np.ndarray, w: list[int], gates: dict[int, int]) -> int:
        """Add the function with ``values`` [2^b] to a cell's weights and gates; return what its bias grows by."""
        if self.silent is not None:
            for s, place in self.place.items():
                if values[s] != values[self.silent]:
                    gates[place] = int(values[s] - values[self.silent])
            return int(values[self.silent])
        coefficients = _monomials(values)
        for i, variable in enumerate(self.variables):
            w[variable] += int(coefficients[1 << i])
        for s, place in self.place.items():
            if coefficients[s]:
                gates[place] = int(coefficients[s])
        return int(coefficients[0])


def _matrix(bits: Bits, n: int, columns: Sequence[int]) -> tuple[np.ndarray, list[int]]:
    """Return the table as [values of the other variables, values of the columns], and the other variables."""
    others = [i for i in range(n) if i not in columns]
    at_v = rows(len(columns)) @ (1 << np.array(columns))
    at_u = rows(len(others)) @ (1 << np.array(others))
    return bits[at_u[:, None] + at_v[None, :]], others


def _split(bits: Bits, n: int, columns: Sequence[int], *, one_hot: bool) -> Plan:
    """T3: a row gate fires where the row is u and f(u, v) = 1; no gate's D is above 1."""
    matrix, others = _matrix(bits, n, columns)
    # The column that the others differ from least; half of the entries on average, at most.
    silent = int((matrix[:, :, None] != matrix[:, None, :]).sum((0, 1)).argmin()) if one_hot else None
    basis = _Basis(n, columns, first=0, silent=silent)
    cells = list(basis.cells)
    ends = []
    for u, row in enumerate(matrix):
        if not row.any():
            continue
        w, gates = [0] * n, dict[int, int]()
        bias = basis.add(row.astype(np.int64), w, gates)
        for i, variable in enumerate(others):  # - Hamming distance of the others from u
            if u >> i & 1:
                w[variable] += 1
                bias -= 1
            else:
                w[variable] -= 1
        ends.append(len(cells))
        cells.append(Cell(tuple(w), tuple(sorted(gates.items())), bias))
    return _pruned((*cells, Cell((0,) * n, tuple((place, 1) for place in ends), 0)), n)


def _packed(bits: Bits, n: int, columns: Sequence[int]) -> Plan:
    """T4: of every eight rows, gates with levels ordered each in its own way; two of them must agree.

    A gate fires where its level for the column lies above the row's place in its order, so a column gets the rows that
    at least two prefixes of the orders hold. Four orders serve every column; three where one was found that does.
    """
    matrix, others = _matrix(bits, n, columns)
    inner, outer = others[:3], others[3:]
    basis = _Basis(n, columns, first=0)
    local = _Basis(n, inner, first=len(basis.cells))
    cells = [*basis.cells, *local.cells]
    ends = []
    for group in range(2 ** len(outer)):
        block = matrix[group * ROWS : (group + 1) * ROWS]
        patterns = (1 << np.arange(ROWS)) @ block  # [2^b], a byte of rows for each column
        if not patterns.any():
            continue
        orders, levels = orders_for(patterns) or FOUR_ORDERS.levels(patterns)
        for order, level in zip(orders, levels, strict=True):
            rank = np.argsort(order)
            w, gates = [0] * n, dict[int, int]()
            bias = basis.add(level, w, gates)
            bias += local.add(-rank, w, gates)
            for i, variable in enumerate(outer):
                if group >> i & 1:
                    w[variable] += ROWS
                    bias -= ROWS
                else:
                    w[variable] -= ROWS
            ends.append(len(cells))
            cells.append(Cell(tuple(w), tuple(sorted(gates.items())), bias))
    return _pruned((*cells, Cell((0,) * n, tuple((place, 1) for place in ends), -1)), n)


def _pruned(plan: Plan, n: int) -> Plan:
    """Return the plan without cells that no other reads, and without sources of weight 0."""
    wanted, stack = set[int](), [len(plan) - 1]
    while stack:
        i = stack.pop()
        if i not in wanted:
            wanted.add(i)
            stack += [place for place, _ in plan[i].gates]
    kept = sorted(wanted)
    to = {old: new for new, old in enumerate(kept)}
    return tuple(
        Cell(plan[i].variables, tuple((to[place], weight) for place, weight in plan[i].gates), plan[i].bias)
        for i in kept
    )
