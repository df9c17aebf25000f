"""Repairs by one rule that is local to a neuron and its synapses: forms ``delta``, ``bias``, ``gain``, ``none``."""

from collections.abc import Callable

from torch import Tensor, zeros_like

from homeo_rl.homeostasis.sleep import LayerRepair
from homeo_rl.snn.layers import currents
from homeo_rl.snn.offline_repair.request import Repair, RepairRequest, writable_neurons
from homeo_rl.snn.replay_layers import run_layer


def make_layer_repair(request: RepairRequest, index: int, train: Tensor) -> LayerRepair:
    """Return what layer ``index`` has to repair, when the layers before send ``train`` [M, T, N_in] now."""
    layer, target = request.weights[index], request.memory.trains[index + 1].mean(1)

    def respond(received: Tensor) -> Tensor:
        return run_layer(request.network, index, received, layer).mean(1)

    def bias_response(weight: Tensor) -> Callable[[Tensor], Tensor]:
        received = currents(train, weight, zeros_like(layer.bias))
        return lambda bias: respond(received + bias)

    return LayerRepair(
        weight=layer.weight,
        bias=layer.bias,
        train=train,
        target=target,
        answer=lambda weight, bias: respond(currents(train, weight, bias)),
        bias_response=bias_response,
        alive=writable_neurons(layer),
        intact=(request.intact[index].weight != 0).to(layer.weight),
        slope=1.0 if request.network.fires(index) else float(train.shape[1]),
    )


def repair_layerwise(request: RepairRequest) -> Repair:
    """Repair layer by layer from the input, by the rule that the form of the mechanism names."""
    train, layers, chosen = request.memory.trains[0], [], []
    for index, layer in enumerate(request.weights):
        weight, bias = request.plugin.repair_layer(make_layer_repair(request, index, train))
        chosen.append("keep" if weight is layer.weight else request.plugin.form)
        layers.append(layer._replace(weight=weight, bias=bias))
        train = request.run(index, train, layers[-1])
    return Repair(tuple(layers), tuple(chosen))
