"""One layer of a replay: what it sends for the currents that it receives, and which networks can be replayed.

Shapes: M remembered observations, T spike steps, N neurons of a layer.
"""

import numpy as np
import torch
from torch import Tensor

from homeo_rl.errors import InputError, UsageError
from homeo_rl.numerics.arrays import index_of
from homeo_rl.seeding import generator
from homeo_rl.snn import neurons
from homeo_rl.snn.kernels import dispatch
from homeo_rl.snn.kernels import layer as compiled
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.snn.state import LayerWeights


def is_replayable(network: SpikingNetwork) -> bool:
    """Whether a network's layers can be replayed."""
    return type(network) is SpikingNetwork


def require_replayable(network: SpikingNetwork) -> None:
    """Check that a network's layers can be replayed.

    Raises:
        UsageError: it was converted.
    """
    if not is_replayable(network):
        raise UsageError(
            "sleep and dwam: expected a network of spiking layers, this one was converted and cannot be replayed; use "
            "dwam-paper"
        )


def replay_noise(network: SpikingNetwork, count: int) -> Tensor | None:
    """Return the uniform numbers [M, T, N] of a stochastic encoder in every replay; None for others."""
    if not network.encoder.stochastic:
        return None
    shape = (count, network.spec.steps, network.spec.widths[0])
    return torch.as_tensor(generator(0, "replay").random(shape, dtype=np.float32))


def run_layer(network: SpikingNetwork, index: int, received: Tensor, layer_weights: LayerWeights) -> Tensor:
    """Return the outputs [M, T, N] of layer ``index`` for its input currents [M, T, N], from rest; they are used up.

    Raises:
        InputError: no such layer, or currents of another size.
    """
    index = index_of(index, len(network.layers), what="layer", advice="give one of the network's")
    if received.dim() != 3 or received.shape[2] != network.spec.widths[index + 1]:
        raise InputError(
            f"currents of layer {index}: expected shape [M, T, {network.spec.widths[index + 1]}], got "
            f"{list(received.shape)}; give one current a neuron"
        )
    neuron, fires = network.spec.neuron, network.fires(index)
    start = network.rest_of(index, received[:, 0])
    leak = network.leak_of(index)
    if dispatch.route_scan(received, neuron, leaks=leak is not None) == "compiled":
        out, _ = compiled.scan(neuron, received, start, fires=fires)
    else:
        out, _ = neurons.scan(neuron, received, start, fires=fires, tau=leak)
    if fires and layer_weights.alive is not None:  # neurons of a layer do not hear each other: the rest is as it was
        out = out * layer_weights.alive
    if fires and layer_weights.stuck is not None:
        out = torch.maximum(out, layer_weights.stuck.expand_as(out))
    return out
