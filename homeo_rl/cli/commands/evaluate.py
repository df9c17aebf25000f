"""``homeo-rl evaluate``."""

from __future__ import annotations

import os
import shlex
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from homeo_rl.cli.command import EVALUATE, Command
from homeo_rl.cli.common import open_run, print_report, whole_numbers
from homeo_rl.cli.flags import Common, Flag, Positional, Progress, Short, Words
from homeo_rl.errors import UsageError

COMMAND = Command(EVALUATE, 1, "play a run under a suite of degradations")


@dataclass(frozen=True, kw_only=True)
class Evaluate(Common):
    """Evaluate a run under a suite of degradations, all arms on the same episodes and the same damage."""

    run: Positional[Path]
    """Run folder, or the name of an agent that comes with the package (homeo-rl agents)."""
    out: Path | None = None
    """Folder that gets a copy of the policy and everything that is written, in place of the run (which may be
    read-only); report takes it as a run."""
    suite: str = "quick"
    """clean, quick, paper-mujoco, standard, navigation-paper, navigation-standard, or a YAML file."""
    env: str = ""
    """Gymnasium id in place of the run's own, where the suite names none."""
    routes: Path | None = None
    """JSON file of fixed starts and goals: {"routes": [{"start": [x, y, heading], "goal": [x, y]}, ...]}."""
    homeostasis: str = "none,dwam"
    """Arms, separated by commas: none, dwam, sleep, dwam+sleep, dwam-paper:eta=5e-5, linear, bdett, ..."""
    episodes: int | None = None
    """Episodes of each arm and condition; by default 20, or one a route."""
    max_episode_steps: int | None = None
    """Steps after which an episode is truncated, in place of the run's or the environment's own limit."""
    time_steps: str = ""
    """Spike steps after which decisions are cut, 1,2,3,4: one evaluation each, and a picture of return against them."""
    seed: int = 0
    """Root of episode seeds and damage."""
    gym_packages: Words = ()
    """Packages that register environments, degradations or plug-ins, besides those that the run was trained with."""
    num_envs: int = 10
    """Episodes side by side in a process; does not change the scores."""
    workers: int | None = None
    """Processes, by default one a core; does not change the scores."""
    calibration_episodes: int = 5
    """Clean episodes that teach the plug-ins the normal firing rates."""
    best: Flag = False
    """Evaluate the best policy seen in training instead of the last one."""
    tensorboard_log: Annotated[Path | None, Short(("-tb",))] = None
    """TensorBoard folder; by default tb inside the run."""
    progress: Progress = True
    """Show progress."""


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
    from homeo_rl.cli.console import Bars, print_hint
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
        "cells": [cell.to_dict() for cell in report.cells],
        "differences": [asdict(difference) for difference in report.differences],
    }
    if args.time_steps:
        told["time_steps"] = {
            str(steps): [cell.to_dict() for cell in one.cells] for steps, one in zip(cuts, reports, strict=True)
        }
    return told
