"""The command ``homeo-rl diagnose``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homeo_rl.cli.command import EVALUATE, Command
from homeo_rl.cli.common import open_run
from homeo_rl.cli.flags import WithPolicy, WithProgress, Words
from homeo_rl.errors import UsageError, unknown

if TYPE_CHECKING:
    from homeo_rl.degradations.protocol import Condition
    from homeo_rl.evaluation.plan import EvaluationPlan
    from homeo_rl.run import Run

COMMAND = Command(EVALUATE, 7, "explain faults of sensors, latency and actuators")


@dataclass(frozen=True, kw_only=True)
class Diagnose(WithPolicy, WithProgress):
    """Play episodes under a condition with an observer, and print what it found broken and what it did.

    With --draws, count over many episodes which kinds of faults were taken for which.

    The forward model is fitted first where the run has none: about two minutes.
    """

    condition: str = ""
    """Condition of the suite."""
    suite: str = "senses"
    """Suite that contains --condition, or a YAML file."""
    draws: int = 0
    """Confusion table of fault kinds over so many episodes of --condition, or without it of every condition."""
    table: Path | None = None
    """File for the confusion table: .csv."""
    homeostasis: str = "observer"
    """An arm with an observer, such as sleep+observer."""
    episodes: int = 3
    """Number of episodes."""
    seed: int = 0
    """Seed of the episodes."""
    env: str = ""
    """Gymnasium id that replaces the run's own, where the suite names none."""
    picture: Path | None = None
    """Plot of the worst sensor over time, true, measured and estimated: .svg, .png or .pdf."""
    gym_packages: Words = ()
    """Packages that register environments and degradations, besides those of the training."""


def run(args: Diagnose, words: list[str]) -> dict[str, Any]:
    """Diagnose a run under a condition."""
    from homeo_rl.degradations import load_suite
    from homeo_rl.evaluation.arm import Arm
    from homeo_rl.evaluation.plan import EvaluationPlan
    from homeo_rl.homeostasis import split_observer
    from homeo_rl.report.graph_style import check_suffix

    _check(args)
    run = open_run(args.run, args.gym_packages)
    suite = load_suite(args.suite)
    conditions = {condition.label: condition for condition in suite.conditions}
    if args.condition and args.condition not in conditions:
        raise unknown(f"condition of suite {args.suite}", args.condition, conditions)
    if args.condition and args.draws:
        suite = replace(suite, conditions=(conditions[args.condition],))
    if split_observer(Arm.parse(args.homeostasis).plugin).observer is None:
        raise UsageError(f"--homeostasis: expected an arm with an observer, got {args.homeostasis!r}; write observer")
    if args.picture is not None:
        check_suffix(args.picture)
    plan = EvaluationPlan(
        suite=suite, arms=(args.homeostasis,), episodes=args.draws or args.episodes, seed=args.seed, which=args.which,
        env=args.env,
    )  # fmt: skip
    return _confuse(args, run, plan) if args.draws else _explain(args, run, plan, conditions[args.condition])


def _check(args: Diagnose) -> None:
    if args.draws < 0 or not (args.draws or args.condition):
        raise UsageError(
            "expected --condition, or --draws N from 1 on, got neither; --draws 5 makes a table of all conditions"
            if not args.draws
            else f"--draws: expected a number of episodes from 1 on, got {args.draws}"
        )
    if args.table is not None and (not args.draws or args.table.suffix != ".csv"):
        raise UsageError(f"--table: expected a .csv beside --draws, got {args.table}; name it confusion.csv")
    if args.table is not None and not args.table.parent.is_dir():
        raise UsageError(f"--table: expected a file in a folder that exists, got {args.table}; make the folder first")
    if args.picture is not None and args.draws:
        raise UsageError("--picture: expected an episode of one condition, got --draws; leave one of the two out")


def _confuse(args: Diagnose, run: Run, plan: EvaluationPlan) -> dict[str, Any]:
    """Print and write the confusion tables."""
    from homeo_rl.cli.console import Bars, print_table
    from homeo_rl.observer.confusion import kind_table, sensor_table, write_table
    from homeo_rl.workflows.diagnose import confuse_run

    with Bars(enabled=args.progress).show() as bars:
        rows = confuse_run(run, plan, progress=bars)
    print_table(f"draws by kind, {args.homeostasis} on suite {plan.suite.name}", *kind_table(rows))
    head, sensors = sensor_table(rows)
    if sensors:
        print_table("sensors over all draws", head, sensors)
    if args.table is not None:
        write_table(rows, args.table)
        print(f"table: {args.table}")
    return {
        "run": str(run.path),
        "suite": plan.suite.name,
        "draws": args.draws,
        "confusion": [r.to_dict() for r in rows],
    }


def _explain(args: Diagnose, run: Run, plan: EvaluationPlan, condition: Condition) -> dict[str, Any]:
    """Print what was found in each episode."""
    from homeo_rl.cli.console import Bars, print_table
    from homeo_rl.report.sensor_courses import draw_course
    from homeo_rl.workflows.diagnose import diagnose_run

    with Bars(enabled=args.progress).show() as bars:
        results = diagnose_run(run, plan, condition, progress=bars)
    rows, episodes = [], []
    for index, result in enumerate(results):
        diagnosis = result.diagnosis
        sensors = [
            f"{fault.entry} {fault.kind} {fault.size:.3g} ({fault.confidence:.0%})" for fault in diagnosis.sensors
        ]
        late = "never" if result.detected is None else f"{result.detected} decisions"
        steps = len(result.course.used)
        rows.append([
            str(index), late, f"{diagnosis.latency}", ", ".join(sensors[:4]) + (" ..." if len(sensors) > 4 else ""),
            " ".join("-" if gain != gain else f"{gain:.2f}" for gain in diagnosis.gains),
            f"{result.estimated / steps:.0%}", f"{result.plain:.0f}", f"{result.total:.0f}",
        ])  # fmt: skip
        episodes.append({
            "detected": result.detected, "latency": diagnosis.latency,
            "sensors": [vars(fault) for fault in diagnosis.sensors],
            "gains": [None if gain != gain else float(gain) for gain in diagnosis.gains],
            "estimated": result.estimated, "steps": steps, "without": result.plain, "return": result.total,
        })  # fmt: skip
    header = [
        "episode", "alarm after", "latency", "sensors: entry, kind, size (confidence)", "gains", "estimated",
        "return without", "return with",
    ]  # fmt: skip
    print_table(f"{args.condition}, seen by {args.homeostasis}", header, rows)
    if args.picture is not None:
        faults = results[0].diagnosis.sensors
        draw_course(
            results[0].course, faults[0].entry if faults else 0, condition.onset, args.picture,
            title=f"{run.path.name}, {args.condition}",
        )  # fmt: skip
        print(f"picture: {args.picture}")
    return {"run": str(run.path), "condition": args.condition, "episodes": episodes}
