"""Plain forms of what repairs of a network minimise (`homeo_rl.homeostasis.sleep_candidates`)."""

from __future__ import annotations

from torch import Tensor
from torch.linalg import cholesky

from homeo_rl.homeostasis.sleep_candidates.spike_fit import Problem


def fit_currents_exactly(inputs: Tensor, received: Tensor, centre: Tensor, free: Tensor, penalty: float) -> Tensor:
    """Return what `fit_currents` approaches, neuron by neuron."""
    result = centre.clone()
    for neuron, mask in enumerate(free > 0):
        part = inputs[:, mask].double()
        missing = received[:, neuron].double() - inputs.double() @ centre[neuron].double()
        gram = part.T @ part
        gram.diagonal().add_(penalty * len(inputs))
        result[neuron, mask] += cholesky(gram).cholesky_inverse().matmul(part.T @ missing).to(result)
    return result


def loss_of(problem: Problem, weights: Tensor) -> Tensor:
    """Return half of the minimised sum for each neuron [N]: what `fit_spikes` descends."""
    potentials, inputs = problem.potentials, problem.inputs
    received = (inputs @ weights.T).reshape(potentials.base.shape)
    missing = potentials.missing(potentials.base + potentials.linear(received))
    change = problem.penalty * len(inputs) * (weights - problem.centre).square()
    result: Tensor = 0.5 * (missing.square().sum((0, 1)) + change.sum(1))
    return result
