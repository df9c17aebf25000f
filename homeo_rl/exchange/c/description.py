"""A policy as the numbers and arrays of C's ``homeo_policy``, whatever writes them.

Arrays are float32 in the order of the C structure: weights input by input, remembered spikes as zeros and ones.
Shapes: D observations, K actions, N neurons, M remembered observations, T spike steps.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from homeo_rl.agents.controller import Controller
from homeo_rl.errors import UsageError
from homeo_rl.exchange.c.mechanism import Mechanism, split
from homeo_rl.exchange.c.observer_source import Senses, describe_senses
from homeo_rl.homeostasis.memory import Memory
from homeo_rl.homeostasis.plasticity_guard import BOUND
from homeo_rl.homeostasis.protocol import Homeostasis, LayerReference
from homeo_rl.observer.memory import ObserverMemory
from homeo_rl.snn.encoders import PopulationEncoder
from homeo_rl.snn.kernels.decision_kernel import INITIAL_BOUND
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.snn.neurons import MODELS
from homeo_rl.snn.offline_repair.healthy_model import encode_dreams
from homeo_rl.snn.readouts import PopulationReadout
from homeo_rl.snn.replay import memory_for
from homeo_rl.snn.replay_layers import replay_noise, require_replayable

MAX_LAYERS = 8
MAX_WIDTH = 65_000
"""Neurons of a layer: places of events are 16-bit."""

ENCODERS = {
    "population-regular": "HOMEO_REGULAR",
    "population-poisson": "HOMEO_POISSON",
    "bernoulli": "HOMEO_BERNOULLI",
    "current": "HOMEO_CONSTANT",
}
NEURONS = {"current-lif": "HOMEO_CURRENT_LIF", "if": "HOMEO_IF", "lif": "HOMEO_LIF", "plif": "HOMEO_LIF"}
READOUTS = {
    "population": "HOMEO_POPULATION", "mean": "HOMEO_MEAN", "last": "HOMEO_LAST", "membrane": "HOMEO_MEMBRANE",
}  # fmt: skip
SQUASHES = {"none": "HOMEO_CLIP", "tanh": "HOMEO_TANH", "identity": "HOMEO_IDENTITY"}


@dataclass(frozen=True, kw_only=True)
class LayerTables:
    """What C's ``homeo_layer`` has; None for what is not there."""

    weight: np.ndarray  # [N_in, N]
    bias: np.ndarray  # [N]
    tau: float
    fires: bool
    initial: np.ndarray | None = None
    rate: np.ndarray | None = None
    square: np.ndarray | None = None
    reference: np.ndarray | None = None
    eta: float = 0.0
    bound: float = 0.0
    guard: float = 0.0
    answer: np.ndarray | None = None  # [M, T, N]
    target: np.ndarray | None = None  # [M, N]
    potential: np.ndarray | None = None  # [M, T, N], in the place of the target
    cells: np.ndarray | None = None  # [N_in + 1, N] of a copy, whole numbers
    copy_scale: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Inputs and neurons."""
        return self.weight.shape[0], self.weight.shape[1]


@dataclass(frozen=True, kw_only=True)
class Description:
    """A controller, its mechanism and its memory as arrays."""

    controller: Controller
    network: SpikingNetwork
    mechanism: Mechanism
    layers: tuple[LayerTables, ...]
    senses: Senses | None = None
    observations: int = 0
    train: np.ndarray | None = None  # [M, T, N_enc]
    inputs_remembered: np.ndarray | None = None  # [M, N_enc]
    dream: np.ndarray | None = None  # [D, T, N_enc]
    inputs_dreamed: np.ndarray | None = None  # [D, N_enc]
    healthy: np.ndarray | None = None  # [M, K]

    @property
    def dreams(self) -> int:
        """Imagined observations that sleep has beside the remembered ones."""
        dreamed = self.inputs_dreamed if self.dream is None else self.dream
        return 0 if dreamed is None else len(dreamed)

    @property
    def writable(self) -> bool:
        """Whether weights lie in memory that can be written: sleep repairs them there."""
        return self.mechanism.sleep is not None and self.mechanism.sleep.form != "none"


def describe(
    controller: Controller,
    plugin: Homeostasis | None = None,
    references: tuple[LayerReference, ...] = (),
    memory: Memory | None = None,
    observer_memory: ObserverMemory | None = None,
) -> Description:
    """Return what is written of a policy.

    Args:
        references: of every layer; needed where the mechanism changes weights.
        memory: needed where the mechanism sleeps or rehearses.
        observer_memory: needed where it observes.

    Raises:
        UsageError: a part that the C controller does not have.
    """
    network = require_expressible(controller)
    mechanism = split(plugin)
    if mechanism.bcm is not None and len(references) != len(network.layers):
        raise UsageError("--homeostasis: expected a calibration, one reference a layer, got none; calibrate the run")
    layers = tuple(_layer(network, index) for index in range(len(network.layers)))
    if mechanism.bcm is not None:
        layers = tuple(
            _with_rule(layer, mechanism, reference) for layer, reference in zip(layers, references, strict=True)
        )
    senses = describe_senses(controller, mechanism.observer, observer_memory)
    made = Description(controller=controller, network=network, mechanism=mechanism, layers=layers, senses=senses)
    return made if mechanism.sleep is None else _with_memory(made, memory)


def require_expressible(controller: Controller) -> SpikingNetwork:
    """Return the network of a policy that the C controller can run.

    Raises:
        UsageError: naming the first part that it does not have.
    """
    network, spec = controller.network, controller.spec
    if type(network) is not SpikingNetwork:
        raise UsageError(
            f"--to c: expected a policy of spiking neurons over time, got one of body {spec.network.body!r}; take "
            "--to onnx"
        )
    kind = spec.network.neuron.kind
    if kind not in NEURONS or MODELS[kind].kernel is None:
        raise UsageError(f"--to c: expected neurons of {', '.join(NEURONS)}, got {kind}; train one of these")
    if len(network.layers) > MAX_LAYERS or max(spec.network.widths) > MAX_WIDTH:
        raise UsageError(
            f"--to c: expected at most {MAX_LAYERS} layers of {MAX_WIDTH:,} neurons, got widths {spec.network.widths}; "
            "distill it into a smaller policy"
        )
    return network


def _layer(network: SpikingNetwork, index: int) -> LayerTables:
    weights, neuron = network.parameters_of_layers()[index], network.spec.neuron
    leak, initial = network.leak_of(index), None
    if network.initial is not None and index < len(network.initial.values):
        size = weights.bias.shape[0]
        value = network.initial.values[index].detach().expand(size).numpy()
        most = np.float32(neuron.threshold) * np.float32(INITIAL_BOUND)
        initial = np.clip(value, -most, most)
    return LayerTables(
        weight=weights.weight.numpy().T,
        bias=weights.bias.numpy(),
        tau=neuron.tau if leak is None else float(leak),
        fires=network.fires(index),
        initial=initial,
    )


def _with_rule(layer: LayerTables, mechanism: Mechanism, reference: LayerReference) -> LayerTables:
    bcm = mechanism.bcm
    assert bcm is not None
    inputs, neurons = layer.shape
    return replace(
        layer,
        rate=reference.rate.numpy(),
        square=reference.square.numpy(),
        reference=bcm.reference_rate(reference).numpy(),
        eta=bcm.rate_of(reference),
        bound=bcm.trust * reference.weight_scale,
        guard=BOUND * reference.weight_scale * math.sqrt(inputs * neurons),
    )


def _with_memory(made: Description, memory: Memory | None) -> Description:
    sleep, network = made.mechanism.sleep, made.network
    assert sleep is not None
    require_replayable(network)
    if memory is None:
        raise UsageError("--homeostasis: expected a memory to sleep on, got none; calibrate the run")
    memory = memory_for(sleep, memory, network.parameters_of_layers())
    layers = tuple(
        _remembering(layer, train, sleep.form) for layer, train in zip(made.layers, memory.trains[1:], strict=True)
    )
    if memory.copies:
        layers = tuple(
            replace(layer, cells=copy.cells.T.numpy(), copy_scale=copy.scale[:, 0].numpy())
            for layer, copy in zip(layers, memory.copies, strict=True)
        )
    graded = network.spec.encoder.kind == "current"
    dreams = encode_dreams(network, memory, sleep.dreams).numpy() if sleep.form == "best" and sleep.dreams else None
    return replace(
        made,
        layers=layers,
        observations=len(memory.inputs),
        train=None if graded else memory.trains[0].numpy(),
        inputs_remembered=memory.inputs.numpy() if graded else None,
        dream=None if graded else dreams,
        inputs_dreamed=dreams[:, 0] if graded and dreams is not None else None,
        healthy=_healthy(network, memory, made.controller.unit_action) if made.mechanism.rehearsal else None,
    )


def _remembering(layer: LayerTables, train: Tensor, form: str) -> LayerTables:
    if layer.fires:
        return replace(layer, answer=train.numpy())
    return replace(layer, potential=train.numpy()) if form == "best" else replace(layer, target=train.mean(1).numpy())


@torch.inference_mode()
def _healthy(network: SpikingNetwork, memory: Memory, act: Callable[[Tensor], Tensor]) -> np.ndarray:
    """Return the actions [M, K] of the healthy network that goes through its memory, -1 to 1 from bound to bound."""
    noise = replay_noise(network, len(memory.inputs))
    state, actions = network.initial_state(1, weights=None), []
    for index, inputs in enumerate(memory.inputs):
        drawn = None if noise is None else noise[index : index + 1]
        y, state = network(inputs.unsqueeze(0), state, noise=drawn)
        actions.append(act(y)[0])
    return torch.stack(actions).numpy()


def population_of(network: SpikingNetwork) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return means and widths of the encoder's receptive fields [N_enc], or None."""
    encoder = network.encoder
    if not isinstance(encoder, PopulationEncoder):
        return None, None
    return encoder.mean.detach().numpy().ravel(), encoder.std.detach().numpy().ravel()


def readout_of(network: SpikingNetwork) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return weights [N_out] and biases [K] of a population read-out, or None."""
    readout = network.readout
    if not isinstance(readout, PopulationReadout):
        return None, None
    return readout.weight.detach().numpy().ravel(), readout.bias.detach().numpy()
