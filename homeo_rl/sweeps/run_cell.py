"""The work on one cell: claim it, train or resume training, evaluate, put the result in its place."""

import hashlib
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from homeo_rl.agents.controller import load_controller
from homeo_rl.errors import HomeoError, StorageFault, UsageError
from homeo_rl.evaluation.evaluate import evaluate
from homeo_rl.evaluation.progress import NullProgress
from homeo_rl.processes.executor import JobResult, ProgressCallback
from homeo_rl.report.statistics import cells as condense
from homeo_rl.report.statistics import read_scores
from homeo_rl.run import Run
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.sweeps.cell_job import CellJob, Delivery, evaluation_plan, training_plan
from homeo_rl.sweeps.cells import Cell
from homeo_rl.sweeps.code_fingerprint import code_version, modules_of
from homeo_rl.sweeps.run_archive import pack
from homeo_rl.sweeps.store import Store
from homeo_rl.training.train import train

FORMAT = "homeo-rl sweep cell 1"


def run_cell(job: CellJob, report: ProgressCallback) -> JobResult:
    """Bring a cell to its end, wherever it was; the task of all executors.

    Raises HomeoError: as training and evaluation raise; `DeterminismAlarm` if there is another result already.
    """
    begin, cell = time.monotonic(), job.cell
    store = Store(job.folder)
    shared = _is_there(store, job.identity)
    if not shared:
        store = _private_store(job.identity)
    with store.claim(cell.key) as claimed:
        if not claimed:
            return JobResult("locked_elsewhere")
        if shared and store.result(cell) is not None:
            return JobResult("done")
        _require_code(cell)
        store.log("began", cell.key)
        try:
            run = _train(job, store, report)
            document = {"format": FORMAT, "config": cell.config, "code": cell.code, **_evaluate(run, job, report)}
            if shared:
                store.commit(cell, document)
        except KeyboardInterrupt:
            store.log("stopped", cell.key, seconds=time.monotonic() - begin)
            raise
        except Exception as error:
            store.log("failed", cell.key, seconds=time.monotonic() - begin, message=str(error))
            raise
        seconds = time.monotonic() - begin
        store.log("finished", cell.key, seconds=seconds)
        return JobResult("done", seconds=seconds, result=None if shared else Delivery(document, pack(run.path)))


def _train(job: CellJob, store: Store, report: ProgressCallback) -> Run:
    cell = job.cell
    plan = training_plan(cell.training, seed=cell.seed, out=store.run_folder(cell.key), command=job.command)
    total = plan.steps or 0
    report("training", 0, total, "")
    return train(
        plan, report=lambda done, mean: report("training", done, total, "" if mean is None else f"return {mean:,.1f}")
    )


def _evaluate(run: Run, job: CellJob, report: ProgressCallback) -> dict[str, Any]:
    plan = evaluation_plan(job.evaluation, job.suite, job.routes)
    if not isinstance(load_controller(run, which=plan.which).network, SpikingNetwork):
        arms = tuple(arm.text for arm in plan.parsed_arms if arm.reflex and arm.plugin is None)
        if not arms:
            names = ", ".join(plan.arms)
            raise UsageError(f"homeostasis: expected the arm none for agent {run.spec.agent}, got {names}; add it")
        plan = evaluation_plan(job.evaluation, job.suite, job.routes, arms)
    result = evaluate(run, plan, workers=1, progress=_EpisodeProgress(report))
    scores = result.folder / "scores.csv"
    return {
        "training": {"steps": run.spec.steps, "digest": run.spec.digest, "policy": run.policy_digest(which=plan.which)},
        "evaluation": {
            "scores": hashlib.sha256(scores.read_bytes()).hexdigest(),
            "skipped": result.skipped,
            "cells": [row.to_dict() for row in condense(read_scores(scores))],
        },
    }


def _require_code(cell: Cell) -> None:
    code = code_version(modules_of(cell.training))
    differing = sorted(name for name in code.keys() | cell.code.keys() if code.get(name) != cell.code.get(name))
    if differing:
        parts = "; ".join(
            f"{name} {code.get(name, 'none')[:12]} instead of {cell.code.get(name, 'none')[:12]}" for name in differing
        )
        raise UsageError(
            f"code: expected what the sweep began with, this process has {parts}; were files edited, or is it another "
            "machine's installation? Give the command again when all have the same"
        )


def _is_there(store: Store, identity: str) -> bool:
    try:
        return store.identity() == identity
    except (HomeoError, OSError):
        return False


def _private_store(identity: str) -> Store:
    """Return a folder of this machine, where an execution that is given out again is resumed."""
    root = Path(tempfile.gettempdir()) / f"homeo-rl-{os.getuid()}"
    root.mkdir(mode=0o700, exist_ok=True)
    status = root.lstat()
    if status.st_uid != os.getuid() or root.is_symlink() or status.st_mode & 0o077:
        raise StorageFault(f"{root}: expected a folder of mine that nobody else can enter; remove it, or set TMPDIR")
    store = Store(root / identity)
    store.open()
    return store


class _EpisodeProgress(NullProgress):
    """Reports the episodes of an evaluation, without notes."""

    def __init__(self, report: ProgressCallback) -> None:
        self._report, self._what, self._total, self._done = report, "", 0, 0

    def start(self, what: str, total: int) -> None:
        self._what, self._total, self._done = what, total, 0
        self.advance(0)

    def advance(self, count: int = 1) -> None:
        self._done += count
        self._report(self._what, self._done, self._total, "")
