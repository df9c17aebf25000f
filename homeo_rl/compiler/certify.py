"""Proof that a network computes its specification for every infinite train, or the shortest train for which it does
not.

A breadth-first search over the product of the network's state and the reference machine's: from every pair that can be
reached, every symbol is tried; where the output ever differs, the path there is a counterexample, and no shorter one
exists. Where no new pair is found, they agree for ever. Potentials are exact: whole numbers over a common
denominator, in 64 bits as long as they fit, and in Python's unlimited integers where they do not.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from homeo_rl.compiler.lowering import SpikingCircuit
from homeo_rl.compiler.spike_function import SpikeFunction

MOST_STATES = 2_000_000  # pairs of states after which the search gives up

_SAFE = 1 << 62
_DEEP = 256


@dataclass(frozen=True)
class Certificate:
    """What the search found."""

    # "equal": for every infinite train; "different": `counterexample` tells; "undecided": there were more states than
    # allowed, or potentials whose denominators grow without end
    verdict: str
    states: int
    depth: int  # steps of the longest of the shortest paths to them
    # the shortest train [T][d] after which an output is wrong, at its last step
    counterexample: tuple[tuple[int, ...], ...] | None = None
    expected: tuple[int, ...] | None = None  # the outputs that the specification asks for at that step
    got: tuple[int, ...] | None = None

    @property
    def equal(self) -> bool:
        """Whether equality is proved."""
        return self.verdict == "equal"


def certify(
    circuit: SpikingCircuit,
    function: SpikeFunction,
    *,
    most_states: int = MOST_STATES,
    on_level: Callable[[int, int], None] | None = None,
) -> Certificate:
    """Search the product of ``circuit`` and ``function``.

    Args:
        function: what it is to compute, over the same lines and outputs, ``circuit.latency`` steps earlier.
        most_states: after so many pairs the verdict is "undecided".
        on_level: called with the depth and the pairs found after every level of the search.
    """
    try:
        return _search(_Stepper(circuit, deep=False), function, most_states, on_level)
    except _Inexact:
        pass
    try:
        return _search(_Stepper(circuit, deep=True), function, most_states, on_level)
    except _Inexact as stopped:
        return Certificate("undecided", stopped.states, stopped.depth)


class _Inexact(Exception):
    """A potential cannot be held in the numbers at hand."""

    def __init__(self, states: int = 0, depth: int = 0) -> None:
        super().__init__()
        self.states, self.depth = states, depth


class _Stepper:
    """One step of a network in whole numbers, for a batch of states.

    Potentials are in units of 1 / (q^J Q): q is the leak's denominator, Q that of the weights, and J how many more
    factors q fit into 64 bits. Remaining history is what synapses with longer delays still need.
    """

    def __init__(self, circuit: SpikingCircuit, *, deep: bool) -> None:
        self.circuit = circuit
        self.d, self.n = len(circuit.lines), circuit.neurons
        self.p, self.q = circuit.beta.numerator, circuit.beta.denominator
        common = math.lcm(*(s.weight.denominator for s in circuit.synapses)) if circuit.synapses else 1
        largest = int(sum(abs(s.weight) for s in circuit.synapses)) + 2
        factors = 0
        if self.q > 1:
            room = _SAFE // (common * largest * max(self.p, 1) * 4)
            factors = _DEEP if deep else max(0, int(math.log(max(room, 1), self.q)))
        self.dtype = object if deep else np.int64
        self.unit = common * self.q**factors
        self.reach = max(circuit.reach, 1)
        # Columns of a step's sources: the clock, the inputs, the neurons.
        self.weights = np.zeros((self.reach + 1, 1 + self.d + self.n, self.n), dtype=self.dtype)
        for s in circuit.synapses:
            self.weights[s.delay, s.pre + 1, s.post] = int(s.weight * self.unit)
        if not deep and largest * self.unit >= _SAFE:
            raise _Inexact
        layers = np.array(circuit.layers)
        self.groups = [np.flatnonzero(layers == layer) for layer in range(layers.max() + 1)]
        self.needed = self._find_needed()

    def _find_needed(self) -> np.ndarray:
        used = np.zeros((self.reach + 1, 1 + self.d + self.n), dtype=bool)
        for s in self.circuit.synapses:
            used[: s.delay + 1, s.pre + 1] = True
        if self.circuit.reset == "soft_next":
            used[1, 1 + self.d :] = True
        kept: np.ndarray = used[1:]
        return kept

    def step(self, u: np.ndarray, past: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Take one step.

        Args:
            u: potentials [B, N] after the last reset.
            past: sources [B, reach, 1 + d + N]; ``past[:, k]`` lies k + 1 steps back.
            x: input spikes [B, d].

        Returns potentials, sources after the step, and the spikes [B, N].
        """
        now = np.zeros((len(u), 1 + self.d + self.n), dtype=self.dtype)
        now[:, 0] = 1
        now[:, 1 : 1 + self.d] = x
        drive = now @ self.weights[0]
        for k in range(self.reach):
            drive = drive + past[:, k].astype(self.dtype) @ self.weights[k + 1]
        leaked = self.p * u
        if np.any(leaked % self.q):
            raise _Inexact
        v = leaked // self.q + drive
        if self.circuit.reset == "soft_next":
            v = v - past[:, 0, 1 + self.d :].astype(self.dtype) * self.unit
        for layer, group in enumerate(self.groups):
            if layer:
                v[:, group] = v[:, group] + now[:, 1 + self.d :] @ self.weights[0][1 + self.d :, group]
            now[:, 1 + self.d + group] = (v[:, group] > self.unit).astype(self.dtype)
        spikes = now[:, 1 + self.d :]
        if self.dtype is np.int64 and np.any(np.abs(v) >= _SAFE // (4 * max(self.p, 1))):
            raise _Inexact
        if self.circuit.reset == "soft":
            v = v - spikes * self.unit
        elif self.circuit.reset == "hard":
            v = v * (1 - spikes)
        after = np.concatenate([now[:, None].astype(np.int8), past[:, :-1]], 1) * self.needed
        return v, after.astype(np.int8), spikes.astype(bool)


def _search(
    stepper: _Stepper, function: SpikeFunction, most_states: int, on_level: Callable[[int, int], None] | None
) -> Certificate:
    circuit, d, wait = stepper.circuit, stepper.d, stepper.circuit.latency
    ends = [neuron for _, neuron in circuit.outputs]
    symbols = (np.arange(2**d)[:, None] >> np.arange(d)) & 1
    u = np.zeros((1, stepper.n), dtype=stepper.dtype)
    past = np.zeros((1, stepper.reach, 1 + d + stepper.n), dtype=np.int8)
    memory = function.start(1)
    queue = np.zeros((1, wait, len(ends)), dtype=bool)  # what the reference said in the last L steps, latest first
    parents: list[tuple[np.ndarray, np.ndarray]] = []
    seen = {_keys(u, past, memory, queue, 0)[0]}
    depth = 0
    while len(u):
        rows = np.repeat(np.arange(len(u)), len(symbols))
        x = np.tile(symbols, (len(u), 1))
        try:
            u2, past2, spikes = stepper.step(u[rows], past[rows], x)
        except _Inexact:
            raise _Inexact(len(seen), depth) from None
        memory2, emitted = function.step(memory[rows], x.astype(bool))
        line = np.concatenate([emitted[:, None], queue[rows]], 1)
        got = spikes[:, ends]
        wrong = np.any(got != line[:, wait], axis=1) if depth >= wait else np.zeros(len(rows), dtype=bool)
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            train = [symbols[at % len(symbols)]]
            row = int(rows[at])
            for before, symbol in reversed(parents):
                train.append(symbols[symbol[row]])
                row = int(before[row])
            path = tuple(tuple(int(bit) for bit in step) for step in reversed(train))
            expected, actual = (tuple(int(bit) for bit in bits) for bits in (line[at, wait], got[at]))
            return Certificate("different", len(seen), depth + 1, path, expected, actual)
        depth += 1
        queue2 = line[:, :wait]
        # Before step L the outputs are not compared, so the first steps are states of their own.
        keys = _keys(u2, past2, memory2, queue2, min(depth, wait))
        fresh = []
        for i, key in enumerate(keys):
            if key not in seen:
                seen.add(key)
                fresh.append(i)
        if len(seen) > most_states:
            return Certificate("undecided", len(seen), depth)
        if not fresh:
            break
        parents.append((rows[fresh], np.array(fresh) % len(symbols)))
        u, past, memory, queue = u2[fresh], past2[fresh], memory2[fresh], queue2[fresh]
        if on_level is not None:
            on_level(depth, len(seen))
    return Certificate("equal", len(seen), depth)


def _keys(u: np.ndarray, past: np.ndarray, memory: np.ndarray, queue: np.ndarray, age: int) -> list[bytes]:
    bits = np.packbits(np.concatenate([past.reshape(len(u), -1) != 0, queue.reshape(len(u), -1)], 1), axis=1)
    tail = np.ascontiguousarray(bits)
    numbers = np.ascontiguousarray(memory)
    if u.dtype == object:
        heads = [repr(row.tolist()).encode() for row in u]
    else:
        heads = [row.tobytes() for row in np.ascontiguousarray(u)]
    stamp = bytes([min(age, 255)])
    return [stamp + a + b.tobytes() + c.tobytes() for a, b, c in zip(heads, tail, numbers, strict=True)]
