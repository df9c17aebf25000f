"""``homeo-rl evaluate``."""

from __future__ import annotations

import os
import shlex
from dataclasses import asdict, replace
from typing import Any

from homeo_rl.commands.common import open_run, print_report, whole_numbers
from homeo_rl.errors import UsageError
from homeo_rl.flags import Evaluate


def run(args: Evaluate, words: list[str]) -> dict[str, Any]:
    """Evaluate a run under a suite, whole or cut short."""
    from homeo_rl.degradations import load_suite
    from homeo_rl.evaluation.plan import Plan, check_sizes
    from homeo_rl.evaluation.routes import read_routes

    check_sizes(args.num_envs, args.workers)
    which = "best" if args.best else "policy"
    run = open_run(args.run, args.gym_packages, out=args.out, which=which)
    if not os.access(run.path, os.W_OK):
        raise UsageError(
            f"{run.path}: expected a run that can be written to; give --out DIR, where scores and pictures then go"
        )
    routes = () if args.routes is None else read_routes(args.routes)
    plan = Plan(
        suite=load_suite(args.suite),
        arms=tuple(arm.strip() for arm in args.homeostasis.split(",") if arm.strip()),
        episodes=(len(routes) or 20) if args.episodes is None else args.episodes,
        seed=args.seed,
        which=which,
        calibration_episodes=args.calibration_episodes,
        env=args.env,
        routes=routes,
        max_episode_steps=args.max_episode_steps,
    )
    run.load_policy(which=plan.which)  # there is one
    cuts = whole_numbers(args.time_steps, "--time-steps") if args.time_steps else (None,)

    # What is wrong was told before this is loaded, which takes seconds.
    from homeo_rl.console import Bars, print_hint
    from homeo_rl.evaluation.evaluate import evaluate
    from homeo_rl.evaluation.tensorboard import log_evaluation
    from homeo_rl.report import build
    from homeo_rl.report.figures import draw_anytime

    for steps in cuts:
        replace(plan, time_steps=steps).policy_of(run)  # all cuts are possible before the first is evaluated
    results, reports = [], []
    with Bars(enabled=args.progress).shown() as bars:
        for steps in cuts:
            result = evaluate(
                run,
                replace(plan, time_steps=steps),
                num_envs=args.num_envs,
                workers=args.workers,
                progress=bars,
                command=shlex.join(["homeo-rl", *words]),
            )
            results.append(result)
            reports.append(build([result.folder], result.folder))
    title = f"{run.name}: suite {plan.suite.name} version {plan.suite.version} ({plan.suite.hash})"
    result, report = results[-1], reports[-1]
    tensorboard = args.tensorboard_log or run.path / "tb"
    log_evaluation(tensorboard, plan.suite.name, run.spec.steps, result.scores, result.traces)
    for steps, one in zip(cuts, reports, strict=True):
        print_report(one, title if steps is None else f"{title}; T = {steps}")
    print(f"scores: {result.folder / 'scores.csv'}")
    picture = report.picture
    if args.time_steps:
        picture = draw_anytime(
            {steps: one.cells for steps, one in zip(cuts, reports, strict=True)}, result.folder / "anytime.png", title
        )
    print(f"picture: {picture}")
    if report.paths is not None:
        print(f"paths: {report.paths}")
    print_hint(shlex.join(["tensorboard", "--logdir", str(tensorboard)]))
    told: dict[str, Any] = {
        "run": str(run.path),
        "suite": plan.suite.name,
        "suite_hash": plan.suite.hash,
        "scores": str(result.folder / "scores.csv"),
        "picture": str(picture),
        "paths": None if report.paths is None else str(report.paths),
        "cells": [asdict(cell) for cell in report.cells],
        "differences": [asdict(difference) for difference in report.differences],
    }
    if args.time_steps:
        told["time_steps"] = {
            str(steps): [asdict(cell) for cell in one.cells] for steps, one in zip(cuts, reports, strict=True)
        }
    return told
