"""One decision, from observation to action, in one compiled call that follows events.

A silent neuron costs nothing: the input current of a layer is the sum of the weight rows of the neurons that fired, in
their order. Rows of a batch are independent, with weights, adaptation and membranes of their own where they have some,
so a row's result does not depend on the others. The equations are those of `homeo_rl.snn.neurons`, `encoders`,
`readouts` and `homeo_rl.homeostasis`, which the tests hold this file to. Shapes: B batch, T steps, N neurons.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from homeo_rl.numerics.jit import compiled
from homeo_rl.snn.kernels.pointers import Ints, at
from homeo_rl.snn.kernels.scans import CURRENT, IF, LIF, Floats

# Columns of the table of a layer: addresses, 0 for what is not there, and beside them numbers from row to row.
(
    WEIGHT, BIAS, ALIVE, STUCK, DELTA, EXTRA, GAIN, SYNAPSE, POTENTIAL, SPIKED, FIRST, SECOND, NORMAL, INITIAL, RATE,
    LEVEL,
) = range(16)  # fmt: skip
COLUMNS = 16
ENCODER_MEAN, ENCODER_STD, READOUT_WEIGHT, READOUT_BIAS = range(4)

REGULAR, POISSON, BERNOULLI, CONSTANT = range(4)
"""Encoders."""

POPULATION, MEAN, LAST, MEMBRANE = range(4)
"""Read-outs."""

RAW, TANH, IDENTITY, CLIP = range(4)
"""What becomes of outputs: nothing, squashed and scaled, clipped to [-1, 1] and scaled, or clipped to the bounds."""

INITIAL_BOUND = 1.0 - 2.0**-10
"""Thresholds that an initial potential stays within: beyond, a neuron would fire without input."""

NOTHING, BCM, ENERGY = 0, 1, 2
"""Rules of plug-ins that are compiled, one bit each: both can be at work at once."""

NUMBERS = 5
"""Numbers of a layer: rate, zeta, tau and bound of BCM, psi of ENERGY."""


@compiled
def _gather(current: Floats, weight: Floats, delta: Floats, own: bool, events: Ints, count: int) -> None:
    """Add the weight rows of the neurons that fired, in order; four at a time, for the sake of the cache."""
    size = current.shape[0]
    k = 0
    while k + 4 <= count:
        a, b, c, d = events[k] * size, events[k + 1] * size, events[k + 2] * size, events[k + 3] * size
        w1, w2, w3, w4 = weight[a : a + size], weight[b : b + size], weight[c : c + size], weight[d : d + size]
        if own:
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
        if own:
            d1 = delta[a : a + size]
            for n in range(size):
                current[n] += w1[n] + d1[n]
        else:
            for n in range(size):
                current[n] += w1[n]
        k += 1


@compiled
def _weighted(current: Floats, weight: Floats, delta: Floats, own: bool, values: Floats) -> None:
    """Add weight rows times graded inputs."""
    size = current.shape[0]
    for k in range(values.shape[0]):
        value, row = values[k], weight[k * size : (k + 1) * size]
        if own:
            change = delta[k * size : (k + 1) * size]
            for n in range(size):
                current[n] += (row[n] + change[n]) * value
        else:
            for n in range(size):
                current[n] += row[n] * value


@compiled
def _encode(
    kind: int, span: float, mean: Floats, std: Floats, z: Floats, noise: Floats, steps: int, scratch: Floats,
    events: Ints, counts: Ints, rate: Floats,
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
            distance, spread = z[n // size] - mean[n], max(std[n], least)
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
                events[t, count] = n
                count += 1
        counts[t] = count
    for n in range(width):
        rate[n] /= z.dtype.type(steps)


@compiled
def _lowered_mean(values: Floats) -> Any:
    low, high, total = values[0], values[0], values.dtype.type(0.0)
    for value in values:
        low, high, total = min(low, value), max(high, value), total + value
    return values.dtype.type(total / values.dtype.type(values.shape[0]) - values.dtype.type(0.2) * (high - low))


@compiled
def _energy_thresholds(psi: float, energy: Floats, before: Floats, potential: Floats, threshold: Floats) -> None:
    """One spike step of `homeo_rl.homeostasis.dynamic_threshold`."""
    kind = potential.dtype.type
    size = potential.shape[0]
    for n in range(size):
        temporal = math.exp(min((before[n] - potential[n]) / kind(3.0), kind(60.0))) - kind(1.0)
        threshold[n] = kind(0.5) * energy[n] + kind(0.5) * temporal
    middle, level = _lowered_mean(potential), _lowered_mean(threshold)
    for n in range(size):
        rise = potential[n] - middle
        energy[n] = kind(0.01) * rise + level + math.log1p(math.exp(min(rise / psi, kind(60.0))))


@compiled
def _layer(
    kind: int, hard: bool, fires: bool, constants: Floats, steps: int, constant_input: bool, given: Floats,
    weight: Floats, delta: Floats, own: bool, bias: Floats, alive: Floats, stuck: Floats, gain: Floats,
    moves: bool, psi: float, energy: Floats, u: Floats, v: Floats, s: Floats, rate: Floats, scratch: Floats,
    events: Ints, counts: Ints, fired: Ints, fired_counts: Ints,
) -> None:  # fmt: skip
    """Run one layer over all steps; ``rate`` holds spike counts, or the last potentials' place is left to v."""
    size = bias.shape[0]
    one, zero = bias.dtype.type(1.0), bias.dtype.type(0.0)
    current_decay, voltage_decay, tau = constants[0], constants[1], constants[2]
    product, before, threshold = scratch[:size], scratch[size : 2 * size], scratch[2 * size : 3 * size]
    for n in range(size):
        rate[n], threshold[n] = zero, constants[3]
    for t in range(steps):
        if not constant_input or t == 0:
            for n in range(size):
                product[n] = zero
            if constant_input:
                _weighted(product, weight, delta, own, given)
            else:
                _gather(product, weight, delta, own, events[t], counts[t])
            if gain.shape[0] > 0:
                for n in range(size):
                    product[n] = product[n] * gain[n]
        if moves:
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
        if moves:
            _energy_thresholds(psi, energy, before, v, threshold)
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
        places, count = fired[t], 0
        for n in range(size):
            places[count] = n
            count += s[n] > zero
        fired_counts[t] = count


@compiled
def _bcm(
    eta: float, zeta: float, tau: float, bound: float, m: Floats, q: Floats, normal: Floats, pre: Floats, post: Floats,
    rise: Floats, delta: Floats,
) -> None:  # fmt: skip
    """One decision's update of `homeo_rl.homeostasis.dwam`; columns of silent inputs do not change."""
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
        rise[n] = phi if math.isfinite(phi) else zero
    for k in range(pre.shape[0]):
        x = pre[k]
        if x == zero or not math.isfinite(x):
            continue
        row = delta[k * size : (k + 1) * size]
        for n in range(size):
            row[n] = min(max(row[n] + rise[n] * x, -bound), bound)


@compiled
def decide(
    first: int,
    last: int,
    table: Ints,
    strides: Ints,
    widths: Ints,
    neuron: Ints,
    constants: Floats,
    encoder: int,
    span: float,
    shift: Floats,
    scale: Floats,
    readout: int,
    squash: int,
    amplitude: float,
    bounds: Floats,
    rule: int,
    numbers: Floats,
    x: Floats,
    noise: Floats,
    out: Floats,
    scratch: Floats,
    events: Ints,
    counts: Ints,
) -> None:
    """Decide for the rows from ``first`` to before ``last``.

    Args:
        first: first row.
        last: after the last row.
        table: addresses [layers + 1, COLUMNS]; the last row has means and widths of the encoder's population and
            weights and biases of the read-out's.
        strides: numbers from one row of the batch to the next [layers + 1, COLUMNS], 0 where rows share.
        widths: [layers + 1].
        neuron: kind, hard reset, steps.
        constants: current decay, voltage decay, tau, threshold.
        encoder: kind.
        span: of a Bernoulli encoder.
        shift: observations' means [D], or empty [0] where they are used as they are.
        scale: observations' deviations [D], and at the end what they are clipped to.
        readout: kind.
        squash: what becomes of the outputs.
        amplitude: of a read-out of rates or spikes.
        bounds: middle and half width of each action [2, K] (for CLIP: lowest and highest), or empty [2, 0].
        rule: compiled rules.
        numbers: their numbers [layers, NUMBERS].
        x: observations [B, D].
        noise: uniform numbers [B, T, N_enc], or empty.
        out: [B, N_enc + all N + K], written: mean rates of the encoder and of every layer, then the outputs.
        scratch: [at least 9 widest].
        events: [2, T, widest].
        counts: [2, T].
    """
    layers = widths.shape[0] - 1
    steps = neuron[2]
    wide = events.shape[2]
    nothing = scratch[:0]
    silence = noise.reshape(0, 0) if noise.shape[0] == 0 else noise[0]
    fires_last = readout != MEMBRANE
    z = scratch[: x.shape[1]]
    rest = scratch[wide:]
    mean = std = weights = biases = nothing
    if table[layers, ENCODER_MEAN] != 0:
        mean, std = at(table[layers, ENCODER_MEAN], widths[0], x), at(table[layers, ENCODER_STD], widths[0], x)
    if table[layers, READOUT_WEIGHT] != 0:
        outputs = out.shape[1] - widths.sum()
        weights, biases = at(table[layers, READOUT_WEIGHT], widths[-1], x), at(table[layers, READOUT_BIAS], outputs, x)
    for r in range(first, last):
        if shift.shape[0] > 0:
            most = scale[x.shape[1]]
            for n in range(x.shape[1]):
                z[n] = min(max((x[r, n] - shift[n]) / scale[n], -most), most)
        else:
            for n in range(x.shape[1]):
                z[n] = x[r, n]
        encoded, done = out[r, : widths[0]], widths[0]
        pre = encoded
        own_noise = noise[r] if noise.shape[0] > 0 else silence
        _encode(encoder, span, mean, std, z, own_noise, steps, rest, events[0], counts[0], encoded)
        for i in range(layers):
            size, inputs = widths[i + 1], widths[i]
            place, step = table[i], strides[i]
            weight = at(place[WEIGHT] + r * step[WEIGHT] * x.itemsize, inputs * size, x)
            bias = at(place[BIAS] + r * step[BIAS] * x.itemsize, size, x)
            rate = out[r, done : done + size]
            done += size
            alive = stuck = delta = gain = normal = one = two = energy = nothing
            if place[ALIVE] != 0:
                alive = at(place[ALIVE] + r * step[ALIVE] * x.itemsize, size, x)
            if place[STUCK] != 0:
                stuck = at(place[STUCK] + r * step[STUCK] * x.itemsize, size, x)
            if place[DELTA] != 0:
                delta = at(place[DELTA] + r * step[DELTA] * x.itemsize, inputs * size, x)
            if place[GAIN] != 0:
                gain = at(place[GAIN] + r * step[GAIN] * x.itemsize, size, x)
            if place[EXTRA] != 0:
                extra = at(place[EXTRA] + r * step[EXTRA] * x.itemsize, size, x)
                total = rest[3 * wide : 3 * wide + size]
                for n in range(size):
                    total[n] = bias[n] + extra[n]
                bias = total
            if place[FIRST] != 0:
                one = at(place[FIRST] + r * step[FIRST] * x.itemsize, size, x)
            if place[SECOND] != 0:
                two = at(place[SECOND] + r * step[SECOND] * x.itemsize, size, x)
            if place[LEVEL] != 0:
                energy = at(place[LEVEL] + r * step[LEVEL] * x.itemsize, size, x)
            if place[NORMAL] != 0:
                normal = at(place[NORMAL], size, x)
            u, v = rest[4 * wide : 4 * wide + size], rest[5 * wide : 5 * wide + size]
            s = rest[6 * wide : 6 * wide + size]
            if place[POTENTIAL] != 0:
                u = at(place[SYNAPSE] + r * step[SYNAPSE] * x.itemsize, size, x)
                v = at(place[POTENTIAL] + r * step[POTENTIAL] * x.itemsize, size, x)
                s = at(place[SPIKED] + r * step[SPIKED] * x.itemsize, size, x)
            else:
                for n in range(size):
                    u[n] = v[n] = s[n] = 0.0
                if place[INITIAL] != 0:
                    begin, most = at(place[INITIAL], size, x), constants[3] * x.dtype.type(INITIAL_BOUND)
                    for n in range(size):
                        v[n] = min(max(begin[n], -most), most)
            fires = fires_last or i < layers - 1
            graded = i == 0 and encoder == CONSTANT
            _layer(
                neuron[0], neuron[1] == 1, fires, constants, steps, graded, encoded, weight, delta,
                place[DELTA] != 0, bias, alive, stuck, gain, (rule & ENERGY) != 0, numbers[i, 4], energy, u, v, s,
                rate, rest, events[i % 2], counts[i % 2], events[(i + 1) % 2], counts[(i + 1) % 2],
            )  # fmt: skip
            if i == layers - 1:
                _read(readout, squash, amplitude, weights, biases, bounds, rate, v, s, steps, out[r, done:])
            for n in range(size):
                rate[n] = rate[n] / x.dtype.type(steps) if fires else s[n]
            if (rule & BCM) != 0 and fires:
                eta, zeta, tau, bound = numbers[i, 0], numbers[i, 1], numbers[i, 2], numbers[i, 3]
                if place[RATE] != 0:
                    eta = at(place[RATE] + r * step[RATE] * x.itemsize, 1, x)[0]
                _bcm(eta, zeta, tau, bound, one, two, normal, pre, rate, rest[:size], delta)
            pre = rate


@compiled
def _read(
    kind: int, squash: int, gain: float, weights: Floats, biases: Floats, bounds: Floats, spikes: Floats, v: Floats,
    s: Floats, steps: int, y: Floats,
) -> None:  # fmt: skip
    """Turn spike counts, last potentials or last spikes into outputs and actions."""
    like = y.dtype.type
    one, two = like(1.0), like(2.0)
    count = y.shape[0]
    size = spikes.shape[0] // count
    for k in range(count):
        if kind == POPULATION:
            total = like(0.0)
            for n in range(size):
                total += spikes[k * size + n] / like(steps) * weights[k * size + n]
            value = total + biases[k]
        elif kind == MEAN:
            value = gain * (two * (spikes[k] / like(steps)) - one)
        elif kind == LAST:
            value = gain * (two * s[k] - one)
        else:
            value = v[k]
        if squash == CLIP:
            value = min(max(value, bounds[0, k]), bounds[1, k])
        elif squash != RAW:
            value = math.tanh(value) if squash == TANH else min(max(value, -one), one)
            value = value * bounds[1, k] + bounds[0, k]
        y[k] = value


def scratch_for(widths: tuple[int, ...], inputs: int, steps: int, dtype: Any) -> tuple[np.ndarray, ...]:
    """Return the working memory of `decide`: scratch, events, counts."""
    wide = max(*widths, inputs) + 1  # a place is written before it is known whether the neuron fires
    return (
        np.zeros(9 * wide, dtype=dtype),
        np.zeros((2, steps, wide), dtype=np.int32),
        np.zeros((2, steps), dtype=np.int32),
    )
