"""Counting spikes modulo m = p q ...: digits that carry (T8)."""

import math
from collections.abc import Sequence

import numpy as np

from homeo_rl.compiler.circuit import Builder, Form, combine
from homeo_rl.compiler.fusion import FUSED
from homeo_rl.compiler.objective import Objective
from homeo_rl.compiler.tables import place


def count(builder: Builder, spikes: Form, radices: Sequence[int], kept: Sequence[int], objective: Objective) -> Form:
    """Return the spikes whose place is kept.

    Args:
        radices: of the digits, the lowest first; their product is the modulus m.
        kept: places of 0 to m - 1, rising.
    """
    if len(spikes.terms) > 2:  # every digit reads it
        spikes = builder.gate([(spikes, 1)], low=0, high=1, note="spikes")
    carry = spikes
    digits: list[list[Form]] = []
    for radix in radices:
        states, carry = _digit(builder, carry, radix)
        digits.append(states)
    if list(kept) == [math.prod(radices) - 1]:
        return carry
    return _keep(builder, spikes, radices, digits, kept, objective)


def _digit(builder: Builder, spikes: Form, radix: int) -> tuple[list[Form], Form]:
    """Return the states 1 to radix - 1 of a ring that every spike turns, and the spikes that turn it back to 0."""
    reserved = [(builder.reserve(), builder.reserve()) for _ in range(1, radix)]
    states = [combine([(come, 1), (stay, 1)]) for (_, come), (_, stay) in reserved]
    before = [state.delay(1) for state in states]
    for i, ((come, _), (stay, _)) in enumerate(reserved):
        if i == 0:
            drive = combine([(spikes, 1), *((state, -1) for state in before)])
        else:
            drive = combine([(spikes, 1), (before[i - 1], 1)], -1)
        builder.define(come, drive, low=-1, high=1, note=f"to {i + 1} of {radix}")
        builder.define(stay, combine([(before[i], 1), (spikes, -1)]), low=-1, high=1, note=f"at {i + 1} of {radix}")
    return states, builder.gate([(spikes, 1), (before[-1], 1)], -1, low=-1, high=1, note=f"carry of {radix}")


def _one_of(states: list[Form], values: Sequence[int]) -> Form:
    """Return the signal that a digit, with silence for 0, is one of ``values``."""
    if 0 in values:
        return combine([(state, -1) for i, state in enumerate(states, 1) if i not in values], 1)
    return combine([(states[value - 1], 1) for value in values])


def _keep(
    builder: Builder,
    spikes: Form,
    radices: Sequence[int],
    digits: list[list[Form]],
    kept: Sequence[int],
    objective: Objective,
) -> Form:
    """Return the spikes whose place is kept: a table over binary digits, or a gate for each value of the last
    digit."""
    before = [[state.delay(1) for state in states] for states in digits]
    if set(radices) == {2} and len(radices) < FUSED + 2:
        bits = np.zeros(2 ** (len(radices) + 1), dtype=bool)
        bits[[2 * k + 1 for k in kept]] = True
        return place(builder, bits, [spikes, *(states[0] for states in before)], objective)
    if len(radices) == 1:
        return builder.gate([(spikes, 1), (_one_of(before[0], kept), 1)], -1, low=-1, high=1, note="kept")
    p, rows = radices[0], []
    for j in range(radices[1]):
        inside = [k % p for k in kept if k // p == j]
        if inside:
            parts = [(spikes, 1), (_one_of(before[0], inside), 1), (_one_of(before[1], [j]), 1)]
            rows.append(builder.gate(parts, -2, low=-2, high=1, note="kept"))
    return combine([(row, 1) for row in rows])


def radices_of(m: int, *, only_last: bool) -> list[list[int]]:
    """Return ways to write m as a product of the digits' radices, the lowest digit first."""
    primes, left = list[int](), m
    for p in range(2, m + 1):
        while left % p == 0:
            primes.append(p)
            left //= p
    results = [[m]]
    if only_last or set(primes) == {2}:
        results.append(primes)
    results += [[m // q, q] for q in range(2, m) if m % q == 0]
    return [list(radices) for radices in dict.fromkeys(map(tuple, results))]
