"""The command ``homeo-rl distill``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from homeo_rl.cli.command import TRAIN, Command
from homeo_rl.cli.common import command_line, make_plan, open_run, print_next
from homeo_rl.cli.flags import Flag, Positional, Short, WithProgress, Words

COMMAND = Command(TRAIN, 3, "distill a policy into a spiking student")


@dataclass(frozen=True, kw_only=True)
class Distill(WithProgress):
    """Train a spiking student to imitate a policy, so that its decision is usable after every spike step."""

    teacher: Positional[Path]
    """Run folder, or a Stable-Baselines3 zip in it."""
    out: Path
    """Run folder of the student."""
    student: str = "anytime"
    """Spiking preset."""
    loss: str = "tet-s"
    """Objective: tet-s or tet for every step, sdt for the mean over steps, lts for the last step."""
    bins: int = 11
    """Classes of each entry of a continuous action; 0 regresses the action (tet, sdt, lts)."""
    spacing: str = "cubic"
    """Spacing of the classes in [-1, 1]: uniform, or cubic (denser around 0)."""
    rounds: int = 5
    """1 is behaviour cloning on the teacher's states; in later rounds the student acts and the teacher labels
    (DAgger)."""
    samples: int = 5000
    """States of each round, from whole episodes."""
    gradient_steps: Annotated[int, Short(("--steps",))] = 5000
    """Gradient steps of each round."""
    learning_rate: float = 1e-3
    """Initial learning rate of each round; it decays to 0."""
    student_kwargs: Words = ()
    """Fields of the student's network, name:value (hidden:"[64, 64]" steps:8)."""
    imp: str = ""
    """Initial membrane potentials of a decision: rest, neuron, layer or constant."""
    seed: int = 0
    """Seed of all random numbers."""
    best: Flag = False
    """Imitate the best policy seen in training instead of the last one."""


def run(args: Distill, words: list[str]) -> dict[str, Any]:
    """Train a spiking student."""
    from homeo_rl.run import require_new

    require_new(args.out)
    zipped = args.teacher.suffix == ".zip"
    is_in_run = zipped and (args.teacher.parent / "run.json").exists()
    run = open_run(args.teacher.parent if is_in_run else args.teacher)

    from homeo_rl.cli.console import Bars
    from homeo_rl.training.params import parse_params
    from homeo_rl.workflows.distill import DistillationPlan, Round, distill

    changes = {"initial": args.imp} if args.imp else {}
    plan = make_plan(
        DistillationPlan,
        args,
        student_kwargs={**parse_params(args.student_kwargs, "--student-kwargs"), **changes},
        steps=args.gradient_steps,
        which=args.teacher.name if zipped else "best" if args.best else "policy",
    )
    rounds: list[Round] = []
    with Bars(enabled=args.progress).show() as bars:

        def report(done: Round) -> None:
            rounds.append(done)
            mean = sum(done.returns) / len(done.returns)
            actor = "teacher" if len(rounds) == 1 else "student, randomly truncated"
            bars.note(
                f"round {len(rounds)}: {done.states:,} states, return {mean:.1f} ({actor}), loss {done.loss:.3f}, "
                f"agreement {done.agreement:.1%}"
            )

        bars.start(f"{args.loss}: {args.student}", plan.rounds * plan.steps)
        student = distill(run, plan, args.out, command=command_line(words), on_round=report, on_step=bars.advance)
    assert student.spec.controller is not None
    cuts = ",".join(str(step + 1) for step in range(student.spec.controller.network.steps))
    print(f"run: {student.path}")
    print_next("evaluate", student.path, "--suite", "clean", "--homeostasis", "none", "--spike-steps", cuts)
    return {"run": str(student.path), "rounds": [asdict(done) for done in rounds]}
