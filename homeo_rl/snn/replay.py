"""Replaying a memory through a network: what a self-test compares, and how sleep repairs layers.

Shapes: M remembered observations, T spike steps, N neurons of a layer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from homeo_rl.errors import InputError, UsageError
from homeo_rl.homeostasis.memory import Memory
from homeo_rl.homeostasis.sleep import LayerRepair, SleepHomeostat
from homeo_rl.numerics.arrays import index_of, instance_of
from homeo_rl.seeding import generator
from homeo_rl.snn import neurons
from homeo_rl.snn.inputs import rows_of
from homeo_rl.snn.kernels import dispatch
from homeo_rl.snn.kernels import layer as compiled
from homeo_rl.snn.layers import currents
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.snn.state import LayerWeights, Weights


@dataclass(frozen=True)
class SelfTest:
    """What a replay of the memory showed, each layer alone, driven by what it remembers to have heard.

    Attributes:
        change: mean absolute change of the outputs of each layer.
        neurons: the same for every neuron, [N] a layer.
        silent: neurons that fired and are silent now, by layer.
        stuck: neurons that fire at every step now and did not, by layer.
    """

    change: tuple[float, ...]
    neurons: tuple[Tensor, ...]
    silent: tuple[int, ...]
    stuck: tuple[int, ...]

    def passed(self, tolerance: float) -> bool:
        """Whether no layer changed by more than ``tolerance``."""
        return max(self.change) <= tolerance


class Replay:
    """A network and its memory.

    Raises:
        UsageError: networks whose neurons are not run here (converted ones), or a memory of another network.
    """

    def __init__(self, network: SpikingNetwork, memory: Memory) -> None:
        require_replayable(network)
        instance_of(memory, Memory, what="memory", advice="Calibration.memory makes one")
        count, steps = len(memory.inputs), network.spec.steps
        shapes = [(count, network.spec.inputs), *((count, steps, width) for width in network.spec.widths)]
        got = [tuple(part.shape) for part in (memory.inputs, *memory.trains)]
        if got != shapes or not count:
            raise InputError(
                f"memory: expected at least one observation, and trains of shapes {shapes}, as this network's are, got "
                f"{got}; calibrate the policy that is used"
            )
        self.network, self.memory = network, memory

    @torch.no_grad()
    def layer_responses(self, weights: Weights) -> tuple[Tensor, ...]:
        """Return what each layer of a network with these weights answers, alone: [M, T, N] a layer."""
        trains = self.memory.trains
        return tuple(self._run(index, trains[index], layer_weights) for index, layer_weights in enumerate(weights))

    @torch.no_grad()
    def test(self, weights: Weights, reference: Sequence[Tensor] | None = None) -> SelfTest:
        """Compare with what is remembered, or with ``reference``, the answers of another time."""
        reference = self.memory.trains[1:] if reference is None else reference
        pairs = list(zip(self.layer_responses(weights), reference, strict=True))
        change = tuple((now.mean(1) - before.mean(1)).abs().mean(0) for now, before in pairs)
        return SelfTest(
            change=tuple(float(part.mean()) for part in change),
            neurons=change,
            silent=tuple(int(((now.amax((0, 1)) <= 0) & (before.amax((0, 1)) > 0)).sum()) for now, before in pairs),
            stuck=tuple(int(((now.amin((0, 1)) >= 1) & (before.amin((0, 1)) < 1)).sum()) for now, before in pairs),
        )

    @torch.no_grad()
    def repair(self, plugin: SleepHomeostat, weights: Weights, intact: Weights | None = None) -> Weights:
        """Return the weights after sleep, layer by layer from the input.

        Weights that are exactly 0 in ``intact``, by default in ``weights``, are gone.
        """
        train = self.memory.trains[0]
        layers = []
        for index, (layer_weights, before) in enumerate(
            zip(weights, weights if intact is None else intact, strict=True)
        ):
            weight, bias = plugin.repair_layer(self._make_repair(index, train, layer_weights, before))
            layers.append(layer_weights._replace(weight=weight, bias=bias))
            train = self._run(index, train, layers[-1])
        return tuple(layers)

    @torch.no_grad()
    def network_responses(self, weights: Weights) -> tuple[Tensor, ...]:
        """Return what each layer answers in the network as a whole: [M, T, N] a layer."""
        trains = [self.memory.trains[0]]
        for index, layer_weights in enumerate(weights):
            trains.append(self._run(index, trains[-1], layer_weights))
        return tuple(trains[1:])

    @torch.no_grad()
    def errors(self, weights: Weights) -> list[float]:
        """Return the distance of each layer's outputs from the remembered ones, in the network as a whole.

        It is the mean over observations and neurons of the absolute difference of mean outputs over the spike steps of
        one observation: errors of opposite signs at two observations do not cancel.
        """
        pairs = zip(self.network_responses(weights), self.memory.trains[1:], strict=True)
        return [float((now.mean(1) - before.mean(1)).abs().mean()) for now, before in pairs]

    def _make_repair(self, index: int, train: Tensor, layer_weights: LayerWeights, before: LayerWeights) -> LayerRepair:
        alive = torch.ones_like(layer_weights.bias) if layer_weights.alive is None else layer_weights.alive
        if layer_weights.stuck is not None:
            alive = alive * (1.0 - layer_weights.stuck)

        def bias_response(weight: Tensor) -> Callable[[Tensor], Tensor]:
            received = currents(train, weight, torch.zeros_like(layer_weights.bias))
            return lambda bias: run_layer(self.network, index, received + bias, layer_weights).mean(1)

        return LayerRepair(
            weight=layer_weights.weight,
            bias=layer_weights.bias,
            train=train,
            target=self.memory.trains[index + 1].mean(1),
            answer=lambda weight, bias: run_layer(
                self.network, index, currents(train, weight, bias), layer_weights
            ).mean(1),
            bias_response=bias_response,
            alive=alive,
            intact=(before.weight != 0).to(layer_weights.weight),
            slope=1.0 if self.network.fires(index) else float(train.shape[1]),
        )

    def _run(self, index: int, train: Tensor, layer_weights: LayerWeights) -> Tensor:
        return run_layer(self.network, index, currents(train, layer_weights.weight, layer_weights.bias), layer_weights)


def is_replayable(network: SpikingNetwork) -> bool:
    """Whether a network's layers can be replayed."""
    return type(network) is SpikingNetwork


def require_replayable(network: SpikingNetwork) -> None:
    """Check that a network's layers can be replayed. Raises UsageError: it was converted."""
    if not is_replayable(network):
        raise UsageError(
            "sleep and dwam: expected a network of spiking layers, this one was converted and cannot be replayed; use "
            "dwam-paper"
        )


@torch.inference_mode(False)  # what is remembered may meet autograd
@torch.no_grad()
def remember(network: SpikingNetwork, inputs: Tensor) -> Memory:
    """Let a healthy network answer to ``inputs`` [M, inputs]; a stochastic encoder's draws are fixed numbers.

    Raises:
        InputError: another shape, or no real numbers.
        NonFiniteInput: an input is not finite.
    """
    require_replayable(network)
    inputs = rows_of(inputs, network.spec.inputs, network, what="inputs [M, D]")[0].clone()
    train = network.encoder(inputs, network.spec.steps, noise=replay_noise(network, len(inputs)))
    trains = [train]
    for index, layer_weights in enumerate(network.parameters_of_layers()):
        train = run_layer(network, index, currents(train, layer_weights.weight, layer_weights.bias), layer_weights)
        trains.append(train)
    return Memory(inputs, tuple(trains))


def pack_responses(network: SpikingNetwork, memory: Memory) -> tuple[np.ndarray, ...]:
    """Return the answers of every layer for storage: spikes as bits [M, bytes], potentials as they are."""
    return tuple(
        np.packbits(train.numpy().astype(bool).reshape(len(train), -1), axis=1)
        if network.fires(index)
        else train.numpy()
        for index, train in enumerate(memory.trains[1:])
    )


@torch.inference_mode(False)  # what is remembered may meet autograd
@torch.no_grad()
def recall(network: SpikingNetwork, inputs: np.ndarray, answers: Sequence[np.ndarray]) -> Memory:
    """Return a memory from observations [M, inputs] and what `pack_responses` made of the answers; nothing is shared.

    Raises:
        InputError: shapes that are not this network's.
        NonFiniteInput: an input is not finite.
    """
    x, _ = rows_of(torch.tensor(inputs), network.spec.inputs, network, what="inputs [M, D]")
    steps = network.spec.steps
    shapes = [
        (len(x), (steps * width + 7) // 8) if network.fires(index) else (len(x), steps, width)
        for index, width in enumerate(network.spec.widths[1:])
    ]
    if [answer.shape for answer in answers] != shapes:
        raise InputError(
            f"answers: expected shapes {shapes}, as this network's layers answer, got "
            f"{[answer.shape for answer in answers]}; calibrate the policy that is used"
        )
    trains = [network.encoder(x, steps, noise=replay_noise(network, len(x)))]
    for index, (width, answer) in enumerate(zip(network.spec.widths[1:], answers, strict=True)):
        if network.fires(index):
            bits = np.unpackbits(answer, axis=1, count=steps * width)
            trains.append(torch.as_tensor(bits.reshape(len(x), steps, width)).to(x))
        else:
            trains.append(torch.tensor(answer))
    return Memory(x, tuple(trains))


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
