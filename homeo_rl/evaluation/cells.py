"""The cells of an evaluation, one arm under one condition each, in as many processes as there are cores."""

from __future__ import annotations

import multiprocessing
import multiprocessing.queues
import queue
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from homeo_rl.agents.controller import Controller
from homeo_rl.degradations.protocol import Condition
from homeo_rl.envs.make import load_modules, make_env
from homeo_rl.envs.protocol import is_driving
from homeo_rl.errors import EnvironmentFault
from homeo_rl.evaluation.arm import Arm
from homeo_rl.evaluation.calibrate import Calibration, make_session
from homeo_rl.evaluation.episode import episode_seed
from homeo_rl.evaluation.plan import EvaluationPlan
from homeo_rl.evaluation.reflex_violations import count_violations
from homeo_rl.evaluation.rollout import rollout
from homeo_rl.evaluation.scores import score
from homeo_rl.run import Run
from homeo_rl.spec import dump


@dataclass(frozen=True)
class Job:
    """What every process gets: the run's folder, packages to import, the plan, its cells and the calibration."""

    path: Path
    modules: tuple[str, ...]
    plan: EvaluationPlan
    cells: list[tuple[Arm, Condition]]
    num_envs: int
    calibration: Calibration | None


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
        before = [tensor.clone() for tensor in controller.state_dict().values()]
        episodes = rollout(
            lambda slots: make_session(
                controller, slots, plugin=arm.plugin, calibration=calibration, reflex=arm.reflex
            ),
            lambda: make_env(name, kwargs),
            [episode_seed(plan.seed, "evaluation", i) for i in range(plan.episodes)],
            condition=condition,
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
            "world": _world_of(name, kwargs),
            "paths": [
                {"episode": e.index, "outcome": e.outcome, "goal": e.goal, "path": e.path} for e in episodes if e.path
            ],
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
        running = list((getattr(pool, "_processes", None) or {}).values())  # shutdown forgets them
        pool.shutdown(wait=False, cancel_futures=True)
        for process in running:
            process.terminate()
        raise
    pool.shutdown()


_job: Job | None = None
_worker: _Worker | None = None
_ticks: multiprocessing.queues.Queue[int] | None = None


def _start(job: Job, ticks: multiprocessing.queues.Queue[int]) -> None:
    global _job, _ticks
    _job, _ticks = job, ticks


def _cell_in_worker(index: int) -> dict[str, Any]:
    global _worker
    assert _job is not None
    assert _ticks is not None
    if _worker is None:  # not in `_start`: what goes wrong there breaks the pool, with a traceback instead of an error
        _worker = _Worker(_job)
    ticks = _ticks
    return _worker.cell(index, lambda: ticks.put(1))


def _drain(ticks: multiprocessing.queues.Queue[int], advance: Callable[[], None]) -> None:
    while True:
        try:
            ticks.get_nowait()
        except queue.Empty:
            return
        advance()


def _mean_trace(traces: list[list[dict[str, list[float]]]]) -> list[dict[str, Any]]:
    """Average traces entry by entry over the episodes that lasted so long, and count these.

    ``reward`` is the mean over all decisions until the next entry.
    """
    merged = []
    for place in range(max((len(trace) for trace in traces), default=0)):
        entries = [trace[place] for trace in traces if place < len(trace)]
        means = {
            key: [sum(column) / len(entries) for column in zip(*(e[key] for e in entries), strict=True)]
            for key in entries[0]
        }
        earned, decisions = means["reward"]
        merged.append({**means, "reward": [earned / decisions], "episodes": [float(len(entries))]})
    return merged
