"""From a spike function to a circuit of threshold gates: every signal by the cheapest of the ways that are known.

A signal that depends on a window of its parts may be built from its parts' gates, or all at once as a truth table over
everything that it looks at ("fused", up to `FUSED` taps); both are built and counted. Signals with memory have
constructions of their own: a latch and a refractory gate feed themselves, a toggle and an automaton have a gate for
each transition (T7), counters are digits that carry (T8). A gate that feeds itself is one gate deep, so all of it runs
at full rate where every synapse takes a step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from homeo_rl.compiler import machines
from homeo_rl.compiler import signals as sf
from homeo_rl.compiler.circuit import ALWAYS, NEVER, Builder, Circuit, Form, combine
from homeo_rl.compiler.counters import count, radices_of
from homeo_rl.compiler.fusion import FUSED, leaves_of, table_of
from homeo_rl.compiler.gate_plan import drives
from homeo_rl.compiler.objective import Objective, cost
from homeo_rl.compiler.spike_function import Node, SpikeFunction
from homeo_rl.compiler.tables import best, place, refuse_large
from homeo_rl.compiler.winner_take_all import nearest, winner

Way = Callable[[Builder, dict[Node, Form]], Form]
"""How a node is built: a function of the builder and of the signals that were built already, which it adds to."""


def synthesise(function: SpikeFunction, objective: Objective) -> Circuit:
    """Return a circuit for ``function``.

    Raises UsageError: a table over more taps than can be built (`tables.MOST_TAPS`), with the estimate of its size.
    """
    for node in sf.walk([node for _, node in function.outputs]):
        if isinstance(node, sf.Table):
            refuse_large(len(node.them) * node.window)
    work = _Synthesis(function.lines, objective)
    builder = Builder(function.lines)
    made: dict[Node, Form] = {}
    return builder.build([(name, work.form(builder, node, made)) for name, node in function.outputs])


@dataclass
class _Synthesis:
    lines: tuple[str, ...]
    objective: Objective
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
        return cost(circuit, self.objective)

    def _ways(self, node: Node) -> list[Way]:
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
            case sf.Window():
                ways = [self._from_parts(node)]
                if self.objective.fuse and any(isinstance(part, sf.Window) for part in node.parts):
                    ways += self._fuse(node)
                return ways
        raise AssertionError(f"no construction for {type(node).__name__}")

    def _from_parts(self, node: sf.Window) -> Way:
        def way(builder: Builder, made: dict[Node, Form]) -> Form:
            parts = [self.form(builder, part, made) for part in node.parts]
            match node:
                case sf.Constant():
                    return ALWAYS if node.value else NEVER
                case sf.Delay():
                    return parts[0].delay(node.steps)
                case sf.Not():
                    return parts[0].negate()
                case sf.All():
                    return _at_least(builder, parts, len(parts), "and")
                case sf.Any():
                    return _at_least(builder, parts, 1, "or")
                case sf.AtLeast():
                    return _at_least(builder, parts, node.least, f"at least {node.least}")
                case sf.Count():
                    taps = [parts[0].delay(k) for k in range(node.window)]
                    return _at_least(builder, taps, node.least, f"{node.least} in {node.window}")
                case sf.Hold():
                    return _at_least(builder, [parts[0].delay(k) for k in range(node.steps)], 1, f"hold {node.steps}")
                case sf.Winner():
                    return winner(builder, parts, node.place, node.window)
                case sf.Nearest():
                    taps = [part.delay(k) for part in parts for k in range(node.window)]
                    return nearest(builder, taps, node.place, node.templates)
            taps = [part.delay(k) for part in parts for k in range(node.reach)]
            bits = table_of(node, [(part, k) for part in node.parts for k in range(node.reach)])
            return place(builder, bits, taps, self.objective)

        return way

    def _fuse(self, node: sf.Window) -> list[Way]:
        leaves = leaves_of(node)
        if not leaves:
            return []

        def way(builder: Builder, made: dict[Node, Form]) -> Form:
            return place(builder, table_of(node, leaves), self._taps(builder, made, leaves), self.objective)

        return [way]

    def _taps(self, builder: Builder, made: dict[Node, Form], leaves: Sequence[tuple[Node, int]]) -> list[Form]:
        return [
            (ALWAYS if isinstance(leaf, sf.Constant) else self.form(builder, leaf, made)).delay(k) for leaf, k in leaves
        ]

    def _latch(self, node: sf.Latch) -> list[Way]:
        def apart(builder: Builder, made: dict[Node, Form]) -> Form:
            on, off = self.form(builder, node.on, made), self.form(builder, node.off, made)
            number, signal = builder.reserve()
            drive = combine([(on, 2), (off, -1), (signal.delay(1), 1)])
            builder.define(number, drive, low=-1, high=3, note="latch")
            return signal

        before = _Before(node)
        whole = sf.Any((node.on, sf.All((before, sf.Not(node.off)))))
        leaves = leaves_of(whole) if self.objective.fuse else None
        if leaves is None:
            return [apart]
        bits = table_of(whole, leaves)
        _, plan, kept = best(bits, minimise=self.objective.minimise, banked=self.objective.banked)
        if len(plan) != 1 or (before, 0) not in [leaves[k] for k in kept]:
            return [apart]

        def fuse(builder: Builder, made: dict[Node, Form]) -> Form:
            number, signal = builder.reserve()
            made = {**made, before: signal.delay(1)}
            taps = self._taps(builder, made, [leaves[k] for k in kept])
            drive = drives(plan, len(kept))[0]
            total = combine(list(zip(taps, plan[0].variables, strict=True)), plan[0].bias)
            builder.define(number, total, low=int(drive.min()), high=int(drive.max()), note="latch")
            return signal

        return [apart, fuse]

    def _every(self, node: sf.Every) -> list[Way]:
        m, kept = node.modulus, sorted(set(node.kept))
        if len(kept) == m:
            return [lambda builder, made: self.form(builder, node.of, made)]

        def with_digits(radices: list[int]) -> Way:
            return lambda builder, made: count(
                builder, self.form(builder, node.of, made), radices, kept, self.objective
            )

        ways = [with_digits(radices) for radices in radices_of(m, only_last=kept == [m - 1])]
        if self.objective.integrators and kept == [m - 1]:
            ways.append(
                lambda builder, made: builder.gate(
                    [(self.form(builder, node.of, made), 1)], low=0, high=1, note=f"every {m}", modulus=m
                )
            )
        return ways

    def _automaton(self, node: sf.Automaton) -> list[Way]:
        follow, emit = machines.minimise(np.array(node.follow), np.array(node.emit))

        def lines(builder: Builder, made: dict[Node, Form]) -> list[Form]:
            return [self.form(builder, part, made) for part in node.them]

        ways: list[Way] = [lambda builder, made: machines.one_hot(builder, follow, emit, lines(builder, made))]
        if self.objective.deep_loops and machines.width_of(len(follow)) + len(node.them) <= FUSED:
            ways.append(
                lambda builder, made: machines.binary(builder, follow, emit, lines(builder, made), self.objective)
            )
        return ways


@dataclass(frozen=True)
class _Before(Node):
    """A latch's own signal of a step ago, while its gate is being designed."""

    latch: sf.Latch


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
    before = combine([(rises, 1), (stays, 1)]).delay(1)
    builder.define(rise, combine([(of, 1), (before, -1)]), low=-1, high=1, note="toggle on")
    builder.define(stay, combine([(before, 1), (of, -1)]), low=-1, high=1, note="toggle stays")
    return combine([(rises, 1), (stays, 1)])


def _refractory(builder: Builder, of: Form, steps: int) -> Form:
    number, signal = builder.reserve()
    drive = combine([(of, 1), *((signal.delay(k), -1) for k in range(1, steps + 1))])
    builder.define(number, drive, low=-1, high=1, note=f"refractory {steps}")
    return signal
