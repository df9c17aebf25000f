"""Plans for any table, about 2^(n/2) gates large: the variables are split into those of columns and those of rows.

- `split` (T3): features of the columns' variables (monomials, or one gate a value), and a gate for each row;
- `pack` (T4): eight rows share three or four gates whose levels are ordered differently, and two of them must agree.
"""

from collections.abc import Sequence

import numpy as np

from homeo_rl.compiler.gate_plan import Bits, Cell, Plan, prune, rows
from homeo_rl.compiler.row_orders import FOUR_ORDERS, ROWS, orders_for


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


def split(bits: Bits, n: int, columns: Sequence[int], *, one_hot: bool) -> Plan:
    """Return the plan of T3: a row gate fires where the row is u and f(u, v) = 1; no gate's D is above 1.

    Args:
        bits: the table [2^n].
        columns: the variables v; the others are u.
        one_hot: take a gate for each value of v but one as features of v, instead of monomials.
    """
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
    return prune((*cells, Cell((0,) * n, tuple((place, 1) for place in ends), 0)))


def pack(bits: Bits, n: int, columns: Sequence[int]) -> Plan:
    """Return the plan of T4: of every eight rows, gates with levels ordered each in its own way; two must agree.

    A gate fires where its level for the column lies above the row's place in its order, so a column gets the rows that
    at least two prefixes of the orders hold. Four orders serve every column; three where one was found that does.

    Args:
        bits: the table [2^n].
        columns: the variables of columns; at least three others.
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
    return prune((*cells, Cell((0,) * n, tuple((place, 1) for place in ends), -1)))
