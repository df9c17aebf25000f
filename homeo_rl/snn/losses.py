"""Losses of a train of outputs: which time steps have to be right.

With O [T, B, K] what a network says at every step and y the answer, CE is the cross entropy::

    sdt     CE(mean_t O_t, y)                          the mean is right
    tet     mean_t CE(O_t, y)                          every step is right (Deng et al., ICLR 2022)
            (1 - lambda) of it + lambda mean (O - phi)^2, phi = 1, with their regularisation
    tet-s   mean_t CE(O_t, (1 - eps) y + eps / K)      every step is right, none is sure; eps = 0.01
    lts     CE(O_T, y)                                 the last step is right

TET-S and LTS are of "Rethinking the Membrane Dynamics and Optimization Objectives of Spiking Neural Networks" (NeurIPS
2024). y are labels [B], or a teacher's probabilities [B, K]. `regression` are the same for numbers instead of classes.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from homeo_rl.errors import UsageError, unknown

Criterion = Callable[[Tensor, Tensor], Tensor]

SMOOTHING = 0.01  # eps of TET-S


def sdt(outputs: Tensor, y: Tensor, *, criterion: Criterion = cross_entropy) -> Tensor:
    """Return the loss of the mean of ``outputs`` [T, B, K]."""
    return criterion(outputs.mean(0), y)


def tet(
    outputs: Tensor, y: Tensor, *, criterion: Criterion = cross_entropy, weight: float = 0.0, phi: float = 1.0
) -> Tensor:
    """Return the mean loss of every step of ``outputs`` [T, B, K]; ``weight`` is lambda of the regularisation."""
    each = torch.stack([criterion(now, y) for now in outputs]).mean()
    return each if weight == 0.0 else (1.0 - weight) * each + weight * (outputs - phi).square().mean()


def tet_s(outputs: Tensor, y: Tensor, *, smoothing: float = SMOOTHING) -> Tensor:
    """Return the mean loss of every step of ``outputs`` [T, B, K] against smoothed answers."""
    return tet(outputs, y, criterion=partial(cross_entropy, label_smoothing=smoothing))


def lts(outputs: Tensor, y: Tensor, *, criterion: Criterion = cross_entropy) -> Tensor:
    """Return the loss of the last step of ``outputs`` [T, B, K]."""
    return criterion(outputs[-1], y)


LOSSES: dict[str, Criterion] = {"sdt": sdt, "tet": tet, "tet-s": tet_s, "lts": lts}  # by name, for classes


def regression(name: str) -> Criterion:
    """Return the loss ``name`` for numbers [B, K]: mean squared errors in the place of cross entropies.

    Raises UsageError: it is not known, or it smooths classes, which numbers are not.
    """
    if name not in LOSSES:
        raise unknown("loss", name, LOSSES)
    if name == "tet-s":
        raise UsageError("loss tet-s: expected classes to smooth, got continuous outputs; give --bins, or take tet")
    return partial({"sdt": sdt, "tet": tet, "lts": lts}[name], criterion=mse_loss)
