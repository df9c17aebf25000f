"""A whole spiking layer as one differentiable operation: one product of B * T rows, one compiled scan.

What `homeo_rl.snn.network` writes with `currents` and `homeo_rl.snn.neurons.scan`, for layers whose weights are shared
by the batch. Nothing is kept for the backward pass but the input train, the potentials and the spikes.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    keep: bool = True,
) -> tuple[Tensor, Membrane | None]:
    """Do what `homeo_rl.snn.neurons.scan` does; ``threshold`` [N] takes the place of the neuron's constant.

    ``currents`` [B, T, N] are used up: their memory becomes that of the potentials. The last state is None unless
    there was a state before or it is to be kept.
    """
    if state is None and keep:
        size = (currents.shape[0], currents.shape[2])
        state = Membrane(*(currents.new_zeros(size) for _ in range(3)))
    level = torch.full_like(currents[0, 0], neuron.threshold) if threshold is None else threshold
    before = (None, None, None) if state is None else state
    out, *after = _Scan.apply(neuron, fires, currents, level, *before)  # type: ignore[no-untyped-call]  # torch ships apply untyped
    return out, Membrane(*after) if after else None


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, neuron: NeuronSpec, fires: bool, currents: Tensor, threshold: Tensor, *state: Tensor | None
    ) -> Any:
        x = currents.detach().contiguous()
        spikes = torch.empty_like(x) if fires else x
        after = _copies(state, x)
        level = threshold.detach().contiguous()
        scans.scan(
            kind_of(neuron), neuron.reset == "hard", fires, constants_of(neuron, _numpy(x).dtype),
            _numpy(level), _numpy(x), _numpy(spikes), *(_numpy(part) for part in after),
        )  # fmt: skip
        ctx.neuron, ctx.fires = neuron, fires
        ctx.save_for_backward(x, spikes, level, state[1], state[2])
        out = spikes if fires else x.clone()
        return (out,) if state[0] is None else (out, *after)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        potentials, spikes, threshold, potential, spiked = ctx.saved_tensors
        neuron: NeuronSpec = ctx.neuron
        coming = torch.zeros_like(potentials) if grads[0] is None else grads[0].contiguous()
        grad = torch.empty_like(potentials)
        surrogate = SURROGATES.get(neuron.surrogate, scans.GIVEN)
        given = DERIVATIVES[neuron.surrogate](potentials - threshold) if surrogate == scans.GIVEN else coming
        grad_threshold = torch.zeros_like(threshold)
        resting = potential is None
        state = _copies(grads[1:] if not resting else (None, None, None), grad, None if resting else potential.shape)
        scans.scan_backward(
            kind_of(neuron), neuron.reset == "hard", ctx.fires, surrogate, constants_of(neuron, _numpy(grad).dtype),
            _numpy(threshold), _numpy(given), _numpy(potentials), _numpy(spikes), _numpy(coming), _numpy(grad),
            *(_numpy(part) for part in state), _numpy(grad_threshold),
            *(_numpy(grad.new_empty((0, grad.shape[2])) if part is None else part.contiguous())
              for part in (potential, spiked)),
        )  # fmt: skip
        return (None, None, grad, grad_threshold, *([None] * 3 if resting else state))


def _copies(parts: Sequence[Tensor | None], like: Tensor, shape: Any = None) -> list[Tensor]:
    """Return contiguous copies [B, N] that may be written to; zeros of ``shape``, or nothing [0, N], for None."""
    shape = (0, like.shape[2]) if shape is None else shape
    return [
        like.new_zeros(shape) if part is None else part.detach().clone(memory_format=torch.contiguous_format)
        for part in parts
    ]


def _numpy(value: Tensor) -> np.ndarray:
    array: np.ndarray = value.detach().numpy()
    return array
