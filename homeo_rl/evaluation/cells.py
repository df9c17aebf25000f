"""The cells of an evaluation, one arm under one condition each, in as many processes as there are cores."""

import csv
import io
import itertools
import math
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from homeo_rl.agents.controller import Controller
from homeo_rl.degradations.action import ActionGain
from homeo_rl.degradations.protocol import Condition, EnvDegradation
from homeo_rl.envs.make import load_modules, make_env
from homeo_rl.envs.protocol import is_driving
from homeo_rl.errors import EnvironmentFault
from homeo_rl.evaluation.arm import Arm
from homeo_rl.evaluation.calibrate import Calibration, sessions_for
from homeo_rl.evaluation.controls import latency_of
from homeo_rl.evaluation.engines import Batched
from homeo_rl.evaluation.episode import Episode, episode_seed
from homeo_rl.evaluation.metrics import IDENTITY, METRICS, Measurement, Score, TrueFault, columns
from homeo_rl.evaluation.plan import EvaluationPlan
from homeo_rl.evaluation.reflex_violations import count_violations
from homeo_rl.evaluation.rollout import rollout
from homeo_rl.observer.confusion import condense_diagnosis
from homeo_rl.observer.memory import ObserverMemory
from homeo_rl.processes.executor import JobFinished, JobResult, Progress, ProgressCallback, WorkerDied
from homeo_rl.processes.local import LocalExecutor
from homeo_rl.processes.signals import Stopped
from homeo_rl.run import Run
from homeo_rl.spec import dump
from homeo_rl.storage import bundle


def score(
    episode: Episode,
    run: str,
    arm: str,
    condition: Condition,
    reference_rates: Sequence[np.ndarray],
    layer_norms: Sequence[float],
    judge: Callable[[Episode], int],
) -> Score:
    """Condense an episode of a run, with one arm under one condition; see `Measurement` for the other arguments."""
    measurement = Measurement(episode, reference_rates, layer_norms, judge, _true_fault(condition))
    values = {metric.key: metric.of_episode(measurement) for metric in METRICS.values()}
    return Score(run, arm, condition.name, condition.severity, episode.index, episode.seed, values)


def _true_fault(condition: Condition) -> TrueFault | None:
    faults = [part for part in condition.degradations if isinstance(part, EnvDegradation)]
    if not faults or condition.severity == 0:
        return None
    gains = [1.0 + condition.severity * (part.factor - 1.0) for part in faults if isinstance(part, ActionGain)]
    return TrueFault(condition.onset, latency_of(condition), math.prod(gains) if gains else None)


def write_scores(path: Path, scores: Sequence[Score]) -> None:
    """Write the table; floats in full precision, None as an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns())
    keys = (*IDENTITY, *(metric.key for metric in METRICS.values()))
    writer.writerows([_text(getattr(row, key)) for key in keys] for row in scores)
    bundle.replace(path, text.getvalue().encode())


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    return repr(value) if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Job:
    """What every process gets: the run's folder, packages to import, the plan, its cells, calibration and engine."""

    path: Path
    modules: tuple[str, ...]
    plan: EvaluationPlan
    cells: list[tuple[Arm, Condition]]
    num_envs: int
    calibration: Calibration | None
    threads: int | None  # of the engine ``rollout``; None is the engine ``gymnasium``
    observer_memory: ObserverMemory | None = None


class _Worker:
    """One process's copy of the run; cells are run one after another."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.run = Run.open(job.path)
        load_modules(job.modules)
        self.controller: Controller = job.plan.policy_of(self.run)

    def cell(self, index: int, advance: Callable[[], None]) -> dict[str, Any]:
        """Run one cell and return its scores and its mean trace as plain data."""
        (arm, condition), plan, controller = self.job.cells[index], self.job.plan, self.controller
        calibration = self.job.calibration
        reference_rates = () if calibration is None else calibration.rates
        name, kwargs = plan.env_of(condition, self.run)
        new_env = partial(make_env, name, kwargs)
        before = [tensor.clone() for tensor in controller.state_dict().values()]
        episodes = rollout(
            sessions_for(arm, controller, calibration, self.job.observer_memory),
            new_env if self.job.threads is None else Batched(new_env, self.job.threads),
            [episode_seed(plan.seed, "evaluation", i) for i in range(plan.episodes)],
            condition=arm.add_layer(condition, self.job.observer_memory),
            num_envs=self.job.num_envs,
            carry_over=arm.plugin is not None and arm.plugin.scope == "run",
            reference_rates=reference_rates,
            options=[route.options for route in plan.routes],
            on_episode=lambda _: advance(),
        )
        after = controller.state_dict().values()
        if not all(torch.equal(old, new) for old, new in zip(before, after, strict=True)):
            raise AssertionError(f"arm {arm.text}, condition {condition.label}: the trained parameters changed")
        norms = [float(layer.weight.double().norm()) for layer in controller.network.parameters_of_layers()]
        judge = partial(count_violations, controller.reflex)
        rows = [
            score(episode, self.run.name, arm.text, condition, reference_rates, norms, judge) for episode in episodes
        ]
        return {
            "limited": any(episode.limited for episode in episodes),
            "scores": [row.to_dict() for row in rows],
            "trace": _mean_trace([e.trace for e in episodes]),
            "diagnoses": [_diagnosis(e, condition.onset) for e in episodes if e.openings is not None],
            "world": _world_of(name, kwargs),
            "paths": [
                {"episode": e.index, "outcome": e.outcome, "goal": e.goal, "path": e.path} for e in episodes if e.path
            ],
        }


def _diagnosis(episode: Episode, onset: int) -> dict[str, Any]:
    """Return what an observer found at the end of an episode, as plain data."""
    gains = np.array([]) if episode.gains is None else episode.gains
    alarmed = any(last >= onset for _, last in episode.alarms)
    kinds = [fault.kind for fault in episode.sensors]
    return {
        "episode": episode.index,
        "alarm": episode.alarms[0][0] if episode.alarms else None,
        "identified": condense_diagnosis(alarmed, episode.latency or 0, kinds, gains),
        "latency": episode.latency,
        "sensors": [[fault.entry, fault.kind, fault.size, fault.confidence] for fault in episode.sensors],
    }


def _world_of(name: str, kwargs: dict[str, Any]) -> Any:
    """Return the map of an environment that has one and the same in every episode, as plain data; else None."""
    env = make_env(name, kwargs)
    worlds = list(getattr(env.unwrapped, "worlds", ())) if is_driving(env) else []
    env.close()
    return dump(worlds[0]) if len(worlds) == 1 else None


def run_cells(
    job: Job, indices: list[int], workers: int, advance: Callable[[], None]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Run the cells ``indices`` in so many processes; yield each one's index and outcome as soon as it is finished.

    Raises:
        EnvironmentFault: a process died.
        HomeoError: whatever a cell raises.
    """
    if workers == 1 or len(indices) <= 1:
        if indices:
            worker = _Worker(job)
            for index in indices:
                yield index, worker.cell(index, advance)
        return
    waiting, done = deque(indices), dict.fromkeys(map(str, indices), 0)
    with LocalExecutor("homeo_rl.evaluation.cells:run_in_worker", min(workers, len(indices))) as executor:
        while done:
            while waiting and executor.free:
                executor.submit(str(waiting[0]), (job, waiting.popleft()))
            for event in executor.events(0.2):
                if isinstance(event, WorkerDied):
                    raise EnvironmentFault(
                        "a worker process died (out of memory?); finished cells are kept; give the same command again, "
                        "with fewer --workers or --num-envs"
                    )
                if isinstance(event, JobFinished) and event.result.state == "stopped":  # by a signal to the worker
                    raise Stopped(signal.SIGTERM)
                if isinstance(event, JobFinished) and event.result.error is not None:
                    raise event.result.error
                episodes = event.done if isinstance(event, Progress) else job.plan.episodes
                for _ in range(episodes - done[event.key]):
                    advance()
                done[event.key] = episodes
                if isinstance(event, JobFinished):
                    del done[event.key]
                    yield int(event.key), event.result.result


_worker: _Worker | None = None


def run_in_worker(task: tuple[Job, int], report: ProgressCallback) -> JobResult:
    """Run one cell in a process that keeps the policy for the next one."""
    global _worker
    job, index = task
    if _worker is None:
        _worker = _Worker(job)
    count = itertools.count(1)
    return JobResult("done", result=_worker.cell(index, lambda: report("", next(count), job.plan.episodes, "")))


def _mean_trace(traces: list[list[dict[str, list[float]]]]) -> list[dict[str, Any]]:
    """Average traces entry by entry over the episodes that lasted so long, and count these.

    ``reward`` is the mean over all decisions until the next entry.
    """
    merged = []
    for index in range(max((len(trace) for trace in traces), default=0)):
        entries = [trace[index] for trace in traces if index < len(trace)]
        means = {
            key: [sum(column) / len(entries) for column in zip(*(e[key] for e in entries), strict=True)]
            for key in entries[0]
        }
        earned, decisions = means["reward"]
        merged.append({**means, "reward": [earned / decisions], "episodes": [float(len(entries))]})
    return merged
