"""The scan of one layer as a differentiable operation: `homeo_rl.snn.neurons.scan`, compiled.

Derivatives reach the currents, the thresholds and the state before. Nothing is kept for them but potentials and spikes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from homeo_rl.snn.kernels import scans, serving
from homeo_rl.snn.neurons import Membrane
from homeo_rl.snn.surrogates import DERIVATIVES
from homeo_rl.spec import NeuronSpec

KINDS = {"current-lif": scans.CURRENT, "if": scans.IF}
SURROGATES = {"rectangle": scans.RECTANGLE, "arctan": scans.ARCTAN, "triangle": scans.TRIANGLE}


def kind_of(neuron: NeuronSpec) -> int:
    """Return the number by which the compiled loops know ``neuron``."""
    return KINDS.get(neuron.kind, scans.LIF if neuron.decay_input else scans.LIF_PLAIN)


def constants_of(neuron: NeuronSpec, dtype: Any) -> np.ndarray:
    """Return current decay, voltage decay and tau."""
    return np.array([neuron.current_decay, neuron.voltage_decay, neuron.tau], dtype=dtype)


def scan(
    neuron: NeuronSpec,
    currents: Tensor,
    state: Membrane | None = None,
    *,
    threshold: Tensor | None = None,
    fires: bool = True,
) -> tuple[Tensor, Membrane]:
    """Do what `homeo_rl.snn.neurons.scan` does; ``threshold`` [N] takes the place of the neuron's constant.

    ``currents`` [B, T, N] are used up: their memory becomes that of the potentials.
    """
    before = _at_rest(currents) if state is None else state
    level = torch.full_like(currents[0, 0], neuron.threshold) if threshold is None else threshold
    out, *after = _Scan.apply(neuron, fires, currents, level, *before)  # type: ignore[no-untyped-call]  # torch ships apply untyped
    return out, Membrane(*after)


def scan_energetic(
    neuron: NeuronSpec,
    currents: Tensor,
    state: Membrane | None,
    psi: float,
    energy: Tensor,
    alive: Tensor | None,
    stuck: Tensor | None,
) -> tuple[Tensor, Membrane]:
    """Run a layer under `homeo_rl.homeostasis.BDETT` on a GPU, without gradients; ``energy`` [B, N] advances in place.

    ``currents`` [B, T, N] are used up: their memory becomes that of the spikes.
    """
    from homeo_rl.snn.kernels import triton_scans

    x = currents.contiguous()
    size = (x.shape[0], x.shape[2])
    after = Membrane(*(_copy(part) for part in (_at_rest(x) if state is None else state)))
    live, held = (
        x.new_full(size, idle) if part is None else part.to(x).expand(size).contiguous()
        for part, idle in ((alive, 1.0), (stuck, 0.0))
    )
    kind, hard = kind_of(neuron), neuron.reset == "hard"
    triton_scans.scan_energetic(kind, hard, _constants_on(x, neuron, psi), x, after, energy, live, held)
    return x, after


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, neuron: NeuronSpec, fires: bool, currents: Tensor, threshold: Tensor, *state: Tensor) -> Any:
        x = currents.detach().contiguous()
        spikes = torch.empty_like(x) if fires else x
        after = Membrane(*(_copy(part) for part in state))
        level = threshold.detach().contiguous()
        kind, hard = kind_of(neuron), neuron.reset == "hard"
        ctx.on_cpu = serving(x) == "numba"
        if ctx.on_cpu:
            scans.scan(
                kind, hard, fires, constants_of(neuron, x.numpy().dtype), level.numpy(), x.numpy(), spikes.numpy(),
                after.current.numpy(), after.potential.numpy(), after.spikes.numpy(), _unused(x),
            )  # fmt: skip
        else:
            from homeo_rl.snn.kernels import triton_scans

            triton_scans.scan(kind, hard, fires, _constants_on(x, neuron), level, x, spikes, after)
        ctx.neuron, ctx.fires = neuron, fires
        ctx.save_for_backward(x, spikes, level, state[1], state[2])
        return spikes if fires else x.clone(), *after

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        potentials, spikes, threshold, potential, spiked = ctx.saved_tensors
        neuron: NeuronSpec = ctx.neuron
        coming = torch.zeros_like(potentials) if grads[0] is None else grads[0].contiguous()
        grad = torch.empty_like(potentials)
        surrogate = SURROGATES.get(neuron.surrogate, scans.GIVEN)
        given = DERIVATIVES[neuron.surrogate](potentials - threshold) if surrogate == scans.GIVEN else coming
        of_state = Membrane(
            *(
                torch.zeros_like(potential, memory_format=torch.contiguous_format) if part is None else _copy(part)
                for part in grads[1:]
            )
        )
        first = Membrane(potential, potential.detach().contiguous(), spiked.detach().contiguous())
        kind, hard = kind_of(neuron), neuron.reset == "hard"
        if ctx.on_cpu:
            of_threshold = torch.zeros_like(threshold)
            scans.scan_backward(
                kind, hard, ctx.fires, surrogate, constants_of(neuron, grad.numpy().dtype), threshold.numpy(),
                given.numpy(), potentials.numpy(), spikes.numpy(), coming.numpy(), grad.numpy(),
                of_state.current.numpy(), of_state.potential.numpy(), of_state.spikes.numpy(), of_threshold.numpy(),
                _unused(grad), first.potential.numpy(), first.spikes.numpy(),
            )  # fmt: skip
        else:
            from homeo_rl.snn.kernels import triton_scans

            of_threshold = triton_scans.scan_backward(
                kind, hard, ctx.fires, surrogate, _constants_on(grad, neuron), threshold,
                given, potentials, spikes, coming, grad, of_state, first,
            )  # fmt: skip
        return None, None, grad, of_threshold, *of_state


def _constants_on(x: Tensor, neuron: NeuronSpec, psi: float = 1.0) -> Tensor:
    """Return what the kernels of a GPU read: current decay, voltage decay, tau, slope of the arctan surrogate, psi."""
    return x.new_tensor([neuron.current_decay, neuron.voltage_decay, neuron.tau, math.pi, psi])


def _unused(like: Tensor) -> np.ndarray:
    return np.empty(0, dtype=like.numpy().dtype)


def _at_rest(currents: Tensor) -> Membrane:
    size = (currents.shape[0], currents.shape[2])
    return Membrane(*(currents.new_zeros(size) for _ in range(3)))


def _copy(value: Tensor) -> Tensor:
    return value.detach().clone(memory_format=torch.contiguous_format)
