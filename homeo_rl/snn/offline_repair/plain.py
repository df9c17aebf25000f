"""The rivals of sleep: a coarse copy of the weights, ridge regression, gradient descent."""

import torch
from torch import Tensor

from homeo_rl.errors import InputError
from homeo_rl.homeostasis.sleep_candidates.ridge import fit_currents
from homeo_rl.homeostasis.sleep_rivals import FinetuneRepair, RidgeRepair
from homeo_rl.snn import neurons
from homeo_rl.snn.layers import currents
from homeo_rl.snn.offline_repair.request import Repair, RepairRequest, free_synapses, join, split
from homeo_rl.snn.state import LayerWeights, map_weights


def write_copy(request: RepairRequest) -> Repair:
    """Write the middle of every weight's cell where a weight can be written.

    Raises:
        InputError: the memory has no copy.
    """
    if not request.memory.copies:
        raise InputError("weight-copy: expected a memory with copies, got none; Memory.with_copies makes them")
    layers = []
    for layer, intact, copy in zip(request.weights, request.intact, request.memory.copies, strict=True):
        layers.append(split(layer, torch.where(free_synapses(layer, intact) > 0, copy.centre, join(layer))))
    return Repair(tuple(layers), ("copy",) * len(layers))


def refit_currents(request: RepairRequest) -> Repair:
    """Fit the remembered mean currents layer by layer, on what the repaired layers before send now.

    Raises:
        InputError: the memory has no currents.
    """
    plugin, memory = request.plugin, request.memory
    assert isinstance(plugin, RidgeRepair)
    if not memory.currents:
        raise InputError("ridge: expected a memory with currents, got none; Memory.with_currents makes them")
    train, layers = memory.trains[0], list[LayerWeights]()
    for index, (layer, wanted) in enumerate(zip(request.weights, memory.currents, strict=True)):
        mean = train.mean(1)
        inputs = torch.cat([mean, mean.new_ones(len(mean), 1)], 1)
        free = free_synapses(layer, request.intact[index])
        layers.append(split(layer, fit_currents(inputs, wanted, join(layer), free, plugin.penalty, iterations=100)))
        train = request.run(index, train, layers[-1])
    return Repair(tuple(layers), ("ridge",) * len(layers))


@torch.inference_mode(False)
@torch.enable_grad()
def finetune(request: RepairRequest) -> Repair:
    """Descend the gradient of the distance from the remembered outputs and hidden rates, on the whole memory."""
    plugin, network = request.plugin, request.network
    assert isinstance(plugin, FinetuneRepair)
    pairs = list(zip(request.weights, request.intact, strict=True))
    free = [free_synapses(layer, intact).clone() for layer, intact in pairs]
    joined = [join(layer).clone().requires_grad_(True) for layer in request.weights]
    flags = [map_weights(layer, Tensor.clone) for layer in request.weights]
    trains = [train.clone() for train in request.memory.trains]
    with torch.no_grad():
        wanted = network.readout(trains[-1])
    optimiser = torch.optim.Adam(joined, lr=plugin.rate)
    for _ in range(plugin.steps):
        train, loss = trains[0], torch.zeros(())
        for index, matrix in enumerate(joined):
            train = _scan(request, index, train, split(flags[index], matrix))
            if index < len(joined) - 1:
                loss = loss + (train.mean(1) - trains[index + 1].mean(1)).square().mean()
        loss = loss + (network.readout(train) - wanted).square().mean()
        optimiser.zero_grad()
        loss.backward()
        for matrix, mask in zip(joined, free, strict=True):
            if matrix.grad is not None:
                matrix.grad.mul_(mask)
        optimiser.step()
    if not all(bool(matrix.isfinite().all()) for matrix in joined):
        return Repair(request.weights, ("keep",) * len(joined))
    layers = (split(layer, matrix.detach()) for layer, matrix in zip(request.weights, joined, strict=True))
    return Repair(tuple(layers), ("finetune",) * len(joined))


def _scan(request: RepairRequest, index: int, train: Tensor, layer: LayerWeights) -> Tensor:
    """Return what layer ``index`` sends [M, T, N], with gradients."""
    network = request.network
    received = currents(train, layer.weight, layer.bias)
    fires = network.fires(index)
    out, _ = neurons.scan(
        network.spec.neuron, received, network.rest_of(index, received[:, 0]), alive=layer.alive if fires else None,
        stuck=layer.stuck if fires else None, fires=fires, tau=network.leak_of(index),
    )  # fmt: skip
    return out
