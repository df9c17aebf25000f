"""Spike accumulation: neurons whose spike count is exactly a QCFS level (PASCAL, Ramesh and Srinivasan, TMLR 2025).

A neuron with threshold and amplitude d, soft reset, no leak, starts at v = d / 2 with an empty counter c::

    A  T1 steps, fed x_t    v += x_t;  s = [v >= d];  v -= s d;  c += s
    B  K silent steps       s = [v >= d], r = [v < 0];  v += (r - s) d;  c += s - r       (r is never transmitted)
    C  L steps              spikes while c lasts: clip(c, 0, L) of them

With S the sum of the inputs and K >= max(T1, L) - 1, it emits clip(floor(S / d + 1/2), 0, L) spikes, for any real
inputs: after A, v = (N - c) d plus a rest in [0, d) with N = floor(S / d + 1/2), so B moves c by one a step towards N
and rests there, and c is always near enough to arrive (docs/pascal.md has the proof). The gated neuron integrates T1
steps in silence and then fires for L; it needs neither B nor inhibitory spikes and counts the same.

The radix neuron sends the count as binary digits, the most significant one first: L = 2^K - 1 levels in K steps (few
spikes: Stöckl and Maass, Nature Machine Intelligence 2021; radix encoding: Wang et al., 2021). A spike of step k stands
for 2^(K-k), and the threshold of that step is 2^(K-k) d; a neuron with one threshold and equal spikes does the same if
it doubles its membrane, and the current that it has received, after every step.

Time comes first in all shapes here: trains are [T, B, ...]. No comparison has a tolerance: one of 8e-5 makes neurons
fire and inhibit in turn for ever.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from homeo_rl.errors import UsageError

Neuron = Literal["pascal", "gated", "radix"]
NEURONS: tuple[Neuron, ...] = ("pascal", "gated", "radix")

INPUT_GRID = 16  # the dyadic forms round observations to multiples of 2^-16


def on_grid(value: Tensor, grid: int) -> Tensor:
    """Return ``value`` in float64 on the grid of 2^-grid."""
    return torch.round(value.double() * 2.0**grid) / 2.0**grid


class Firing(NamedTuple):
    """All spikes of one decision; 1 and 0, inhibitory ones -1."""

    received: Tensor  # phase A's spikes [T1, B, ...], which go nowhere; empty for gated and radix neurons
    settled: Tensor  # phase B's spikes [K, B, ...], which go nowhere; empty for gated and radix neurons
    sent: Tensor  # phase C's spikes [L, B, ...], of radix neurons [K, B, ...]

    @property
    def total(self) -> Tensor:
        """Spikes sent [B, ...]."""
        return self.sent.sum(0)


def require_levels(levels: Sequence[int], neuron: Neuron) -> None:
    """Raises UsageError: a radix neuron has 2^K - 1 levels, and one of ``levels`` is another number."""
    wrong = [level for level in levels if neuron == "radix" and level & (level + 1)]
    if wrong:
        raise UsageError(f"levels of radix neurons: expected 2^K - 1 (1, 3, 7, 15, 31, ...), got {wrong[0]}")


def fire(
    x: Tensor,
    step: Tensor | float,
    levels: int,
    neuron: Neuron,
    *,
    analogue: bool,
    level: Callable[[Tensor, Tensor | float, int], Tensor],
) -> Firing:
    """Run a layer over its input currents ``x`` [T1, B, ...].

    Args:
        step: d.
        levels: L.
        neuron: one of `NEURONS`.
        analogue: the currents are the network's own input, which is compared with all thresholds at once.
        level: how that is done, `homeo_rl.snn.qcfs.level_of` or `homeo_rl.snn.qcfs.ladder_level`.
    """
    if analogue:
        nothing = x[:0]
        return Firing(nothing, nothing, train_of(level(x.sum(0), step, levels), levels, neuron))
    return {"pascal": accumulate, "gated": gate, "radix": emit_digits}[neuron](x, step, levels)


def accumulate(x: Tensor, step: Tensor | float, levels: int, *, silent: int | None = None) -> Firing:
    """Run the PASCAL neuron over its input currents ``x`` [T1, B, ...].

    Args:
        step: d.
        levels: L.
        silent: K; by default max(T1, L) - 1, the least that serves all inputs.
    """
    fed = x.shape[0]
    settle = max(fed, levels) - 1 if silent is None else silent
    v = torch.zeros_like(x[0]) + 0.5 * step
    c = torch.zeros_like(v)
    received, settled = [], []
    for now in x:
        v = v + now
        s = (v >= step).to(v.dtype)
        v = v - s * step
        c = c + s
        received.append(s)
    for _ in range(settle):
        s = (v >= step).to(v.dtype) - (v < 0).to(v.dtype)
        v = v - s * step
        c = c + s
        settled.append(s)
    nothing = x.new_zeros((0, *x.shape[1:]))
    return Firing(torch.stack(received), torch.stack(settled) if settled else nothing, burst(c, levels))


def gate(x: Tensor, step: Tensor | float, levels: int) -> Firing:
    """Run the gated neuron over its input currents ``x`` [T1, B, ...]: integrate in silence, then fire."""
    v = torch.zeros_like(x[0]) + 0.5 * step
    for now in x:
        v = v + now
    return _fire_after(x, v, [step] * levels)


def emit_digits(x: Tensor, step: Tensor | float, levels: int) -> Firing:
    """Run the radix neuron over its input currents ``x`` [T1, B, ...]: integrate in silence, then send K digits."""
    return _fire_after(x, 0.5 * step + x.sum(0), [step * place for place in spike_values(levels, "radix")])


def _fire_after(x: Tensor, v: Tensor, sizes: Sequence[Tensor | float]) -> Firing:
    """Return what neurons of potentials ``v`` [B, ...] send after their input ``x``: spikes of these sizes."""
    nothing, sent = x.new_zeros((0, *x.shape[1:])), []
    for size in sizes:
        s = (v >= size).to(v.dtype)
        v = v - s * size
        sent.append(s)
    return Firing(nothing, nothing, torch.stack(sent))


def integrate_and_fire(x: Tensor, threshold: Tensor | float) -> Tensor:
    """Return the spikes of plain IF neurons with soft reset for currents ``x`` [T, B, ...], from half a threshold."""
    v, sent = torch.zeros_like(x[0]) + 0.5 * threshold, []
    for now in x:
        v = v + now
        s = (v >= threshold).to(v.dtype)
        v = v - s * threshold
        sent.append(s)
    return torch.stack(sent)


def burst(count: Tensor, levels: int) -> Tensor:
    """Return trains [L, B, ...] that spike at step k = 1 ... L wherever ``count`` [B, ...] >= k."""
    steps = torch.arange(1, levels + 1, dtype=count.dtype, device=count.device)
    return (count >= steps.view(-1, *[1] * count.dim())).to(count.dtype)


def train_of(count: Tensor, levels: int, neuron: Neuron) -> Tensor:
    """Return the train [T, B, ...] in which a neuron sends ``count`` [B, ...] of at most ``levels``."""
    if neuron != "radix":
        return burst(count, levels)
    places = _along_time(spike_values(levels, neuron), count)
    return torch.floor(count.clamp(0, levels) / places) % 2


def spike_values(levels: int, neuron: Neuron) -> tuple[int, ...]:
    """Return for how many levels a spike of each step stands: 1, or of radix neurons 2^(K-1), ..., 2, 1."""
    if neuron != "radix":
        return (1,) * levels
    return tuple(2**place for place in reversed(range(levels.bit_length())))


def levels_sent(train: Tensor, levels: int, neuron: Neuron) -> Tensor:
    """Return a train [T, B, ...] of spikes with every spike as the levels that it stands for; its sum is the count."""
    return train * _along_time(spike_values(levels, neuron), train[0]) if neuron == "radix" else train


def _along_time(values: Sequence[int], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(-1, *[1] * like.dim())


def steps_of(levels: Sequence[int], neuron: Neuron) -> list[int]:
    """Return the time steps that each layer of a chain takes in a decision; layer 0 reads the input at once.

    PASCAL: L_0, then max(L_(l-1), L_l) - 1 + L_l; gated: L_l; radix: K_l. Their sum is the latency of a decision.
    """
    if neuron != "pascal" or not levels:
        return [len(spike_values(level, neuron)) for level in levels]
    return [levels[0], *(max(before, level) - 1 + level for before, level in itertools.pairwise(levels))]


def effective_steps(trains: Sequence[int], fan_ins: Sequence[int]) -> float:
    """Return T_eff, a decision's arithmetic in time steps of a plain integrate-and-fire layer, mean over layers.

    ``trains`` are the steps T in which each layer sends (L, of radix neurons K). A spike-accumulating neuron does about
    five operations a step where a plain one does four thirds of a synapse's: T (1 + (5 T - 2) r) / (1 + T r) with
    r = 4 / (3 fan-in) (Ramesh and Srinivasan, TMLR 2025).
    """
    shares = [4.0 / (3.0 * fan_in) for fan_in in fan_ins]
    each = [t * (1 + (5 * t - 2) * r) / (1 + t * r) for t, r in zip(trains, shares, strict=True)]
    return sum(each) / len(each) if each else 0.0


def add_spike_trains(x: Tensor, y: Tensor) -> Tensor:
    """Return the sum of two trains [T, B, ...] of any lengths: the shorter one's sum joins the first step."""
    if x.shape[0] == y.shape[0]:
        return x + y
    longer, shorter = (x, y) if x.shape[0] > y.shape[0] else (y, x)
    longer = longer.clone()
    longer[0] += shorter.sum(0)
    return longer
