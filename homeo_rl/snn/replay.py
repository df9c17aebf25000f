"""Replaying a memory through a network: what a self-test compares, and how sleep repairs layers.

Shapes: M remembered observations, T spike steps, N neurons of a layer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from homeo_rl.errors import InputError
from homeo_rl.homeostasis.memory import Memory
from homeo_rl.homeostasis.sleep import SleepHomeostat
from homeo_rl.numerics.arrays import instance_of
from homeo_rl.snn.inputs import rows_of
from homeo_rl.snn.layers import currents
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.snn.offline_repair import REPAIRS
from homeo_rl.snn.offline_repair.request import Repair, RepairRequest, join
from homeo_rl.snn.replay_layers import replay_noise, require_replayable, run_layer
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

    ``act`` maps the network's outputs [M, K] to actions of one scale, by which repairs are judged; by default the
    outputs themselves are compared.

    Raises:
        UsageError: networks whose neurons are not run here (converted ones), or a memory of another network.
    """

    def __init__(self, network: SpikingNetwork, memory: Memory, act: Callable[[Tensor], Tensor] | None = None) -> None:
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
        self.act = act or (lambda outputs: outputs)

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
        return self.rehearse(plugin, weights, intact).weights

    @torch.no_grad()
    def rehearse(self, plugin: SleepHomeostat, weights: Weights, intact: Weights | None = None) -> Repair:
        """Return what `repair` does, with the name of the candidate that each layer kept."""
        intact = weights if intact is None else intact
        return REPAIRS[plugin.form](RepairRequest(self.network, self.memory, plugin, weights, intact, self.act))

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

    def _run(self, index: int, train: Tensor, layer_weights: LayerWeights) -> Tensor:
        received = currents(train, layer_weights.weight, layer_weights.bias)
        return run_layer(self.network, index, received, layer_weights)


def memory_for(plugin: SleepHomeostat, memory: Memory, healthy: Weights) -> Memory:
    """Return what a mechanism remembers: its number of observations, and what it stores of the healthy weights."""
    memory, joined = memory.first(plugin.observations), [join(layer) for layer in healthy]
    if plugin.form in ("best", "copy"):
        return memory.with_copies(joined, plugin.bits)
    return memory.with_currents(joined) if plugin.form == "ridge" else memory


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
