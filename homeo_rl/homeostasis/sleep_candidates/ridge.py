"""Candidate ``ridge``: currents as they were, on the inputs as they are now, by the synapses that are left.

Ridge regression in closed form (Hoerl and Kennard 1970), with weights that shrink towards those of the healthy layer.
Each neuron has its own set of synapses, so each would need its own inverse; conjugate gradients on the normal equations
serve all neurons by one product an iteration. Shapes: S samples, N neurons with N_in inputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # see `homeo_rl.homeostasis.protocol`
    from torch import Tensor

ITERATIONS = 25


def fit_currents(
    inputs: Tensor, received: Tensor, centre: Tensor, free: Tensor, penalty: float, *, iterations: int = ITERATIONS
) -> Tensor:
    """Return weights and biases [N, N_in + 1] that minimise |inputs w - received|^2 + penalty S |w - centre|^2.

    Args:
        inputs: what the layer receives now, with a column of ones [S, N_in + 1].
        received: currents that the neurons are to have [S, N].
        centre: weights and biases that changes are counted from [N, N_in + 1].
        free: 1 for what may change, else 0 [N, N_in + 1].
        penalty: of a squared change.
        iterations: of conjugate gradients (Jacobi preconditioner).
    """
    gram = inputs.T @ inputs
    gram.diagonal().add_(penalty * len(inputs))
    scale = gram.diagonal().clamp_min(1e-12)
    residual = ((received - inputs @ centre.T).T @ inputs) * free
    change = centre.new_zeros(centre.shape)
    ahead = residual / scale
    direction, product = ahead, (residual * ahead).sum(1, keepdim=True)
    for _ in range(iterations):
        image = (direction @ gram) * free
        length = product / (direction * image).sum(1, keepdim=True).clamp_min(1e-30)
        change = change + length * direction
        residual = residual - length * image
        ahead = residual / scale
        after = (residual * ahead).sum(1, keepdim=True)
        direction = ahead + (after / product.clamp_min(1e-30)) * direction
        product = after
    return centre + change
