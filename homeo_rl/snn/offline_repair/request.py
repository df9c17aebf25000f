"""What an offline repair is asked for, and what it answers."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from homeo_rl.homeostasis.memory import Memory
from homeo_rl.homeostasis.sleep import SleepHomeostat
from homeo_rl.snn.layers import currents
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.snn.replay_layers import run_layer
from homeo_rl.snn.state import LayerWeights, Weights


@dataclass(frozen=True)
class RepairRequest:
    """A damaged network and what it remembers."""

    network: SpikingNetwork  # its structure; its trained parameters are not looked at
    memory: Memory  # what it remembers of being healthy
    plugin: SleepHomeostat  # the mechanism, with its settings
    weights: Weights  # as they are now
    intact: Weights  # weights of which those that are exactly 0 are gone, and stay gone
    act: Callable[[Tensor], Tensor]  # from the network's outputs [M, K] to actions of one scale

    def run(self, index: int, train: Tensor, layer: LayerWeights) -> Tensor:
        """Return what layer ``index`` with these weights sends [M, T, N] for what it receives [M, T, N_in]."""
        return run_layer(self.network, index, currents(train, layer.weight, layer.bias), layer)

    def actions(self, outputs: Tensor) -> Tensor:
        """Return the actions [M, K] of outputs [M, T, N] of the last layer."""
        return self.act(self.network.readout(outputs))


@dataclass(frozen=True)
class Repair:
    """Weights after a repair, and the name of the candidate that each layer kept ("keep": the layer as it was)."""

    weights: Weights
    chosen: tuple[str, ...]


def writable_neurons(layer: LayerWeights) -> Tensor:
    """Return 1 for neurons that can do something about their output, else 0 [N]."""
    alive = torch.ones_like(layer.bias) if layer.alive is None else layer.alive
    return alive if layer.stuck is None else alive * (1.0 - layer.stuck)


def join(layer: LayerWeights) -> Tensor:
    """Return weights and biases as one matrix [N, N_in + 1]."""
    return torch.cat([layer.weight, layer.bias.unsqueeze(1)], 1)


def split(layer: LayerWeights, joined: Tensor) -> LayerWeights:
    """Return a layer with weights and biases of a matrix [N, N_in + 1]."""
    return layer._replace(weight=joined[:, :-1], bias=joined[:, -1])


def free_synapses(layer: LayerWeights, intact: LayerWeights) -> Tensor:
    """Return 1 for weights and biases that can be written with an effect, else 0 [N, N_in + 1]."""
    synapses = (intact.weight != 0).to(layer.weight)
    return torch.cat([synapses, torch.ones_like(layer.bias).unsqueeze(1)], 1) * writable_neurons(layer).unsqueeze(1)


def time_major(train: Tensor) -> Tensor:
    """Return a train [M, T, N_in] as rows with a column of ones, [T * M, N_in + 1], step by step."""
    rows = train.transpose(0, 1).reshape(-1, train.shape[2])
    return torch.cat([rows, rows.new_ones(len(rows), 1)], 1)
