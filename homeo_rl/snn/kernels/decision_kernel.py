"""One decision, from observation to action, in one compiled call that follows events.

A silent neuron costs nothing: the input current of a layer is the sum of the weight rows of the neurons that fired, in
their order. Rows of a batch are independent, with weights, adaptation and membranes of their own where they have some,
so a row's result does not depend on the others. The equations are those of `homeo_rl.snn.neurons`, `encoders`,
`readouts` and `homeo_rl.homeostasis`, which the tests hold this file to. Shapes: B batch, T steps, N neurons.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from homeo_rl.numerics.jit import jit
from homeo_rl.numerics.limits import LIMIT
from homeo_rl.snn.kernels import abi
from homeo_rl.snn.kernels.abi import Ints, Network, Transform, Workspace, part_at, unpack
from homeo_rl.snn.kernels.scans import CURRENT, IF, LIF, Floats

REGULAR, POISSON, BERNOULLI, CONSTANT = range(4)  # encoders
POPULATION, MEAN, LAST, MEMBRANE = range(4)  # read-outs

RAW, TANH, IDENTITY, CLIP = range(4)
"""What becomes of outputs: nothing, squashed and scaled, clipped to [-1, 1] and scaled, or clipped to the bounds."""

INITIAL_BOUND = 1.0 - 2.0**-10
"""Thresholds that an initial potential stays within: beyond, a neuron would fire without input."""

NO_RULE, BCM_RULE, ENERGY_RULE = 0, 1, 2
"""Rules of mechanisms that are compiled, one bit each: both can be at work at once."""


class Synapses(NamedTuple):
    """Weights of a layer that lie input by input [N_in N], and what its mechanism adds to them, or nothing [0]."""

    weight: Floats
    delta: Floats
    bias: Floats
    gain: Floats


class Cells(NamedTuple):
    """State of a layer's neurons, each [N], or [0] for what it has not: dead and stuck flags, energies."""

    current: Floats
    potential: Floats
    spikes: Floats
    alive: Floats
    stuck: Floats
    energy: Floats


class Population(NamedTuple):
    """Means and widths of an encoder's receptive fields [N_enc], or nothing [0]."""

    mean: Floats
    std: Floats


class Model(NamedTuple):
    """How the neurons of a layer behave; the energy rule moves their thresholds where ``adapts`` is set."""

    kind: int
    hard: bool
    fires: bool
    constants: Floats
    adapts: bool
    psi: float


class Events(NamedTuple):
    """Which neurons fire at every step [T, widest], and how many [T]."""

    places: Ints
    counts: Ints


class Bcm(NamedTuple):
    """Numbers of the BCM rule in one layer, and its state [N]."""

    eta: float
    zeta: float
    tau: float
    bound: float
    mean: Floats
    square: Floats
    reference_rate: Floats


@jit
def _gather(current: Floats, weight: Floats, delta: Floats, events: Ints, count: int) -> None:
    """Add the weight rows of the neurons that fired, in order; four at a time, for the sake of the cache."""
    size = current.shape[0]
    changed = delta.shape[0] > 0
    k = 0
    while k + 4 <= count:
        a, b, c, d = events[k] * size, events[k + 1] * size, events[k + 2] * size, events[k + 3] * size
        w1, w2, w3, w4 = weight[a : a + size], weight[b : b + size], weight[c : c + size], weight[d : d + size]
        if changed:
            d1, d2, d3, d4 = delta[a : a + size], delta[b : b + size], delta[c : c + size], delta[d : d + size]
            for n in range(size):
                current[n] = (((current[n] + (w1[n] + d1[n])) + (w2[n] + d2[n])) + (w3[n] + d3[n])) + (w4[n] + d4[n])
        else:
            for n in range(size):
                current[n] = (((current[n] + w1[n]) + w2[n]) + w3[n]) + w4[n]
        k += 4
    while k < count:
        a = events[k] * size
        w1 = weight[a : a + size]
        if changed:
            d1 = delta[a : a + size]
            for n in range(size):
                current[n] += w1[n] + d1[n]
        else:
            for n in range(size):
                current[n] += w1[n]
        k += 1


@jit
def _add_graded(current: Floats, weight: Floats, delta: Floats, values: Floats) -> None:
    """Add weight rows times graded inputs."""
    size = current.shape[0]
    changed = delta.shape[0] > 0
    for k in range(values.shape[0]):
        value, row = values[k], weight[k * size : (k + 1) * size]
        if changed:
            change = delta[k * size : (k + 1) * size]
            for n in range(size):
                current[n] += (row[n] + change[n]) * value
        else:
            for n in range(size):
                current[n] += row[n] * value


@jit
def _encode(
    kind: int, span: float, population: Population, z: Floats, noise: Floats, steps: int, scratch: Floats,
    events: Events, rate: Floats,
) -> None:  # fmt: skip
    """Write which lines fire at which step, and the mean rate of each."""
    one, zero = z.dtype.type(1.0), z.dtype.type(0.0)
    width = rate.shape[0]
    entries = z.shape[0]
    if kind == CONSTANT:
        for n in range(width):
            rate[n] = z[n]
        return
    activity, potential = scratch[:width], scratch[width : 2 * width]
    if kind in (REGULAR, POISSON):
        size = width // entries
        least, half = z.dtype.type(1e-2), z.dtype.type(-0.5)
        for n in range(width):
            distance, spread = z[n // size] - population.mean[n], max(population.std[n], least)
            activity[n] = math.exp(half * (distance * distance) / (spread * spread))
    else:
        for n in range(width):
            value = z[n] if n < entries else -z[n - entries]
            activity[n] = min(max(value / span, zero), one)
    level = z.dtype.type(0.999)
    for n in range(width):
        rate[n], potential[n] = zero, zero
    for t in range(steps):
        count = 0
        for n in range(width):
            if kind == REGULAR:
                potential[n] += activity[n]
                fired = potential[n] > level
            else:
                fired = noise[t, n] < activity[n]
            if fired:
                potential[n] -= level
                rate[n] += one
                events.places[t, count] = n
                count += 1
        events.counts[t] = count
    for n in range(width):
        rate[n] /= z.dtype.type(steps)


@jit
def _lower_mean(values: Floats) -> Any:
    low, high, total = values[0], values[0], values.dtype.type(0.0)
    for value in values:
        low, high, total = min(low, value), max(high, value), total + value
    return values.dtype.type(total / values.dtype.type(values.shape[0]) - values.dtype.type(0.2) * (high - low))


@jit
def _energy_thresholds(psi: float, energy: Floats, before: Floats, potential: Floats, threshold: Floats) -> None:
    """One spike step of `homeo_rl.homeostasis.dynamic_threshold`."""
    kind = potential.dtype.type
    size = potential.shape[0]
    for n in range(size):
        temporal = math.exp(min((before[n] - potential[n]) / kind(3.0), kind(60.0))) - kind(1.0)
        threshold[n] = kind(0.5) * energy[n] + kind(0.5) * temporal
    middle, level = _lower_mean(potential), _lower_mean(threshold)
    for n in range(size):
        rise = potential[n] - middle
        energy[n] = kind(0.01) * rise + level + math.log1p(math.exp(min(rise / psi, kind(60.0))))


@jit
def _layer(
    model: Model, steps: int, graded: bool, encoded: Floats, synapses: Synapses, cells: Cells, rate: Floats,
    scratch: Floats, events: Events, fired: Events,
) -> None:  # fmt: skip
    """Run one layer over all steps, on graded inputs or on events; ``rate`` receives spike counts."""
    kind, hard, fires, constants = model.kind, model.hard, model.fires, model.constants
    weight, delta, bias, gain = synapses.weight, synapses.delta, synapses.bias, synapses.gain
    u, v, s, alive, stuck = cells.current, cells.potential, cells.spikes, cells.alive, cells.stuck
    size = bias.shape[0]
    one, zero = bias.dtype.type(1.0), bias.dtype.type(0.0)
    current_decay, voltage_decay, tau = constants[0], constants[1], constants[2]
    product, before, threshold = scratch[:size], scratch[size : 2 * size], scratch[2 * size : 3 * size]
    for n in range(size):
        rate[n], threshold[n] = zero, constants[3]
    for t in range(steps):
        if not graded or t == 0:
            for n in range(size):
                product[n] = zero
            if graded:
                _add_graded(product, weight, delta, encoded)
            else:
                _gather(product, weight, delta, events.places[t], events.counts[t])
            if gain.shape[0] > 0:
                for n in range(size):
                    product[n] = product[n] * gain[n]
        if model.adapts:
            for n in range(size):
                before[n] = v[n]
        # One plain loop a neuron model: a choice inside the loop would keep the compiler from using vectors.
        if kind == CURRENT:
            for n in range(size):
                u[n] = current_decay * u[n] + (product[n] + bias[n])
                v[n] = voltage_decay * v[n] * (one - s[n]) + u[n]
        elif kind == IF:
            for n in range(size):
                u[n] = product[n] + bias[n]
                v[n] = v[n] + u[n]
        elif kind == LIF:
            for n in range(size):
                u[n] = product[n] + bias[n]
                v[n] = v[n] + (u[n] - v[n]) / tau
        else:
            for n in range(size):
                u[n] = product[n] + bias[n]
                v[n] = v[n] - v[n] / tau + u[n]
        if not fires:
            continue
        if model.adapts:
            _energy_thresholds(model.psi, cells.energy, before, v, threshold)
        if kind == CURRENT:
            for n in range(size):
                s[n] = one if v[n] - threshold[n] > zero else zero
        else:
            for n in range(size):
                s[n] = one if v[n] - threshold[n] >= zero else zero
        if alive.shape[0] > 0:
            for n in range(size):
                s[n] = s[n] * alive[n]
        if stuck.shape[0] > 0:
            for n in range(size):
                s[n] = max(s[n], stuck[n])
        if kind != CURRENT and hard:
            for n in range(size):
                v[n] = v[n] * (one - s[n])
        elif kind != CURRENT:
            for n in range(size):
                v[n] = v[n] - s[n] * threshold[n]
        for n in range(size):
            rate[n] += s[n]
        places, count = fired.places[t], 0
        for n in range(size):
            places[count] = n
            count += s[n] > zero
        fired.counts[t] = count


@jit
def _bcm(rule: Bcm, pre: Floats, post: Floats, factor: Floats, delta: Floats) -> None:
    """One decision's update of `homeo_rl.homeostasis.dwam`; columns of silent inputs do not change."""
    m, q, normal = rule.mean, rule.square, rule.reference_rate
    eta, zeta, tau, bound = rule.eta, rule.zeta, rule.tau, rule.bound
    size = post.shape[0]
    kind = post.dtype.type
    zero, one = kind(0.0), kind(1.0)
    for n in range(size):
        c = post[n]
        m[n] = m[n] + (c - m[n]) / tau
        q[n] = q[n] + (c * c - q[n]) / tau
        phi = c * (c - q[n] / normal[n])
        if zeta >= zero:
            deviation = math.sqrt(max(q[n] - m[n] * m[n], zero))
            phi = phi * min(max(zeta * deviation / max(m[n], kind(1e-3)), zero), one)
        phi = eta * phi
        factor[n] = phi if math.isfinite(phi) else zero
    for k in range(pre.shape[0]):
        x = pre[k]
        if x == zero or not math.isfinite(x):
            continue
        row = delta[k * size : (k + 1) * size]
        for n in range(size):
            row[n] = min(max(row[n] + factor[n] * x, -bound), bound)


@jit
def decide(first: int, last: int, pack: Ints, counts: Ints, x: Floats, noise: Floats, out: Floats) -> bool:
    """Decide for the rows from ``first`` to before ``last``.

    Args:
        pack: what `homeo_rl.snn.kernels.abi.unpack` reads.
        counts: an array of the events' type.
        x: observations [B, D].
        noise: uniform numbers [B, T, N_enc], or empty.
        out: [B, N_enc + all N + K], written: mean rates of the encoder and of every layer, then the outputs.

    Returns whether all observations are finite and within `LIMIT`; if not, nothing was written.
    """
    limit = x.dtype.type(LIMIT)
    wrong = 0
    for r in range(first, last):
        for n in range(x.shape[1]):
            wrong += not abs(x[r, n]) <= limit
    if wrong > 0:
        return False
    network, transform, workspace = unpack(pack, counts, x)
    like, widths = workspace.scratch, network.widths
    end = widths.shape[0] - 1
    population = Population(
        part_at(network, end, abi.ENCODER_MEAN, 0, widths[0], like),
        part_at(network, end, abi.ENCODER_STD, 0, widths[0], like),
    )
    outputs = out.shape[1] - widths.sum()
    weights = part_at(network, end, abi.READOUT_WEIGHT, 0, widths[end], like)
    biases = part_at(network, end, abi.READOUT_BIAS, 0, outputs, like)
    silence = noise.reshape(0, 0) if noise.shape[0] == 0 else noise[0]
    z, scratch = like[: x.shape[1]], like[workspace.events.shape[2] :]
    for r in range(first, last):
        if transform.shift.shape[0] > 0:
            most = transform.scale[x.shape[1]]
            for n in range(x.shape[1]):
                z[n] = min(max((x[r, n] - transform.shift[n]) / transform.scale[n], -most), most)
        else:
            for n in range(x.shape[1]):
                z[n] = x[r, n]
        encoded, done = out[r, : widths[0]], widths[0]
        _encode(
            network.encoder, network.constants[4], population, z, noise[r] if noise.shape[0] > 0 else silence,
            network.neuron[2], scratch, Events(workspace.events[0], workspace.counts[0]), encoded,
        )  # fmt: skip
        pre = encoded
        for i in range(end):
            rate = out[r, done : done + widths[i + 1]]
            done += widths[i + 1]
            cells = _run_layer(network, workspace, r, i, encoded, rate)
            fires = network.readout != MEMBRANE or i < end - 1
            if i == end - 1:
                _read(network, transform, weights, biases, rate, cells, out[r, done:])
            for n in range(rate.shape[0]):
                rate[n] = rate[n] / x.dtype.type(network.neuron[2]) if fires else cells.spikes[n]
            if (network.rules & BCM_RULE) != 0 and fires:
                _adapt(network, r, i, pre, rate, scratch)
            pre = rate
    return True


@jit
def _run_layer(network: Network, workspace: Workspace, r: int, i: int, encoded: Floats, rate: Floats) -> Cells:
    """Run layer ``i`` for row ``r`` of the batch; return its neurons' state."""
    end, widest = network.widths.shape[0] - 1, workspace.events.shape[2]
    size, inputs = network.widths[i + 1], network.widths[i]
    like = workspace.scratch
    scratch = like[widest:]
    bias, extra = part_at(network, i, abi.BIAS, r, size, like), part_at(network, i, abi.BIAS_DELTA, r, size, like)
    if extra.shape[0] > 0:
        total = scratch[3 * widest : 3 * widest + size]
        for n in range(size):
            total[n] = bias[n] + extra[n]
        bias = total
    u, v = scratch[4 * widest : 4 * widest + size], scratch[5 * widest : 5 * widest + size]
    s = scratch[6 * widest : 6 * widest + size]
    if network.table[i, abi.POTENTIAL] != 0:
        u, v = part_at(network, i, abi.SYNAPSE, r, size, like), part_at(network, i, abi.POTENTIAL, r, size, like)
        s = part_at(network, i, abi.SPIKES, r, size, like)
    else:
        for n in range(size):
            u[n] = v[n] = s[n] = 0.0
        if network.table[i, abi.INITIAL] != 0:
            begin = part_at(network, i, abi.INITIAL, 0, size, like)
            most = network.constants[3] * like.dtype.type(INITIAL_BOUND)
            for n in range(size):
                v[n] = min(max(begin[n], -most), most)
    model = Model(
        network.neuron[0], network.neuron[1] == 1, network.readout != MEMBRANE or i < end - 1, network.constants,
        (network.rules & ENERGY_RULE) != 0, network.numbers[i, 4],
    )  # fmt: skip
    synapses = Synapses(
        part_at(network, i, abi.WEIGHT, r, inputs * size, like), part_at(network, i, abi.DELTA, r, inputs * size, like),
        bias, part_at(network, i, abi.GAIN, r, size, like),
    )  # fmt: skip
    cells = Cells(
        u, v, s, part_at(network, i, abi.ALIVE, r, size, like), part_at(network, i, abi.STUCK, r, size, like),
        part_at(network, i, abi.ENERGY, r, size, like),
    )  # fmt: skip
    _layer(
        model, network.neuron[2], i == 0 and network.encoder == CONSTANT, encoded, synapses, cells, rate, scratch,
        Events(workspace.events[i % 2], workspace.counts[i % 2]),
        Events(workspace.events[(i + 1) % 2], workspace.counts[(i + 1) % 2]),
    )  # fmt: skip
    return cells


@jit
def _adapt(network: Network, r: int, i: int, pre: Floats, post: Floats, scratch: Floats) -> None:
    """Let the BCM rule change the weights of layer ``i`` in row ``r`` of the batch."""
    size, numbers = post.shape[0], network.numbers[i]
    eta = numbers[0]
    if network.table[i, abi.LEARNING_RATE] != 0:
        eta = part_at(network, i, abi.LEARNING_RATE, r, 1, scratch)[0]
    rule = Bcm(
        eta, numbers[1], numbers[2], numbers[3], part_at(network, i, abi.MEAN_RATE, r, size, scratch),
        part_at(network, i, abi.MEAN_SQUARE, r, size, scratch),
        part_at(network, i, abi.REFERENCE_RATE, 0, size, scratch),
    )  # fmt: skip
    _bcm(rule, pre, post, scratch[:size], part_at(network, i, abi.DELTA, r, pre.shape[0] * size, scratch))


@jit
def _read(
    network: Network, transform: Transform, weights: Floats, biases: Floats, counts: Floats, cells: Cells, y: Floats
) -> None:
    """Turn spike counts, last potentials or last spikes into outputs and actions."""
    kind, gain, steps = network.readout, network.constants[5], network.neuron[2]
    like = y.dtype.type
    one, two = like(1.0), like(2.0)
    size = counts.shape[0] // y.shape[0]
    for k in range(y.shape[0]):
        if kind == POPULATION:
            total = like(0.0)
            for n in range(size):
                total += counts[k * size + n] / like(steps) * weights[k * size + n]
            value = total + biases[k]
        elif kind == MEAN:
            value = gain * (two * (counts[k] / like(steps)) - one)
        elif kind == LAST:
            value = gain * (two * cells.spikes[k] - one)
        else:
            value = cells.potential[k]
        if transform.squash == CLIP:
            value = min(max(value, transform.bounds[0, k]), transform.bounds[1, k])
        elif transform.squash != RAW:
            value = math.tanh(value) if transform.squash == TANH else min(max(value, -one), one)
            value = value * transform.bounds[1, k] + transform.bounds[0, k]
        y[k] = value


def scratch_for(widths: tuple[int, ...], inputs: int, steps: int, dtype: Any) -> tuple[np.ndarray, ...]:
    """Return the working memory of `decide`: scratch, events, counts."""
    wide = max(*widths, inputs) + 1  # a place is written before it is known whether the neuron fires
    return (
        np.zeros(9 * wide, dtype=dtype),
        np.zeros((2, steps, wide), dtype=np.int32),
        np.zeros((2, steps), dtype=np.int32),
    )
