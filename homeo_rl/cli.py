"""The command line: parse, call, print. Nothing heavy is imported before the words were understood."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
import signal
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Union

import tyro

from homeo_rl.errors import HomeoError, UsageError
from homeo_rl.flags import Ablate, Convert, Distill, Enjoy, Evaluate, Import, Report, Train, Vision


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived."""


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit with its code: 0 done, 2 usage, 3 environment, 4 numbers, 5 storage, 128 + n signal n."""
    words = sys.argv[1:] if arguments is None else arguments
    command = _parse(words)
    with contextlib.suppress(ValueError):  # not in the main thread: whoever called us owns the signals
        signal.signal(signal.SIGTERM, _terminate)
    try:
        result = _COMMANDS[type(command)](command, words)
    except HomeoError as error:
        if command.debug:
            raise
        print(f"homeo-rl: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Terminated:
        print("homeo-rl: terminated; what was finished is kept", file=sys.stderr)
        sys.exit(128 + signal.SIGTERM)
    except KeyboardInterrupt:
        print("homeo-rl: interrupted; what was finished is kept", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    if command.json:
        print(json.dumps(result, allow_nan=False))


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def _parse(words: list[str]) -> Any:
    kinds = Union[  # noqa: UP007  # tyro reads the annotations of a Union's members
        Annotated[Train, tyro.conf.subcommand("train")],
        Annotated[Evaluate, tyro.conf.subcommand("evaluate")],
        Annotated[Report, tyro.conf.subcommand("report")],
        Annotated[Import, tyro.conf.subcommand("import")],
        Annotated[Convert, tyro.conf.subcommand("convert")],
        Annotated[Distill, tyro.conf.subcommand("distill")],
        Annotated[Ablate, tyro.conf.subcommand("ablate")],
        Annotated[Vision, tyro.conf.subcommand("vision")],
        Annotated[Enjoy, tyro.conf.subcommand("enjoy")],
    ]
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(kinds, prog="homeo-rl", description=_ABOUT, args=words)
    except SystemExit as leaving:
        if leaving.code in (0, None):
            raise
        lines = (line.strip("│╭╮╰╯─ ") for line in said.getvalue().splitlines())
        text = " ".join(" ".join(line for line in lines if line).split())
        text = text.replace(" For full helptext, run", "; for help run").replace(
            " For full helptext, see", "; for help run"
        )
        print(f"homeo-rl: {text}", file=sys.stderr)
        sys.exit(2)


_ABOUT = "Reinforcement learning with homeostatic spiking agents that stay alive when they are damaged."


def _train(args: Train, words: list[str]) -> dict[str, Any]:
    from homeo_rl.console import Bars
    from homeo_rl.training.params import parse_params, read_config
    from homeo_rl.training.train import TrainingPlan, planned_steps, train

    hyperparams = read_config(args.conf, args.env) if args.conf is not None else {}
    hyperparams |= parse_params(args.hyperparams)
    changes: dict[str, Any] = {"initial": args.imp} if args.imp else {}
    if args.readout:
        changes["readout"] = {"kind": args.readout}
    if changes:
        hyperparams["agent_kwargs"] = {**hyperparams.get("agent_kwargs", {}), **changes}
    plan = TrainingPlan(
        algo=args.algo,
        env=args.env,
        agent=args.agent,
        steps=args.n_timesteps,
        seed=args.seed,
        env_kwargs=parse_params(args.env_kwargs, "--env-kwargs"),
        hyperparams=hyperparams,
        homeostasis_in_training=args.homeostasis_in_training,
        modules=args.gym_packages,
        log_folder=args.log_folder,
        out=args.out,
        tensorboard=args.tensorboard_log,
        eval_freq=args.eval_freq,
        eval_episodes=args.eval_episodes,
        save_freq=args.save_freq,
        device=args.device,
        num_threads=args.num_threads,
        command=shlex.join(["homeo-rl", *words]),
    )
    with Bars(enabled=args.progress).shown() as bars:
        bars.start(f"{args.algo} {args.agent} on {args.env}", planned_steps(plan))
        run = train(plan, report=lambda done, mean: bars.reach(done, "" if mean is None else f"return {mean:.1f}"))
    print(f"run: {run.path}")
    print(f"watch it learn: tensorboard --logdir {args.tensorboard_log or run.path / 'tb'}")
    if args.agent == "qcfs":
        print(f"next: homeo-rl convert {run.path} --out {run.path}-spiking")
    else:
        print(f"next: homeo-rl evaluate {run.path} {_next_flags(args.env, 'quick')}")
    return {
        "run": str(run.path),
        "env": run.spec.env,
        "algo": run.spec.algo,
        "agent": run.spec.agent,
        "steps": run.spec.steps,
    }


def _evaluate(args: Evaluate, words: list[str]) -> dict[str, Any]:
    run = _open(args.run)

    from homeo_rl.console import Bars
    from homeo_rl.degradations import load_suite
    from homeo_rl.evaluation import Plan, evaluate
    from homeo_rl.evaluation.routes import read_routes
    from homeo_rl.evaluation.tensorboard import log_evaluation
    from homeo_rl.report import build
    from homeo_rl.report.figures import draw_anytime

    routes = () if args.routes is None else read_routes(args.routes)
    plan = Plan(
        suite=load_suite(args.suite),
        arms=tuple(arm.strip() for arm in args.homeostasis.split(",") if arm.strip()),
        episodes=(len(routes) or 20) if args.episodes is None else args.episodes,
        seed=args.seed,
        which="best" if args.best else "policy",
        calibration_episodes=args.calibration_episodes,
        env=args.env,
        routes=routes,
    )
    cuts = _whole_numbers(args.time_steps, "--time-steps") if args.time_steps else (None,)
    results, reports = [], []
    with Bars(enabled=args.progress).shown() as bars:
        for steps in cuts:
            result = evaluate(
                run, replace(plan, time_steps=steps), num_envs=args.num_envs, workers=args.workers, progress=bars
            )
            results.append(result)
            reports.append(build([result.folder], result.folder))
    title = f"{run.name}: suite {plan.suite.name} version {plan.suite.version} ({plan.suite.hash})"
    result, report = results[-1], reports[-1]
    tensorboard = args.tensorboard_log or run.path / "tb"
    log_evaluation(tensorboard, plan.suite.name, run.spec.steps, result.scores, result.traces)
    for steps, one in zip(cuts, reports, strict=True):
        _print_report(one, title if steps is None else f"{title}; T = {steps}")
    print(f"scores: {result.folder / 'scores.csv'}")
    picture = report.picture
    if args.time_steps:
        picture = draw_anytime(
            {steps: one.cells for steps, one in zip(cuts, reports, strict=True)}, result.folder / "anytime.png", title
        )
    print(f"picture: {picture}")
    if report.paths is not None:
        print(f"paths: {report.paths}")
    print(f"tensorboard --logdir {tensorboard}")
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


def _report(args: Report, words: list[str]) -> dict[str, Any]:
    from homeo_rl.report import build, latest_evaluation
    from homeo_rl.run import Run

    if not args.runs:
        raise UsageError("report: expected at least one run folder, got none; give the runs to report")
    runs = [Run.open(path) for path in args.runs]
    folders = [latest_evaluation(run, args.suite) for run in runs]
    out = args.out or runs[0].path / "report"
    conditions = [part.strip() for part in args.conditions.split(",")] if args.conditions else None
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {out}: cannot be made ({error.strerror}); choose another folder") from None
    report = build(folders, out, conditions=conditions)
    _print_report(report, ", ".join(run.name for run in runs))
    print(f"page: {report.page}")
    print(f"picture: {report.picture}")
    return {
        "page": str(report.page),
        "picture": str(report.picture),
        "paths": None if report.paths is None else str(report.paths),
        "cells": [asdict(cell) for cell in report.cells],
        "differences": [asdict(difference) for difference in report.differences],
    }


def _import(args: Import, words: list[str]) -> dict[str, Any]:
    from homeo_rl.agents.controller import save_controller
    from homeo_rl.agents.importers import IMPORTERS
    from homeo_rl.envs import load_modules, make_env
    from homeo_rl.errors import unknown
    from homeo_rl.run import Run, versions
    from homeo_rl.spec import RunSpec
    from homeo_rl.training.params import parse_params

    if args.kind not in IMPORTERS:
        raise unknown("kind of policy to import", args.kind, IMPORTERS)
    load_modules(args.gym_packages)
    importer = IMPORTERS[args.kind]
    env_kwargs = {**importer.env_kwargs, **parse_params(args.env_kwargs, "--env-kwargs")}
    env = make_env(args.env, env_kwargs)
    controller = importer.read(args.file, env)
    env.close()
    spec = RunSpec(
        origin="import",
        env=args.env,
        env_kwargs=env_kwargs,
        agent=args.kind,
        controller=controller.spec,
        source=args.file.name,
        command=shlex.join(["homeo-rl", *words]),
        versions=versions(),
        modules=args.gym_packages,
    )
    run = Run.create(args.out, spec)
    save_controller(run, controller)
    print(f"run: {run.path}")
    print(f"next: homeo-rl evaluate {run.path} {_next_flags(args.env, 'paper-mujoco')}")
    return {"run": str(run.path), "env": args.env, "kind": args.kind}


def _convert(args: Convert, words: list[str]) -> dict[str, Any]:
    run = _open(args.run)

    from homeo_rl.console import Bars
    from homeo_rl.training.convert import CONTROLS, FINETUNE_EPISODES, ConversionPlan, convert

    plan = ConversionPlan(
        method=args.method,  # type: ignore[arg-type]  # checked there
        form=args.form,  # type: ignore[arg-type]  # likewise
        neuron=args.neuron,  # type: ignore[arg-type]  # likewise
        steps=args.steps,
        finetune_steps=args.finetune_steps,
        levels=() if args.levels == "auto" else _whole_numbers(args.levels, "--levels"),
        budget_steps=args.budget_steps,
        episodes=args.episodes,
        step_seconds=args.step_time / 1e3,
        which="best" if args.best else "policy",
    )
    with Bars(enabled=args.progress).shown() as bars:
        tuned = plan.finetune_steps > 0
        bars.start("episodes", plan.episodes * (2 + len(CONTROLS) + tuned) + tuned * FINETUNE_EPISODES)
        made, certificate = convert(
            run, plan, args.out, command=shlex.join(["homeo-rl", *words]), on_episode=bars.advance
        )
    assert made.spec.controller is not None
    network = made.spec.controller.network
    print(f"run: {made.path}")
    print(f"layers {network.widths}, levels {network.levels_of_layers}: {network.steps} time steps a decision")
    told = {"run": str(made.path), "form": network.form, "neuron": args.neuron, "steps": network.steps}
    if certificate is not None:
        print(
            f"{certificate.equal_actions:,} of {certificate.states:,} actions equal, "
            f"{sum(step is not None for step in certificate.diverged_at)} of {plan.episodes} paired episodes differ"
        )
        print(f"certificate: {made.path / 'certificate.md'}")
        told |= {
            "exact": certificate.exact,
            "equal_actions": certificate.equal_actions,
            "states": certificate.states,
            "max_action_error": certificate.max_action_error,
        }
    print(f"next: homeo-rl evaluate {made.path} {_next_flags(made.spec.env, 'quick')}")
    return told


def _distill(args: Distill, words: list[str]) -> dict[str, Any]:
    best = args.best or args.teacher.name == "best_model.zip"
    run = _open(args.teacher.parent if args.teacher.suffix == ".zip" else args.teacher)

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
        which="best" if best else "policy",
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
    print(f"next: homeo-rl evaluate {made.path} --suite clean --homeostasis none --time-steps {cuts}")
    return {"run": str(made.path), "rounds": [asdict(done) for done in rounds]}


def _ablate(args: Ablate, words: list[str]) -> dict[str, Any]:
    import os

    from homeo_rl.console import Bars, print_table
    from homeo_rl.errors import unknown
    from homeo_rl.report.figures import draw_returns
    from homeo_rl.report.statistics import cells, read_scores
    from homeo_rl.training.ablate import ARMS, AblationPlan, ablate
    from homeo_rl.training.params import parse_params
    from homeo_rl.training.train import TrainingPlan

    arms = tuple(arm.strip() for arm in args.arms.split(","))
    for arm in arms:
        if arm not in ARMS:
            raise unknown("arm", arm, ARMS)
    cuts = _whole_numbers(args.time_steps, "--time-steps") if args.time_steps else ()
    training = TrainingPlan(
        algo=args.algo, env=args.env, agent=args.agent, steps=args.n_timesteps, eval_freq=-1,
        hyperparams=parse_params(args.hyperparams), command=shlex.join(["homeo-rl", *words]),
    )  # fmt: skip
    plan = AblationPlan(training=training, out=args.out, arms=arms, seeds=args.seeds, episodes=args.episodes, cuts=cuts)
    with Bars(enabled=args.progress).shown() as bars:
        bars.start(f"{args.algo} {args.agent} on {args.env}", len(arms) * args.seeds)
        found = ablate(plan, workers=args.workers or os.cpu_count() or 1, on_done=lambda _: bars.advance())
    rows = []
    for done in found:
        for steps, folder in zip(cuts or (None,), done.folders, strict=True):
            label = "whole decisions" if steps is None else f"T = {steps}"
            rows += [
                replace(row, arm=done.arm, run=f"seed {done.seed}", condition=label, severity=0.0)
                for row in read_scores(folder / "scores.csv")
            ]
    compared = cells(rows)
    title = f"{args.algo} {args.agent}, {args.env}: {args.seeds} seeds, {args.episodes} episodes each"
    picture = args.out / "returns.png"
    draw_returns(compared, picture, title=title)
    lines = [[cell.label, cell.arm, f"{cell.iqm:,.1f} [{cell.ci_low:,.1f}, {cell.ci_high:,.1f}]"] for cell in compared]
    print_table(f"{title}; return: IQM [95 % interval]", ["decisions", "arm", "return"], lines)
    print(f"picture: {picture}")
    return {"cells": [asdict(cell) for cell in compared], "picture": str(picture)}


def _vision(args: Vision, words: list[str]) -> dict[str, Any]:
    from homeo_rl.console import Bars
    from homeo_rl.training.vision import Epoch, VisionPlan, train_vision

    plan = VisionPlan(
        recipe=args.recipe, data=args.data, kind=args.kind, loss=args.loss, imp=args.imp, steps=args.steps,
        epochs=args.epochs, batch=args.batch, learning_rate=args.learning_rate, width=args.width, seed=args.seed,
        device=args.device, workers=args.workers,
    )  # fmt: skip
    with Bars(enabled=args.progress).shown() as bars:

        def count(done: int, total: int) -> None:
            if done == 1:
                bars.start(f"{args.recipe} on {args.data.name}", total)
            bars.reach(done)

        def told(epoch: Epoch) -> None:
            each = ", ".join(f"{100 * value:.1f}" for value in epoch.accuracy)
            bars.note(f"epoch {epoch.epoch}: loss {epoch.loss:.3f}, test accuracy by time step {each} %")

        epochs = train_vision(plan, args.out, on_batch=count, on_epoch=told)
    print(f"weights: {args.out / 'state'}; accuracies: {args.out / 'epochs.json'}")
    return {"epochs": [asdict(epoch) for epoch in epochs]}


def _whole_numbers(text: str, flag: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise UsageError(f"{flag}: expected auto or whole numbers separated by commas, got {text!r}") from None


def _enjoy(args: Enjoy, words: list[str]) -> dict[str, Any]:
    run = _open(args.run)

    from homeo_rl.degradations import load_suite
    from homeo_rl.errors import unknown
    from homeo_rl.evaluation.enjoy import enjoy
    from homeo_rl.evaluation.routes import read_routes

    suite = load_suite(args.suite)
    conditions = {condition.label: condition for condition in suite.conditions}
    if args.condition not in conditions:
        raise unknown(f"condition of suite {args.suite}", args.condition, conditions)
    if args.episodes < 1 or (args.steps is not None and args.steps < 1):
        raise UsageError(f"--episodes and --steps: expected at least 1, got {args.episodes} and {args.steps}")
    episodes = enjoy(
        run,
        video=args.video,
        condition=conditions[args.condition],
        arm=args.homeostasis,
        seed=args.seed,
        episodes=args.episodes,
        steps=args.steps,
        which="best" if args.best else "policy",
        env=args.env,
        healthy=suite.conditions[0].env,
        routes=() if args.routes is None else read_routes(args.routes),
    )
    for episode in episodes:
        outcome = f", {episode.outcome}" if episode.outcome else ""
        print(f"episode {episode.index}: return {episode.total:.1f}, {episode.length} steps{outcome}")
    if args.video is not None:
        print(f"video: {args.video}")
    return {
        "run": str(run.path),
        "video": None if args.video is None else str(args.video),
        "episodes": [
            {"return": e.total, "length": e.length, "success": e.success, "outcome": e.outcome} for e in episodes
        ],
    }


def _open(path: Path) -> Any:
    """Open a run folder, or a copy of an agent that comes with the package."""
    from homeo_rl.run import Run

    if not (path / "run.json").exists():
        from homeo_rl.agents.shipped import copy_pretrained, pretrained_names

        if str(path) in pretrained_names():
            return copy_pretrained(str(path), Path("runs"))
    return Run.open(path)


def _next_flags(env: str, suite: str) -> str:
    """Return flags that suit an environment; navigation wants slower adaptation than DWAM's defaults."""
    if env.startswith("homeo_rl/Navigation"):
        return "--suite navigation-paper --homeostasis none,dwam:eta=1e-5:tau=200"
    return f"--suite {suite} --homeostasis none,dwam"


def _print_report(report: Any, title: str) -> None:
    from homeo_rl.console import print_table
    from homeo_rl.report.tables import cell_rows, difference_rows, drive_rows

    print_table(f"{title}; return: IQM [95 % interval], r retention, s success", *cell_rows(report.cells))
    header, drives = drive_rows(report.cells)
    if drives:
        print_table("how the drives ended", header, drives)
    if report.differences:
        print_table("against none, paired by episode, all damaged conditions", *difference_rows(report.differences))


_COMMANDS: dict[type[Any], Any] = {
    Train: _train,
    Evaluate: _evaluate,
    Report: _report,
    Import: _import,
    Convert: _convert,
    Distill: _distill,
    Ablate: _ablate,
    Vision: _vision,
    Enjoy: _enjoy,
}

if __name__ == "__main__":
    main()
