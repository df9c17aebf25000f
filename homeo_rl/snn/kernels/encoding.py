"""Compiled encoders: spikes from activities, without a tensor operation a step. Shapes: B batch, T steps, N lines."""

from homeo_rl.numerics.jit import jit
from homeo_rl.snn.kernels.scans import Floats


@jit
def integrate(activity: Floats, level: float, out: Floats) -> None:
    """Spike where an integrator of ``activity`` [B, N] exceeds ``level``, which is then subtracted; out [B, T, N]."""
    batch, steps, size = out.shape
    if activity.shape != (batch, size):
        raise ValueError("integrate: expected activity [B, N] for out [B, T, N]")
    for b in range(batch):
        grown = activity[b]
        potential = grown.copy()
        for t in range(steps):
            fired = out[b, t]
            for n in range(size):
                fired[n] = potential[n] > level
            for n in range(size):
                potential[n] = (potential[n] - level if potential[n] > level else potential[n]) + grown[n]


@jit
def compare(noise: Floats, activity: Floats, out: Floats) -> None:
    """Spike wherever ``noise`` [B, T, N] is below ``activity`` [B, N]; out [B, T, N]."""
    batch, steps, size = out.shape
    if noise.shape != out.shape or activity.shape != (batch, size):
        raise ValueError("compare: expected noise [B, T, N] and activity [B, N] for out [B, T, N]")
    for b in range(batch):
        rate = activity[b]
        for t in range(steps):
            draw, fired = noise[b, t], out[b, t]
            for n in range(size):
                fired[n] = draw[n] < rate[n]


@jit
def total(falls: Floats, step_gradients: Floats, out: Floats) -> None:
    """Sum ``falls`` [B, T, N] over the steps, times ``step_gradients`` [T], into out [B, N]."""
    batch, steps, size = falls.shape
    if step_gradients.shape != (steps,) or out.shape != (batch, size) or steps == 0:
        raise ValueError("total: expected passed [T] and out [B, N] for falls [B, T, N], T at least 1")
    for b in range(batch):
        to = out[b]
        for n in range(size):
            to[n] = falls[b, 0, n] * step_gradients[0]
        for t in range(1, steps):
            fall = falls[b, t]
            for n in range(size):
                to[n] += fall[n] * step_gradients[t]
