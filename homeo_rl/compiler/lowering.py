"""From threshold gates to leaky integrate-and-fire neurons that spike exactly as the gates do.

A neuron's threshold is 1 and it starts at 0::

    v[t] = beta u[t-1] + sum w s_pre[t - delay],   s = [v > 1]
    soft: u = v - s        hard: u = v (1 - s)        soft_next: v[t] = beta v[t-1] - s[t-1] + sum w s_pre

Its drive is twice the gate's D, so 1 lies in the middle between a gate's silence (D <= 0) and its spike (D >= 1).

*Lead compensation* (T1): a synapse w becomes 2 w and, one step later, - 2 beta w, and a synapse from the neuron to
itself cancels the reset: then v[t] = 2 D[t] for every train and every beta in [0, 1]. (By induction: what is left of
v[t-1] = 2 D[t-1] is beta 2 D[t-1], less the reset, and exactly that arrives with the other sign.) With a hard reset
this holds where D <= 1; a gate with M levels becomes a bank of M neurons, of which the k-th fires at D >= k and those
above it tell it how much was lost. Where D is 0 or 1 at all times, v is 0 or 2, and one synapse from the neuron to
itself does all of it.

*Latency* (T2): gate g answers L_g steps late, and each of its synapses waits for the slowest: on the unit target every
synapse between neurons takes a step, on the layered target it may take none. Delays are properties of synapses, or
chains of relay neurons that all readers share.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from homeo_rl.compiler.circuit import CLOCK, Circuit, Gate, Tap
from homeo_rl.errors import UsageError

Reset = Literal["soft", "hard", "soft_next"]
Target = Literal["unit", "layered"]
Delays = Literal["synaptic", "relays"]


@dataclass(frozen=True)
class Synapse:
    """From source ``pre`` to neuron ``post``; sources are `CLOCK`, inputs 0 to d - 1, neuron i is d + i."""

    pre: int
    post: int
    delay: int
    weight: Fraction


@dataclass(frozen=True)
class SpikingCircuit:
    """A network of leaky integrate-and-fire neurons in exact numbers."""

    lines: tuple[str, ...]
    beta: Fraction
    reset: Reset
    target: Target  # "unit" or "layered"
    notes: tuple[str, ...]
    layers: tuple[int, ...]  # each neuron's layer; within a step, layers follow each other
    synapses: tuple[Synapse, ...]  # all of them, one a pair and delay
    outputs: tuple[tuple[str, int], ...]
    latency: int  # L, steps from an input to the output that it belongs to

    @property
    def neurons(self) -> int:
        """How many neurons there are."""
        return len(self.notes)

    @property
    def weights(self) -> int:
        """How many synapses there are, those of the clock included."""
        return len(self.synapses)

    @property
    def reach(self) -> int:
        """The longest delay."""
        return max((synapse.delay for synapse in self.synapses), default=0)


@dataclass(frozen=True)
class Neurons:
    """The neurons that a circuit is lowered to."""

    beta: Fraction = Fraction(7, 8)
    reset: Reset = "soft"
    target: Target = "unit"
    delays: Delays = "synaptic"

    def __post_init__(self) -> None:
        if not 0 <= self.beta <= 1:
            raise UsageError(f"beta: expected a leak of 0 to 1, got {self.beta}")
        for what, got, known in (
            ("reset", self.reset, ("soft", "hard", "soft_next")),
            ("target", self.target, ("unit", "layered")),
            ("delays", self.delays, ("synaptic", "relays")),
        ):
            if got not in known:
                raise UsageError(f"{what}: expected one of {', '.join(known)}, got {got!r}")


def lower(circuit: Circuit, neurons: Neurons) -> SpikingCircuit:
    """Return the spiking network that computes what ``circuit`` does, L steps late.

    Raises UsageError: a loop that is more than one gate deep, on the unit target.
    """
    circuit, late, latency = _schedule(circuit, neurons.target)
    d = len(circuit.lines)
    copies = [max(gate.high, 1) if neurons.reset == "hard" and neurons.beta else 1 for gate in circuit.gates]
    first = [sum(copies[:g]) for g in range(len(circuit.gates))]
    notes: list[str] = []
    synapses: list[Synapse] = []
    for g, gate in enumerate(circuit.gates):
        bank = range(first[g], first[g] + copies[g])
        for k, post in enumerate(bank):
            notes.append(gate.note + (f" level {k + 1}" if copies[g] > 1 else ""))
            taps = [
                Tap(
                    tap.source if tap.source < d else d + first[tap.source - d],
                    late[g] - (0 if tap.source < d else late[tap.source - d]) + tap.delay,
                    tap.weight,
                )
                for tap in gate.taps
            ]
            if k:
                taps.append(Tap(CLOCK, late[g], -k))
            selves = [d + j for j in bank if j >= post]
            synapses += _synapses(replace(gate, taps=tuple(taps)), post, selves, neurons, late[g])
    depth = _depths(circuit) if neurons.target == "layered" else [0] * len(circuit.gates)
    layers = [depth[g] for g in range(len(circuit.gates)) for _ in range(copies[g])]
    outputs = tuple((name, first[g]) for name, g in circuit.outputs)
    made = SpikingCircuit(
        circuit.lines, neurons.beta, neurons.reset, neurons.target, tuple(notes), tuple(layers),
        _merge(synapses), outputs, latency,
    )  # fmt: skip
    return _with_relays(made, neurons) if neurons.delays == "relays" else made


def _schedule(circuit: Circuit, target: Target) -> tuple[Circuit, list[int], int]:
    """Return the circuit with all outputs equally late, every gate's latency, and that of the outputs."""
    hop = 1 if target == "unit" else 0
    late = _latencies(circuit, hop)
    latency = max(late[g] for _, g in circuit.outputs)
    d = len(circuit.lines)
    gates, outputs = list(circuit.gates), []
    for name, g in circuit.outputs:
        read = any(tap.source == d + g for i, gate in enumerate(gates) if i != g for tap in gate.taps)
        if late[g] == latency:
            outputs.append((name, g))
        elif not read and sum(end == g for _, end in circuit.outputs) == 1:
            late[g] = latency
            outputs.append((name, g))
        else:
            gates.append(Gate((Tap(d + g, 0, 1),), 0, 1, f"{name}, later"))
            late.append(latency)
            outputs.append((name, len(gates) - 1))
    return Circuit(circuit.lines, tuple(gates), tuple(outputs)), late, latency


def _latencies(circuit: Circuit, hop: int) -> list[int]:
    """Return the least L_g >= l_j + hop - k_j of every gate."""
    d, late = len(circuit.lines), [0] * len(circuit.gates)
    for _ in range(len(circuit.gates) + 1):
        moved = False
        for g, gate in enumerate(circuit.gates):
            for tap in gate.taps:
                least = -tap.delay if tap.source < d else late[tap.source - d] + hop - tap.delay
                if least > late[g]:
                    late[g], moved = least, True
        if not moved:
            return late
    raise UsageError(
        "loop of several gates: expected loops one gate deep on the unit target, where every synapse takes a step; "
        "use --target layered"
    )


def _depths(circuit: Circuit) -> list[int]:
    d, depth = len(circuit.lines), [0] * len(circuit.gates)
    for g in circuit.order():
        for tap in circuit.gates[g].taps:
            if tap.source >= d and tap.delay == 0:
                depth[g] = max(depth[g], depth[tap.source - d] + 1)
    return depth


def _synapses(gate: Gate, post: int, selves: list[int], neurons: Neurons, late: int) -> Iterable[Synapse]:
    beta, reset = neurons.beta, neurons.reset
    self_weight = selves[0]
    if gate.modulus:
        yield from _integrating(gate, post, self_weight, late)
        return
    bare = beta == 0 and reset != "soft_next"
    simple = not bare and gate.low >= 0 and gate.high <= 1
    for tap in gate.taps:
        yield Synapse(tap.source, post, tap.delay, Fraction(2 * tap.weight))
        if not bare and not simple:
            yield Synapse(tap.source, post, tap.delay + 1, -2 * beta * tap.weight)
    if bare:
        return
    if simple:
        yield Synapse(self_weight, post, 1, {"soft": -beta, "soft_next": 1 - 2 * beta, "hard": Fraction(0)}[reset])
    elif reset == "hard":
        for source in selves:
            yield Synapse(source, post, 1, 2 * beta)
    else:
        yield Synapse(self_weight, post, 1, beta if reset == "soft" else Fraction(1))


def _integrating(gate: Gate, post: int, self_weight: int, late: int) -> Iterable[Synapse]:
    """Yield the synapses of a neuron without leak that fires at every ``modulus``-th spike.

    A spike adds w = 2^-k <= 1 / modulus. The potential begins, and begins again after a spike, half a w below where
    ``modulus`` of them reach 1; all of it is exact in binary.
    """
    w = Fraction(1, 1 << (gate.modulus - 1).bit_length())
    begin = 1 - gate.modulus * w + w / 2
    for tap in gate.taps:
        yield Synapse(tap.source, post, tap.delay, w * tap.weight)
    yield Synapse(CLOCK, post, late, begin)
    yield Synapse(CLOCK, post, late + 1, -begin)
    yield Synapse(self_weight, post, 1, 1 - gate.modulus * w)


def _merge(synapses: Iterable[Synapse]) -> tuple[Synapse, ...]:
    total: dict[tuple[int, int, int], Fraction] = {}
    for s in synapses:
        key = (s.post, s.pre, s.delay)
        total[key] = total.get(key, Fraction(0)) + s.weight
    return tuple(Synapse(pre, post, delay, w) for (post, pre, delay), w in sorted(total.items()) if w)


def _with_relays(circuit: SpikingCircuit, neurons: Neurons) -> SpikingCircuit:
    """Return the network with chains of relay neurons, so that inputs come at once and neurons after a step at most."""
    d = len(circuit.lines)
    notes, layers = list(circuit.notes), list(circuit.layers)
    chains: dict[int, list[int]] = {}
    synapses: list[Synapse] = []
    back = {"soft": -neurons.beta, "soft_next": 1 - 2 * neurons.beta, "hard": Fraction(0)}[neurons.reset]
    at_once = {source: 0 if source < d else 1 for source in range(-1, d + circuit.neurons)}

    def relay(source: int, place: int) -> int:
        """Return the neuron that repeats ``source`` so that its own synapses of one step reach further back."""
        chain = chains.setdefault(source, [])
        while len(chain) <= place:
            before = chain[-1] if chain else source
            chain.append(d + len(notes))
            name = "clock" if source == CLOCK else circuit.lines[source] if source < d else circuit.notes[source - d]
            notes.append(f"{name}, {len(chain)} back")
            layers.append(0)
            post = chain[-1] - d
            synapses.append(Synapse(before, post, 0 if before < d else 1, Fraction(2)))
            synapses.append(Synapse(chain[-1], post, 1, back))
        return chain[place]

    for s in circuit.synapses:
        over = s.delay - at_once[s.pre]
        synapses.append(s if over <= 0 else Synapse(relay(s.pre, over - 1), s.post, 1, s.weight))
    return replace(circuit, notes=tuple(notes), layers=tuple(layers), synapses=_merge(synapses))
