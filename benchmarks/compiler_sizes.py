"""Sizes of compiled networks against bounds: random truth tables, primitives, machines; and how long compiling takes.

``python -m benchmarks.compiler_sizes [--json]``. Sizes are means over random tables, in logical gates and weights;
each is compiled twice, for fewest gates and for fewest weights. The bounds are those of the class of all functions of
so many taps: some function needs the lower one, none more than the upper one. Ratios: upper bound over what was
reached (above 1), and reached over lower bound.
"""

from __future__ import annotations

import time

import numpy as np

from benchmarks.common import arguments, report
from homeo_rl.compiler import signals as sf
from homeo_rl.compiler.bounds import window_bounds
from homeo_rl.compiler.build import compile_function
from homeo_rl.compiler.spike_function import Node, SpikeFunction

TABLES = ((2, 2, 40), (2, 3, 20), (2, 4, 8), (3, 3, 6), (2, 5, 4), (3, 4, 3))
"""Lines, window, random draws."""

MACHINE = 64
"""States of the random machine."""


def function(*nodes: Node) -> SpikeFunction:
    """Return the function of the lines that ``nodes`` use."""
    lines = sorted(node.name for node in sf.walk(nodes) if isinstance(node, sf.Line))
    return SpikeFunction(tuple(lines), tuple((f"out{i}", node) for i, node in enumerate(nodes)))


def random_table(lines: int, window: int, rng: np.random.Generator) -> SpikeFunction:
    """Return a random function of the last ``window`` steps of ``lines`` lines."""
    parts = tuple(sf.Line(f"x{i}") for i in range(lines))
    return function(sf.Table(parts, window, tuple((rng.random(2 ** (lines * window)) < 0.5).tolist())))


def primitives() -> dict[str, SpikeFunction]:
    """Return the primitives that the tables list."""
    x, y, z, w = (sf.Line(name) for name in "xyzw")
    follow = tuple((q, (q + 1) % 64) for q in range(64))
    emit = tuple((False, q == 63) for q in range(64))
    templates = np.random.default_rng(0).random((16, 48)) < 0.5
    known = tuple(tuple(row) for row in templates.tolist())
    return {
        "count >= 3 of 5": function(sf.Count(x, 3, 5)),
        "sequence of 4": function(sf.sequence([x, y, z, w])),
        "latch": function(sf.Latch(x, y)),
        "toggle": function(sf.Toggle(x)),
        "refractory 4": function(sf.Refractory(x, 4)),
        "rising": function(sf.Rising(x)),
        "winner of 3 counts": function(*(sf.Winner((x, y, z), i, 5) for i in range(3))),
        "every 64th spike": function(sf.Every(x, 64, (63,))),
        "the same as a machine of 64 states": function(sf.Automaton((x,), follow, emit)),
        "nearest of 16 templates of 48 taps": function(*(sf.Nearest((x, y, z, w), 12, i, known) for i in range(16))),
    }


def main() -> None:
    """Compile, count, print."""
    told = arguments(__doc__)
    found: dict[str, float] = {}
    ratios: dict[str, float | None] = {}
    rng = np.random.default_rng(2512)
    for lines, window, draws in TABLES[: 2 if told.tiny else None]:
        n = lines * window
        tables = [random_table(lines, window, rng) for _ in range(2 if told.tiny else draws)]
        begin = time.perf_counter()
        few = [compile_function(table).gates for table in tables]
        took = (time.perf_counter() - begin) / len(tables)
        light = [compile_function(table, minimise="weights").gates for table in tables]
        bounds = window_bounds(n)
        for what, made in (("gates", few), ("weights", light)):
            place = f"table of {lines}, {window} ({n} taps), fewest {what}"
            found[f"{place}: gates"] = float(np.mean([len(c.gates) for c in made]))
            found[f"{place}: weights"] = float(np.mean([c.weights for c in made]))
        found[f"table of {lines}, {window} ({n} taps): seconds to compile"] = took
        gates = float(np.mean([len(c.gates) for c in few]))
        ratios[f"upper_over_gates_{n}"] = bounds.neurons_at_most / gates
        ratios[f"gates_over_lower_{n}"] = gates / bounds.neurons_at_least
    for name, spec in primitives().items():
        compiled = compile_function(spec)
        found[f"{name}: gates"], found[f"{name}: weights"] = len(compiled.gates.gates), compiled.gates.weights
        found[f"{name}: synapses at beta 7/8"] = compiled.network.weights
    states = 8 if told.tiny else MACHINE
    follow, emit = rng.integers(states, size=(states, 2)), rng.random((states, 2)) < 0.3
    follow[:, 1] = (np.arange(states) + 1) % states
    machine = sf.Automaton((sf.Line("x"),), tuple(map(tuple, follow.tolist())), tuple(map(tuple, emit.tolist())))
    begin = time.perf_counter()
    compiled = compile_function(function(machine))
    found[f"random machine of {states} states: seconds to compile"] = time.perf_counter() - begin
    found[f"random machine of {states} states: gates"] = len(compiled.gates.gates)
    found[f"random machine of {states} states: weights"] = compiled.gates.weights
    note = "counts; ratios: a class's upper bound over the mean that was reached, the mean over its lower bound"
    report({name: float(value) for name, value in found.items()}, ratios, as_json=told.json, unit="", note=note)


if __name__ == "__main__":
    main()
