"""Behaviour cloning of a ReLU policy into one with QCFS activations, on the states that it visits itself."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from homeo_rl.agents.controller import Controller
from homeo_rl.agents.mlp import MLPNetwork
from homeo_rl.conversion import fit_thetas
from homeo_rl.conversion.levels import CANDIDATES, Choice, activity_level, choose_levels
from homeo_rl.seeding import derive
from homeo_rl.snn.qcfs import QCFS
from homeo_rl.snn.spike_accumulation import Neuron
from homeo_rl.training.update_guard import guard

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

    ``observations`` are states [M, D] that the teacher visits, ``levels`` those of the hidden layers, one each or one
    for all; ``seed`` decides the order of the states.
    """
    z = teacher.normaliser(observations)
    student = _student(teacher, z, levels)
    assert isinstance(student.network, MLPNetwork)
    with torch.no_grad():
        target = teacher.network(z)[0]
    # A clone of what was loaded in inference mode would have no gradient.
    parameters = [parameter.requires_grad_() for parameter in student.network.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=learning_rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.01, max(steps, 1))
    order = torch.Generator().manual_seed(derive(seed, "finetune") % 2**63)
    first = _loss(student.network, z, target)
    taken = 0
    guard(optimiser, student.network, name="network", where=lambda: f"fine-tuning, gradient step {taken + 1}")
    for _ in range(steps):
        rows = torch.randint(len(z), (BATCH,), generator=order)
        optimiser.zero_grad()
        loss = nn.functional.mse_loss(student.network(z[rows])[0], target[rows])
        loss.backward()  # type: ignore[no-untyped-call]  # torch ships backward untyped
        optimiser.step()
        schedule.step()
        taken += 1
        on_step()
    last = _loss(student.network, z, target)
    return FineTuned(student.eval().requires_grad_(False), first, last)


def levels_for(teacher: Controller, observations: Tensor, budget: int, *, neuron: Neuron = "pascal") -> Choice:
    """Return the levels with the least action error before fine-tuning, within ``budget`` time steps a decision.

    Raises UsageError: the budget is too small.
    """
    z = teacher.normaliser(observations)
    with torch.no_grad():
        actions = teacher.squasher(teacher.network(z)[0])

    @torch.no_grad()
    def error(levels: tuple[int, ...]) -> float:
        student = _student(teacher, z, levels)
        return float((student.squasher(student.network(z)[0]) - actions).square().mean().sqrt())

    fine = _student(teacher, z, (max(CANDIDATES),))
    assert isinstance(fine.network, MLPNetwork)
    seen: list[Tensor] = []
    hooks = [part.register_forward_hook(lambda _, inputs, out: seen.append(out)) for part in fine.network.activations]
    with torch.no_grad():
        fine.network(z)
    for hook in hooks:
        hook.remove()
    thetas = [part.theta for part in fine.network.activations if isinstance(part, QCFS)]
    activity = [activity_level(out, float(theta)) for out, theta in zip(seen, thetas, strict=True)]
    return choose_levels(error, activity, budget, neuron=neuron)


@torch.no_grad()
def _student(teacher: Controller, z: Tensor, levels: tuple[int, ...]) -> Controller:
    """Return the teacher with QCFS activations whose thetas fit the normalised observations ``z``."""
    network = teacher.network
    assert isinstance(network, MLPNetwork)
    spec = replace(teacher.spec, network=replace(network.spec, activation="qcfs", levels=levels))
    student = Controller(spec)
    student.load_state_dict(teacher.state_dict(), strict=False)
    assert isinstance(student.network, MLPNetwork)
    fit_thetas(student.network, z)
    return student.requires_grad_(False)


@torch.no_grad()
def _loss(network: MLPNetwork, z: Tensor, target: Tensor) -> float:
    return float(nn.functional.mse_loss(network(z)[0], target))
