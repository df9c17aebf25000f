"""``homeo-rl distill``."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from homeo_rl.cli.command import TRAIN, Command
from homeo_rl.cli.common import open_run, print_next
from homeo_rl.cli.flags import Common, Flag, Positional, Progress, Words

COMMAND = Command(TRAIN, 3, "train a spiking student on what a run does")


@dataclass(frozen=True, kw_only=True)
class Distill(Common):
    """Teach a spiking student what a run does, so that every spike step of its decisions is a usable answer."""

    teacher: Positional[Path]
    """Run folder, or a Stable-Baselines3 zip in it."""
    out: Path
    """Where the student's run goes."""
    student: str = "anytime"
    """Spiking preset."""
    loss: str = "tet-s"
    """What has to be right: tet-s or tet every step, sdt the mean over steps, lts the last step."""
    bins: int = 11
    """Classes of each entry of a continuous action; 0 teaches numbers (tet, sdt, lts)."""
    spacing: str = "cubic"
    """Where the classes lie in [-1, 1]: uniform, or cubic (closer around 0)."""
    rounds: int = 5
    """1 is behaviour cloning on the teacher's states; in later rounds the student acts and the teacher corrects."""
    samples: int = 5000
    """States of each round, from whole episodes."""
    steps: int = 5000
    """Gradient steps of each round."""
    learning_rate: float = 1e-3
    """At the start of each round; it falls to 0."""
    student_kwargs: Words = ()
    """Fields of the student's network, name:value (hidden:"[64, 64]" steps:8)."""
    imp: str = ""
    """What membranes begin a decision with: rest, neuron, layer or constant."""
    seed: int = 0
    """Root of all randomness."""
    best: Flag = False
    """Learn from the best policy seen in training instead of the last one."""
    progress: Progress = True
    """Show progress."""


def run(args: Distill, words: list[str]) -> dict[str, Any]:
    """Teach a spiking student."""
    from homeo_rl.run import require_new

    require_new(args.out)
    zipped = args.teacher.suffix == ".zip"
    lies_in_run = zipped and (args.teacher.parent / "run.json").exists()
    run = open_run(args.teacher.parent if lies_in_run else args.teacher)

    from homeo_rl.cli.console import Bars
    from homeo_rl.training.params import parse_params
    from homeo_rl.workflows.distill import DistillationPlan, Round, distill

    changes = {"initial": args.imp} if args.imp else {}
    plan = DistillationPlan(
        student=args.student,
        student_kwargs={**parse_params(args.student_kwargs, "--student-kwargs"), **changes},
        loss=args.loss,
        bins=args.bins,
        spacing=args.spacing,  # type: ignore[arg-type]  # checked there
        rounds=args.rounds,
        samples=args.samples,
        steps=args.steps,
        learning_rate=args.learning_rate,
        seed=args.seed,
        which=args.teacher.name if zipped else "best" if args.best else "policy",
    )
    rounds: list[Round] = []
    with Bars(enabled=args.progress).shown() as bars:

        def told(done: Round) -> None:
            rounds.append(done)
            mean = sum(done.returns) / len(done.returns)
            who = "teacher" if len(rounds) == 1 else "student, cut at random"
            bars.note(
                f"round {len(rounds)}: {done.states:,} states, return {mean:.1f} ({who}), loss {done.loss:.3f}, "
                f"agreement {done.agreement:.1%}"
            )

        bars.start(f"{args.loss}: {args.student}", plan.rounds * plan.steps)
        made = distill(
            run, plan, args.out, command=shlex.join(["homeo-rl", *words]), on_round=told, on_step=bars.advance
        )
    assert made.spec.controller is not None
    cuts = ",".join(str(step + 1) for step in range(made.spec.controller.network.steps))
    print(f"run: {made.path}")
    print_next("evaluate", made.path, "--suite", "clean", "--homeostasis", "none", "--time-steps", cuts)
    return {"run": str(made.path), "rounds": [asdict(done) for done in rounds]}
