"""Evaluate a run: every arm of homeostasis under every condition of a suite, on the same episodes and damage.

A *cell* is one arm under one condition. Cells are independent, so they run in as many processes as there are cores;
each finished cell is stored at once, and an interrupted evaluation goes on where it stopped when the same command
is given again.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import multiprocessing
import multiprocessing.queues
import os
import queue
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from homeo_rl import checkpoint
from homeo_rl.agents.controller import Controller, load_controller, require_spiking
from homeo_rl.agents.session import Session
from homeo_rl.degradations.protocol import Condition
from homeo_rl.degradations.suites import Suite
from homeo_rl.envs.making import arguments_for, load_modules, make_env
from homeo_rl.errors import EnvironmentFault, HomeoError, UsageError
from homeo_rl.evaluation.calibrate import Calibration, calibration_of
from homeo_rl.evaluation.rollout import episode_seed, rollout
from homeo_rl.evaluation.routes import Route
from homeo_rl.evaluation.scores import Score, score, write_scores
from homeo_rl.homeostasis import LayerReference, make
from homeo_rl.run import Run, versions
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.spec import dump


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be evaluated; equal plans give equal scores.

    ``env`` takes the place of the run's environment, where neither the suite nor a condition names one. Episode i
    follows ``routes[i % len(routes)]``; () lets the environment draw.
    """

    suite: Suite
    arms: tuple[str, ...]
    episodes: int
    seed: int
    which: str = "policy"
    calibration_episodes: int = 5
    env: str = ""
    routes: tuple[Route, ...] = ()

    def env_of(self, condition: Condition, run: Run) -> tuple[str, dict[str, Any]]:
        """Return the environment that a condition takes place in, and its arguments."""
        name = condition.env or self.env or run.spec.env
        return name, arguments_for(name, run.spec.env, run.spec.env_kwargs)

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise UsageError(f"--episodes: expected at least 1, got {self.episodes}; 20 or more give useful intervals")
        if self.calibration_episodes < 1:
            raise UsageError(f"--calibration-episodes: expected at least 1, got {self.calibration_episodes}")
        if not self.arms:
            raise UsageError("--homeostasis: expected at least one arm, got none; write none,dwam")
        twice = next((arm for arm in self.arms if self.arms.count(arm) > 1), None)
        if twice:
            raise UsageError(f"--homeostasis: arm {twice!r} is given twice; give each once")
        for arm in self.arms:
            make(arm)  # raises where an arm is not known


@dataclass(frozen=True)
class Result:
    """What an evaluation gave.

    Attributes:
        folder: where scores.csv lies.
        scores: all episodes, arm by arm, condition by condition.
        skipped: conditions that do not apply to this environment or policy, with the reason.
        traces: for each (arm, condition label), homeostasis over time, mean over episodes.
        paths: paths.json, where the environment's infos told of poses, else None.
    """

    folder: Path
    scores: tuple[Score, ...]
    skipped: dict[str, str]
    traces: dict[tuple[str, str], list[dict[str, Any]]]
    paths: Path | None


class Progress(Protocol):
    """What an evaluation reports to while it runs."""

    def start(self, what: str, total: int) -> None:
        """Begin ``total`` episodes of ``what``."""

    def advance(self, count: int = 1) -> None:
        """Count finished episodes."""

    def note(self, text: str) -> None:
        """Say something worth a line."""


class Silence:
    """Progress that nobody watches."""

    def start(self, what: str, total: int) -> None:
        """Say nothing."""

    def advance(self, count: int = 1) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""


def evaluate(
    run: Run,
    plan: Plan,
    *,
    num_envs: int = 10,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Result:
    """Evaluate ``run`` as ``plan`` says and write the scores into the run's folder.

    Args:
        run: the run.
        plan: what to evaluate.
        num_envs: episodes side by side in a process; the scores do not depend on it.
        workers: processes; None is one a core. The scores do not depend on it.
        progress: where to report.

    Raises:
        UsageError: the plan does not fit the run.
        NumericalFault: an environment gave a number that is not finite.
    """
    progress = progress or Silence()
    if num_envs < 1:
        raise UsageError(f"--num-envs: expected at least 1, got {num_envs}")
    if workers is not None and workers < 1:
        raise UsageError(f"--workers: expected at least 1, got {workers}")
    load_modules(run.spec.modules)
    controller = load_controller(run, which=plan.which)
    spiking = isinstance(controller.network, SpikingNetwork)
    if any(make(arm) is not None for arm in plan.arms):
        require_spiking(controller, "homeostasis")
    reasons = {c.label: _reason_against(c, plan, run, controller) for c in plan.suite.conditions}
    skipped = {label: reason for label, reason in reasons.items() if reason}
    for label, reason in skipped.items():
        progress.note(f"skipped {label}: {reason}")
    cells = [(arm, c) for arm in plan.arms for c in plan.suite.conditions if c.label not in skipped]
    calibration = None
    if spiking:
        progress.start("calibration", plan.calibration_episodes)
        calibration = calibration_of(
            run,
            controller,
            which=plan.which,
            env=plan.env_of(plan.suite.conditions[0], run),
            episodes=plan.calibration_episodes,
            num_envs=num_envs,
            on_episode=lambda _: progress.advance(),
        )
    with _folder_of(run, plan) as folder:
        stored = {index: folder / "cells" / f"{index:04d}.json" for index in range(len(cells))}
        missing = [index for index, path in stored.items() if not path.exists()]
        progress.start(f"suite {plan.suite.name}", len(cells) * plan.episodes)
        if len(missing) < len(cells):
            progress.note(f"{folder}: going on after {len(cells) - len(missing)} of {len(cells)} finished cells")
            progress.advance((len(cells) - len(missing)) * plan.episodes)
        job = _Job(run.path, plan, cells, num_envs, calibration)
        for index, outcome in _run_cells(job, missing, workers or os.cpu_count() or 1, progress.advance):
            checkpoint.write_json(stored[index], outcome)
        outcomes = [checkpoint.read_json(path) for path in stored.values()]
        scores = tuple(Score(**row) for outcome in outcomes for row in outcome["scores"])
        write_scores(folder / "scores.csv", scores)
        paths = _write_paths(folder, plan, cells, outcomes)
        shutil.rmtree(folder / "cells")
    traces = {(arm, c.label): outcome["trace"] for (arm, c), outcome in zip(cells, outcomes, strict=True)}
    return Result(folder, scores, skipped, traces, paths)


def _reason_against(condition: Condition, plan: Plan, run: Run, controller: Controller) -> str | None:
    """Return why a condition does not apply, or None if it does.

    Raises:
        UsageError: the policy cannot see or act in the environment, or a route is not possible there.
    """
    name, kwargs = plan.env_of(condition, run)
    env = make_env(name, kwargs)
    try:
        space = env.observation_space
        inputs = controller.spec.network.inputs
        if space.shape != (inputs,):
            raise UsageError(
                f"environment {name!r}: expected observations of {inputs} entries, as this policy was made for, got "
                f"{space.shape}; give a suite or an --env that fits the run (it was made for {run.spec.env})"
            )
        for number, route in enumerate(plan.routes):
            try:
                env.reset(seed=0, options=route.options)
            except UsageError as error:
                raise UsageError(f"--routes: route {number}: {error}") from None
        return condition.reason_against(env, spiking=isinstance(controller.network, SpikingNetwork))
    finally:
        env.close()


def _write_paths(
    folder: Path, plan: Plan, cells: list[tuple[str, Condition]], outcomes: list[dict[str, Any]]
) -> Path | None:
    """Write where the robots drove, for the picture; None where no environment told."""
    told = [
        {"arm": arm, "condition": condition.label, "world": outcome["world"], "episodes": outcome["paths"]}
        for (arm, condition), outcome in zip(cells, outcomes, strict=True)
        if outcome["paths"]
    ]
    if not told:
        return None
    checkpoint.write_json(folder / "paths.json", {"suite": plan.suite.name, "cells": told})
    return folder / "paths.json"


@dataclass(frozen=True)
class _Job:
    path: Path
    plan: Plan
    cells: list[tuple[str, Condition]]
    num_envs: int
    calibration: Calibration | None


class _Worker:
    """One process's copy of the run; cells are run one after another."""

    def __init__(self, job: _Job) -> None:
        self.job = job
        self.run = Run.open(job.path)
        load_modules(self.run.spec.modules)
        self.controller: Controller = load_controller(self.run, which=job.plan.which)

    def cell(self, index: int, advance: Callable[[], None]) -> dict[str, Any]:
        """Run one cell and return its scores and its mean trace as plain data."""
        (arm, condition), plan, network = self.job.cells[index], self.job.plan, self.controller.network
        calibration = self.job.calibration
        plugin = make(arm)
        normal = () if calibration is None else calibration.rates
        references: tuple[LayerReference, ...] = ()
        if plugin is not None and calibration is not None and isinstance(network, SpikingNetwork):
            references = calibration.references(network)
        name, kwargs = plan.env_of(condition, self.run)
        before = [tensor.clone() for tensor in self.controller.state_dict().values()]
        episodes = rollout(
            lambda slots: Session(self.controller, slots, plugin=plugin, references=references),
            lambda: make_env(name, kwargs),
            [episode_seed(plan.seed, "evaluation", i) for i in range(plan.episodes)],
            condition=condition,
            num_envs=self.job.num_envs,
            chained=plugin is not None and plugin.scope == "run",
            normal=normal,
            options=[route.options for route in plan.routes],
            on_episode=lambda _: advance(),
        )
        after = self.controller.state_dict().values()
        if not all(torch.equal(old, new) for old, new in zip(before, after, strict=True)):
            raise AssertionError(f"arm {arm}, condition {condition.label}: the trained parameters changed")
        norms = [float(layer.weight.double().norm()) for layer in network.parameters_of_layers()]
        rows = [
            score(
                episode,
                run=self.run.name,
                arm=arm,
                condition=condition.name,
                severity=condition.severity,
                normal=normal,
                layer_norms=norms,
            )
            for episode in episodes
        ]
        return {
            "scores": [dataclasses.asdict(row) for row in rows],
            "trace": _mean_trace([e.trace for e in episodes]),
            "world": _world_of(name, kwargs),
            "paths": [
                {"episode": e.index, "outcome": e.outcome, "goal": e.goal, "path": e.path} for e in episodes if e.path
            ],
        }


def _world_of(name: str, kwargs: dict[str, Any]) -> Any:
    """Return the map of an environment that has one and the same in every episode, as plain data; else None."""
    env = make_env(name, kwargs)
    worlds = list(getattr(env.unwrapped, "worlds", ()))
    env.close()
    return dump(worlds[0]) if len(worlds) == 1 else None


def _run_cells(
    job: _Job, indices: list[int], workers: int, advance: Callable[[], None]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Run cells and yield each one as soon as it is finished."""
    if workers == 1 or len(indices) <= 1:
        if indices:
            worker = _Worker(job)
            for index in indices:
                yield index, worker.cell(index, advance)
        return
    context = multiprocessing.get_context("spawn")
    ticks: multiprocessing.queues.Queue[int] = context.Queue()
    pool = ProcessPoolExecutor(min(workers, len(indices)), context, initializer=_start, initargs=(job, ticks))
    try:
        futures = {pool.submit(_cell_in_worker, index): index for index in indices}
        open_ = set(futures)
        while open_:
            done, open_ = wait(open_, timeout=0.2, return_when=FIRST_COMPLETED)
            _drain(ticks, advance)
            for future in done:
                yield futures[future], future.result()
        _drain(ticks, advance)
    except BrokenProcessPool:
        raise EnvironmentFault(
            "a worker process died (out of memory?); finished cells are kept; give the same command again, "
            "with fewer --workers or --num-envs"
        ) from None
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list((getattr(pool, "_processes", None) or {}).values()):
            process.terminate()
        raise
    pool.shutdown()


_worker: _Worker | None = None
_ticks: multiprocessing.queues.Queue[int] | None = None


def _start(job: _Job, ticks: multiprocessing.queues.Queue[int]) -> None:
    global _worker, _ticks
    _worker, _ticks = _Worker(job), ticks


def _cell_in_worker(index: int) -> dict[str, Any]:
    assert _worker is not None
    assert _ticks is not None
    return _worker.cell(index, lambda: _ticks.put(1))


def _drain(ticks: multiprocessing.queues.Queue[int], advance: Callable[[], None]) -> None:
    while True:
        try:
            ticks.get_nowait()
        except queue.Empty:
            return
        advance()


def _mean_trace(traces: list[list[dict[str, list[float]]]]) -> list[dict[str, Any]]:
    """Average traces entry by entry over the episodes that lasted so long."""
    merged = []
    for place in range(max((len(trace) for trace in traces), default=0)):
        entries = [trace[place] for trace in traces if place < len(trace)]
        merged.append(
            {key: [sum(column) / len(entries) for column in zip(*(e[key] for e in entries), strict=True)]
             for key in entries[0]}
        )  # fmt: skip
    return merged


@contextmanager
def _folder_of(run: Run, plan: Plan) -> Iterator[Path]:
    """Yield the folder to write to: an unfinished one of the same plan, or a new one; locked while it is written."""
    content = {
        "suite": plan.suite.name,
        "suite_version": plan.suite.version,
        "suite_hash": plan.suite.hash,
        "arms": list(plan.arms),
        "episodes": plan.episodes,
        "seed": plan.seed,
        "policy": plan.which,
        "policy_digest": run.policy_digest(which=plan.which),
        "calibration_episodes": plan.calibration_episodes,
        "env": plan.env,
        "routes": [route.options for route in plan.routes],
        "versions": versions(),
    }
    key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    for path in sorted((run.path / "evaluations").glob("*/evaluation.json")):
        if not (path.parent / "scores.csv").exists() and checkpoint.read_json(path).get("key") == key:
            with path.open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    continue  # another process is at it
                (path.parent / "cells").mkdir(exist_ok=True)
                yield path.parent
                return
    folder = run.new_evaluation(plan.suite.name)
    (folder / "cells").mkdir()
    checkpoint.write_json(folder / "evaluation.json", {**content, "key": key})
    with (folder / "evaluation.json").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield folder
        except HomeoError:
            # A fault of the input leaves nothing behind, unless cells were finished before it.
            if not any((folder / "cells").iterdir()):
                shutil.rmtree(folder)
            raise
