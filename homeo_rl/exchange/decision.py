"""A policy's decision as one function of tensors, for exporters that follow every operation.

The compiled kernels are no operations of torch, and a network's state is an object; here the same arithmetic goes
through `homeo_rl.snn.neurons`, all steps unrolled, and whatever outlives a decision goes in and comes out by name.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from homeo_rl.agents.controller import Controller
from homeo_rl.agents.mlp import MLPNetwork
from homeo_rl.agents.pascal import PascalNetwork
from homeo_rl.agents.reflex import Reflex
from homeo_rl.snn import layers, neurons
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.snn.neurons import Membrane
from homeo_rl.snn.recurrent import RecurrentNetwork
from homeo_rl.snn.state import NetworkState


@dataclass(frozen=True)
class StateTensor:
    """A tensor that outlives a decision: its name and its shape without the batch."""

    name: str
    shape: tuple[int, ...]


class Decision(nn.Module):
    """``decision(observation, noise, episode_start, *state)``: the action, the state after, and spikes if asked for.

    ``noise`` [B, T, N_enc] are the uniform numbers of an encoder that draws its spikes; other policies take none.
    ``episode_start`` [B] is True in rows that begin an episode; what the state holds there does not matter. Policies
    that hold nothing take neither of them.
    """

    def __init__(self, controller: Controller, *, spikes: bool = False) -> None:
        super().__init__()
        self.controller, self.spikes = controller, spikes
        self.held = tuple(_membranes_held(controller) + _reflex_held(controller))
        network = controller.network
        self.drawn: tuple[int, int] | None = None
        """Steps and lines of the numbers that the encoder draws; None where it draws none."""
        if isinstance(network, SpikingNetwork) and network.encoder.stochastic:
            self.drawn = network.spec.steps, network.spec.widths[0]

    def forward(self, observation: Tensor, *beside: Tensor) -> tuple[Tensor, ...]:
        """Decide for ``observation`` [B, D]."""
        controller, network = self.controller, self.controller.network
        noise, state = (None, beside) if self.drawn is None else (beside[0], beside[1:])
        start, held = (state[0], list(state[1:])) if self.held else (None, [])
        z = controller.normaliser(observation)
        trains: list[Tensor] = []
        after: list[Tensor] = []
        if isinstance(network, MLPNetwork | PascalNetwork):
            y, _ = network(z)
        else:
            assert isinstance(network, SpikingNetwork)  # `homeo_rl export` refuses policies of other kinds
            count = len(_membranes_held(controller))
            y, trains, after = _unroll(network, z, noise, start, held[:count])
            held = held[count:]
        action = controller.act(y)
        reflex = controller.reflex
        if reflex is not None:
            assert start is not None
            kept = (~start).to(held[0])
            events = reflex.events(observation).to(held[0])
            on, *now = _step(reflex.network, events, held[0] * kept[:, None], held[1] * kept[:, None, None])
            action = _gate(reflex, action, on)
            after += now
        return (action, *after, *(trains if self.spikes else []))


def _membranes_held(controller: Controller) -> list[StateTensor]:
    network = controller.network
    if not isinstance(network, SpikingNetwork) or isinstance(network, PascalNetwork):
        return []
    if network.spec.membrane == "decision":
        return []
    # Of our own neurons all but the current-based one know by their potential alone how they go on.
    alone = network.spec.neuron.kind in ("lif", "plif", "if")
    kinds = ("potential",) if alone else ("current", "potential", "fired")
    return [
        StateTensor(f"{kind}_{index}", (width,))
        for index, width in enumerate(network.spec.widths[1:])
        for kind in kinds
    ]


def _reflex_held(controller: Controller) -> list[StateTensor]:
    if controller.reflex is None:
        return []
    network = controller.reflex.network
    return [
        StateTensor("reflex_potential", (network.spec.neurons,)),
        StateTensor("reflex_past", (network.reach, network.sources)),
    ]


def _step(network: RecurrentNetwork, x: Tensor, potential: Tensor, past: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Take a step of a whole compiled network, as its own ``forward`` does (which fixes the batch where it is traced).

    Returns:
        the output neurons' spikes, the potentials and the sources of the last steps.
    """
    spec, lines = network.spec, network.spec.lines
    places = [delay * network.sources + source + 1 for source, delay in spec.taps]
    leaked = spec.beta * potential
    if spec.reset == "soft_next":
        leaked = leaked - past[:, 0, 1 + lines :]
    spikes, v = torch.zeros_like(potential), leaked
    for layer in sorted(set(spec.layers)):
        is_layer = torch.tensor([place == layer for place in spec.layers])
        now = torch.cat([torch.ones_like(x[:, :1]), x, spikes], 1)
        taps = torch.cat([now, past.flatten(1)], 1)[:, places]
        v = torch.where(is_layer, leaked + (network.weight * taps.unsqueeze(1)).sum(-1), v)
        spikes = torch.where(is_layer, (v > 1.0).to(v), spikes)
    after = v - spikes if spec.reset == "soft" else v * (1.0 - spikes) if spec.reset == "hard" else v
    now = torch.cat([torch.ones_like(x[:, :1]), x, spikes], 1)
    return spikes[:, list(spec.outputs)], after, torch.cat([now.unsqueeze(1), past[:, :-1]], 1)


def _gate(reflex: Reflex, action: Tensor, on: Tensor) -> Tensor:
    for gate in reflex.spec.gates:
        acts = on[:, reflex.spec.outputs.index(gate.when)] > 0
        action = torch.where(acts if action.dim() == 1 else acts.unsqueeze(1), reflex.apply_gate(gate, action), action)
    return action


def _unroll(
    network: SpikingNetwork, x: Tensor, noise: Tensor | None, start: Tensor | None, held: list[Tensor]
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Return the outputs [B, K], every layer's spikes [B, T, N] and the membranes after, as they are named."""
    spec, at_rest = network.spec, NetworkState(0)
    trains: list[Tensor] = []
    after: list[Tensor] = []
    train = network.encoder(x, spec.steps) if noise is None else network.encoder(x, spec.steps, noise=noise)
    size = len(held) // len(network.layers)
    for index in range(len(network.layers)):
        layer_weights = network.weights_of(index, at_rest)
        received = layers.currents(train, layer_weights.weight, layer_weights.bias)
        before = network.rest_of(index, received[:, 0])
        if start is not None and size:
            before = _initial_membrane(before, held[index * size : (index + 1) * size], start)
        fires = network.readout.spiking or index < len(network.layers) - 1
        train, membrane = neurons.scan(spec.neuron, received, before, fires=fires, tau=network.leak_of(index))
        if fires:
            trains.append(train)
        after += [*membrane] if size == 3 else [membrane.potential] if size == 1 else []
    y: Tensor = network.readout(train)
    return y, trains, after


def _initial_membrane(rest: Membrane, held: list[Tensor], start: Tensor) -> Membrane:
    """Return the membranes before a decision: what was held, and rest where an episode starts."""
    begun = Membrane(*held) if len(held) == 3 else rest._replace(potential=held[0])
    return Membrane(*(torch.where(start[:, None], new, old) for new, old in zip(rest, begun, strict=True)))
