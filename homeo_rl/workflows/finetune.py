"""Behaviour cloning of a ReLU policy into one with QCFS activations, on the states that both visit."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from homeo_rl.agents.controller import Controller
from homeo_rl.agents.mlp import MLPNetwork
from homeo_rl.conversion.levels import CANDIDATES, Choice, activity_level, choose_levels
from homeo_rl.seeding import derive
from homeo_rl.snn.qcfs import QCFS
from homeo_rl.snn.spike_accumulation import Neuron
from homeo_rl.training.update_guard import guard

BATCH = 256
NOISE = 0.15  # most of the noise on states, in standard deviations: the teacher answers anywhere, so it gives more data
NEGLIGIBLE = 0.005  # action error, in half-ranges of the actions, that is not worth fine-tuning
OUTPUT_WEIGHT = 0.01  # of the outputs' error beside the actions'
REACHES = (0.97, 0.99, 0.999, 1.0)  # shares of a neuron's activations that are not clipped; the best is taken
HELD_OUT = 0.25  # share of the states, the last ones, on which the networks before and after fine-tuning are compared
WORTH = 0.9  # fine-tuning is kept where it lowers the action error to this share
LEAST_REACH = 0.02  # a neuron that reaches less, of what the layer's largest reaches, is hardly ever active
MOST_ROWS = 2048


class FineTuned(NamedTuple):
    """A policy with QCFS activations: the better one before and after the steps, and their action errors.

    Errors are root mean squares over held-out states.
    """

    controller: Controller
    first_error: float
    last_error: float


def finetune(
    teacher: Controller, observations: Tensor, visit: Callable[[Controller], Tensor], *, levels: tuple[int, ...],
    steps: int, on_step: Callable[[], None] = lambda: None,
) -> FineTuned:  # fmt: skip
    """Return a student with QCFS activations that was trained to answer as ``teacher`` does.

    It starts from the teacher's weights, scaled neuron by neuron, and takes ``steps`` Adam steps unless its error is
    `NEGLIGIBLE`. The loss is the mean squared error of the actions, plus a hundredth of a smooth absolute error of the
    outputs, which has a gradient where actions are saturated.

    Args:
        observations: states [M, D] that the teacher visits.
        visit: returns states [N, D] that a student visits, in the same environment. They join the others after half
            of the steps, in each half of which the learning rate falls to 0 (DAgger: Ross et al., AISTATS 2011).
        levels: of the hidden layers, one each or one for all.
    """

    def divide(x: Tensor) -> list[Tensor]:
        return list(teacher.normaliser(x).tensor_split([round((1.0 - HELD_OUT) * len(x))]))

    z, held = divide(observations)
    student = _student(teacher, z, levels)
    start, network, taken = copy.deepcopy(student), student.network, 0
    if (first := _error(teacher, start, held)) < NEGLIGIBLE:
        return FineTuned(start.eval(), first, first)
    order = torch.Generator().manual_seed(derive(0, "finetune") % 2**63)

    def where() -> str:
        return f"fine-tuning, gradient step {taken + 1}"

    for half, count in enumerate((steps - steps // 2, steps // 2)):
        if half == 1:
            more = divide(visit(student.eval().requires_grad_(False)))
            z, held = torch.cat([z, more[0]]), torch.cat([held, more[1]])
        spread = NOISE * z.std(0)
        # A clone of what was loaded in inference mode would have no gradient.
        optimiser = torch.optim.Adam([parameter.requires_grad_() for parameter in network.parameters()], lr=1e-3)
        schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.01, max(count, 1))
        guard(optimiser, network, name="network", where=where)
        for _ in range(count):
            x = z[torch.randint(len(z), (BATCH,), generator=order)]
            x = x + spread * torch.rand(BATCH, 1, generator=order) * torch.randn(x.shape, generator=order)
            optimiser.zero_grad()
            outputs, wanted = network(x)[0], teacher.network(x)[0].detach()
            loss = nn.functional.mse_loss(_answers(student, outputs), _answers(student, wanted))
            loss = loss + OUTPUT_WEIGHT * nn.functional.smooth_l1_loss(outputs, wanted)
            loss.backward()  # type: ignore[no-untyped-call]  # torch ships backward untyped
            optimiser.step()
            schedule.step()
            taken += 1
            on_step()
    first, last = (_error(teacher, each, held) for each in (start, student))
    return FineTuned((student if last < WORTH * first else start).eval().requires_grad_(False), first, last)


def levels_for(teacher: Controller, observations: Tensor, budget: int, *, neuron: Neuron = "pascal") -> Choice:
    """Return the levels with the least action error before fine-tuning, within ``budget`` time steps a decision.

    Raises UsageError: the budget is too small.
    """
    z = teacher.normaliser(observations)
    z = z[:: len(z) // MOST_ROWS + 1]

    def error(levels: tuple[int, ...]) -> float:
        return _error(teacher, _student(teacher, z, levels), z)

    network, x, activity = _student(teacher, z, (max(CANDIDATES),)).network, z, []
    assert isinstance(network, MLPNetwork)
    for layer, activation in zip(network.layers, network.activations, strict=False):
        assert isinstance(activation, QCFS)
        x = activation(layer(x)).detach()
        activity.append(activity_level(x, float(activation.theta)))
    return choose_levels(error, activity, budget, neuron=neuron)


@torch.no_grad()
def _student(teacher: Controller, z: Tensor, levels: tuple[int, ...]) -> Controller:
    """Return the teacher with QCFS activations that fit normalised observations, clipped where it errs least."""
    network = teacher.network
    assert isinstance(network, MLPNetwork)
    spec = replace(teacher.spec, network=replace(network.spec, activation="qcfs", levels=levels))
    rows, students = z[:: len(z) // MOST_ROWS + 1], []
    for reach in REACHES:
        student = Controller(spec)
        student.load_state_dict(teacher.state_dict(), strict=False)
        assert isinstance(student.network, MLPNetwork)
        _equalise(student.network, rows, reach)
        students.append(student.requires_grad_(False))
    return min(students, key=lambda student: _error(teacher, student, rows))


def _equalise(network: MLPNetwork, x: Tensor, share: float) -> None:
    """Scale each hidden neuron so that a ``share`` of its activations is below 1, and its readers by the inverse.

    A ReLU network computes the same until it is clipped at 1 (cross-layer equalisation: Nagel et al., ICCV 2019).
    """
    layers = [layer for layer in network.layers if isinstance(layer, nn.Linear)]
    for layer, reader, activation in zip(layers, layers[1:], network.activations, strict=False):
        reach = torch.relu(layer(x)).kthvalue(max(round(share * len(x)), 1), dim=0).values
        scale = reach.clamp(min=max(LEAST_REACH * float(reach.max()), torch.finfo(reach.dtype).tiny))
        layer.weight.div_(scale.unsqueeze(1))
        layer.bias.div_(scale)
        reader.weight.mul_(scale)
        assert isinstance(activation, QCFS)
        activation.set_theta(1.0)
        x = torch.relu(layer(x))


@torch.no_grad()
def _error(teacher: Controller, student: Controller, z: Tensor) -> float:
    """Return the root mean square action error, for policies that choose, of the outputs."""
    answers = (_answers(policy, policy.network(z)[0]) for policy in (student, teacher))
    return math.sqrt((next(answers) - next(answers)).square().mean())


def _answers(policy: Controller, outputs: Tensor) -> Tensor:
    return outputs if policy.spec.discrete or policy.spec.bins else policy.squasher.unit(outputs)
