"""The reference network, 170-256-256-60 current-based LIF with T = 5 and binary inputs at 30 %, ours and the peers'."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.spec import EncoderSpec, NetworkSpec, ReadoutSpec

RATE = 0.3


@dataclass(frozen=True)
class Size:
    """Widths of the layers, inputs first, and spike steps."""

    widths: tuple[int, ...] = (170, 256, 256, 60)
    steps: int = 5


TINY = Size((12, 16, 16, 6), 3)


def linears(size: Size) -> list[nn.Linear]:
    """Return layers whose neurons fire at a rate that trained networks have."""
    torch.manual_seed(0)
    layers = [nn.Linear(i, o) for i, o in zip(size.widths, size.widths[1:], strict=False)]
    with torch.no_grad():
        for layer in layers:
            layer.weight.mul_(3.0)
    return layers


def ours(size: Size) -> tuple[SpikingNetwork, Callable[[int], dict[str, Tensor]]]:
    """Return our network, and what makes its inputs for a batch: spikes are drawn from numbers that are given."""
    spec = NetworkSpec(
        inputs=size.widths[0], outputs=size.widths[-1], hidden=size.widths[1:-1], steps=size.steps,
        encoder=EncoderSpec(kind="bernoulli", span=1.0, signed=False), readout=ReadoutSpec(kind="mean"),
    )  # fmt: skip
    network = SpikingNetwork(spec)
    with torch.no_grad():
        for mine, layer in zip(network.layers, linears(size), strict=True):
            mine.weight.copy_(layer.weight)  # type: ignore[operator,union-attr]  # a linear layer
            mine.bias.copy_(layer.bias)  # type: ignore[operator,union-attr]  # a linear layer

    def inputs(batch: int) -> dict[str, Tensor]:
        torch.manual_seed(1)
        return {"x": torch.full((batch, size.widths[0]), RATE), "noise": torch.rand(batch, size.steps, size.widths[0])}

    return network, inputs


def spikes(size: Size, batch: int) -> Tensor:
    """Return the peers' inputs [T, B, N]."""
    torch.manual_seed(1)
    return (torch.rand(size.steps, batch, size.widths[0]) < RATE).float()


def relu(size: Size) -> nn.Sequential:
    """Return the ReLU network of the same widths."""
    parts: list[nn.Module] = []
    for layer in linears(size):
        parts += [layer, nn.ReLU()]
    return nn.Sequential(*parts[:-1])


Peer = tuple[Callable[[Tensor], Tensor], list[nn.Parameter]]


def peers(size: Size) -> dict[str, Peer]:
    """Return every peer that is installed: a function from spikes [T, B, N] to mean rates [B, K], and its parameters.

    Each is written as its own documentation has it, with its current-based neuron, at rest at the start.
    """
    found: dict[str, Peer] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, build in (("snnTorch", _snntorch), ("SpikingJelly", _spikingjelly), ("norse", _norse)):
            try:
                found[name] = build(size)
            except ImportError as error:
                print(f"{name} is not installed ({error.name}): pip install 'homeo-rl[bench]'", file=sys.stderr)
    return found


def _snntorch(size: Size) -> Peer:
    import snntorch  # type: ignore[import-untyped,import-not-found,unused-ignore]  # optional
    from snntorch import surrogate

    layers = linears(size)
    neurons = [
        snntorch.Synaptic(alpha=0.5, beta=0.75, threshold=0.5, reset_mechanism="zero", spike_grad=surrogate.atan())
        for _ in layers
    ]

    def forward(x: Tensor) -> Tensor:
        states = [neuron.init_synaptic() for neuron in neurons]
        total = []
        for step in x:
            for i, (layer, neuron) in enumerate(zip(layers, neurons, strict=True)):
                step, *states[i] = neuron(layer(step), *states[i])
            total.append(step)
        return torch.stack(total).mean(0)

    return forward, [p for layer in layers for p in layer.parameters()]


def _spikingjelly(size: Size) -> Peer:
    from spikingjelly.activation_based import (  # type: ignore[import-untyped,import-not-found,unused-ignore]  # optional
        functional,
        layer,
        neuron,
    )

    parts: list[nn.Module] = []
    for mine in linears(size):
        linear = layer.Linear(mine.in_features, mine.out_features, step_mode="m")
        linear.load_state_dict(mine.state_dict())
        parts += [linear, neuron.CUBALIFNode(c_decay=0.5, v_decay=0.75, v_threshold=0.5, v_reset=0.0)]
    network = nn.Sequential(*parts)
    functional.set_step_mode(network, "m")

    def forward(x: Tensor) -> Tensor:
        functional.reset_net(network)
        result: Tensor = network(x).mean(0)
        return result

    return forward, list(network.parameters())


def _norse(size: Size) -> Peer:
    import norse.torch  # type: ignore[import-untyped,import-not-found,unused-ignore]  # optional

    parts: list[nn.Module] = []
    parameters = norse.torch.LIFParameters(v_th=torch.tensor(0.05))
    for layer in linears(size):
        parts += [layer, norse.torch.LIFCell(p=parameters)]
    network = norse.torch.SequentialState(*parts)

    def forward(x: Tensor) -> Tensor:
        state, total = None, []
        for step in x:
            out, state = network(step, state)
            total.append(out)
        return torch.stack(total).mean(0)

    return forward, [p for p in network.parameters() if p.requires_grad]
