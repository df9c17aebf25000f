"""Which adaptations went wrong: a state that is not finite, or a change that the trained weights vanish beside.

Mechanisms have bounds of their own (``trust``), so neither happens to those of this package unless a parameter is
absurd. A mechanism that somebody else wrote may have none. Rows are judged one by one: a verdict does not depend on
what else is in the batch. Shapes: B batch, N neurons.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from homeo_rl.homeostasis.protocol import Homeostasis, LayerReference, Modulation, State

BOUND = 10.0
"""Largest norm of what is added to a layer's weights, in norms of its trained weights. Beyond, little of the trained
policy is left in what acts; a tenth of it is far for the mechanisms here (their ``trust`` is 0.5). A single weight is
bounded with it: to `BOUND` times the root of the number of weights, in root mean squares of the trained ones."""

_FINITE = torch.finfo(torch.float32).max


def not_finite(adaptation: Sequence[State]) -> list[int]:
    """Return the rows in which a state that each neuron has, [B, N], is not finite; cheap enough for every decision.

    Matrices [B, N_out, N_in] are left to `out_of_bounds`: to read them costs as much as the decision itself.
    """
    flat = [value for state in adaptation for value in state.values() if value.dim() == 2]
    if not flat:
        return []
    joined = torch.cat(flat, 1)
    if math.isfinite(joined.sum()):
        return []
    return (~torch.isfinite(joined).all(1)).nonzero().flatten().tolist()


def out_of_bounds(
    plugin: Homeostasis, references: Sequence[LayerReference], adaptation: Sequence[State], rows: Sequence[int]
) -> list[int]:
    """Return those of ``rows`` in which a matrix of the state is not finite, or a modulation beyond its bound."""
    sound = []
    for state, layer in zip(adaptation, references, strict=True):
        for value, most in _list_bounds(plugin.modulation(state), state, layer):
            values = value if len(rows) == len(value) else value[list(rows)]
            # False for a NaN, and for what overflows when it is squared.
            sound.append(torch.linalg.vector_norm(values, dim=tuple(range(1, values.dim()))) <= most)
    if not sound:
        return []
    return [row for row, fine in zip(rows, torch.stack(sound).all(0).tolist(), strict=True) if not fine]


def _list_bounds(change: Modulation, state: State, layer: LayerReference) -> Iterator[tuple[Tensor, float]]:
    """Yield what a mechanism adds to a layer and the other matrices of its state, each with its largest norm."""
    neurons = layer.rate.shape[0]
    if change.weight is not None:
        yield change.weight, BOUND * layer.weight_scale * math.sqrt(neurons * layer.inputs)
    if change.bias is not None:  # in currents that all inputs together can carry, as mechanisms measure it too
        yield change.bias, BOUND * layer.weight_scale * layer.inputs * math.sqrt(neurons)
    if change.gain is not None:
        yield change.gain, _FINITE
    for value in state.values():
        if value.dim() > 2 and value is not change.weight:
            yield value, _FINITE
