"""Plans: small networks of threshold gates that compute a truth table.

A function of n variables is a table [2^n] whose row number has variable i as bit i. A *plan* is a list of cells without
delays, the last one its output; each is a threshold gate over the variables and the cells before it.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

Bits = np.ndarray  # a truth table [2^n] of bool


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

Threshold = tuple[tuple[int, ...], int]  # weights [n] and bias of a gate over the variables alone


@lru_cache(maxsize=32)
def rows(n: int) -> np.ndarray:
    """Return all assignments [2^n, n] of n variables, row by row of a table."""
    return (np.arange(2**n)[:, None] >> np.arange(n)) & 1


def drives(plan: Plan, n: int) -> list[np.ndarray]:
    """Return D [2^n] of every cell."""
    results: list[np.ndarray] = []
    for cell in plan:
        drive = rows(n) @ np.array(cell.variables, dtype=np.int64) + cell.bias
        for place, weight in cell.gates:
            drive = drive + weight * (results[place] >= 1)
        results.append(drive)
    return results


def cost(plan: Plan, n: int, *, banked: bool) -> tuple[int, int]:
    """Return neurons and weights; ``banked``: a gate with M firing levels takes M neurons (hard reset)."""
    neurons = weights = 0
    for cell, drive in zip(plan, drives(plan, n), strict=True):
        copies = max(int(drive.max()), 1) if banked else 1
        neurons += copies
        weights += copies * cell.weights
    return neurons, weights


def prune(plan: Plan) -> Plan:
    """Return the plan without the cells that its output does not need."""
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
