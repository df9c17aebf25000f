"""Truth tables as small networks of threshold gates: a portfolio, of which the cheapest member is taken.

Every plan that `single_gates`, `covers` and `splits` offer is checked against its table before it is chosen.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

from homeo_rl.compiler.block_splits import pack, split
from homeo_rl.compiler.circuit import ALWAYS, NEVER, Builder, Form
from homeo_rl.compiler.gate_plan import Bits, Cell, Plan, cost, drives, rows
from homeo_rl.compiler.objective import Objective
from homeo_rl.compiler.single_gates import intervals, single, two_gates
from homeo_rl.compiler.threshold_covers import cube_cover, threshold_cover, union
from homeo_rl.errors import UsageError

MOST_TAPS = 20  # tables of more variables are refused: a generic one needs about 2^(n/2) gates (T3, T6)


def refuse_large(taps: int) -> None:
    """Refuse a table over too many taps before any work starts.

    Raises UsageError: there are more than `MOST_TAPS`; with the estimate of its size.
    """
    if taps > MOST_TAPS:
        a = (taps + 1) // 2
        neurons, weights = 2**a + 2 ** (taps - a), 2 ** (taps - 1)
        raise UsageError(
            f"table of {taps} taps: expected at most {MOST_TAPS}; a general function of {taps} taps takes up to "
            f"{neurons:.2g} neurons and {weights:.2g} weights (T3), and about 2^{taps} states to certify; "
            "compose it of smaller ones"
        )


def support(bits: Bits) -> list[int]:
    """Return the variables that matter."""
    n = len(bits).bit_length() - 1
    cube = bits.reshape((2,) * n)  # axis 0 is the last variable
    return [i for i in range(n) if not np.array_equal(cube.take(0, n - 1 - i), cube.take(1, n - 1 - i))]


def restrict(bits: Bits, kept: Sequence[int]) -> Bits:
    """Return the table over the variables ``kept``, the others 0."""
    return bits[rows(len(kept)) @ (1 << np.array(list(kept), dtype=np.int64))] if kept else bits[:1]


def offers(bits: Bits, n: int, *, banked: bool) -> Iterator[tuple[str, Plan]]:
    """Yield plans for a table by the names of their constructions.

    Args:
        bits: the table [2^n]; every variable matters.
        n: variables, at least 1.
        banked: offer others too where one gate does it, as that may have many levels.
    """
    one = list(single(bits, n))
    yield from (("gate", plan) for plan in one)
    if n == 1 or (one and not banked):
        return
    yield from (("interval", plan) for plan in intervals(bits, n))
    if n <= 4:
        yield from (("two gates", plan) for plan in two_gates(bits, n))
    for ones in (True, False):
        covered = bits if ones else ~bits
        if n <= 8:
            cubes = cube_cover(covered, n)
            yield "cover", union(cubes, n, negated=not ones)
            yield "cover", union(cubes, n, negated=not ones, absorb=False)
        if 3 <= n <= 8:
            yield "threshold cover", union(threshold_cover(covered, n), n, negated=not ones)
    if n >= 5:
        for b in range(max(2, n // 2 - 2), min(n - 2, n // 2 + 1) + 1):
            for first in {0, (n - b) // 2, n - b}:
                columns = list(range(first, first + b))
                yield "split", split(bits, n, columns, one_hot=False)
                yield "split", split(bits, n, columns, one_hot=True)
                if n - b >= 3:
                    yield "packed", pack(bits, n, columns)


@lru_cache(maxsize=4096)
def _best(entries: bytes, n: int, minimise: str, banked: bool) -> tuple[str, Plan]:
    bits = np.frombuffer(entries, dtype=bool)
    right = [
        (name, plan) for name, plan in offers(bits, n, banked=banked) if np.array_equal(drives(plan, n)[-1] >= 1, bits)
    ]

    def price(offer: tuple[str, Plan]) -> tuple[int, int]:
        neurons, weights = cost(offer[1], n, banked=banked)
        return (neurons, weights) if minimise == "neurons" else (weights, neurons)

    return min(right, key=price)


def best(bits: Bits, *, minimise: str = "neurons", banked: bool = False) -> tuple[str, Plan, list[int]]:
    """Return the cheapest plan for a table: its construction's name, the plan, and the variables it reads.

    Args:
        bits: the table [2^n].
        minimise: "neurons" or "weights", the other one where they are equal.
        banked: count a gate with M firing levels as M neurons.
    """
    kept = support(bits)
    small = np.ascontiguousarray(restrict(bits, kept))
    if not kept:
        return "constant", (Cell((), (), int(small[0])),), kept
    return (*_best(small.tobytes(), len(kept), minimise, banked), kept)


def place(builder: Builder, bits: Bits, signals: Sequence[Form], objective: Objective) -> Form:
    """Build the cheapest plan for a table [2^n] over ``signals`` [n] and return its signal."""
    name, plan, kept = best(bits, minimise=objective.minimise, banked=objective.banked)
    if not kept:
        return ALWAYS if plan[0].bias else NEVER
    if len(kept) == 1:
        signal = signals[kept[0]]
        return signal if plan[0].variables[0] > 0 else signal.negate()
    made: list[Form] = []
    for cell, drive in zip(plan, drives(plan, len(kept)), strict=True):
        parts = [(signals[k], w) for k, w in zip(kept, cell.variables, strict=True)]
        parts += [(made[j], w) for j, w in cell.gates]
        made.append(builder.gate(parts, cell.bias, low=int(drive.min()), high=int(drive.max()), note=name))
    return made[-1]
