"""Scans over the spike steps of one layer, forward and backward, and two plug-ins' updates, for a GPU (Triton).

The same arithmetic in the same order as `homeo_rl.snn.kernels.scans`; products stay with the library of the device.
One program serves one row of the batch and a block of neurons, and keeps its state in registers for all T steps, so
a layer reads its currents once and writes spikes and potentials once. Multiplications and additions are not fused
(``enable_fp_fusion=False``): results are then the reference's to the last bit. With ``TRITON_INTERPRET=1`` in the
environment before the first import, everything here runs without a GPU, slowly, for tests.
"""

from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from homeo_rl.snn.kernels.scans import ARCTAN, CURRENT, GIVEN, IF, LIF, RECTANGLE
from homeo_rl.snn.neurons import Membrane

BLOCK = 128  # neurons a program

_CURRENT, _IF, _LIF = tl.constexpr(CURRENT), tl.constexpr(IF), tl.constexpr(LIF)
_GIVEN, _RECTANGLE, _ARCTAN = tl.constexpr(GIVEN), tl.constexpr(RECTANGLE), tl.constexpr(ARCTAN)
_MOST = tl.constexpr(60.0)  # exp of more says nothing about a threshold (`homeo_rl.homeostasis.dynamic_threshold`)


def _kernel(function: Any) -> Any:
    """Compile for the device; typed here because Triton ships no types."""
    return triton.jit(function)


@_kernel
def _integrate(x, u, v, s, constants, kind: tl.constexpr):  # type: ignore[no-untyped-def]  # Triton's own language
    """Return synaptic current and potential after the input ``x``, before firing."""
    if kind == _CURRENT:
        u = tl.load(constants) * u + x
        v = tl.load(constants + 1) * v * (1.0 - s) + u
    elif kind == _IF:
        u = x
        v = v + x
    elif kind == _LIF:
        u = x
        v = v + (x - v) / tl.load(constants + 2)
    else:
        u = x
        v = v - v / tl.load(constants + 2) + x
    return u, v


@_kernel
def _forward(  # type: ignore[no-untyped-def]
    x, spikes, current, potential, spiked, threshold, constants, steps, neurons,
    kind: tl.constexpr, hard: tl.constexpr, fires: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    n = tl.program_id(1) * block + tl.arange(0, block)
    inside = n < neurons
    at = row * neurons + n
    u = tl.load(current + at, mask=inside, other=0.0)
    v = tl.load(potential + at, mask=inside, other=0.0)
    s = tl.load(spiked + at, mask=inside, other=0.0)
    level = tl.load(threshold + n, mask=inside, other=1.0)
    here = row * steps * neurons + n
    for _ in range(steps):
        u, v = _integrate(tl.load(x + here, mask=inside, other=0.0), u, v, s, constants, kind)
        tl.store(x + here, v, mask=inside)
        if fires:
            over = v - level
            s = (over > 0 if kind == _CURRENT else over >= 0).to(u.dtype)
            tl.store(spikes + here, s, mask=inside)
            if kind != _CURRENT:
                v = v * (1.0 - s) if hard else v - s * level
        here += neurons
    tl.store(current + at, u, mask=inside)
    tl.store(potential + at, v, mask=inside)
    tl.store(spiked + at, s, mask=inside)


@_kernel
def _backward(  # type: ignore[no-untyped-def]
    derivative, potentials, spikes, coming, grad, of_current, of_potential, of_spiked, of_threshold,
    first_potential, first_spiked, threshold, constants, steps, neurons,
    kind: tl.constexpr, hard: tl.constexpr, fires: tl.constexpr, surrogate: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    n = tl.program_id(1) * block + tl.arange(0, block)
    inside = n < neurons
    at = row * neurons + n
    current_decay, voltage_decay, tau = tl.load(constants), tl.load(constants + 1), tl.load(constants + 2)
    level = tl.load(threshold + n, mask=inside, other=1.0)
    # Derivatives: `back` with respect to the potential after the reset (current-based: times the decay), `gu` to the
    # synaptic current after, `gs` to the spikes after.
    gu = tl.load(of_current + at, mask=inside, other=0.0)
    back = tl.load(of_potential + at, mask=inside, other=0.0)
    gs = tl.load(of_spiked + at, mask=inside, other=0.0)
    s0 = tl.load(first_spiked + at, mask=inside, other=0.0)
    gt = back * 0.0
    for i in range(steps):
        here = (row * steps + (steps - 1 - i)) * neurons + n
        p = tl.load(potentials + here, mask=inside, other=0.0)
        c = tl.load(coming + here, mask=inside, other=0.0)
        if fires:
            s = tl.load(spikes + here, mask=inside, other=0.0)
            d = p - level
            if surrogate == _GIVEN:
                h = tl.load(derivative + here, mask=inside, other=0.0)
            elif surrogate == _RECTANGLE:
                h = (tl.abs(d) < 0.5).to(p.dtype)
            elif surrogate == _ARCTAN:
                z = tl.load(constants + 3) * d
                h = 1.0 / (1.0 + z * z)
            else:
                h = tl.maximum(1.0 - tl.abs(d), 0.0)
            if kind == _CURRENT:
                up = c if i == 0 else c - back * p
            elif hard:
                up = c - back * p
            else:
                up = c - back * level
            if i == 0:
                up += gs
            gt -= up * h
            if kind == _CURRENT:
                gp = back + up * h if i == 0 else (1.0 - s) * back + up * h
            elif hard:
                gp = (1.0 - s) * back + up * h
            else:
                gt -= s * back
                gp = back + up * h
        elif kind == _CURRENT and i > 0:
            gs -= back * p
            gp = c + (1.0 - s0) * back
        else:
            gp = c + back
        if kind == _CURRENT:
            gu = gp + (gu if i == 0 else current_decay * gu)
            tl.store(grad + here, gu, mask=inside)
            back = voltage_decay * gp
        elif kind == _IF:
            tl.store(grad + here, gp + gu, mask=inside)
            back = gp
        elif kind == _LIF:
            tl.store(grad + here, gp / tau + gu, mask=inside)
            back = gp - gp / tau
        else:
            tl.store(grad + here, gp + gu, mask=inside)
            back = gp - gp / tau
        if kind != _CURRENT:
            gu = gu * 0.0
    if fires:
        gs = gs * 0.0
    if kind == _CURRENT:
        gs = gs - back * tl.load(first_potential + at, mask=inside, other=0.0)
        back = (1.0 - s0) * back
        gu = current_decay * gu
    tl.store(of_current + at, gu, mask=inside)
    tl.store(of_potential + at, back, mask=inside)
    tl.store(of_spiked + at, gs, mask=inside)
    tl.store(of_threshold + at, gt, mask=inside)


@_kernel
def _lower_mean(value, inside, neurons):  # type: ignore[no-untyped-def]
    """Return the mean over a layer less a fifth of its spread."""
    top = tl.max(tl.where(inside, value, float("-inf")))
    bottom = tl.min(tl.where(inside, value, float("inf")))
    return tl.sum(tl.where(inside, value, 0.0)) / neurons - 0.2 * (top - bottom)


@_kernel
def _energetic(  # type: ignore[no-untyped-def]
    x, current, potential, spiked, energy, alive, stuck, constants, steps, neurons,
    kind: tl.constexpr, hard: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    n = tl.arange(0, block)
    inside = n < neurons
    at = row * neurons + n
    u = tl.load(current + at, mask=inside, other=0.0)
    v = tl.load(potential + at, mask=inside, other=0.0)
    s = tl.load(spiked + at, mask=inside, other=0.0)
    e = tl.load(energy + at, mask=inside, other=0.0)
    live = tl.load(alive + at, mask=inside, other=1.0)
    held = tl.load(stuck + at, mask=inside, other=0.0)
    psi = tl.load(constants + 4)
    here = row * steps * neurons + n
    for _ in range(steps):
        before = v
        u, v = _integrate(tl.load(x + here, mask=inside, other=0.0), u, v, s, constants, kind)
        level = 0.5 * e + 0.5 * (tl.exp(tl.minimum((before - v) / 3.0, _MOST)) - 1.0)
        rise = v - _lower_mean(v, inside, neurons)
        rest = tl.exp(tl.minimum(rise / psi, _MOST))
        e = 0.01 * rise + _lower_mean(level, inside, neurons) + tl.log(1.0 + rest)
        over = v - level
        s = (over > 0 if kind == _CURRENT else over >= 0).to(u.dtype)
        s = tl.maximum(s * live, held)
        tl.store(x + here, s, mask=inside)
        if kind != _CURRENT:
            v = v * (1.0 - s) if hard else v - s * level
        here += neurons
    tl.store(current + at, u, mask=inside)
    tl.store(potential + at, v, mask=inside)
    tl.store(spiked + at, s, mask=inside)
    tl.store(energy + at, e, mask=inside)


@_kernel
def _grow(delta, rise, pre, bound, inputs, neurons, block: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0).to(tl.int64)
    n = tl.program_id(1) * block + tl.arange(0, block)
    inside = n < neurons
    up = tl.load(rise + row * neurons + n, mask=inside, other=0.0)
    limit = tl.load(bound)
    here = row * inputs * neurons + n
    for i in range(inputs):
        value = tl.load(delta + here, mask=inside, other=0.0) + up * tl.load(pre + row * inputs + i)
        tl.store(delta + here, tl.minimum(tl.maximum(value, -limit), limit), mask=inside)
        here += neurons


def scan(
    kind: int, hard: bool, fires: bool, constants: Tensor, threshold: Tensor, x: Tensor, spikes: Tensor, state: Membrane
) -> None:
    """Do what `homeo_rl.snn.kernels.scans.scan` does; ``constants`` end with the slope of the arctan surrogate."""
    batch, steps, neurons = x.shape
    _forward[batch, triton.cdiv(neurons, BLOCK)](
        x, spikes, *state, threshold, constants, steps, neurons,
        kind=kind, hard=hard, fires=fires, block=BLOCK, enable_fp_fusion=False,
    )  # fmt: skip


def scan_backward(
    codes: tuple[int, bool, bool, int],
    constants: Tensor,
    threshold: Tensor,
    derivative: Tensor,
    potentials: Tensor,
    spikes: Tensor,
    coming: Tensor,
    grad: Tensor,
    of_state: Membrane,
    first: Membrane,
) -> Tensor:
    """Do what `homeo_rl.snn.kernels.scans.scan_backward` does; return the derivative to the threshold [N].

    ``codes``: the neuron's kind, whether it resets hard, whether it fires, its surrogate.
    """
    kind, hard, fires, surrogate = codes
    batch, steps, neurons = grad.shape
    of_threshold = grad.new_empty(batch, neurons)
    _backward[batch, triton.cdiv(neurons, BLOCK)](
        derivative, potentials, spikes, coming, grad, *of_state, of_threshold, first.potential, first.spikes,
        threshold, constants, steps, neurons,
        kind=kind, hard=hard, fires=fires, surrogate=surrogate, block=BLOCK, enable_fp_fusion=False,
    )  # fmt: skip
    return of_threshold.sum(0)


def scan_energetic(
    kind: int, hard: bool, constants: Tensor, x: Tensor, state: Membrane, energy: Tensor, alive: Tensor, stuck: Tensor
) -> None:
    """Run a layer whose thresholds follow `homeo_rl.homeostasis.BDETT`; everything is changed in place.

    Args:
        constants: current decay, voltage decay, tau, slope, psi.
        x: currents [B, T, N]; becomes the spikes.
        state: of the membranes, each [B, N].
        energy: the plug-in's E [B, N].
        alive: 0 for neurons that never fire, else 1 [B, N].
        stuck: 1 for neurons that always fire, else 0 [B, N].
    """
    batch, steps, neurons = x.shape
    _energetic[batch,](
        x, *state, energy, alive, stuck, constants, steps, neurons,
        kind=kind, hard=hard, block=triton.next_power_of_2(neurons), enable_fp_fusion=False,
    )  # fmt: skip


def grow(delta: Tensor, rise: Tensor, pre: Tensor, bound: float) -> None:
    """Add ``rise_i pre_j`` to ``delta`` [B, N_out, N_in], which lies input by input, and clip it, in place."""
    batch, neurons, inputs = delta.shape
    _grow[batch, triton.cdiv(neurons, BLOCK)](
        delta, rise, pre, delta.new_full((1,), bound), inputs, neurons, block=BLOCK, enable_fp_fusion=False
    )
