"""Mealy machines as circuits: a gate for each transition (T7), or the state's number in binary."""

import math
from collections.abc import Sequence

import numpy as np

from homeo_rl.compiler.circuit import Builder, Form, combine
from homeo_rl.compiler.gate_plan import Cell, rows
from homeo_rl.compiler.objective import Objective
from homeo_rl.compiler.tables import best, place


def minimise(follow: np.ndarray, emit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the smallest machine that does the same, for ``follow`` [S, X] and ``emit`` [S, X]; state 0 stays
    first."""
    reached, stack = {0}, [0]
    while stack:
        for q in follow[stack.pop()]:
            if int(q) not in reached:
                reached.add(int(q))
                stack.append(int(q))
    kept = sorted(reached)
    number = np.zeros(len(follow), dtype=np.int64)
    number[kept] = np.arange(len(kept))
    follow, emit = number[follow[kept]], emit[kept]
    _, block = np.unique(emit, axis=0, return_inverse=True)
    while True:  # Moore's refinement
        _, finer = np.unique(np.c_[block, block[follow]], axis=0, return_inverse=True)
        if finer.max() == block.max():
            break
        block = finer
    _, first = np.unique(block, return_index=True)
    order = first[np.argsort(first)]  # blocks by their first state
    name = np.zeros(len(first), dtype=np.int64)
    name[block[order]] = np.arange(len(order))
    return name[block[follow[order]]], emit[order]


def one_hot(builder: Builder, follow: np.ndarray, emit: np.ndarray, lines: Sequence[Form]) -> Form:
    """Return a machine's signal (T7): a gate a transition, fired by where it begins and by the symbol.

    The start is silence.

    Args:
        follow: the next state [S, X] of every state and symbol.
        emit: whether it spikes then [S, X].
        lines: the symbol's bits.
    """
    states = len(follow)
    edges: list[tuple[int, int, bool, Cell]] = []
    for q in range(states):
        for target, spikes in sorted({(int(t), bool(e)) for t, e in zip(follow[q], emit[q], strict=True)}):
            if target or spikes:
                on = (follow[q] == target) & (emit[q] == spikes)
                edges += [(q, target, spikes, cell) for cell in _disjoint(on, len(lines))]
    numbers = [builder.reserve() for _ in edges]
    into: list[list[tuple[Form, int]]] = [[] for _ in range(states)]
    for (_, target, _, _), (_, signal) in zip(edges, numbers, strict=True):
        into[target].append((signal.delay(1), 1))
    awake = combine([part for parts in into[1:] for part in parts])
    for (q, target, _, cell), (number, _) in zip(edges, numbers, strict=True):
        parts = list(zip(lines, cell.variables, strict=True))
        z = rows(len(lines)) @ np.array(cell.variables) + cell.bias
        most = max(int(z.max()), 1)
        where, bias = ((awake, -most), 0) if q == 0 else ((combine(into[q]), most), -most)
        drive = combine([*parts, where], cell.bias + bias)
        builder.define(number, drive, low=int(z.min()) - most, high=most, note=f"{q} > {target}")
    return combine([(signal, 1) for (_, _, spikes, _), (_, signal) in zip(edges, numbers, strict=True) if spikes])


def width_of(states: int) -> int:
    """Return the bits of a state's number."""
    return max(1, math.ceil(math.log2(states)))


def binary(builder: Builder, follow: np.ndarray, emit: np.ndarray, lines: Sequence[Form], objective: Objective) -> Form:
    """Return a machine's signal, each bit of its state a truth table over the state before and the symbol.

    A loop through such a table is as deep as the table's plan, so the target must run deep loops. The machine is given
    as for `one_hot`.
    """
    width = width_of(len(follow))
    numbers = [builder.reserve() for _ in range(width)]
    taps = [*(signal.delay(1) for _, signal in numbers), *lines]
    state, symbol = np.divmod(np.arange(2 ** len(taps)), 2**width)[::-1]
    state = np.where(state < len(follow), state, 0)  # states that are never reached
    for i, (number, _) in enumerate(numbers):
        signal = place(builder, (follow[state, symbol] >> i & 1).astype(bool), taps, objective)
        builder.define(number, signal, low=0, high=1, note=f"bit {i}")
    return place(builder, emit[state, symbol], taps, objective)


def _disjoint(on: np.ndarray, n: int) -> list[Cell]:
    """Return gates over n lines that exclude each other and together fire for the symbols ``on`` [2^n]."""
    if on.all():
        return [Cell((0,) * n, (), 1)]
    _, plan, kept = best(on, banked=True)
    if len(plan) == 1:
        w = [0] * n
        for k, weight in zip(kept, plan[0].variables, strict=True):
            w[k] = weight
        return [Cell(tuple(w), (), plan[0].bias)]
    cells, left = [], on.copy()
    z = 2 * rows(n) - 1
    ternary = np.array(list(np.ndindex(*(3,) * n))) - 1
    order = np.abs(ternary).sum(1).argsort(kind="stable")
    for cube in ternary[order]:
        inside = (z @ cube) == np.abs(cube).sum()
        if inside.any() and not np.any(inside & ~left):
            cells.append(Cell(tuple(cube.tolist()), (), 1 - int((cube > 0).sum())))
            left &= ~inside
    return cells
