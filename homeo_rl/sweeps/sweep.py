"""A sweep from its file to its tables."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from homeo_rl.degradations.suites import Suite, load_suite
from homeo_rl.errors import HomeoError, UsageError
from homeo_rl.evaluation.routes import Route, read_routes
from homeo_rl.processes.executor import Executor, JobResult
from homeo_rl.processes.local import LocalExecutor
from homeo_rl.processes.progress import ProgressObserver, State
from homeo_rl.processes.ray import RayExecutor
from homeo_rl.processes.scheduler import drive
from homeo_rl.processes.slots import local_slots
from homeo_rl.spec import dump
from homeo_rl.sweeps.cell_job import CellJob, Delivery, evaluation_plan, training_plan
from homeo_rl.sweeps.cells import Cell, cells_of
from homeo_rl.sweeps.code_fingerprint import modules_of, own_sources
from homeo_rl.sweeps.read_sweep import read_sweep
from homeo_rl.sweeps.run_archive import unpack
from homeo_rl.sweeps.store import Store
from homeo_rl.sweeps.sweep_spec import Combination, Sweep
from homeo_rl.training.estimate import available_memory
from homeo_rl.training.plan import prepare

if TYPE_CHECKING:  # scipy takes seconds to load
    from homeo_rl.sweeps.table import Row

TASK = "homeo_rl.sweeps.run_cell:run_cell"
"""What an executor of cells carries out; only its processes import it, and torch with it."""

_MAX_CHECKED = 200
"""Combinations up to which every one is tried before the first is trained; each takes a fraction of a second."""


@dataclass(frozen=True)
class Plan:
    """A sweep whose file was read, and its cells in the order of work."""

    title: str
    sweep: Sweep
    combinations: tuple[Combination, ...]
    suite: Suite
    routes: tuple[Route, ...]
    cells: tuple[Cell, ...]

    def missing(self, store: Store) -> list[Cell]:
        """Return the cells without a result in a folder, which need not be there."""
        return [cell for cell in self.cells if store.result(cell) is None]


@dataclass(frozen=True)
class Outcome:
    """What a driver leaves: the summary's rows, how many cells it ended, and why others failed, by key."""

    rows: list[Row]
    ran: int
    failed: dict[str, str]


def plan_of(path: Path) -> Plan:
    """Read the file of a sweep. Raises UsageError: it does not fit; the message names line and entry."""
    sweep, combinations = read_sweep(path)
    evaluation = sweep.evaluate
    for combination in combinations:
        if combination.training.num_threads > sweep.resources.cpus:
            raise UsageError(
                f"{path}: resources: expected at least as many cpus as num_threads, got {sweep.resources.cpus:g} and "
                f"{combination.training.num_threads}; correct one of them"
            )
        if combination.training.device not in ("cpu", "auto") and sweep.resources.gpus == 0:
            raise UsageError(
                f"{path}: resources: expected gpus > 0 for device {combination.training.device}; write "
                "resources: {gpus: 1}, or a fraction that cells share"
            )
    routes = read_routes(path.parent / evaluation.routes) if evaluation.routes else ()
    suite = load_suite(evaluation.suite)
    decisive = {
        **dump(evaluation),
        "suite": [suite.name, suite.version, suite.hash],
        "routes": [dump(route) for route in routes],
    }
    cells = tuple(cells_of(combinations, sweep.seeds, decisive))
    return Plan(path.stem, sweep, combinations, suite, routes, cells)


def check_all(plan: Plan, missing: list[Cell], store: Store) -> None:
    """Find out whether missing cells can be trained and evaluated, before the first of them is.

    Of a large sweep, those combinations are tried that hold a value which none before them held.

    Raises UsageError: naming the combination that cannot.
    """
    first: dict[str, Cell] = {}
    for cell in missing:
        first.setdefault(json.dumps(cell.choice, sort_keys=True), cell)
    tried: set[str] = set()
    for cell in first.values():
        values = {f"{name} {json.dumps(value)}" for name, value in cell.choice.items()}
        if len(first) > _MAX_CHECKED and values <= tried:
            continue
        tried |= values
        try:
            prepare(training_plan(cell.training, seed=cell.seed, out=store.path))
            evaluation_plan(plan.sweep.evaluate, plan.suite, plan.routes)
        except HomeoError as error:
            raise UsageError(f"{cell.label or 'train'}: {error}") from None


def executor_of(
    plan: Plan, *, workers: int | None, ray: str, observer: ProgressObserver
) -> LocalExecutor | RayExecutor:
    """Return what carries out the cells: processes of this machine, or a Ray cluster.

    Raises UsageError: there is no room for a cell, or no cluster.
    """
    resources = plan.sweep.resources
    if ray:
        modules = sorted({name for cell in plan.cells for name in modules_of(cell.training)})
        packages = () if ray == "local" else own_sources(tuple(modules))
        return RayExecutor(TASK, ray, workers=workers, resources=resources, packages=packages)
    slots, devices = local_slots(workers, resources, available_memory(), observer.note)
    return LocalExecutor(TASK, min(slots, max(len(plan.cells), 1)), devices=devices)


def run(plan: Plan, store: Store, executor: Executor, observer: ProgressObserver, *, command: str = "") -> Outcome:
    """Carry out what is missing, and write the tables.

    Raises:
        Stopped: a signal; the same command resumes.
        StorageFault: the folder cannot be written, or a result is damaged.
    """
    missing = plan.missing(store)
    check_all(plan, missing, store)
    importlib.import_module("homeo_rl.sweeps.table")  # loads scipy, while other processes load torch
    identity = store.open()
    folder = store.path.resolve()
    jobs = {
        cell.key: CellJob(cell, plan.sweep.evaluate, plan.suite, plan.routes, folder, identity, command)
        for cell in missing
    }
    state = State(len(plan.cells), executor.slots, done=len(plan.cells) - len(missing))
    cells = {cell.key: cell for cell in plan.cells}

    def store_result(key: str, result: JobResult) -> None:
        if result.state == "failed":
            store.write_failure(key, result.message, result.trace)
            return
        if isinstance(result.result, Delivery):
            with store.claim(key) as claimed:
                if claimed and store.result(cells[key]) is None:
                    unpack(result.result.archive, store.run_folder(key))
                store.commit(cells[key], result.result.document)
        store.forgive(key)

    try:
        drive(jobs, executor, state, observer, store_result)
    finally:
        rows = summarise(plan, store)
    return Outcome(rows, state.done - (len(plan.cells) - len(missing)), dict(state.failed))


def summarise(plan: Plan, store: Store) -> list[Row]:
    """Write the tables of the results that are there."""
    from homeo_rl.sweeps.table import write

    results = {cell.key: result for cell in plan.cells if (result := store.result(cell)) is not None}
    groups: dict[str, list[Cell]] = {}
    for cell in plan.cells:
        groups.setdefault(json.dumps(cell.choice, sort_keys=True), []).append(cell)
    ordered = [cell for group in groups.values() for cell in group]
    with store.writing():
        return write(store.path, f"Sweep {plan.title}", ordered, results)
