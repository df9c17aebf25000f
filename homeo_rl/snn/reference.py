"""The plain reference: the same network, one spike step after the other through all layers."""

import torch
from torch import Tensor

from homeo_rl.homeostasis.protocol import Modulation
from homeo_rl.snn import neurons
from homeo_rl.snn.inputs import noise_of, require_batch, rows_of
from homeo_rl.snn.layers import modulate_currents, threshold_rule
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.snn.state import NetworkState


def forward_stepwise(
    network: SpikingNetwork, x: Tensor, state: NetworkState | None = None, *, noise: Tensor | None = None
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Make one decision step by step, as hardware would.

    Args:
        x: observations [B, inputs].
        state: weights, plug-in and membranes, as for `SpikingNetwork.forward`; not advanced.
        noise: uniform numbers of a stochastic encoder [B, T, N_enc].

    Returns the outputs [B, outputs] and each layer's spikes [B, T, N] (potentials for a layer that does not fire).

    Raises:
        InputError: shapes or types that do not fit, or a state that was already advanced.
        NonFiniteInput: an observation is not finite.
    """
    x, _ = rows_of(x, network.spec.inputs, network)
    noise = noise_of(noise, (x.shape[0], network.spec.steps, network.spec.widths[0]))
    if state is not None:
        require_batch(state, x.shape[0])
    state = network.initial_state(x.shape[0]) if state is None else state.clone()
    last = len(network.layers) - 1
    membranes = list(state.membranes)
    outputs: list[list[Tensor]] = [[] for _ in network.layers]
    for value in network.encoder(x, network.spec.steps, noise=noise).unbind(1):
        for index in range(last + 1):
            weights = network.weights_of(index, state)
            change = Modulation() if state.plugin is None else state.plugin.modulation(state.adaptation[index])
            current = modulate_currents(value.unsqueeze(1), weights, change).squeeze(1)
            fires = network.readout.spiking or index < last
            membrane = membranes[index]
            membranes[index] = membrane = neurons.step(
                network.spec.neuron,
                current,
                network.rest_of(index, current) if membrane is None else membrane,
                threshold=threshold_rule(state, index),
                alive=weights.alive,
                stuck=weights.stuck,
                fires=fires,
                tau=network.leak_of(index),
            )
            value = membrane.spikes if fires else membrane.potential
            outputs[index].append(value)
    trains = tuple(torch.stack(train, 1) for train in outputs)
    y: Tensor = network.readout(trains[-1])
    return y, trains
