"""Compiled scans over the spike steps of one layer, forward and backward.

They do what `homeo_rl.snn.neurons.scan` does and what autograd makes of it, in the same order of operations, without
a tensor operation a step. Shapes: B batch, T steps, N neurons; all arrays are C-contiguous and of one floating type.

``kind`` is 0 for the current-based neuron and 1 for IF; 2 is LIF with ``decay_input``, 3 without. With p_t the
potential before the reset, G a derivative of the loss and h' the surrogate's derivative at p_t - theta, backward is

    current-based   G_s += -decay p_t G_p(t+1)              G_p = G_s h' + decay (1 - s_t) G_p(t+1)
    others          G_s += -theta G_v (soft), -p_t G_v (hard)   G_p = G_s h' + G_v (soft), (1 - s_t) G_v (hard)

from the last step to the first.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from homeo_rl.numerics.jit import jit

Floats = NDArray[Any]

CURRENT, IF, LIF, LIF_PLAIN = 0, 1, 2, 3
GIVEN, RECTANGLE, ARCTAN, TRIANGLE = 0, 1, 2, 3


class Model(NamedTuple):
    """How the neurons of a layer behave."""

    kind: int
    hard: bool  # reset to 0 instead of subtracting the threshold
    fires: bool  # False for a layer that only integrates
    constants: Floats  # current decay, voltage decay, tau


class State(NamedTuple):
    """Synaptic currents, potentials and last spikes [B, N]; [0, N] for rows that begin afresh and are forgotten."""

    current: Floats
    potential: Floats
    spikes: Floats


class Pass(NamedTuple):
    """What a forward pass leaves for the backward one."""

    potentials: Floats  # what `scan` left in ``x`` [B, T, N]
    spikes: Floats
    before: State  # the state before; read for the current-based neuron only


class Gradients(NamedTuple):
    """Derivatives with respect to what a layer runs with."""

    state: State  # of the state after; becomes that of the state before
    threshold: Floats  # [N], added to, or [0] where it is not wanted
    initial: Floats  # [N], of the potential that rows begin with afresh; added to, or [0] where it is not wanted


@jit
def scan(model: Model, threshold: Floats, x: Floats, spikes: Floats, state: State, initial: Floats) -> None:
    """Run a layer over its input currents.

    Args:
        threshold: [N].
        x: currents [B, T, N]; becomes the potentials before the reset.
        spikes: [B, T, N], written where the layer fires.
        initial: membrane potential [N] that rows begin with afresh, or [0] for none.
    """
    kind, hard, fires, constants = model.kind, model.hard, model.fires, model.constants
    current, potential, spiked = state.current, state.potential, state.spikes
    batch, steps, neurons = x.shape
    forgotten = current.shape[0] == 0
    rows = (batch, neurons)
    if (
        spikes.shape != x.shape
        or threshold.shape[0] != neurons
        or constants.shape[0] < 3
        or (initial.shape[0] > 0 and initial.shape[0] != neurons)
        or not (forgotten or (current.shape == rows and potential.shape == rows and spiked.shape == rows))
    ):
        raise ValueError("scan: expected spikes [B, T, N], threshold [N] and a state [B, N] or [0, N] for x [B, T, N]")
    resting = np.zeros((3, neurons), dtype=x.dtype)
    current_decay, voltage_decay, tau = constants[0], constants[1], constants[2]
    zero, one = x.dtype.type(0.0), x.dtype.type(1.0)
    for b in range(batch):
        if forgotten:
            resting[:] = zero
            if initial.shape[0] > 0:
                resting[1] = initial
            u, v, s = resting[0], resting[1], resting[2]
        else:
            u, v, s = current[b], potential[b], spiked[b]
        for t in range(steps):
            p, out = x[b, t], spikes[b, t]
            if kind == CURRENT:
                for n in range(neurons):
                    u[n] = current_decay * u[n] + p[n]
                    v[n] = voltage_decay * v[n] * (one - s[n]) + u[n]
                    p[n] = v[n]
            elif kind == IF:
                for n in range(neurons):
                    u[n] = p[n]
                    p[n] = v[n] + p[n]
                    v[n] = p[n]
            elif kind == LIF:
                for n in range(neurons):
                    u[n] = p[n]
                    p[n] = v[n] + (p[n] - v[n]) / tau
                    v[n] = p[n]
            else:
                for n in range(neurons):
                    u[n] = p[n]
                    p[n] = v[n] - v[n] / tau + p[n]
                    v[n] = p[n]
            if not fires:
                continue
            if kind == CURRENT:
                for n in range(neurons):
                    s[n] = one if p[n] - threshold[n] > zero else zero
                    out[n] = s[n]
            elif hard:
                for n in range(neurons):
                    s[n] = one if p[n] - threshold[n] >= zero else zero
                    out[n] = s[n]
                    v[n] = p[n] * (one - s[n])
            else:
                for n in range(neurons):
                    s[n] = one if p[n] - threshold[n] >= zero else zero
                    out[n] = s[n]
                    v[n] = p[n] - s[n] * threshold[n]


@jit
def _write_derivative(surrogate: int, potential: Floats, threshold: Floats, values: Floats, out: Floats) -> None:
    """Write the derivative (`homeo_rl.snn.surrogates`) at ``potential`` - ``threshold`` [N] into ``out``."""
    one, zero = out.dtype.type(1.0), out.dtype.type(0.0)
    if surrogate == GIVEN:
        for n in range(out.shape[0]):
            out[n] = values[n]
    elif surrogate == RECTANGLE:
        half = out.dtype.type(0.5)
        for n in range(out.shape[0]):
            out[n] = one if abs(potential[n] - threshold[n]) < half else zero
    elif surrogate == ARCTAN:
        slope = out.dtype.type(math.pi)  # pi / 2 alpha with alpha = 2
        for n in range(out.shape[0]):
            z = slope * (potential[n] - threshold[n])
            out[n] = one / (one + z * z)
    else:
        for n in range(out.shape[0]):
            out[n] = max(one - abs(potential[n] - threshold[n]), zero)


@jit
def _usual_backward(
    surrogate: int,
    constants: Floats,
    threshold: Floats,
    potentials: Floats,
    spikes: Floats,
    coming: Floats,
    grad: Floats,
    grad_initial: Floats,
) -> None:
    """Do what `scan_backward` does for current-based neurons that fire, begin afresh and have constant thresholds.

    In one loop, which is three times as fast; the arguments are those of `scan_backward`.
    """
    batch, steps, neurons = grad.shape
    current_decay, voltage_decay = constants[0], constants[1]
    kind = grad.dtype.type
    zero, half, one, slope = kind(0.0), kind(0.5), kind(1.0), kind(math.pi)
    back, gu = np.zeros(neurons, dtype=grad.dtype), np.zeros(neurons, dtype=grad.dtype)
    for b in range(batch):
        back[:] = zero
        gu[:] = zero
        quiet = True
        for t in range(steps - 1, -1, -1):
            if quiet and not np.any(coming[b, t]):  # nothing comes back yet, so nothing goes on
                grad[b, t] = zero
                continue
            quiet = False
            p, s, c, g = potentials[b, t], spikes[b, t], coming[b, t], grad[b, t]
            for n in range(neurons):
                d = p[n] - threshold[n]
                if surrogate == RECTANGLE:
                    h = one if abs(d) < half else zero
                elif surrogate == ARCTAN:
                    h = one / (one + (slope * d) * (slope * d))
                else:
                    h = max(one - abs(d), zero)
                gp = (one - s[n]) * back[n] + (c[n] - back[n] * p[n]) * h
                reached = gp + current_decay * gu[n]
                gu[n] = reached
                g[n] = reached
                back[n] = voltage_decay * gp
        if grad_initial.shape[0] > 0:
            grad_initial += back


@jit
def scan_backward(
    model: Model,
    surrogate: int,
    threshold: Floats,
    derivative: Floats,
    record: Pass,
    coming: Floats,
    grad: Floats,
    gradients: Gradients,
) -> None:
    """Turn derivatives with respect to the outputs into derivatives with respect to the inputs.

    The loops are many and short on purpose: the compiler uses vectors only where few arrays meet.

    Args:
        surrogate: which derivative stands in for the step's; `GIVEN` takes it from ``derivative``.
        threshold: [N].
        derivative: of a surrogate that no compiled loop has [B, T, N], else of any size.
        coming: derivative with respect to the spikes (or potentials) [B, T, N].
        grad: derivative with respect to the currents [B, T, N], written.
    """
    kind, hard, fires, constants = model.kind, model.hard, model.fires, model.constants
    potentials, spikes = record.potentials, record.spikes
    first_potential, first_spiked = record.before.potential, record.before.spikes
    grad_current, grad_potential, grad_spiked = gradients.state
    grad_threshold, grad_initial = gradients.threshold, gradients.initial
    batch, steps, neurons = grad.shape
    rows = (batch, neurons)
    if (
        potentials.shape != grad.shape
        or spikes.shape != grad.shape
        or coming.shape != grad.shape
        or (surrogate == GIVEN and fires and derivative.shape != grad.shape)
        or threshold.shape[0] != neurons
        or constants.shape[0] < 3
        or (grad_threshold.shape[0] > 0 and grad_threshold.shape[0] != neurons)
        or (grad_initial.shape[0] > 0 and grad_initial.shape[0] != neurons)
    ):
        raise ValueError("scan_backward: expected trains [B, T, N] and thresholds [N] for grad [B, T, N]")
    if grad_current.shape[0] != 0 and not (
        grad_current.shape == rows
        and grad_potential.shape == rows
        and grad_spiked.shape == rows
        and (kind != CURRENT or (first_potential.shape == rows and first_spiked.shape == rows))
    ):
        raise ValueError("scan_backward: expected states [B, N] or [0, N] for grad [B, T, N]")
    current_decay, voltage_decay, tau = constants[0], constants[1], constants[2]
    one, zero = grad.dtype.type(1.0), grad.dtype.type(0.0)
    forgotten = grad_current.shape[0] == 0
    if kind == CURRENT and fires and forgotten and surrogate != GIVEN and grad_threshold.shape[0] == 0:
        _usual_backward(surrogate, constants, threshold, potentials, spikes, coming, grad, grad_initial)
        return
    work = np.zeros((6, neurons), dtype=grad.dtype)
    # Derivatives: with respect to the potential after the reset (times the decay), the current after, the potential
    # before the reset, the spikes; the surrogate's; and nothing.
    back, gu, gp, up, h = work[0], work[1], work[2], work[3], work[4]
    for b in range(batch):
        if forgotten:
            back[:] = zero
            gu[:] = zero
        else:
            back[:] = grad_potential[b]
            gu[:] = grad_current[b]
        for t in range(steps - 1, -1, -1):
            p, s, c, g = potentials[b, t], spikes[b, t], coming[b, t], grad[b, t]
            last = t == steps - 1
            if fires:
                _write_derivative(surrogate, p, threshold, derivative[b, t] if surrogate == GIVEN else h, h)
                # What reaches the spikes: from outside, and through the reset. The current-based neuron resets at
                # the next step, so a derivative of its last potential does not come through a reset.
                if (kind == CURRENT and not last) or (kind != CURRENT and hard):
                    for n in range(neurons):
                        up[n] = c[n] - back[n] * p[n]
                elif kind == CURRENT:
                    for n in range(neurons):
                        up[n] = c[n]
                else:
                    for n in range(neurons):
                        up[n] = c[n] - back[n] * threshold[n]
                if last and not forgotten:
                    for n in range(neurons):
                        up[n] += grad_spiked[b, n]
                if grad_threshold.shape[0] > 0:
                    for n in range(neurons):
                        grad_threshold[n] -= up[n] * h[n]
                    if kind != CURRENT and not hard:
                        for n in range(neurons):
                            grad_threshold[n] -= s[n] * back[n]
                if (kind == CURRENT and not last) or (kind != CURRENT and hard):
                    for n in range(neurons):
                        gp[n] = (one - s[n]) * back[n] + up[n] * h[n]
                else:
                    for n in range(neurons):
                        gp[n] = back[n] + up[n] * h[n]
            elif kind == CURRENT and not last:
                if forgotten:
                    for n in range(neurons):
                        gp[n] = c[n] + back[n]
                else:
                    for n in range(neurons):
                        grad_spiked[b, n] -= back[n] * p[n]
                        gp[n] = c[n] + (one - first_spiked[b, n]) * back[n]
            else:
                for n in range(neurons):
                    gp[n] = c[n] + back[n]
            if kind == CURRENT:
                kept = one if last else current_decay
                for n in range(neurons):
                    gu[n] = gp[n] + kept * gu[n]
                    g[n] = gu[n]
                    back[n] = voltage_decay * gp[n]
            elif kind == IF:
                for n in range(neurons):
                    g[n] = gp[n] + gu[n]
                    back[n] = gp[n]
            elif kind == LIF:
                for n in range(neurons):
                    g[n] = gp[n] / tau + gu[n]
                    back[n] = gp[n] - gp[n] / tau
            else:
                for n in range(neurons):
                    g[n] = gp[n] + gu[n]
                    back[n] = gp[n] - gp[n] / tau
            if kind != CURRENT and last:
                gu[:] = zero
        if forgotten:
            if grad_initial.shape[0] > 0:
                grad_initial += back
            continue
        if kind == CURRENT:
            for n in range(neurons):
                held = grad_spiked[b, n] if not fires else zero
                grad_spiked[b, n] = held - back[n] * first_potential[b, n]
                grad_potential[b, n] = (one - first_spiked[b, n]) * back[n]
                grad_current[b, n] = current_decay * gu[n]
        else:
            for n in range(neurons):
                if fires:
                    grad_spiked[b, n] = zero
                grad_potential[b, n] = back[n]
                grad_current[b, n] = zero
