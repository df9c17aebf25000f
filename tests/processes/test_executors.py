"""Executors, with tasks that do next to nothing: what dies is replaced, what fails stops no other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from sweep_calls import (
    is_alive,
    until,
)

from homeo_rl.errors import UsageError
from homeo_rl.processes import slots
from homeo_rl.processes.executor import MAX_RETRIES, JobResult, ProgressCallback, Resources, run_task
from homeo_rl.processes.local import LocalExecutor
from homeo_rl.processes.progress import State
from homeo_rl.processes.scheduler import drive


class Recorder:
    """Listens to a driver."""

    def __init__(self) -> None:
        self.ended: list[tuple[str, str]] = []
        self.notes: list[str] = []

    def show(self, state: State) -> None:
        assert len(state.running) <= state.slots

    def show_result(self, key: str, state: State, result: JobResult) -> None:
        self.ended.append((key, result.state))

    def note(self, text: str) -> None:
        self.notes.append(text)


def write_down(job: tuple[str, str], report: ProgressCallback) -> JobResult:
    """Append the job to a log; fail, die once or die always, as it says."""
    log, name = job
    report("writing", 0, 1, "")
    with Path(log).open("a") as file:
        file.write(f"{name} {os.getpid()}\n")
    if name.startswith("fails"):
        raise UsageError(f"{name}: expected nothing of it")
    if name.startswith("breaks"):
        raise ZeroDivisionError
    before = Path(log).read_text().count(f"{name} ")
    if name.startswith("dies always") or (name.startswith("dies once") and before == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if name.startswith("is stopped") and before == 1:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    if name.startswith("sleeps"):
        time.sleep(60)
    if name.startswith("locked") and before == 1:
        return JobResult("locked_elsewhere")
    return JobResult("done", seconds=0.1, result=name)


def driven(names: list[str], tmp_path: Path, slots: int = 2) -> tuple[State, Recorder, list[str], dict[str, Any]]:
    log, ear, taken = tmp_path / "log", Recorder(), {}
    state = State(len(names), slots)
    with LocalExecutor(write_down, slots) as executor:
        jobs = {name: (str(log), name) for name in names}
        drive(jobs, executor, state, ear, lambda key, result: taken.__setitem__(key, result.result))
    return state, ear, log.read_text().splitlines(), taken


def test_workers_are_kept_and_each_job_is_done_once(tmp_path: Path) -> None:
    names = [f"job {number}" for number in range(20)]
    state, ear, log, taken = driven(names, tmp_path)
    assert sorted(line.rpartition(" ")[0] for line in log) == sorted(names)
    assert len({line.rpartition(" ")[2] for line in log}) <= 2
    assert (state.done, state.failed, state.running) == (20, {}, {})
    assert taken == {name: name for name in names}
    assert sorted(ear.ended) == [(name, "done") for name in sorted(names)]
    assert not ear.notes


def test_a_worker_that_dies_is_replaced_and_failures_stop_nobody(tmp_path: Path) -> None:
    names = ["dies once", "fails", "dies always", "a", "breaks", "locked", "is stopped", "b"]
    state, ear, log, _ = driven(names, tmp_path)
    times = {name: sum(line.startswith(f"{name} ") for line in log) for name in names}
    expected = {"dies once": 2, "dies always": 1 + MAX_RETRIES, "locked": 2, "is stopped": 2}
    assert times == {name: expected.get(name, 1) for name in names}
    assert state.done == 5
    assert set(state.failed) == {"fails", "dies always", "breaks"}
    assert state.failed["fails"] == "fails: expected nothing of it"
    assert "died of SIGKILL" in state.failed["dies always"]
    assert "ZeroDivisionError" in state.failed["breaks"]
    assert sum("given out again" in note for note in ear.notes) == 1 + MAX_RETRIES + 1
    assert not state.elsewhere


def test_workers_die_with_their_driver(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_executors\n"
        "if __name__ == '__main__': test_executors.driven(['sleeps 1', 'sleeps 2'], Path(sys.argv[1]))"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    with subprocess.Popen([sys.executable, "-W", "ignore", str(script), str(tmp_path)]) as driver:
        log = tmp_path / "log"
        until(lambda: log.exists() and log.read_text().count("\n") == 2)
        workers = [int(line.rpartition(" ")[2]) for line in log.read_text().splitlines()]
        assert all(is_alive(worker) for worker in workers)
        driver.kill()
    until(lambda: not any(is_alive(worker) for worker in workers), seconds=10)


def test_slots_of_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert slots.gpu_shares(["0", "1", "2"], 1) == ("0", "1", "2")
    assert slots.gpu_shares(["0", "1", "2"], 2) == ("0,1",)
    assert slots.gpu_shares(["0", "1"], 0.5) == ("0", "0", "1", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.setattr(os, "cpu_count", lambda: 9)
    notes: list[str] = []

    def local_slots(workers: int | None, resources: Resources) -> tuple[int, tuple[str, ...]]:
        return slots.local_slots(workers, resources, 5 << 30, notes.append)

    assert local_slots(None, Resources(cpus=2)) == (4, ())
    assert local_slots(7, Resources(cpus=2)) == (7, ())
    assert not notes
    assert local_slots(None, Resources(memory_gb=2)) == (2, ())
    assert "memory" in notes[-1]
    assert local_slots(8, Resources(gpus=0.5)) == (4, ("3", "3", "5", "5"))
    with pytest.raises(UsageError, match="GPUs"):
        local_slots(8, Resources(gpus=3))
    with pytest.raises(UsageError, match="--workers"):
        local_slots(0, Resources())


def see_devices(job: str, report: ProgressCallback) -> JobResult:
    time.sleep(0.3)
    return JobResult("done", result=os.environ.get("CUDA_VISIBLE_DEVICES"))


def test_each_slot_has_its_gpu() -> None:
    taken: dict[str, Any] = {}
    with LocalExecutor(see_devices, 2, devices=("3", "5")) as executor:
        drive(
            {"a": "", "b": ""},
            executor,
            State(2, 2),
            Recorder(),
            lambda key, result: taken.__setitem__(key, result.result),
        )
    assert set(taken.values()) == {"3", "5"}


def test_a_task_by_its_name_is_imported_in_the_worker() -> None:
    taken: dict[str, Any] = {}
    with LocalExecutor("test_executors:see_devices", 1, devices=("7",)) as executor:
        drive({"a": ""}, executor, State(1, 1), Recorder(), lambda key, result: taken.__setitem__(key, result.result))
    assert taken == {"a": "7"}


def test_failures_keep_their_exception() -> None:
    """Of the same class where it can be sent, else as a text; with the traceback of the worker."""

    class Unsendable(Exception):
        pass

    def fail(error: Exception, report: ProgressCallback) -> JobResult:
        raise error

    for error, kind in ((UsageError("no"), UsageError), (MemoryError(), MemoryError), (Unsendable("x"), RuntimeError)):
        result = run_task(fail, error, lambda *_: None)
        assert (result.state, type(result.error)) == ("failed", kind)
        assert "in fail" in result.trace
    assert run_task("no_such_module:f", None, lambda *_: None).message.startswith("ModuleNotFoundError: ")
