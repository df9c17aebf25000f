"""Evaluate a run: every arm of homeostasis under every condition of a suite, on the same episodes and damage.

A *cell* is one arm under one condition. Cells are independent, so they run in as many processes as there are cores;
each finished cell is stored at once, and an interrupted evaluation is resumed when the same command is
given again.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homeo_rl.agents.controller import Controller
from homeo_rl.agents.external import ExternalNetwork
from homeo_rl.degradations.protocol import Condition
from homeo_rl.degradations.suites import suite_to_dicts
from homeo_rl.envs.make import load_modules, make_env
from homeo_rl.envs.time_limit import tell as tell_limit
from homeo_rl.errors import HomeoError, UsageError
from homeo_rl.evaluation.arm import Arm
from homeo_rl.evaluation.calibrate import calibrate_for
from homeo_rl.evaluation.cells import Job, run_cells, write_scores
from homeo_rl.evaluation.engines import require_engine, require_rows
from homeo_rl.evaluation.metrics import Score
from homeo_rl.evaluation.observer_memory import observer_memory_for
from homeo_rl.evaluation.plan import EvaluationPlan, check_sizes, require_width
from homeo_rl.evaluation.progress import NullProgress, Progress
from homeo_rl.evaluation.recorders import TRACE_EVERY
from homeo_rl.numerics.arrays import instance_of
from homeo_rl.run import Run, versions
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.storage import bundle
from homeo_rl.storage.locks import hold_lock

SCORES_VERSION = "0.1.0"
"""The release that changed scores last: evaluations by it and by later ones are equal, and count as finished."""


@dataclass(frozen=True)
class Result:
    """What an evaluation gave."""

    folder: Path
    scores: tuple[Score, ...]
    skipped: dict[str, str]  # conditions that do not apply to this environment or policy, with the reason
    # for each (arm, condition label), homeostasis over time, mean over episodes
    traces: dict[tuple[str, str], list[dict[str, Any]]]
    paths: Path | None  # paths.json, where the environment's infos have poses, else None


def evaluate(
    run: Run | Path | str,
    plan: EvaluationPlan,
    *,
    num_envs: int = 10,
    workers: int | None = None,
    engine: str = "gymnasium",
    progress: Progress | None = None,
    command: str = "",
) -> Result:
    """Evaluate ``run`` as ``plan`` says and write the scores into the run's folder.

    Args:
        num_envs: episodes side by side in a process; the scores do not depend on it.
        workers: processes; None is one a core. The scores do not depend on it.
        engine: one of `homeo_rl.envs.batched_bodies.ENGINES`; the scores do not depend on it. ``rollout`` shares the
            cores that processes leave as threads.

    Raises:
        UsageError: the plan does not fit the run, or the engine does not know the environment or a condition.
        NumericalFault: an environment gave a number that is not finite.
    """
    run = Run.of(run)
    advice = "homeo_rl.EvaluationPlan(suite=..., arms=..., episodes=..., seed=...) makes one"
    instance_of(plan, EvaluationPlan, what="plan", advice=advice)
    progress = progress or NullProgress()
    check_sizes(num_envs, workers)
    require_engine(engine, plan.parsed_arms)
    load_modules(run.spec.modules)
    controller = plan.policy_of(run)
    for arm in plan.parsed_arms:
        arm.require_fitting(controller)
    reasons = {c.label: incompatibility(c, plan, run, controller, engine) for c in plan.suite.conditions}
    skipped = {label: reason for label, reason in reasons.items() if reason}
    for label, reason in skipped.items():
        progress.note(f"skipped {label}: {reason}")
    cells = [(arm, c) for arm in plan.parsed_arms for c in plan.suite.conditions if c.label not in skipped]
    count = workers or os.cpu_count() or 1
    threads = max((os.cpu_count() or 1) // max(min(count, len(cells)), 1), 1) if engine == "rollout" else None
    calibration = None
    if isinstance(controller.network, SpikingNetwork):
        progress.start("calibration", plan.calibration_episodes)
        calibration = calibrate_for(plan, run, controller, num_envs=num_envs, on_episode=lambda _: progress.advance())
    observer = observer_memory_for(plan, run, controller, progress)
    job = Job(run.path, run.spec.modules, plan, cells, num_envs, calibration, threads, observer)
    with _folder_of(run, plan, command) as folder:
        outcomes = _run_missing(job, run, folder, count, progress)
        scores = tuple(Score.from_dict(row) for outcome in outcomes for row in outcome["scores"])
        paths = _write_paths(folder, plan, cells, outcomes)
        _write_courses(folder, plan, cells, outcomes)
        _write_diagnoses(folder, cells, outcomes)
        write_scores(folder / "scores.csv", scores)  # last: with it the evaluation is finished
        shutil.rmtree(folder / "cells")
    traces = {(arm.text, c.label): outcome["trace"] for (arm, c), outcome in zip(cells, outcomes, strict=True)}
    return Result(folder, scores, skipped, traces, paths)


def _run_missing(job: Job, run: Run, folder: Path, workers: int, progress: Progress) -> list[dict[str, Any]]:
    """Run the cells that are not stored yet, store each one at once, and return the outcomes of all."""
    plan, count = job.plan, len(job.cells)
    stored = {index: folder / "cells" / f"{index:04d}.json" for index in range(count)}
    missing = [index for index, path in stored.items() if not path.exists()]
    progress.start(f"suite {plan.suite.name}", count * plan.episodes)
    if len(missing) < count:
        progress.note(f"{folder}: resumed after {count - len(missing)} of {count} finished cells")
        progress.advance((count - len(missing)) * plan.episodes)
    for index, outcome in run_cells(job, missing, workers, progress.advance):
        bundle.write_json(stored[index], outcome)
        if outcome["limited"]:
            tell_limit(plan.env_of(job.cells[index][1], run)[0])
    return [bundle.read_json(path) for path in stored.values()]


def incompatibility(
    condition: Condition, plan: EvaluationPlan, run: Run, controller: Controller, engine: str = "gymnasium"
) -> str | None:
    """Return why a condition does not apply, or None if it does.

    Raises:
        UsageError: the policy cannot see or act in the environment, a route is not possible there, or the engine does
            not know the environment or the condition.
    """
    name, kwargs = plan.env_of(condition, run)
    with closing(make_env(name, kwargs)) as env:
        require_width(env, name, controller, run)
        if engine == "rollout":
            require_rows(env, condition)
        for number, route in enumerate(plan.routes):
            try:
                env.reset(seed=0, options=route.options)
            except UsageError as error:
                raise UsageError(f"--routes: route {number}: {error}") from None
        reason = condition.incompatibility(env, spiking=isinstance(controller.network, SpikingNetwork))
        return reason or _network_incompatibility(condition, controller)


def _network_incompatibility(condition: Condition, controller: Controller) -> str | None:
    """Return why damage of the network does not apply to a policy of another tool, or None if it does."""
    network, damage = controller.network, condition.network_damage(0)
    if damage is None or not isinstance(network, ExternalNetwork):
        return None
    trained = network.parameters_of_layers()
    if not trained:
        return f"damages weights, and those of {network.where}, {controller.kind}, are not known"
    damaged = damage.at(condition.onset, trained) or trained
    if not network.has_neurons and any(w.alive is not None or w.stuck is not None for w in damaged):
        return f"damages neurons, and the layers of {network.where} are no plain chain"
    return None


Cells = list[tuple[Arm, Condition]]


def _write_paths(folder: Path, plan: EvaluationPlan, cells: Cells, outcomes: list[dict[str, Any]]) -> Path | None:
    entries = [
        {"arm": arm.text, "condition": condition.label, "world": outcome["world"], "episodes": outcome["paths"]}
        for (arm, condition), outcome in zip(cells, outcomes, strict=True)
        if outcome["paths"]
    ]
    if not entries:
        return None
    bundle.write_json(folder / "paths.json", {"suite": plan.suite.name, "cells": entries})
    return folder / "paths.json"


def _write_courses(folder: Path, plan: EvaluationPlan, cells: Cells, outcomes: list[dict[str, Any]]) -> None:
    """Write the traces of damage in mid-episode, and of the clean condition beside them, where there is any."""
    if any(condition.onset for condition in plan.suite.conditions):
        courses = [
            {"arm": arm.text, "condition": c.label, "onset": c.onset, "every": TRACE_EVERY, "trace": outcome["trace"]}
            for (arm, c), outcome in zip(cells, outcomes, strict=True)
            if c.onset or c.severity == 0.0
        ]
        bundle.write_json(folder / "courses.json", {"episodes": plan.episodes, "courses": courses})


def _write_diagnoses(folder: Path, cells: Cells, outcomes: list[dict[str, Any]]) -> None:
    """Write what observers found at the end of each episode, where an arm observes."""
    diagnoses = [
        {"arm": arm.text, "condition": condition.label, "episodes": outcome["diagnoses"]}
        for (arm, condition), outcome in zip(cells, outcomes, strict=True)
        if outcome.get("diagnoses")  # cells that an earlier version finished have none
    ]
    if diagnoses:
        bundle.write_json(folder / "diagnoses.json", {"cells": diagnoses})


def find_finished(run: Run, plan: EvaluationPlan) -> Path | None:
    """Return the folder of a finished evaluation of the same plan, policy and versions; None if there is none."""
    _, key = _content(run, plan)
    for path in run.evaluations():
        if bundle.read_json(path / "evaluation.json").get("key") == key:
            return path
    return None


def digest_of(plan: EvaluationPlan) -> str:
    """Return the SHA-256 of everything but the policy that decides an evaluation's scores."""
    return _digest(_settings(plan))


def _content(run: Run, plan: EvaluationPlan) -> tuple[dict[str, Any], str]:
    """Return everything that decides an evaluation's scores, and its SHA-256."""
    content = {**_settings(plan), "policy_digest": run.policy_digest(which=plan.which)}
    return content, _digest(content)


def _digest(content: dict[str, Any]) -> str:
    scored = {**content, "versions": {**content["versions"], "homeo-rl": SCORES_VERSION}}
    return hashlib.sha256(json.dumps(scored, sort_keys=True).encode()).hexdigest()


def _settings(plan: EvaluationPlan) -> dict[str, Any]:
    return {
        "suite": plan.suite.name,
        "suite_version": plan.suite.version,
        "suite_hash": plan.suite.hash,
        "arms": list(plan.arms),
        "mechanisms": [arm.describe() for arm in plan.parsed_arms if arm.reflex or arm.avoid],  # a default may change
        "episodes": plan.episodes,
        "seed": plan.seed,
        "policy": plan.which,
        "calibration_episodes": plan.calibration_episodes,
        "env": plan.env,
        "time_steps": plan.time_steps,
        **({} if plan.max_episode_steps is None else {"max_episode_steps": plan.max_episode_steps}),
        "routes": [route.options for route in plan.routes],
        "versions": versions(),
    }


@contextmanager
def _folder_of(run: Run, plan: EvaluationPlan, command: str) -> Iterator[Path]:
    """Yield the folder to write to: an unfinished one of the same plan, or a new one; locked while it is written."""
    content, key = _content(run, plan)
    for path in sorted((run.path / "evaluations").glob("*/evaluation.json")):
        if not (path.parent / "scores.csv").exists() and bundle.read_json(path).get("key") == key:
            with hold_lock(path, wait=False) as is_locked:
                if not is_locked:
                    continue  # another process writes it
                (path.parent / "cells").mkdir(exist_ok=True)
                yield path.parent
                return
    folder = run.new_evaluation(plan.suite.name)
    (folder / "cells").mkdir()
    document = {
        **content,
        "key": key,
        "conditions": suite_to_dicts(plan.suite),
        "command": command,
        "modules": list(run.spec.modules),  # with those of the command: whoever plays an episode again needs them
    }
    bundle.write_json(folder / "evaluation.json", document)
    with hold_lock(folder / "evaluation.json", wait=True):
        try:
            yield folder
        except HomeoError:
            # A fault of the input leaves nothing behind, unless cells were finished before it.
            if not any((folder / "cells").iterdir()):
                shutil.rmtree(folder)
            raise
