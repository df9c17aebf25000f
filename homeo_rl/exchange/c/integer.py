"""A policy in integers, and the plain reference of what ``homeo_int.c`` computes with it.

Observations, actions and outputs are Q16 (times 65536). Weights are int16 times 2^shift, one shift a layer; currents,
potentials, thresholds and biases have the layer's shift. Decays are Q15. Shifts and divisions round down, as
numpy's do.
Shapes: D observations, K actions, T spike steps, N neurons.
"""

import math
from dataclasses import dataclass

import numpy as np

from homeo_rl.errors import UsageError
from homeo_rl.exchange.c.description import Description, population_of, readout_of
from homeo_rl.exchange.c.source import normalisation
from homeo_rl.snn.kernels.layer import kind_of
from homeo_rl.snn.kernels.scans import CURRENT, IF, LIF

ONE = 1 << 16
LEVEL = 65470
MOST = 1 << 30
FARTHEST = 1 << 21
LARGEST = 2**31 - 1

EXPONENTIAL = np.rint(np.exp(-np.arange(1025) / 64.0) * ONE).astype(np.int64)
TANGENT = np.rint(np.tanh(np.arange(1025) / 128.0) * ONE).astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class IntegerLayer:
    """Weights [N_in, N] as int16 times 2^shift, and what has that scale."""

    weight: np.ndarray
    bias: np.ndarray
    initial: np.ndarray
    shift: int
    threshold: int
    leak: int
    fires: bool


def to_q16(values: np.ndarray) -> np.ndarray:
    """Return numbers times 65536, rounded and held in int32."""
    return np.clip(np.rint(np.asarray(values, dtype=np.float64) * ONE), -LARGEST, LARGEST).astype(np.int64)


class IntegerPolicy:
    """The numbers of a policy, and its decisions.

    Raises:
        UsageError: the policy adapts, has a reflex, or its membranes outlive a decision.
    """

    def __init__(self, made: Description) -> None:
        spec = made.network.spec
        if made.mechanism != type(made.mechanism)():
            raise UsageError("--number int: expected --homeostasis none, integers do not adapt; leave one of them out")
        if spec.membrane == "episode":
            raise UsageError(
                "--number int: expected membranes that begin anew with every decision; take --number float32"
            )
        if made.controller.reflex is not None:
            raise UsageError("--number int: expected a policy without a reflex; take --number float32")
        self.made, self.spec = made, spec
        self.layers = tuple(_quantise(made, index) for index in range(len(made.layers)))
        shift, scale = normalisation(made.controller)
        self.shift = None if shift is None else to_q16(shift)
        self.scale = None if scale is None else to_q16(1.0 / np.maximum(scale.astype(np.float64), 1e-4))
        self.clip = int(to_q16(np.array(made.controller.normaliser.clip)))
        means, stds = population_of(made.network)
        self.mean = None if means is None else to_q16(means)
        self.precision = None if stds is None else to_q16(0.5 / np.maximum(stds.astype(np.float64), 1e-2) ** 2)
        weights, biases = readout_of(made.network)
        self.readout_weight = None if weights is None else to_q16(weights)
        self.readout_bias = None if biases is None else to_q16(biases)
        self.inverse_span = int(to_q16(np.array(1.0 / spec.encoder.span)))
        self.gain = int(to_q16(np.array(spec.readout.gain)))
        low, high = (np.array(part, dtype=np.float64) for part in (made.controller.spec.low, made.controller.spec.high))
        self.low, self.high = to_q16(low), to_q16(high)
        self.middle, self.half = to_q16(0.5 * (high + low)), to_q16(0.5 * (high - low))
        self.values = None if made.controller.bins is None else to_q16(made.controller.bins.values.numpy())
        self.decays = (round(spec.neuron.current_decay * 2**15), round(spec.neuron.voltage_decay * 2**15))

    def act(self, observation: np.ndarray, noise: np.random.Generator | None = None) -> np.ndarray:
        """Return the action [K], Q16 or a choice, for an observation [D], Q16; random spikes are ``noise``'s."""
        z = observation.astype(np.int64)
        if self.shift is not None and self.scale is not None:
            distance = np.clip(z - self.shift, -LARGEST, LARGEST)
            z = np.clip((distance * self.scale) >> 16, -self.clip, self.clip)
        train: np.ndarray | None = None if self.spec.encoder.kind == "current" else self._encode(z, noise)
        for layer in self.layers:
            train, potential, last = self._run(layer, train, z)
        return self._squash(self._read(train, potential, last))

    def _encode(self, z: np.ndarray, noise: np.random.Generator | None) -> np.ndarray:
        """Return spikes [T, N_enc]."""
        steps, kind = self.spec.steps, self.spec.encoder.kind
        if kind == "bernoulli":
            x = np.concatenate([z, -z]) if self.spec.encoder.signed else z
            activity = np.clip((x * self.inverse_span) >> 16, 0, ONE)
        else:
            assert self.mean is not None
            assert self.precision is not None
            distance = np.clip(np.repeat(z, len(self.mean) // len(z)) - self.mean, -FARTHEST, FARTHEST)
            activity = _look_up(EXPONENTIAL, (((distance * distance) >> 16) * self.precision) >> 16, 10, 0)
        if kind == "population-regular":
            spikes, potential = np.zeros((steps, len(activity)), dtype=np.int64), np.zeros_like(activity)
            for t in range(steps):
                potential = potential + activity
                spikes[t] = potential > LEVEL
                potential = potential - LEVEL * spikes[t]
            return spikes
        assert noise is not None
        draws = noise.random((steps, len(activity)), dtype=np.float32).astype(np.float64) * 2**24
        drawn: np.ndarray = (draws.astype(np.int64) < activity * 256).astype(np.int64)
        return drawn

    def _run(
        self, layer: IntegerLayer, train: np.ndarray | None, z: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return spikes [T, N], last potentials [N] and last spikes [N]."""
        neuron = self.spec.neuron
        kind, size = kind_of(neuron), len(layer.bias)
        u, v, s = np.zeros(size, dtype=np.int64), layer.initial.copy(), np.zeros(size, dtype=np.int64)
        spikes = np.zeros((self.spec.steps, size), dtype=np.int64)
        graded = np.clip((z @ layer.weight) >> 16, -MOST, MOST) if train is None else None
        for t in range(self.spec.steps):
            x = (train[t] @ layer.weight if train is not None else graded) + layer.bias
            if kind == CURRENT:
                u = np.clip(_decay(self.decays[0], u) + x, -MOST, MOST)
                v = np.where(s > 0, 0, _decay(self.decays[1], v)) + u
            elif kind == IF:
                v = v + x
            elif kind == LIF:
                v = v + _decay(layer.leak, np.clip(x - v, -MOST, MOST))
            else:
                v = v + x - _decay(layer.leak, v)
            v = np.clip(v, -MOST, MOST)
            if not layer.fires:
                continue
            s = (v > layer.threshold if kind == CURRENT else v >= layer.threshold).astype(np.int64)
            spikes[t] = s
            if kind != CURRENT:
                v = np.where(s > 0, 0 if neuron.reset == "hard" else v - layer.threshold, v)
        return spikes, v, s

    def _read(self, train: np.ndarray | None, potential: np.ndarray, last: np.ndarray) -> np.ndarray:
        kind, steps = self.spec.readout.kind, self.spec.steps
        assert train is not None
        count = train.sum(0)
        if kind == "population":
            assert self.readout_weight is not None
            assert self.readout_bias is not None
            y = (count * self.readout_weight).reshape(self.spec.outputs, -1).sum(1) // steps + self.readout_bias
        elif kind == "mean":
            y = (self.gain * (2 * ONE * count // steps - ONE)) >> 16
        elif kind == "last":
            y = np.where(last > 0, self.gain, -self.gain)
        else:
            y = (potential * ONE) >> self.layers[-1].shift
        result: np.ndarray = np.clip(y, -LARGEST, LARGEST)
        return result

    def _squash(self, y: np.ndarray) -> np.ndarray:
        spec = self.made.controller.spec
        unit: np.ndarray
        if spec.discrete:
            return np.array([int(y.argmax())])
        if self.values is not None:
            unit = self.values[y.reshape(-1, len(self.values)).argmax(1)]
        elif spec.squash == "none":
            unit = np.clip(y, self.low, self.high)
            return unit
        elif spec.squash == "tanh":
            unit = np.sign(y) * _look_up(TANGENT, np.abs(y), 9, ONE)
        else:
            unit = np.clip(y, -ONE, ONE)
        unit = np.clip(((unit * self.half) >> 16) + self.middle, self.low, self.high)
        return unit


def _quantise(made: Description, index: int) -> IntegerLayer:
    layer, neuron = made.layers[index], made.network.spec.neuron
    largest = max(float(np.abs(layer.weight).max()), 1e-6)
    shift = min(max(math.floor(math.log2(32767.0 / largest)), 0), 20)
    unit = float(1 << shift)
    initial = np.zeros(layer.shape[1]) if layer.initial is None else layer.initial
    return IntegerLayer(
        weight=np.clip(np.rint(layer.weight.astype(np.float64) * unit), -32767, 32767).astype(np.int64),
        bias=np.clip(np.rint(layer.bias.astype(np.float64) * unit), -MOST, MOST).astype(np.int64),
        initial=np.rint(initial.astype(np.float64) * unit).astype(np.int64),
        shift=shift,
        threshold=round(neuron.threshold * unit),
        leak=round(2**15 / layer.tau),
        fires=layer.fires,
    )


def _decay(factor: int, x: np.ndarray) -> np.ndarray:
    result: np.ndarray = (factor * x + (1 << 14)) >> 15
    return result


def _look_up(table: np.ndarray, x: np.ndarray, step: int, last: int) -> np.ndarray:
    place, part = x >> step, x & ((1 << step) - 1)
    inside = np.minimum(place, 1023)
    value = table[inside] + (((table[inside + 1] - table[inside]) * part) >> step)
    result: np.ndarray = np.where(place >= 1024, last, value)
    return result
