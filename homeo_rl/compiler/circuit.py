"""Networks of threshold gates with delays: what lies between a specification and a spiking network.

A gate is S(t) = [D(t) >= 1], D(t) = sum_j w_j S_j(t - k_j), with whole numbers w_j and delays k_j >= 0; the clock is a
source that is 1 at every step from 0 on, and every other source is 0 before step 0. What travels between the parts of
a construction is a `Form`: a sum of sources whose value is known to be 0 or 1, so that negations, delays and the
union of signals that exclude each other cost no gate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from homeo_rl.compiler.spike_function import trains_of

CLOCK = -1  # the source that is 1 at all steps t >= 0. Inputs are sources 0 to d - 1, gate g is source d + g.


@dataclass(frozen=True)
class Tap:
    """A synapse of a gate: ``weight`` times what ``source`` was ``delay`` steps ago."""

    source: int
    delay: int
    weight: int


@dataclass(frozen=True)
class Gate:
    """A threshold gate."""

    taps: tuple[Tap, ...]  # its synapses, one a source and delay
    low: int
    high: int
    note: str = ""
    modulus: int = 0  # 0; or D is 0 or 1, and the gate fires at every ``modulus``-th 1 instead (one integrating neuron)


@dataclass(frozen=True)
class Form:
    """A signal in {0, 1} as a sum of sources: ``terms`` maps (source, delay) to a coefficient."""

    terms: tuple[tuple[tuple[int, int], int], ...]

    @classmethod
    def of(cls, terms: Mapping[tuple[int, int], int]) -> Form:
        """Build a form, dropping what is 0."""
        return cls(tuple(sorted((key, value) for key, value in terms.items() if value)))

    @classmethod
    def source(cls, source: int) -> Form:
        """Return a source itself."""
        return cls((((source, 0), 1),))

    def delay(self, steps: int) -> Form:
        """Return the signal of ``steps`` steps ago."""
        return Form(tuple(((source, delay + steps), value) for (source, delay), value in self.terms))

    def negate(self) -> Form:
        """Return 1 - signal."""
        return combine([(self, -1)], 1)

    @property
    def alone(self) -> int | None:
        """The source, where the form is nothing but that source now."""
        if len(self.terms) == 1 and self.terms[0][1] == 1 and self.terms[0][0][1] == 0:
            return self.terms[0][0][0]
        return None


NEVER = Form(())
ALWAYS = Form((((CLOCK, 0), 1),))


def combine(parts: Iterable[tuple[Form, int]], bias: int = 0) -> Form:
    """Return the weighted sum of ``parts`` plus ``bias``; where it is not in {0, 1} it is only good as a gate's D."""
    terms: dict[tuple[int, int], int] = {(CLOCK, 0): bias}
    for form, weight in parts:
        for key, value in form.terms:
            terms[key] = terms.get(key, 0) + weight * value
    return Form.of(terms)


@dataclass(frozen=True)
class Circuit:
    """Gates over input lines; ``outputs`` names the gates whose spikes leave it."""

    lines: tuple[str, ...]
    gates: tuple[Gate, ...]
    outputs: tuple[tuple[str, int], ...]

    @property
    def weights(self) -> int:
        """Synapses of all gates, those of the clock included."""
        return sum(len(gate.taps) for gate in self.gates)

    def run(self, trains: np.ndarray) -> np.ndarray:
        """Return the outputs [B, T, outputs] for ``trains`` [B, T, d], gates evaluated as their definition says.

        Raises InputError: they are no trains of the circuit's lines.
        """
        trains = trains_of(trains, self.lines)
        batch, steps, d = trains.shape
        order = self.order()
        past = max((tap.delay for gate in self.gates for tap in gate.taps), default=0)
        # Source s lies in column s + 1, the clock in column 0; rows before step 0 are silent.
        seen = np.zeros((past + steps, batch, 1 + d + len(self.gates)), dtype=np.int64)
        seen[past:, :, 0] = 1
        seen[past:, :, 1 : 1 + d] = trains.transpose(1, 0, 2)
        counts = np.zeros((len(self.gates), batch), dtype=np.int64)
        for t in range(past, past + steps):
            for g in order:
                drive = sum(tap.weight * seen[t - tap.delay, :, tap.source + 1] for tap in self.gates[g].taps)
                seen[t, :, 1 + d + g] = drive >= 1
                if self.gates[g].modulus:
                    counts[g] += drive
                    seen[t, :, 1 + d + g] = (drive >= 1) & (counts[g] % self.gates[g].modulus == 0)
        columns = [1 + d + g for _, g in self.outputs]
        return seen[past:, :, columns].transpose(1, 0, 2).astype(bool)

    def order(self) -> list[int]:
        """Return the gates so that every tap without delay comes after its source.

        Raises ValueError: a loop without delay.
        """
        d = len(self.lines)
        before = [{t.source - d for t in gate.taps if t.delay == 0 and t.source >= d} for gate in self.gates]
        done: list[int] = []
        placed: set[int] = set()
        while len(done) < len(self.gates):
            ready = [g for g in range(len(self.gates)) if g not in placed and before[g] <= placed]
            if not ready:
                raise ValueError("a loop of gates without delay")
            done += ready
            placed.update(ready)
        return done


@dataclass
class Builder:
    """Collects gates; equal gates are made once."""

    lines: tuple[str, ...]
    gates: list[Gate | None] = field(default_factory=list)
    _made: dict[tuple[tuple[Tap, ...], int], int] = field(default_factory=dict)

    def line(self, name: str) -> Form:
        """Return an input line."""
        return Form.source(self.lines.index(name))

    def reserve(self) -> tuple[int, Form]:
        """Return the number and the signal of a gate that `define` describes later: loops need it."""
        self.gates.append(None)
        return len(self.gates) - 1, Form.source(len(self.lines) + len(self.gates) - 1)

    def define(
        self, number: int, drive: Form, *, low: int | None = None, high: int | None = None, note: str = ""
    ) -> None:
        """Say what a reserved gate is: [drive >= 1]."""
        self.gates[number] = _gate(drive, low, high, note)

    def gate(
        self,
        parts: Sequence[tuple[Form, int]],
        bias: int = 0,
        *,
        low: int | None = None,
        high: int | None = None,
        note: str = "",
        modulus: int = 0,
    ) -> Form:
        """Return the signal of the gate [sum of weighted parts + bias >= 1].

        ``low`` and ``high`` are what is known of the sum; otherwise the signs of its synapses say it.
        """
        gate = replace(_gate(combine(parts, bias), low, high, note), modulus=modulus)
        key = (gate.taps, modulus)
        if key not in self._made:
            self._made[key] = len(self.gates)
            self.gates.append(gate)
        return Form.source(len(self.lines) + self._made[key])

    def as_gate(self, form: Form, note: str = "") -> int:
        """Return the number of a gate whose spikes are ``form``, made for it unless there is one."""
        alone = form.alone
        if alone is not None and alone >= len(self.lines):
            return alone - len(self.lines)
        made = self.gate([(form, 1)], low=0, high=1, note=note).alone
        assert made is not None
        return made - len(self.lines)

    def build(self, outputs: Sequence[tuple[str, Form]]) -> Circuit:
        """Return the circuit with a gate for every output, without the gates that none of them needs."""
        ends = [(name, self.as_gate(form, name)) for name, form in outputs]
        d, wanted, stack = len(self.lines), set[int](), [g for _, g in ends]
        while stack:
            g = stack.pop()
            gate = self.gates[g]
            assert gate is not None, f"gate {g} was reserved and never defined"
            if g not in wanted:
                wanted.add(g)
                stack += [tap.source - d for tap in gate.taps if tap.source >= d]
        kept = sorted(wanted)
        place = {g: i for i, g in enumerate(kept)}

        def renumber(gate: Gate) -> Gate:
            taps = tuple(
                Tap(tap.source if tap.source < d else d + place[tap.source - d], tap.delay, tap.weight)
                for tap in gate.taps
            )
            return replace(gate, taps=taps)

        gates = tuple(renumber(gate) for gate in (self.gates[g] for g in kept) if gate is not None)
        return Circuit(self.lines, gates, tuple((name, place[g]) for name, g in ends))


def _gate(drive: Form, low: int | None, high: int | None, note: str) -> Gate:
    taps = tuple(Tap(source, delay, weight) for (source, delay), weight in drive.terms)
    least = sum(min(tap.weight, 0) for tap in taps) if low is None else low
    most = sum(max(tap.weight, 0) for tap in taps) if high is None else high
    return Gate(taps, least, max(most, 0), note)
