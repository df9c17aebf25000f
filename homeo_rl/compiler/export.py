"""Compiled networks as torch modules: plain, of snnTorch's neurons, of SpikingJelly's; the same matrices in all three.

A step is the same everywhere. The clock and the inputs spike; then the layers follow in order, each driven by one
product of its weights with what all sources did at the delays that there are. Only the membrane, which turns a layer's
drive [B, n] into its spikes [B, n], belongs to the library. A library can express neurons with a reset that it has,
and their doubles: without leak (beta = 1) a soft reset may as well act a step late, and where nothing stays (beta = 0)
soft and hard are one. Numbers are float32: a potential is an even number up to rounding, or exact where a neuron
integrates, so it lies on the same side of the threshold in every library.

Shapes: B batch, T steps, d input lines, N neurons, n neurons of a layer.
"""

from collections import deque
from collections.abc import Callable, Mapping
from fractions import Fraction
from importlib import import_module
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from homeo_rl.compiler.lowering import Reset, SpikingCircuit
from homeo_rl.compiler.simulate import matrices
from homeo_rl.errors import InputError, UsageError

Way = TypeVar("Way")

_LEFT: dict[Reset, Callable[[float, Tensor, Tensor], Tensor]] = {
    "soft": lambda beta, v, spikes: beta * (v - spikes),
    "hard": lambda beta, v, spikes: beta * v * (1 - spikes),
    "soft_next": lambda beta, v, spikes: beta * v - spikes,
}
"""What is left of a potential a step after it gave these spikes."""

_DOUBLES: dict[Fraction, set[Reset]] = {Fraction(0): {"soft", "hard"}, Fraction(1): {"soft", "soft_next"}}
"""Resets that make the same neuron at these leaks."""


def to_torch(circuit: SpikingCircuit) -> nn.Module:
    """Return the network in plain torch.

    Its call takes trains [T, B, d] of 0 and 1, begins at rest, and returns the float32 spikes [T, B, N] of all neurons.
    An output is column ``dict(circuit.outputs)[name]`` of them, ``circuit.latency`` steps late.
    """
    return _Network(circuit, lambda: _Membrane(float(circuit.beta), circuit.reset), "reset")


def to_snntorch(circuit: SpikingCircuit) -> nn.Module:
    """Return the network with snnTorch's ``Leaky`` for its neurons; it is called like that of `to_torch`.

    Its resets are "zero", which is our hard, and "subtract", which acts a step late as our soft_next does. With
    ``reset_delay=False`` its "subtract" is our soft only where a spike never leaves a potential above 1: what is left
    above 1 counts as another spike, for which 1 is missing at the next step.

    Raises UsageError: a soft reset at 0 < beta < 1, or snnTorch is not installed.
    """
    mechanism = _express(circuit, "snnTorch", {"hard": "zero", "soft_next": "subtract"})
    leaky, beta = _peer("snntorch").Leaky, float(circuit.beta)
    return _Network(circuit, lambda: leaky(beta, reset_mechanism=mechanism, init_hidden=True), "reset_mem")


def to_spikingjelly(circuit: SpikingCircuit) -> nn.Module:
    """Return the network with SpikingJelly's neurons, a step at a time; it is called like that of `to_torch`.

    They are ``LIFNode``s, ``IFNode``s without leak, and at beta = 0, which is tau = 1, ``SimpleLIFNode``s.

    Raises UsageError: a reset of soft_next at beta < 1, or SpikingJelly is not installed.
    """
    to = _express(circuit, "SpikingJelly", {"hard": 0.0, "soft": None})
    neuron = _peer("spikingjelly.activation_based.neuron")

    def membrane() -> nn.Module:
        if circuit.beta == 1:
            made = neuron.IFNode(v_threshold=1.0, v_reset=to)
        else:
            kind = neuron.LIFNode if circuit.beta else neuron.SimpleLIFNode
            made = kind(tau=float(1 / (1 - circuit.beta)), decay_input=False, v_threshold=1.0, v_reset=to)
        assert isinstance(made, nn.Module)
        return made

    return _Network(circuit, membrane, "reset")


class _Network(nn.Module):
    """The skeleton: every step's sources [B, 1 + d + N] are the clock, the inputs and the neurons' spikes."""

    def __init__(self, circuit: SpikingCircuit, membrane: Callable[[], nn.Module], rest: str) -> None:
        """Build it with ``membrane()`` for each layer, whose method named ``rest`` puts it to rest."""
        super().__init__()
        self.neurons, self.first, self.rest = circuit.neurons, 1 + len(circuit.lines), rest
        self.delays = sorted({0} | {synapse.delay for synapse in circuit.synapses})
        weights, layers = matrices(circuit, np.float32)[self.delays], np.array(circuit.layers)
        groups = [np.flatnonzero(layers == layer) for layer in np.unique(layers)]
        self.layers = nn.ModuleList(_Layer(weights[:, group], self.first + group, membrane()) for group in groups)

    def forward(self, trains: Tensor) -> Tensor:
        if trains.dim() != 3 or trains.shape[2] != self.first - 1:
            raise InputError(
                f"trains [T, B, d]: expected d = {self.first - 1} input lines, got shape {list(trains.shape)}; time is "
                "the first dimension"
            )
        steps, batch, _ = trains.shape
        clock = trains.new_ones(steps, batch, 1, dtype=torch.float32)
        silence = trains.new_zeros(batch, self.neurons, dtype=torch.float32)
        spikes = trains.new_empty(steps, batch, self.neurons, dtype=torch.float32)
        nothing = trains.new_zeros(batch, self.first + self.neurons, dtype=torch.float32)
        seen = deque([nothing] * (self.delays[-1] + 1), maxlen=self.delays[-1] + 1)  # seen[k] is k steps ago
        for layer in self.layers:
            getattr(layer.membrane, self.rest)()
        for t, step_input in enumerate(torch.cat([clock, trains.float()], 2)):
            seen.appendleft(torch.cat([step_input, silence], 1))
            for layer in self.layers:
                seen[0] = layer(seen[0], torch.cat([seen[delay] for delay in self.delays], 1))
            spikes[t] = seen[0][:, self.first :]
        return spikes


class _Layer(nn.Module):
    """Neurons that spike together: ``weights`` [n, delays * sources] and their ``columns`` [n] among the sources."""

    weights: Tensor
    columns: Tensor

    def __init__(self, weights: np.ndarray, columns: np.ndarray, membrane: nn.Module) -> None:
        super().__init__()
        flat = weights.transpose(1, 0, 2).reshape(len(columns), -1)
        self.register_buffer("weights", torch.from_numpy(flat))
        self.register_buffer("columns", torch.from_numpy(columns))
        self.membrane = membrane

    def forward(self, now: Tensor, past: Tensor) -> Tensor:
        """Return ``now`` [B, sources] with the layer's spikes, for ``past`` [B, delays * sources] that includes it."""
        return now.index_copy(1, self.columns, self.membrane(functional.linear(past, self.weights)))


class _Membrane(nn.Module):
    """Our own neurons."""

    def __init__(self, beta: float, how: Reset) -> None:
        super().__init__()
        self.beta, self.how = beta, how
        self.reset()

    def reset(self) -> None:
        self.left: Tensor | float = 0.0

    def forward(self, drive: Tensor) -> Tensor:
        v = self.left + drive
        spikes = (v > 1).to(v)
        self.left = _LEFT[self.how](self.beta, v, spikes)
        return spikes


def _express(circuit: SpikingCircuit, peer: str, ways: Mapping[Reset, Way]) -> Way:
    same = _DOUBLES.get(circuit.beta, set())
    for reset, way in ways.items():
        if reset == circuit.reset or {reset, circuit.reset} <= same:
            return way
    raise UsageError(
        f"{peer}: expected a reset that it has, got {circuit.reset} at beta = {circuit.beta}; "
        f"compile with reset {' or '.join(ways)}"
    )


def _peer(module: str) -> Any:
    package = module.partition(".")[0]
    try:
        return import_module(module)
    except ImportError as error:
        raise UsageError(f"{package}: not installed ({error.name} is missing); run: pip install {package}") from None
