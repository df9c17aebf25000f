"""Learnable initial membrane potentials (IMP): V_0 = p instead of 0, everything else unchanged (NeurIPS 2024).

"Rethinking the Membrane Dynamics and Optimization Objectives of Spiking Neural Networks". p is shared over batch and
time, starts uniform in 0.2 thresholds either way, is applied whenever a membrane begins afresh, and stays below the
threshold in size, because beyond it a neuron would fire without input. It is made where the network is made: an
optimiser or a target network that is built earlier than a lazily made parameter would miss it.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from homeo_rl.snn.kernels.decision_kernel import INITIAL_BOUND
from homeo_rl.snn.surrogates import straight_through

SPREAD = 0.2  # thresholds on either side of 0 within which potentials start


def initial_potential(*shape: int, threshold: float) -> nn.Parameter:
    """Return a parameter p of this shape, at its random start."""
    return nn.Parameter(torch.empty(shape).uniform_(-SPREAD * threshold, SPREAD * threshold))


def bound_potential(potential: Tensor, threshold: float) -> Tensor:
    """Return p within the bound; the derivative passes straight through, so that a value outside can come back."""
    return straight_through(potential, potential.detach().clamp(-INITIAL_BOUND * threshold, INITIAL_BOUND * threshold))


class InitialPotentials(nn.Module):
    """The initial potentials of a network's layers.

    ``single``: one value for a whole layer instead of one for each neuron.
    """

    def __init__(self, widths: Sequence[int], threshold: float, *, single: bool = False) -> None:
        super().__init__()
        self.widths, self.threshold = tuple(widths), threshold
        self.values = nn.ParameterList(
            initial_potential(1 if single else width, threshold=threshold) for width in widths
        )

    def of(self, index: int) -> Tensor | None:
        """Return p [N] of layer ``index``, or None for a layer that does not fire."""
        if index >= len(self.values):
            return None
        return bound_potential(self.values[index], self.threshold).expand(self.widths[index])


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return parameter groups for a torch optimiser in which initial potentials, leaks and thetas do not decay."""
    plain: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        kept_here = any(part in _UNDECAYED for part in name.split("."))
        (kept if kept_here else plain).append(parameter)
    return [{"params": plain, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]


_UNDECAYED = {"initial", "leaks", "leak", "raw_theta"}
