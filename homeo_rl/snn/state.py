"""What a decision needs besides the trained parameters: weights as they are now, plug-in, membranes, rates."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from homeo_rl.errors import InputError
from homeo_rl.homeostasis.protocol import Homeostasis, LayerReference, State
from homeo_rl.snn.neurons import Membrane


class LayerWeights(NamedTuple):
    """The weights a layer runs with: the trained ones, or damaged copies.

    A leading batch dimension gives every environment its own. ``alive`` is 0 for dead neurons and ``stuck`` 1 for
    neurons that fire at every step; None means there are none.
    """

    weight: Tensor  # [N_out, N_in] or [B, N_out, N_in]
    bias: Tensor  # [N_out] or [B, N_out]
    alive: Tensor | None = None  # [N_out] or [B, N_out]
    stuck: Tensor | None = None  # [N_out] or [B, N_out]


Weights = tuple[LayerWeights, ...]

_new = object.__new__

RatesOrThunk = tuple[Tensor, ...] | Callable[[], tuple[Tensor, ...]]
"""Mean outputs [B, N] of the encoder and of every layer, or what computes them when they are asked for."""


def map_weights(layer: LayerWeights, function: Callable[[Tensor], Tensor]) -> LayerWeights:
    """Return a layer with ``function`` applied to every tensor it has."""
    alive, stuck = (None if part is None else function(part) for part in (layer.alive, layer.stuck))
    return LayerWeights(function(layer.weight), function(layer.bias), alive, stuck)


class RecurrentState(NamedTuple):
    """State of a recurrent network: potentials [B, N] and sources of the last steps [B, D, 1 + lines + N], latest
    first.

    ``weights`` are damaged copies of its one layer, or None; ``spikes`` [B, outputs] and ``events`` [B, lines] are the
    last step's.
    """

    potential: Tensor
    past: Tensor
    weights: LayerWeights | None
    spikes: Tensor
    events: Tensor


@dataclass
class NetworkState:
    """Everything about a batch of decisions that is not a trained parameter.

    Its tensors are advanced in place: what a network is given is spent, and what it returns goes on.
    """

    batch: int
    weights: Weights | None = None  # what each layer runs with; None is the trained parameters
    plugin: Homeostasis | None = None  # the homeostatic mechanism, or None
    references: tuple[LayerReference, ...] = ()  # what the mechanism knows of each healthy layer
    adaptation: list[State] = field(default_factory=list)  # the mechanism's state of each layer
    # membrane state of each layer, where it outlives a decision
    membranes: list[Membrane | None] = field(default_factory=list)
    # mean output [B, N] of the encoder and of each layer in the last decision, or what computes them
    measured: RatesOrThunk = ()
    reflex: RecurrentState | None = None  # state of the compiled network beside the policy, if there is one
    remembered: list[Any] = field(default_factory=list)  # what a policy of another kind remembers, one value a row
    spent: bool = field(default=False, compare=False)  # whether a successor took it over; it cannot be used again

    def successor(self) -> NetworkState:
        """Return the state that takes this one over; this one is spent. Raises InputError: it was spent before."""
        if self.spent:
            self.require_unspent()
        after = _new(NetworkState)  # once a decision: twice as fast as a copy of `__dict__`
        after.batch, after.weights, after.plugin = self.batch, self.weights, self.plugin
        after.references, after.adaptation, after.membranes = self.references, self.adaptation, self.membranes
        after.measured, after.reflex, after.spent = self.measured, self.reflex, False
        after.remembered = self.remembered
        self.spent = True
        return after

    def clone(self) -> NetworkState:
        """Return a state of its own memory: what is done with one leaves the other as it is.

        Raises InputError: it is spent, and its memory belongs to its successor.
        """
        self.require_unspent()
        return replace(
            self,
            weights=None if self.weights is None else tuple(map_weights(layer, _copy) for layer in self.weights),
            adaptation=[{name: _copy(value) for name, value in layer.items()} for layer in self.adaptation],
            membranes=[None if part is None else Membrane(*map(_copy, part)) for part in self.membranes],
            remembered=copy.deepcopy(self.remembered),
        )

    def require_unspent(self) -> None:
        """Check that no decision took it over. Raises InputError: one did."""
        if self.spent:
            raise InputError(
                "network state: expected one that can go on, but this state was already advanced; keep the one that "
                "was returned, or clone() it first"
            )

    @property
    def rates(self) -> tuple[Tensor, ...]:
        """Mean output [B, N] of the encoder and of each layer in the last decision."""
        if isinstance(self.measured, tuple):
            return self.measured
        self.measured = self.measured()  # computed when asked for: training never does
        return self.measured


def _copy(value: Tensor) -> Tensor:
    """Return a copy that lies in memory as the original does, also where all rows share one."""
    if value.dim() > 1 and value.stride(0) == 0:
        return value[:1].clone().expand(value.shape)
    return value.clone()


def input_major(weight: Tensor) -> Tensor:
    """Return a copy of ``weight`` [..., N_out, N_in] that lies input by input in memory.

    To torch nothing changes. Compiled code follows events: it reads all synapses of one input in a row.
    """
    return weight.transpose(-1, -2).clone(memory_format=torch.contiguous_format).transpose(-1, -2)


def weights_in(layers: nn.ModuleList) -> Weights:
    """Return the weights of linear layers, without gradients."""
    linears = (layer for layer in layers if isinstance(layer, nn.Linear))
    return tuple(LayerWeights(layer.weight.detach(), layer.bias.detach()) for layer in linears)
