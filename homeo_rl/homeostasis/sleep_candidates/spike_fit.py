"""Candidate ``spikes``: the least change after which every neuron fires where it is remembered to have fired.

Given the remembered spikes, the resets are known, and the membrane potential is an affine function of the weights
(teacher forcing). One spike step of one observation is then one inequality, potential above or below the threshold, and
the weights of a neuron solve a convex problem, that of a linear classifier::

    minimise over w, b   sum_mt max(0, margin - y_mt (V_mt(w, b) - threshold))^2 + penalty M T |(w, b) - (w0, b0)|^2

with y = 1 where the neuron fired and -1 where it did not: a support vector machine with squared hinge loss (Cortes and
Vapnik 1995; for spiking neurons Memmesheimer et al. 2014). All neurons of a layer are solved side by side, by
preconditioned nonlinear conjugate gradients (Polak and Ribiere) with two Newton steps as line search.

Shapes: M observations, T spike steps, N neurons with N_in inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from torch.linalg import cholesky

if TYPE_CHECKING:  # see `homeo_rl.homeostasis.protocol`
    from torch import Tensor

MARGIN = 0.4
"""Margin of the potential, in thresholds. Between 0.2 and 0.8 little changes."""


@dataclass(frozen=True)
class ForcedPotentials:
    """The potentials of a layer whose spikes are given, V_t = base_t + sum over k <= t of response[t][k] x_k."""

    base: Tensor  # potentials without input [T, M, N]
    # what a current x_k of 1 adds to V_t, ``response[t][k]`` [M, N], k from 0 to t
    response: tuple[tuple[Tensor, ...], ...]
    target: Tensor  # remembered spikes [T, M, N]; of a layer that does not fire, its remembered potentials
    threshold: float | None  # at which the neurons fire; None where they do not

    def linear(self, received: Tensor) -> Tensor:
        """Return what currents [T, M, N] add to the potentials, [T, M, N]."""
        result = received.new_zeros(received.shape)
        for t, factors in enumerate(self.response):
            for k, factor in enumerate(factors):
                result[t].addcmul_(received[k], factor)
        return result

    def adjoint(self, push: Tensor) -> Tensor:
        """Return the gradient of sum(push * potentials) with respect to the currents, [T, M, N]."""
        result = push.new_zeros(push.shape)
        for t, factors in enumerate(self.response):
            for k, factor in enumerate(factors):
                result[k].addcmul_(push[t], factor)
        return result

    def missing(self, potential: Tensor) -> Tensor:
        """Return how far potentials [T, M, N] are from where they have to be, 0 where they keep the margin."""
        if self.threshold is None:
            return self.target - potential
        sign = 2.0 * self.target - 1.0
        short = (potential - self.threshold).mul_(sign).neg_().add_(MARGIN * self.threshold).clamp_min_(0.0)
        return short.mul_(sign)


class Problem(NamedTuple):
    """What `fit_spikes` solves."""

    potentials: ForcedPotentials  # of the layer, with the spikes that they are to give
    inputs: Tensor  # what the layer receives now, with a column of ones, [T * M, N_in + 1]
    centre: Tensor  # weights and biases that changes are counted from [N, N_in + 1]
    free: Tensor  # 1 for what may change, else 0 [N, N_in + 1]
    penalty: Tensor  # of a squared change, a share of the number of spike steps [N, N_in + 1]


LineSearch = Callable[
    [ForcedPotentials, "Tensor", "Tensor", "Tensor", "Tensor", "Tensor"], "tuple[Tensor, Tensor, Tensor]"
]
"""`search`, or a compiled version of it."""


def search(
    potentials: ForcedPotentials, potential: Tensor, missing: Tensor, added: Tensor, pull: Tensor, stiff: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Go along a direction, each neuron as far as two Newton steps on its piecewise quadratic loss say.

    Args:
        potentials: of the layer.
        potential: as they are [T, M, N]; used up, as ``missing`` is.
        missing: what is missing there [T, M, N].
        added: what the direction adds to them [T, M, N].
        pull: slope of the penalty along the direction [N].
        stiff: its curvature [N].

    Returns:
        lengths [N], the potentials there and what is missing there.
    """
    length, moved = added.new_zeros(added.shape[2]), potential
    for _ in range(2):
        active = added if potentials.threshold is None else added * (missing != 0)
        slope = (missing * added).sum((0, 1)) - pull - length * stiff
        length = length + slope / ((active * added).sum((0, 1)) + stiff).clamp_min(1e-30)
        moved = potential + added * length
        missing = potentials.missing(moved)
    return length, moved, missing


def fit_spikes(problem: Problem, passes: int, line_search: LineSearch = search) -> Tensor:
    """Return weights and biases [N, N_in + 1] after ``passes`` steps of conjugate gradients from the centre."""
    potentials, inputs, centre, free, penalty = problem
    shape = potentials.base.shape
    weight = penalty * len(inputs)
    precondition = _preconditioner(inputs, weight)
    current, potential = centre, potentials.base + potentials.linear((inputs @ centre.T).reshape(shape))
    missing = potentials.missing(potential)
    direction, before, scale = current.new_zeros(()), current.new_zeros(()), current.new_ones(())
    for step in range(passes):
        push = potentials.adjoint(missing).reshape(len(inputs), -1)
        gradient = (push.T @ inputs - weight * (current - centre)) * free
        ahead = (gradient @ precondition) * free
        product = (gradient * ahead).sum(1, keepdim=True)
        beta = (product - (before * ahead).sum(-1, keepdim=True)) / scale.clamp_min(1e-30) if step else 0.0 * product
        direction = ahead + beta.clamp_min(0.0) * direction
        before, scale = gradient, product
        added = potentials.linear((inputs @ direction.T).reshape(shape))
        pull, stiff = (weight * (current - centre) * direction).sum(1), (weight * direction.square()).sum(1)
        length, potential, missing = line_search(potentials, potential, missing, added, pull, stiff)
        current = current + length.unsqueeze(1) * direction
    return current


def _preconditioner(inputs: Tensor, weight: Tensor) -> Tensor:
    """Return an inverse of roughly the Hessian, one for all neurons: a quarter of the spike steps is near threshold."""
    gram = 0.25 * (inputs.T @ inputs)
    ridge = float(weight.mean()) + 1e-5 * float(gram.diagonal().mean()) + 1e-12
    gram.diagonal().add_(ridge)
    inverse: Tensor = cholesky(gram).cholesky_inverse()
    return inverse
