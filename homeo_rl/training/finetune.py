"""Behaviour cloning of a ReLU policy into one with QCFS activations, on the states that it visits itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from homeo_rl.agents.controller import Controller
from homeo_rl.agents.mlp import MLPNetwork
from homeo_rl.conversion import fit_thetas
from homeo_rl.seeding import derive

BATCH = 256


class FineTuned(NamedTuple):
    """A policy with QCFS activations, and its loss (mean squared error of the outputs) before and after."""

    controller: Controller
    first_loss: float
    last_loss: float


def finetune(
    teacher: Controller,
    observations: Tensor,
    *,
    levels: tuple[int, ...],
    steps: int,
    seed: int = 0,
    learning_rate: float = 1e-3,
    on_step: Callable[[], None] = lambda: None,
) -> FineTuned:
    """Return a student with QCFS activations that was trained to answer as ``teacher`` does.

    It starts from the teacher's weights and from thetas of two standard deviations, and takes ``steps`` Adam steps at
    a rate that falls to 0.

    Args:
        teacher: a ReLU policy.
        observations: states [M, D] that it visits.
        levels: L of the hidden layers, one each or one for all.
        steps: of gradient descent.
        seed: of the order of the states.
        learning_rate: at the start.
        on_step: called after each step.
    """
    network = teacher.network
    assert isinstance(network, MLPNetwork)
    spec = replace(teacher.spec, network=replace(network.spec, activation="qcfs", levels=levels))
    student = Controller(spec)
    assert isinstance(student.network, MLPNetwork)
    student.load_state_dict(teacher.state_dict(), strict=False)
    with torch.no_grad():
        z = teacher.normaliser(observations)
        target = network(z)[0]
    fit_thetas(student.network, z)
    # A clone of what was loaded in inference mode would have no gradient.
    parameters = [parameter.requires_grad_() for parameter in student.network.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=learning_rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.01, max(steps, 1))
    order = torch.Generator().manual_seed(derive(seed, "finetune") % 2**63)
    first = _loss(student.network, z, target)
    for _ in range(steps):
        rows = torch.randint(len(z), (BATCH,), generator=order)
        optimiser.zero_grad()
        loss = nn.functional.mse_loss(student.network(z[rows])[0], target[rows])
        loss.backward()  # type: ignore[no-untyped-call]  # torch ships backward untyped
        optimiser.step()
        schedule.step()
        on_step()
    last = _loss(student.network, z, target)
    return FineTuned(student.eval().requires_grad_(False), first, last)


@torch.no_grad()
def _loss(network: MLPNetwork, z: Tensor, target: Tensor) -> float:
    return float(nn.functional.mse_loss(network(z)[0], target))
