"""Specifications that the compiler's tests share: every primitive, tables, machines, compositions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from homeo_rl.compiler import signals as sf
from homeo_rl.compiler.spike_function import Node, SpikeFunction

BETAS = (Fraction(0), Fraction(1, 2), Fraction(7, 8), Fraction(9, 10), Fraction(1))
RESETS = ("soft", "hard", "soft_next")

x, y, z = (sf.Line(name) for name in "xyz")

BRAKE = sf.Latch(sf.Count(x, 2, 3), sf.Not(sf.Count(x, 1, 4)))


def function(node: Node, *more: Node) -> SpikeFunction:
    """A function of the lines that its nodes use."""
    nodes = (node, *more)
    lines = [part.name for part in sf.walk(nodes) if isinstance(part, sf.Line)] or ["x"]
    return SpikeFunction(tuple(sorted(lines)), tuple((f"out{i}", node) for i, node in enumerate(nodes)))


def random_table(n: int, lines: int = 1, seed: int = 0) -> SpikeFunction:
    rng = np.random.default_rng((n, lines, seed))
    parts = (x, y, z)[:lines]
    return function(sf.Table(parts, n // lines, tuple((rng.random(2**n) < 0.5).tolist())))


def random_machine(states: int, lines: int = 1, seed: int = 0) -> SpikeFunction:
    rng = np.random.default_rng((states, lines, seed))
    follow = rng.integers(states, size=(states, 2**lines))
    follow[:, 1] = (np.arange(states) + 1) % states  # a spike leads through all states
    emit = rng.random((states, 2**lines)) < 0.3
    table = tuple(map(tuple, follow.tolist())), tuple(map(tuple, emit.tolist()))
    return function(sf.Automaton((x, y, z)[:lines], *table))


TEMPLATES = ((True, True, False, False), (False, True, True, False), (True, False, False, True))

PRIMITIVES: dict[str, SpikeFunction] = {
    "line": function(x),
    "constant": function(sf.Constant(True), sf.Constant(False)),
    "delay": function(sf.Delay(x, 3)),
    "not": function(sf.Not(x)),
    "and": function(sf.All((x, sf.Not(y), z))),
    "or": function(sf.Any((x, sf.Not(y), z))),
    "at least": function(sf.AtLeast((x, y, z), 2)),
    "count": function(sf.Count(x, 3, 5)),
    "hold": function(sf.Hold(x, 4)),
    "rising": function(sf.Rising(x)),
    "latch": function(sf.Latch(x, y)),
    "toggle": function(sf.Toggle(x)),
    "refractory": function(sf.Refractory(x, 4)),
    "sequence": function(sf.sequence([x, y, z])),
    "winner": function(*(sf.Winner((x, y, z), i, 3) for i in range(3))),
    "nearest": function(*(sf.Nearest((x, y), 2, i, TEMPLATES) for i in range(3))),
    "every": function(sf.Every(x, 6, (5,))),
    "every, several": function(sf.Every(x, 6, (0, 3, 4))),
    "every, a prime": function(sf.Every(x, 5, (0, 2))),
    "every, binary": function(sf.Every(x, 8, (1, 2, 6))),
}

COMPOSITIONS: dict[str, SpikeFunction] = {
    "brake": function(BRAKE),
    "motor": function(sf.All((y, sf.Not(BRAKE)))),
    "not yet": function(sf.Rising(sf.Not(sf.Delay(sf.Not(sf.All((x, y))), 1)))),
    "late silence": function(sf.Any((sf.Delay(sf.Not(x), 2), y))),
    "held toggle": function(sf.Toggle(sf.All((sf.Hold(x, 3), sf.Not(sf.Latch(y, z)))))),
    "counted latch": function(sf.Every(sf.Latch(x, y), 3, (2,)), sf.Not(sf.Latch(x, y))),
    "machine of a window": function(
        sf.Automaton((sf.Count(x, 2, 3), y), ((0, 1, 0, 1), (1, 2, 1, 1), (2, 2, 0, 0)),
                     ((False, False, False, True), (False, True, False, False), (True, False, False, True)))
    ),
}  # fmt: skip

SMALL: dict[str, SpikeFunction] = {
    **PRIMITIVES,
    **COMPOSITIONS,
    **{f"table of {n} taps over {d}": random_table(n, d) for n, d in ((2, 1), (3, 1), (4, 2), (5, 1), (6, 2), (6, 3))},
    **{f"machine of {s} states over {d}": random_machine(s, d) for s, d in ((2, 1), (5, 1), (8, 1), (5, 2))},
}
LARGE: dict[str, SpikeFunction] = {
    **{f"table of {n} taps over {d}": random_table(n, d) for n, d in ((8, 2), (9, 3), (10, 2), (12, 3))},
    **{f"machine of {s} states over {d}": random_machine(s, d) for s, d in ((16, 2), (64, 1))},
    "every 64th": function(sf.Every(x, 64, (63,))),
}


def all_trains(function: SpikeFunction, most: int = 12) -> np.ndarray:
    """All 2^(d T) trains [B, T, d] with d T <= most."""
    d = len(function.lines)
    steps = most // d
    bits = (np.arange(2 ** (d * steps))[:, None] >> np.arange(d * steps)) & 1
    return bits.reshape(-1, steps, d).astype(bool)


def random_trains(function: SpikeFunction, count: int, steps: int = 80) -> np.ndarray:
    """Trains [B, T, d] of all densities."""
    rng = np.random.default_rng(7)
    shape = (count, steps, len(function.lines))
    return rng.random(shape) < rng.random((count, 1, shape[2]))
