"""``homeo-rl distill``."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import Any

from homeo_rl.commands.common import open_run, print_next
from homeo_rl.flags import Distill


def run(args: Distill, words: list[str]) -> dict[str, Any]:
    """Teach a spiking student."""
    from homeo_rl.run import require_new

    require_new(args.out)
    zipped = args.teacher.suffix == ".zip"
    lies_in_run = zipped and (args.teacher.parent / "run.json").exists()
    run = open_run(args.teacher.parent if lies_in_run else args.teacher)

    from homeo_rl.console import Bars
    from homeo_rl.training.distill import DistillationPlan, Round, distill
    from homeo_rl.training.params import parse_params

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
