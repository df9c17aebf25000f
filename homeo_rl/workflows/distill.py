"""Teach a spiking student what a run does: behaviour cloning, dataset aggregation (DAgger; Ross et al., AISTATS 2011).

The first round's states are the teacher's own; in each later one the student acts, for as many spike steps as chance
says, so that it learns where a policy that is cut short leads it, and the teacher says what it would have done. After
every round the student is trained on all states so far, each step of its output as the loss asks
(`homeo_rl.snn.losses`).
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from homeo_rl.agents.controller import Controller, load_controller, save_controller
from homeo_rl.agents.presets import controller_spec
from homeo_rl.agents.sb3.zip import read_sb3_zip
from homeo_rl.agents.session import Session
from homeo_rl.degradations.protocol import Condition
from homeo_rl.envs.make import load_modules, make_env
from homeo_rl.errors import UsageError, unknown
from homeo_rl.evaluation.rollout import episode_seed, rollout
from homeo_rl.run import Run, versions
from homeo_rl.seeding import derive, generator
from homeo_rl.snn.initial_potentials import parameter_groups
from homeo_rl.snn.losses import LOSSES, regression
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.spec import RunSpec
from homeo_rl.storage import bundle
from homeo_rl.training.update_guard import guard

BATCH = 256


@dataclass(frozen=True, kw_only=True)
class DistillationPlan:
    """How a student is taught. See the flags of ``homeo-rl distill`` for each field.

    ``which`` is the teacher: a policy bundle of the run, or the name of a Stable-Baselines3 zip that lies in it.
    """

    student: str = "anytime"
    student_kwargs: dict[str, Any] = field(default_factory=dict)
    loss: str = "tet-s"
    bins: int = 11
    spacing: Literal["uniform", "cubic"] = "cubic"
    rounds: int = 5
    samples: int = 5000
    steps: int = 5000
    learning_rate: float = 1e-3
    seed: int = 0
    which: str = "policy"

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise unknown("--loss", self.loss, LOSSES)
        if self.spacing not in ("uniform", "cubic"):
            raise unknown("--spacing", self.spacing, ("uniform", "cubic"))
        for what, value in (("--rounds", self.rounds), ("--samples", self.samples), ("--gradient-steps", self.steps)):
            if value < 1:
                raise UsageError(f"{what}: expected at least 1, got {value}")
        if self.bins != 0 and self.bins < 2:
            raise UsageError(f"--bins: expected 0 (numbers, not classes) or at least 2, got {self.bins}")


@dataclass(frozen=True)
class Round:
    """What one round of teaching gave."""

    states: int  # how many the student has been taught on so far
    loss: float  # at the end, mean of the last hundred steps
    # share of the states on which it then acts as the teacher does (classes), or 1 minus the root mean square
    # difference in [-1, 1] (numbers)
    agreement: float
    returns: list[float]  # of the episodes that its states came from


def distill(
    run: Run,
    plan: DistillationPlan,
    out: Path,
    *,
    command: str = "",
    on_round: Callable[[Round], None] = lambda _: None,
    on_step: Callable[[], None] = lambda: None,
) -> Run:
    """Write a new run at ``out`` whose policy was taught by that of ``run``; ``distillation.json`` has the rounds.

    Raises UsageError: the student does not spike, a loss does not fit its outputs, membranes outlive a decision, or
    ``out`` is taken; nothing was written.
    """
    load_modules(run.spec.modules)
    teacher = _teacher(run, plan.which)
    _require_memoryless(teacher, "teacher")
    torch.manual_seed(derive(plan.seed, "student") % 2**63)
    student = _student(run, teacher, plan)
    _require_memoryless(student, "student")
    objective = _objective(student, plan.loss)
    made = Run.create(
        out,
        RunSpec(
            origin="distill", env=run.spec.env, env_kwargs=run.spec.env_kwargs, agent=plan.student, seed=plan.seed,
            controller=student.spec, source=str(run.path), command=command, versions=versions(),
            modules=run.spec.modules,
        ),
    )  # fmt: skip
    rounds: list[Round] = []
    seen: list[Tensor] = []
    for index in range(plan.rounds):
        observations, returns = _visit(run, teacher if index == 0 else student, plan, index)
        seen.append(observations)
        x = torch.cat(seen)
        if index == 0 and not teacher.normaliser.active:
            student.normaliser.update(x)
        loss = _teach(student, x, _answers(teacher, student, x), objective, plan, index, on_step)
        rounds.append(Round(len(x), loss, _agreement(teacher, student, x), returns))
        save_controller(made, student)
        bundle.write_json(made.path / "distillation.json", {"loss": plan.loss, "rounds": [asdict(r) for r in rounds]})
        on_round(rounds[-1])
    return made


def _teacher(run: Run, which: str) -> Controller:
    if not which.endswith(".zip"):
        return load_controller(run, which=which)
    if run.spec.controller is None:
        raise UsageError(f"{run.path}: expected a run that says what its policy is, found none; name the run instead")
    return read_sb3_zip(run.path / which, run.spec.controller)


def _student(run: Run, teacher: Controller, plan: DistillationPlan) -> Controller:
    env = make_env(run.spec.env, run.spec.env_kwargs)
    spaces = env.observation_space, env.action_space
    env.close()
    spec = controller_spec(plan.student, *spaces, overrides=plan.student_kwargs)
    if spec.network.body != "spiking":
        raise UsageError(f"--student: expected a spiking preset, got {plan.student!r}; take anytime, popsan or san")
    if plan.bins and not spec.discrete:
        network = replace(spec.network, outputs=spec.network.outputs * plan.bins)
        spec = replace(spec, network=network, bins=plan.bins, spacing=plan.spacing)
    if not teacher.normaliser.active:
        return Controller(spec)
    # What the teacher saw while it learned; the states of a policy that balances are too much alike for a scale.
    student = Controller(replace(spec, clip=teacher.spec.clip, epsilon=teacher.spec.epsilon, normalise=True))
    student.normaliser.load_state_dict(teacher.normaliser.state_dict())
    return student


def _require_memoryless(controller: Controller, what: str) -> None:
    if controller.spec.network.membrane == "episode":
        raise UsageError(
            f"{what}: expected membranes that live for a decision, got an episode; states are taught one by one"
        )


def _visit(run: Run, actor: Controller, plan: DistillationPlan, index: int) -> tuple[Tensor, list[float]]:
    """Return states [M, D] of whole episodes and their returns; a student is cut at random."""
    rng = generator(plan.seed, "cuts", index)
    observations: list[Any] = []
    returns: list[float] = []
    steps = actor.spec.network.steps
    cuts = [actor] if index == 0 else [actor.cut(step + 1) for step in range(steps)]
    count = 1
    while len(observations) < plan.samples:
        policy = cuts[int(rng.integers(len(cuts)))]
        done = rollout(
            lambda slots, policy=policy: Session(policy, slots),  # type: ignore[misc]  # mypy wants no defaults here
            lambda: make_env(run.spec.env, run.spec.env_kwargs),
            [episode_seed(plan.seed, f"distillation {index}", len(returns) + i) for i in range(count)],
            condition=Condition(name="clean"),
            num_envs=count,
            on_step=lambda step: observations.append(step.observation),
        )
        returns += [episode.total for episode in done]
        # As many episodes as are still wanted if they are as long as those before, and never all of one cut.
        length = len(observations) / len(returns)
        count = max(1, min(8, round((plan.samples - len(observations)) / length / len(cuts))))
    return torch.as_tensor(np.array(observations, dtype=np.float32)), returns


@torch.no_grad()
def _answers(teacher: Controller, student: Controller, x: Tensor) -> Tensor:
    """Return what the teacher says: probabilities [M, K] or [M, A, K], or actions [M, A] in [-1, 1]."""
    answers = []
    for rows in torch.split(x, 4096):
        if teacher.spec.discrete:
            outputs, _ = teacher.network(teacher.normaliser(rows))
            answers.append(torch.softmax(outputs, -1))
            continue
        unit = student.squasher.unscale(teacher(rows)[0])
        answers.append(unit if student.bins is None else student.bins.probabilities(unit))
    return torch.cat(answers)


Objective = Callable[[Tensor, Tensor], Tensor]


def _objective(student: Controller, name: str) -> Objective:
    """Return the loss of outputs at every step [T, B, outputs] against `_answers` of the batch."""
    bins = student.bins
    if bins is not None:
        return lambda outputs, y: LOSSES[name](bins.apart(outputs).flatten(1, 2), y.flatten(0, 1))
    if student.spec.discrete:
        return LOSSES[name]
    loss = regression(name)
    return lambda outputs, y: loss(student.squasher.unit(outputs), y)


def _teach(
    student: Controller, x: Tensor, y: Tensor, objective: Objective, plan: DistillationPlan, index: int,
    on_step: Callable[[], None],
) -> float:  # fmt: skip
    """Train on states ``x`` [M, D] and answers ``y`` [M, ...]; return the last losses' mean."""
    network = student.network
    assert isinstance(network, SpikingNetwork)
    z = student.normaliser(x)
    student.network.requires_grad_(True)
    optimiser = torch.optim.AdamW(parameter_groups(network, 1e-4), lr=plan.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, plan.steps)
    rng = torch.Generator().manual_seed(derive(plan.seed, "teach", index) % 2**63)
    losses: list[float] = []
    guard(optimiser, network, name="student", where=lambda: f"round {index + 1}, gradient step {len(losses) + 1}")
    for _ in range(plan.steps):
        rows = torch.randint(len(z), (BATCH,), generator=rng)
        optimiser.zero_grad()
        loss = objective(network.stepwise(z[rows], generator=rng), y[rows])
        loss.backward()  # type: ignore[no-untyped-call]  # torch ships backward untyped
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
        on_step()
    student.network.requires_grad_(False)
    return float(np.mean(losses[-100:]))


@torch.no_grad()
def _agreement(teacher: Controller, student: Controller, x: Tensor) -> float:
    rows = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:4096]]
    actions, expected = student(rows)[0], teacher(rows)[0]
    if student.spec.discrete:
        return float((actions == expected).double().mean())
    actions, expected = student.squasher.unscale(actions), student.squasher.unscale(expected)
    if student.bins is not None:
        expected = student.bins(student.bins.probabilities(expected).flatten(1))
        return float(((actions - expected).abs() < 1e-5).double().mean())
    return 1.0 - float((actions - expected).square().mean().sqrt())
