"""Membrane potentials of a layer whose spikes are given: an affine function of its input currents.

All neuron models integrate by an affine step, and a reset is one too where the spikes are known. Shapes: M
observations, T spike steps, N neurons.
"""

import torch
from torch import Tensor

from homeo_rl.homeostasis.sleep_candidates.spike_fit import ForcedPotentials, LineSearch, search
from homeo_rl.snn import kernels, neurons
from homeo_rl.snn.kernels import line_search
from homeo_rl.snn.network import SpikingNetwork

MAX_STEPS = 16
"""Spike steps up to which responses are computed: they need T^2 / 2 times the memory of a spike train."""


def line_search_for(potentials: ForcedPotentials, network: SpikingNetwork) -> LineSearch:
    """Return the compiled line search where kernels are on, else the plain one."""
    base = potentials.base
    compiled = kernels.serving(base, network.spec.neuron) == "numba" and base.dtype == torch.float32
    return line_search.search if compiled else search


@torch.no_grad()
def run_forced(network: SpikingNetwork, index: int, received: Tensor, spikes: Tensor) -> Tensor:
    """Return the potentials before firing [M, T, N] of layer ``index`` for currents and spikes [M, T, N]."""
    neuron, leak = network.spec.neuron, network.leak_of(index)
    state, potentials = network.rest_of(index, received[:, 0]), []
    for x, fired in zip(received.unbind(1), spikes.unbind(1), strict=True):
        current, potential = neurons.integrate(neuron, x, state, leak)
        potentials.append(potential)
        after = neurons.reset(neuron, potential, fired, neuron.threshold) if network.fires(index) else potential
        state = neurons.Membrane(current, after, fired)
    return torch.stack(potentials, 1)


@torch.no_grad()
def force_potentials(network: SpikingNetwork, index: int, outputs: Tensor) -> ForcedPotentials | None:
    """Return the potentials of layer ``index`` for the outputs [M, T, N] that it is to give.

    None where T is above `MAX_STEPS`.
    """
    steps = outputs.shape[1]
    if steps > MAX_STEPS:
        return None
    fires = network.fires(index)
    spikes = outputs if fires else torch.zeros_like(outputs)
    base = run_forced(network, index, torch.zeros_like(outputs), spikes)
    is_linear = not bool(base.any())  # then a layer at rest stays there until a current comes
    columns = []
    for k in range(steps):
        first = k if is_linear else 0
        received = torch.zeros_like(outputs[:, first:])
        received[:, k - first] = 1.0
        potentials = run_forced(network, index, received, spikes[:, first:])
        columns.append(potentials[:, k - first :] if is_linear else (potentials - base)[:, k:])
    response = tuple(tuple(columns[k][:, t - k].contiguous() for k in range(t + 1)) for t in range(steps))
    threshold = network.spec.neuron.threshold if fires else None
    return ForcedPotentials(
        base.transpose(0, 1).contiguous(), response, outputs.transpose(0, 1).contiguous(), threshold
    )
