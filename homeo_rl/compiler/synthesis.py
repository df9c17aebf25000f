"""From a spike function to a circuit of threshold gates: every signal by the cheapest of the ways that are known.

A signal that depends on a window of its parts may be built from its parts' gates, or all at once as a truth table over
everything that it looks at ("fused", up to `FUSED` taps); both are built and counted. Signals with memory have
constructions of their own: a latch and a refractory gate feed themselves, a toggle and an automaton have a gate for
each transition (T7), counters are digits that carry (T8). A gate that feeds itself is one gate deep, so all of it runs
at full rate where every synapse takes a step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from homeo_rl.compiler import spike_function as sf
from homeo_rl.compiler import tables
from homeo_rl.compiler.circuit import ALWAYS, NEVER, Builder, Circuit, Form, combined
from homeo_rl.compiler.spike_function import Node, SpikeFunction, Window
from homeo_rl.errors import UsageError

FUSED = 10
"""Taps up to which a window signal is also tried as one truth table."""


@dataclass(frozen=True)
class Wanted:
    """What the circuit is for.

    Attributes:
        minimise: "neurons" or "weights".
        banked: a gate with M firing levels costs M neurons (hard reset with a leak).
        deep_loops: loops of several gates without delay run inside a step (layered target).
        integrators: neurons keep their potential, so one of them counts (no leak, soft reset).
        fuse: whether several operations may become one gate.
    """

    minimise: str = "neurons"
    banked: bool = False
    deep_loops: bool = False
    integrators: bool = False
    fuse: bool = True


def price(circuit: Circuit, wanted: Wanted) -> tuple[int, int]:
    """Return neurons and weights, the one to be minimised first."""
    copies = [max(gate.high, 1) if wanted.banked else 1 for gate in circuit.gates]
    neurons = sum(copies)
    weights = sum(c * len(gate.taps) for c, gate in zip(copies, circuit.gates, strict=True))
    return (neurons, weights) if wanted.minimise == "neurons" else (weights, neurons)


def synthesise(function: SpikeFunction, wanted: Wanted) -> Circuit:
    """Return a circuit for ``function``.

    Raises:
        UsageError: a table over more taps than can be built (`tables.MOST_TAPS`), with the estimate of its size.
    """
    for node in sf.walk([node for _, node in function.outputs]):
        if isinstance(node, sf.Table):
            refuse_large(len(node.them) * node.window)
    work = _Synthesis(function.lines, wanted)
    builder = Builder(function.lines)
    made: dict[Node, Form] = {}
    return builder.build([(name, work.form(builder, node, made)) for name, node in function.outputs])


def refuse_large(taps: int) -> None:
    """Refuse a table over too many taps before any work starts."""
    if taps > tables.MOST_TAPS:
        a = (taps + 1) // 2
        neurons, weights = 2**a + 2 ** (taps - a), 2 ** (taps - 1)
        raise UsageError(
            f"table of {taps} taps: expected at most {tables.MOST_TAPS}; a general function of {taps} taps takes up to "
            f"{neurons:.2g} neurons and {weights:.2g} weights (T3), and about 2^{taps} states to certify; "
            "compose it of smaller ones"
        )


Way = Callable[[Builder, dict[Node, Form]], Form]


@dataclass
class _Synthesis:
    lines: tuple[str, ...]
    wanted: Wanted
    _chosen: dict[Node, Way] = field(default_factory=dict)

    def form(self, builder: Builder, node: Node, made: dict[Node, Form]) -> Form:
        """Return the signal of ``node``, built the way that was found cheapest."""
        if node not in made:
            made[node] = self._way(node)(builder, made)
        return made[node]

    def _way(self, node: Node) -> Way:
        if node not in self._chosen:
            for part in node.parts:  # parts decide first
                self._way(part)
            ways = self._ways(node)
            self._chosen[node] = ways[0] if len(ways) == 1 else min(ways, key=self._price)
        return self._chosen[node]

    def _price(self, way: Way) -> tuple[int, int]:
        builder = Builder(self.lines)
        circuit = builder.build([("y", way(builder, {}))])
        return price(circuit, self.wanted)

    def _ways(self, node: Node) -> list[Way]:
        """Return the ways to build a node, each a function of the builder and of what was built already."""
        match node:
            case sf.Line():
                return [lambda builder, made: builder.line(node.name)]
            case sf.Latch():
                return self._latch(node)
            case sf.Toggle():
                return [lambda builder, made: _toggle(builder, self.form(builder, node.of, made))]
            case sf.Refractory():
                return [lambda builder, made: _refractory(builder, self.form(builder, node.of, made), node.steps)]
            case sf.Every():
                return self._every(node)
            case sf.Automaton():
                return self._automaton(node)
            case Window():
                ways = [self._from_parts(node)]
                if self.wanted.fuse and any(isinstance(part, Window) for part in node.parts):
                    ways += self._fused(node)
                return ways
        raise AssertionError(f"no construction for {type(node).__name__}")

    # Windows.

    def _from_parts(self, node: Window) -> Way:
        def way(builder: Builder, made: dict[Node, Form]) -> Form:
            parts = [self.form(builder, part, made) for part in node.parts]
            match node:
                case sf.Constant():
                    return ALWAYS if node.value else NEVER
                case sf.Delay():
                    return parts[0].delayed(node.steps)
                case sf.Not():
                    return parts[0].negated()
                case sf.All():
                    return _at_least(builder, parts, len(parts), "and")
                case sf.Any():
                    return _at_least(builder, parts, 1, "or")
                case sf.AtLeast():
                    return _at_least(builder, parts, node.least, f"at least {node.least}")
                case sf.Count():
                    taps = [parts[0].delayed(k) for k in range(node.window)]
                    return _at_least(builder, taps, node.least, f"{node.least} in {node.window}")
                case sf.Hold():
                    return _at_least(builder, [parts[0].delayed(k) for k in range(node.steps)], 1, f"hold {node.steps}")
                case sf.Winner():
                    return _winner(builder, parts, node.place, node.window)
                case sf.Nearest():
                    taps = [part.delayed(k) for part in parts for k in range(node.window)]
                    return _nearest(builder, taps, node.place, node.templates)
            taps = [part.delayed(k) for part in parts for k in range(node.reach)]
            return self._table(
                builder, _table_of(node, [(part, k) for part in node.parts for k in range(node.reach)]), taps
            )

        return way

    def _table(self, builder: Builder, bits: np.ndarray, taps: Sequence[Form]) -> Form:
        return tables.place(builder, bits, taps, minimise=self.wanted.minimise, banked=self.wanted.banked)

    def _fused(self, node: Window) -> list[Way]:
        leaves = _leaves(node)
        if leaves is None or not leaves:
            return []

        def way(builder: Builder, made: dict[Node, Form]) -> Form:
            return self._table(builder, _table_of(node, leaves), self._taps(builder, made, leaves))

        return [way]

    def _taps(self, builder: Builder, made: dict[Node, Form], leaves: Sequence[tuple[Node, int]]) -> list[Form]:
        return [
            (ALWAYS if isinstance(leaf, sf.Constant) else self.form(builder, leaf, made)).delayed(k)
            for leaf, k in leaves
        ]

    # Signals with memory.

    def _latch(self, node: sf.Latch) -> list[Way]:
        def apart(builder: Builder, made: dict[Node, Form]) -> Form:
            on, off = self.form(builder, node.on, made), self.form(builder, node.off, made)
            number, signal = builder.reserve()
            drive = combined([(on, 2), (off, -1), (signal.delayed(1), 1)])
            builder.define(number, drive, low=-1, high=3, note="latch")
            return signal

        before = _Before(node)
        whole = sf.Any((node.on, sf.All((before, sf.Not(node.off)))))
        leaves = _leaves(whole) if self.wanted.fuse else None
        if leaves is None:
            return [apart]
        bits = _table_of(whole, leaves)
        _, plan, kept = tables.best(bits, minimise=self.wanted.minimise, banked=self.wanted.banked)
        if len(plan) != 1 or (before, 0) not in [leaves[k] for k in kept]:
            return [apart]

        def fused(builder: Builder, made: dict[Node, Form]) -> Form:
            number, signal = builder.reserve()
            made = {**made, before: signal.delayed(1)}
            taps = self._taps(builder, made, [leaves[k] for k in kept])
            drive = tables.drives(plan, len(kept))[0]
            total = combined(list(zip(taps, plan[0].variables, strict=True)), plan[0].bias)
            builder.define(number, total, low=int(drive.min()), high=int(drive.max()), note="latch")
            return signal

        return [apart, fused]

    def _every(self, node: sf.Every) -> list[Way]:
        m, kept = node.modulus, sorted(set(node.kept))
        if len(kept) == m:
            return [lambda builder, made: self.form(builder, node.of, made)]

        def with_digits(radices: list[int]) -> Way:
            def way(builder: Builder, made: dict[Node, Form]) -> Form:
                carry = spikes = self.form(builder, node.of, made)
                if len(spikes.terms) > 2:  # every digit reads it
                    carry = spikes = builder.gate([(spikes, 1)], low=0, high=1)
                digits: list[list[Form]] = []
                for radix in radices:
                    states, carry = _digit(builder, carry, radix)
                    digits.append(states)
                if kept == [m - 1]:
                    return carry
                return self._kept(builder, spikes, radices, digits, kept)

            return way

        ways = [with_digits(radices) for radices in _radices(m, only_last=kept == [m - 1])]
        if self.wanted.integrators and kept == [m - 1]:
            ways.append(
                lambda builder, made: builder.gate(
                    [(self.form(builder, node.of, made), 1)], low=0, high=1, note=f"every {m}", modulus=m
                )
            )
        return ways

    def _kept(
        self, builder: Builder, spikes: Form, radices: list[int], digits: list[list[Form]], kept: list[int]
    ) -> Form:
        """Return the spikes whose place is kept: a table over binary digits, or a row for each value of the last
        digit."""
        before = [[state.delayed(1) for state in states] for states in digits]
        if set(radices) == {2} and len(radices) < FUSED + 2:
            bits = np.zeros(2 ** (len(radices) + 1), dtype=bool)
            bits[[2 * k + 1 for k in kept]] = True
            return self._table(builder, bits, [spikes, *(states[0] for states in before)])
        if len(radices) == 1:
            return builder.gate([(spikes, 1), (_one_of(before[0], kept), 1)], -1, low=-1, high=1)
        p, rows = radices[0], []
        for j in range(radices[1]):
            inside = [k % p for k in kept if k // p == j]
            if inside:
                parts = [(spikes, 1), (_one_of(before[0], inside), 1), (_one_of(before[1], [j]), 1)]
                rows.append(builder.gate(parts, -2, low=-2, high=1))
        return combined([(row, 1) for row in rows])

    def _automaton(self, node: sf.Automaton) -> list[Way]:
        follow, emit = minimised(np.array(node.follow), np.array(node.emit))

        def one_hot(builder: Builder, made: dict[Node, Form]) -> Form:
            return self._edges(builder, follow, emit, [self.form(builder, part, made) for part in node.them])

        width = max(1, math.ceil(math.log2(len(follow))))
        if not self.wanted.deep_loops or width + len(node.them) > FUSED:
            return [one_hot]

        def binary(builder: Builder, made: dict[Node, Form]) -> Form:
            lines = [self.form(builder, part, made) for part in node.them]
            numbers = [builder.reserve() for _ in range(width)]
            taps = [signal.delayed(1) for _, signal in numbers] + lines
            state, symbol = np.divmod(np.arange(2 ** len(taps)), 2**width)[::-1]
            state = np.where(state < len(follow), state, 0)  # states that are never reached
            for i, (number, _) in enumerate(numbers):
                signal = self._table(builder, (follow[state, symbol] >> i & 1).astype(bool), taps)
                builder.define(number, signal, low=0, high=1, note=f"bit {i}")
            return self._table(builder, emit[state, symbol], taps)

        return [one_hot, binary]

    def _edges(self, builder: Builder, follow: np.ndarray, emit: np.ndarray, lines: list[Form]) -> Form:
        """T7: a gate for every transition, fired by where it begins and by the symbol; the start is silence."""
        states = len(follow)
        edges: list[tuple[int, int, bool, tables.Cell]] = []
        for q in range(states):
            for target, spikes in sorted({(int(t), bool(e)) for t, e in zip(follow[q], emit[q], strict=True)}):
                if target or spikes:
                    on = (follow[q] == target) & (emit[q] == spikes)
                    edges += [(q, target, spikes, cell) for cell in _disjoint(on, len(lines))]
        numbers = [builder.reserve() for _ in edges]
        into: list[list[tuple[Form, int]]] = [[] for _ in range(states)]
        for (_, target, _, _), (_, signal) in zip(edges, numbers, strict=True):
            into[target].append((signal.delayed(1), 1))
        awake = combined([part for parts in into[1:] for part in parts])
        for (q, target, _, cell), (number, _) in zip(edges, numbers, strict=True):
            parts = list(zip(lines, cell.variables, strict=True))
            z = tables.rows(len(lines)) @ np.array(cell.variables) + cell.bias
            most = max(int(z.max()), 1)
            where, bias = ((awake, -most), 0) if q == 0 else ((combined(into[q]), most), -most)
            drive = combined([*parts, where], cell.bias + bias)
            builder.define(number, drive, low=int(z.min()) - most, high=most, note=f"{q} > {target}")
        return combined([(signal, 1) for (_, _, spikes, _), (_, signal) in zip(edges, numbers, strict=True) if spikes])


@dataclass(frozen=True)
class _Before(Node):
    """A latch's own signal of a step ago, while its gate is being designed."""

    latch: sf.Latch
    __hash__ = Node.__hash__


def _leaves(node: Node) -> list[tuple[Node, int]] | None:
    """Return what a window signal looks at, (signal, steps back), or None where that is more than `FUSED`.

    A signal that spikes in silence is 0 before the first step all the same, which the clock of so many steps ago
    tells; it is listed as (Constant, steps back).
    """
    found: dict[tuple[Node, int], None] = {}
    seen: set[tuple[Node, int]] = set()

    def visit(node: Node, back: int) -> None:
        if (node, back) in seen or len(found) > FUSED:
            return
        seen.add((node, back))
        if not isinstance(node, Window):
            found[(node, back)] = None
            return
        if back and _wakes(node):
            found[(sf.Constant(True), back)] = None
        for part in node.parts:
            for k in range(node.reach):
                visit(part, back + k)

    if isinstance(node, Window) and len(node.parts) * node.reach > 64:
        return None
    visit(node, 0)
    return list(found) if len(found) <= FUSED else None


def _wakes(node: Window) -> bool:
    """Whether a window signal spikes though all its parts are and were silent, as nothing does before the first
    step."""
    return bool(node.decide(np.zeros((len(node.parts), node.reach), dtype=bool)))


def _table_of(node: Node, leaves: Sequence[tuple[Node, int]]) -> np.ndarray:
    """Return the truth table [2^n] of a window signal over its leaves."""
    values = tables.rows(len(leaves)).astype(bool)
    known = {leaf: values[:, i] for i, leaf in enumerate(leaves)}

    def value(node: Node, back: int) -> np.ndarray:
        if (node, back) not in known:
            assert isinstance(node, Window)
            past = np.zeros((len(values), len(node.parts), node.reach), dtype=bool)
            for i, part in enumerate(node.parts):
                for k in range(node.reach):
                    past[:, i, k] = value(part, back + k)
            on = node.decide(past)
            known[(node, back)] = on & known[(sf.Constant(True), back)] if back and _wakes(node) else on
        return known[(node, back)]

    if isinstance(node, Window) and (node, 0) not in known:
        return value(node, 0)
    return known[(node, 0)]


def _at_least(builder: Builder, parts: Sequence[Form], least: int, note: str) -> Form:
    if least > len(parts):
        return NEVER
    if least <= 0:
        return ALWAYS
    if len(parts) == 1:
        return parts[0]
    return builder.gate([(p, 1) for p in parts], 1 - least, low=1 - least, high=len(parts) - least + 1, note=note)


def _toggle(builder: Builder, of: Form) -> Form:
    (rise, rises), (stay, stays) = builder.reserve(), builder.reserve()
    before = combined([(rises, 1), (stays, 1)]).delayed(1)
    builder.define(rise, combined([(of, 1), (before, -1)]), low=-1, high=1, note="toggle on")
    builder.define(stay, combined([(before, 1), (of, -1)]), low=-1, high=1, note="toggle stays")
    return combined([(rises, 1), (stays, 1)])


def _refractory(builder: Builder, of: Form, steps: int) -> Form:
    number, signal = builder.reserve()
    drive = combined([(of, 1), *((signal.delayed(k), -1) for k in range(1, steps + 1))])
    builder.define(number, drive, low=-1, high=1, note=f"refractory {steps}")
    return signal


def _winner(builder: Builder, parts: Sequence[Form], place: int, window: int) -> Form:
    """The part with most spikes: comparators of counts, where equal counts that are not 0 go to the earlier one."""
    counts = [[part.delayed(k) for k in range(window)] for part in parts]

    def beats(i: int, j: int) -> Form:
        # For i < j: count i >= count j and not 0, which is (window + 1) count i > window count j.
        up, down = (window + 1, window) if i < j and window > 1 else (1, 0) if i < j else (1, 1)
        terms = [(p, up) for p in counts[i]] + [(p, -down) for p in counts[j]]
        return builder.gate(terms, low=-down * window, high=up * window, note=f"{i} > {j}")

    def alone(beaten: Sequence[Form]) -> Form:
        terms = [(p, 1) for p in counts[place]] + [(rival, -window) for rival in beaten]
        return builder.gate(terms, low=-window * len(beaten), high=window, note=f"winner {place}")

    return _best_of(builder, len(parts), place, beats, alone)


def _nearest(builder: Builder, taps: Sequence[Form], place: int, templates: Sequence[Sequence[bool]]) -> Form:
    """The nearest template (T9): of two templates only the taps that differ tell which is nearer."""
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


def _digit(builder: Builder, spikes: Form, radix: int) -> tuple[list[Form], Form]:
    """Return the states 1 to radix - 1 of a ring that every spike turns, and the spikes that turn it back to 0."""
    reserved = [(builder.reserve(), builder.reserve()) for _ in range(1, radix)]
    states = [combined([(come, 1), (stay, 1)]) for (_, come), (_, stay) in reserved]
    before = [state.delayed(1) for state in states]
    for i, ((come, _), (stay, _)) in enumerate(reserved):
        if i == 0:
            drive, low = combined([(spikes, 1), *((state, -1) for state in before)]), -1
        else:
            drive, low = combined([(spikes, 1), (before[i - 1], 1)], -1), -1
        builder.define(come, drive, low=low, high=1, note=f"to {i + 1} of {radix}")
        builder.define(stay, combined([(before[i], 1), (spikes, -1)]), low=-1, high=1, note=f"at {i + 1} of {radix}")
    return states, builder.gate([(spikes, 1), (before[-1], 1)], -1, low=-1, high=1, note=f"carry of {radix}")


def _one_of(states: list[Form], values: Sequence[int]) -> Form:
    """Return the signal that a digit, with silence for 0, is one of ``values``."""
    if 0 in values:
        return combined([(state, -1) for i, state in enumerate(states, 1) if i not in values], 1)
    return combined([(states[value - 1], 1) for value in values])


def _radices(m: int, *, only_last: bool) -> list[list[int]]:
    """Return ways to write m as a product of digits."""
    primes, left = list[int](), m
    for p in range(2, m + 1):
        while left % p == 0:
            primes.append(p)
            left //= p
    found = [[m]]
    if only_last or set(primes) == {2}:
        found.append(primes)
    found += [[m // q, q] for q in range(2, m) if m % q == 0]
    return [list(radices) for radices in dict.fromkeys(map(tuple, found))]


def _disjoint(on: np.ndarray, n: int) -> list[tables.Cell]:
    """Return gates over n lines that exclude each other and together fire for the symbols ``on`` [2^n]."""
    if on.all():
        return [tables.Cell((0,) * n, (), 1)]
    _, plan, kept = tables.best(on, banked=True)
    if len(plan) == 1:
        w = [0] * n
        for k, weight in zip(kept, plan[0].variables, strict=True):
            w[k] = weight
        return [tables.Cell(tuple(w), (), plan[0].bias)]
    cells, left = [], on.copy()
    z = 2 * tables.rows(n) - 1
    ternary = np.array(list(np.ndindex(*(3,) * n))) - 1
    order = np.abs(ternary).sum(1).argsort(kind="stable")
    for cube in ternary[order]:
        inside = (z @ cube) == np.abs(cube).sum()
        if inside.any() and not np.any(inside & ~left):
            cells.append(tables.Cell(tuple(cube.tolist()), (), 1 - int((cube > 0).sum())))
            left &= ~inside
    return cells


def minimised(follow: np.ndarray, emit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the smallest machine that does the same, for ``follow`` [S, X] and ``emit`` [S, X]; state 0 stays
    first."""
    reached, stack = {0}, [0]
    while stack:
        for q in follow[stack.pop()]:
            if int(q) not in reached:
                reached.add(int(q))
                stack.append(int(q))
    kept = sorted(reached)
    place = np.zeros(len(follow), dtype=np.int64)
    place[kept] = np.arange(len(kept))
    follow, emit = place[follow[kept]], emit[kept]
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
