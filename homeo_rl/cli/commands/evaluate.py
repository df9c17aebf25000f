"""The command ``homeo-rl evaluate``."""

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from homeo_rl.cli.command import EVALUATE, Command
from homeo_rl.cli.common import command_line, make_plan, open_policy, print_report, whole_numbers
from homeo_rl.cli.flags import Short, WithHost, WithPolicy, WithProgress, Words
from homeo_rl.errors import UsageError

COMMAND = Command(EVALUATE, 1, "evaluate a run under a suite of degradations")


@dataclass(frozen=True, kw_only=True)
class Evaluate(WithPolicy, WithHost, WithProgress):
    """Evaluate a run, or a policy's file (.onnx, .zip, .safetensors) or function (module:function), under a suite of
    degradations, all mechanisms on the same episode seeds and damage draws."""

    out: Path | None = None
    """Folder for a copy of the policy and for all results, instead of the run (which may be read-only); report accepts
    it as a run."""
    suite: str = "quick"
    """clean, quick, paper-mujoco, standard, navigation-paper, navigation-standard, or a YAML file."""
    env: str = ""
    """Gymnasium id that replaces the run's own, where the suite names none; of a policy's file, what it drives."""
    routes: Path | None = None
    """JSON file of fixed starts and goals: {"routes": [{"start": [x, y, heading], "goal": [x, y]}, ...]}."""
    homeostasis: str = ""
    """Mechanisms, separated by commas: none, dwam, sleep, dwam+sleep, dwam-paper:eta=5e-5, linear, bdett, ...; by
    default none,dwam, and none for a policy without spikes."""
    episodes: int | None = None
    """Episodes of each mechanism and condition; by default 20, or one per route."""
    max_episode_steps: int | None = None
    """Steps after which an episode is truncated, instead of the limit of the run or the environment."""
    spike_steps: Annotated[str, Short(("--time-steps",))] = ""
    """Spike steps after which decisions are truncated, 1,2,3,4: one evaluation each, and a plot of the returns."""
    seed: int = 0
    """Seed of the episodes and of the damage."""
    gym_packages: Words = ()
    """Packages that register environments, degradations or mechanisms, besides those of the training."""
    num_envs: int = 10
    """Parallel episodes in a process; does not change the scores."""
    workers: int | None = None
    """Number of processes, by default one per core; does not change the scores."""
    engine: str = "gymnasium"
    """gymnasium steps one environment after another; rollout steps HalfCheetah, Hopper, Walker2d or Ant (v5) as one
    batch on threads, give it --num-envs 64. Does not change the scores."""
    calibration_episodes: int = 5
    """Clean episodes from which the reference firing rates are estimated."""
    tensorboard_log: Annotated[Path | None, Short(("-tb",))] = None
    """TensorBoard folder; by default tb inside the run."""


def run(args: Evaluate, words: list[str]) -> dict[str, Any]:
    """Evaluate a run under a suite, with whole or truncated decisions."""
    from homeo_rl.evaluation.plan import check_sizes

    check_sizes(args.num_envs, args.workers)
    with open_policy(args, words, args.out) as run:
        if not os.access(run.path, os.W_OK):
            raise UsageError(
                f"{run.path}: expected a run that can be written to; give --out DIR, where scores and pictures then go"
            )
        return _evaluate(args, run, command_line(words))


def _evaluate(args: Evaluate, run: Any, command: str) -> dict[str, Any]:
    plan = _plan(args, run)
    run.load_policy(which=plan.which)  # raises where there is none
    cuts = whole_numbers(args.spike_steps, "--spike-steps") if args.spike_steps else (None,)
    plans = [replace(plan, time_steps=steps) for steps in cuts]

    # Errors in the flags were reported before these modules are imported, which takes seconds.
    from homeo_rl.cli.console import Bars
    from homeo_rl.evaluation.evaluate import evaluate
    from homeo_rl.evaluation.tensorboard import log_evaluation
    from homeo_rl.report import build

    for each in plans:
        each.policy_of(run)  # raises where the policy cannot be truncated so
    results, reports = [], []
    with Bars(enabled=args.progress).show() as bars:
        for each in plans:
            result = evaluate(
                run,
                each,
                num_envs=args.num_envs,
                workers=args.workers,
                engine=args.engine,
                progress=bars,
                command=command,
            )
            results.append(result)
            reports.append(build([result.folder], result.folder))
    tensorboard = args.tensorboard_log or run.path / "tb"
    log_evaluation(tensorboard, plan.suite.name, run.spec.steps, results[-1].scores, results[-1].traces)
    title = f"{run.name}: suite {plan.suite.name} version {plan.suite.version} ({plan.suite.hash})"
    return {"run": str(run.path)} | _show(
        plan, results[-1].folder, dict(zip(cuts, reports, strict=True)), title, tensorboard
    )


def _plan(args: Evaluate, run: Any) -> Any:
    from homeo_rl.degradations import load_suite
    from homeo_rl.evaluation.plan import EvaluationPlan
    from homeo_rl.evaluation.routes import read_routes

    routes = () if args.routes is None else read_routes(args.routes)
    spikes = run.spec.controller is None or run.spec.controller.network.is_spiking
    named = args.homeostasis or ("none,dwam" if spikes else "none")
    arms = tuple(arm.strip() for arm in named.split(",") if arm.strip())
    episodes = (len(routes) or 20) if args.episodes is None else args.episodes
    suite = load_suite(args.suite)
    return make_plan(EvaluationPlan, args, suite=suite, arms=arms, episodes=episodes, which=args.which, routes=routes)


def _show(plan: Any, folder: Path, reports: dict[int | None, Any], title: str, tensorboard: Path) -> dict[str, Any]:
    import shlex

    from homeo_rl.cli.console import print_hint
    from homeo_rl.report.figures import draw_anytime

    for steps, report in reports.items():
        print_report(report, title if steps is None else f"{title}; T = {steps}")
    print(f"scores: {folder / 'scores.csv'}")
    cuts = {} if None in reports else {str(steps): [c.to_dict() for c in each.cells] for steps, each in reports.items()}
    picture: Path = report.picture
    if cuts:
        picture = draw_anytime({steps: each.cells for steps, each in reports.items()}, folder / "anytime.png", title)
    print(f"picture: {picture}")
    if report.paths is not None:
        print(f"paths: {report.paths}")
    print_hint(shlex.join(["tensorboard", "--logdir", str(tensorboard)]))
    return {
        "suite": plan.suite.name,
        "suite_hash": plan.suite.hash,
        "scores": str(folder / "scores.csv"),
        "picture": str(picture),
        "paths": None if report.paths is None else str(report.paths),
        "cells": [cell.to_dict() for cell in report.cells],
        "differences": [asdict(difference) for difference in report.differences],
        **({"time_steps": cuts} if cuts else {}),
    }
