"""The scan of one layer as a differentiable operation: `homeo_rl.snn.neurons.scan`, compiled.

Derivatives reach the currents, the thresholds and the state before. Nothing is kept for them but potentials and spikes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from homeo_rl.snn.kernels import scans
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
    if state is None:
        size = (currents.shape[0], currents.shape[2])
        state = Membrane(*(currents.new_zeros(size) for _ in range(3)))
    level = torch.full_like(currents[0, 0], neuron.threshold) if threshold is None else threshold
    out, *after = _Scan.apply(neuron, fires, currents, level, *state)  # type: ignore[no-untyped-call]  # torch ships apply untyped
    return out, Membrane(*after)


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, neuron: NeuronSpec, fires: bool, currents: Tensor, threshold: Tensor, *state: Tensor) -> Any:
        x = currents.detach().contiguous()
        spikes = torch.empty_like(x) if fires else x
        current, potential, spiked = (_copy(part) for part in state)
        level = threshold.detach().contiguous()
        scans.scan(
            kind_of(neuron), neuron.reset == "hard", fires, constants_of(neuron, x.numpy().dtype), level.numpy(),
            x.numpy(), spikes.numpy(), current.numpy(), potential.numpy(), spiked.numpy(),
        )  # fmt: skip
        ctx.neuron, ctx.fires = neuron, fires
        ctx.save_for_backward(x, spikes, level, state[1], state[2])
        return spikes if fires else x.clone(), current, potential, spiked

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        potentials, spikes, threshold, potential, spiked = ctx.saved_tensors
        neuron: NeuronSpec = ctx.neuron
        coming = torch.zeros_like(potentials) if grads[0] is None else grads[0].contiguous()
        grad = torch.empty_like(potentials)
        surrogate = SURROGATES.get(neuron.surrogate, scans.GIVEN)
        given = DERIVATIVES[neuron.surrogate](potentials - threshold) if surrogate == scans.GIVEN else coming
        of_threshold = torch.zeros_like(threshold)
        of_current, of_potential, of_spiked = (
            torch.zeros_like(potential, memory_format=torch.contiguous_format) if part is None else _copy(part)
            for part in grads[1:]
        )
        scans.scan_backward(
            kind_of(neuron), neuron.reset == "hard", ctx.fires, surrogate, constants_of(neuron, grad.numpy().dtype),
            threshold.numpy(), given.numpy(), potentials.numpy(), spikes.numpy(), coming.numpy(), grad.numpy(),
            of_current.numpy(), of_potential.numpy(), of_spiked.numpy(), of_threshold.numpy(),
            potential.detach().contiguous().numpy(), spiked.detach().contiguous().numpy(),
        )  # fmt: skip
        return None, None, grad, of_threshold, of_current, of_potential, of_spiked


def _copy(value: Tensor) -> Tensor:
    return value.detach().clone(memory_format=torch.contiguous_format)
