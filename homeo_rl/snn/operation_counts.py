"""What a decision costs: spikes, additions at the synapses they reach, and products where a number comes in.

B is the batch.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from homeo_rl.spec import NetworkSpec


class Operations(NamedTuple):
    """Of a decision, float64 [B] each; whole numbers."""

    spikes: Tensor
    additions: Tensor
    products: Tensor


def costs_of(spec: NetworkSpec, *, output_fires: bool) -> Tensor:
    """Return what one spike of each sender costs, [senders, 3] in the order of `Operations`.

    Senders are the inputs and the neurons of all layers. An input that is a constant current sends no spikes: where it
    is not 0 it is multiplied once at every synapse.

    ``output_fires``: whether the last layer sends spikes (to the read-out).
    """
    rows = []
    for place, (width, fan) in enumerate(zip(spec.widths, (*spec.widths[1:], 0), strict=True)):
        analogue = place == 0 and spec.encoder.kind == "current"
        fires = not analogue and (fan > 0 or output_fires)
        rows.append(torch.tensor([[fires, fan * fires, fan * analogue]], dtype=torch.float64).expand(width, 3))
    return torch.cat(rows)


def operations(counts: Tensor, costs: Tensor) -> Operations:
    """Return what ``counts`` [B, senders] spikes cost, of `costs_of`.

    All figures are whole numbers far below 2^53, so the order of the sum does not matter to the last bit.
    """
    return Operations(*(counts.double() @ costs).unbind(1))
