"""Whole sweeps: the same results as trainings alone, the same tables whatever the order."""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from sweep_calls import (
    assert_each_once,
    call,
    count_events,
    job_of,
    results,
    write_sweep,
)

from homeo_rl.errors import UsageError
from homeo_rl.processes.executor import MAX_RETRIES
from homeo_rl.processes.progress import Running, State
from homeo_rl.sweeps.cell_job import Delivery, training_plan
from homeo_rl.sweeps.live_table import draw
from homeo_rl.sweeps.run_archive import unpack
from homeo_rl.sweeps.run_cell import run_cell
from homeo_rl.sweeps.store import DeterminismAlarm, Store
from homeo_rl.sweeps.sweep import plan_of
from homeo_rl.training.train import train


def test_the_board_says_what_runs(tmp_path: Path) -> None:
    cells = {cell.key: cell for cell in plan_of(write_sweep(tmp_path)).cells}
    first, second, third, _ = cells
    state = State(4, 2, done=1, seconds=[10.0], failed={third: "no"}, elsewhere={third})
    state.running[first] = Running(5.0, "training", 50, 200, "return 3.0")
    state.running[second] = Running()  # given out, but not begun
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(draw(cells, state, 15.0))
    text = console.export_text()
    assert "1 of 4 done, 1 running, 1 waiting, 1 failed (1 at another driver)" in text
    row = next(line for line in text.splitlines() if "training" in line)
    assert all(word in row for word in ("learning_rate=0.001 seed=0", "50/200", "10 s", "30 s", "return 3.0"))
    assert "learning_rate=0.0003" not in text
    assert len(text.splitlines()) == 4, "what is done, a bar, the header, a row"


def test_a_sweep_is_its_trainings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same digests as of trainings alone, in whatever processes; tables; nothing is done twice; it can grow."""
    grid = write_sweep(
        tmp_path, evaluate={"episodes": 2, "homeostasis": "none,dwam"}, grid={"agent": ["mlp", "popsan"]}
    )
    listed, _ = call(grid, tmp_path / "out", "--dry-run", capsys=capsys)
    assert (listed["cells"], listed["missing"]) == (4, 4)
    assert not (tmp_path / "out").exists(), "a dry run writes nothing"
    told, _ = call(grid, tmp_path / "out", capsys=capsys)
    assert (told["cells"], told["done"], told["completed_now"], told["failed"]) == (4, 4, 4, {})
    assert told["ran"] == told["completed_now"]
    assert {(row["choice"]["agent"], row["arm"]) for row in told["rows"]} == {
        ("mlp", "none"), ("popsan", "none"), ("popsan", "dwam"),
    }, "a policy without spikes has no plug-ins"  # fmt: skip
    assert all(row["seeds"] == 2 and row["ci_low"] <= row["iqm"] <= row["ci_high"] for row in told["rows"])
    assert count_events(tmp_path / "out") == {key: {"began": 1, "finished": 1} for key in results(tmp_path / "out")}
    for cell in plan_of(grid).cells:
        alone = train(training_plan(cell.training, seed=cell.seed, out=tmp_path / "alone" / cell.key))
        found = json.loads(results(tmp_path / "out")[cell.key])
        assert found["training"]["digest"] == alone.spec.digest
        assert (tmp_path / "out" / "runs" / cell.key / "run.json").exists()
    with (tmp_path / "out" / "cells.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 2 + 4
    page = (tmp_path / "out" / "summary.md").read_text()
    assert "4 of 4 cells, seeds 0, 1" in page
    again, _ = call(grid, tmp_path / "out", capsys=capsys)
    assert (again["ran"], again["rows"]) == (0, told["rows"])

    call(grid, tmp_path / "other", "--workers", "1", capsys=capsys)
    assert results(tmp_path / "other") == results(tmp_path / "out"), "the same bytes one after another"
    for name in ("summary.csv", "summary.md", "cells.csv"):
        assert (tmp_path / "other" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()

    grid = write_sweep(
        tmp_path, evaluate={"episodes": 2, "homeostasis": "none,dwam"}, grid={"agent": ["mlp", "popsan"]}, seeds=3
    )
    told, _ = call(grid, tmp_path / "out", capsys=capsys)
    assert (told["cells"], told["ran"]) == (6, 2)
    assert_each_once(tmp_path / "out", 6)


def test_a_failed_cell_is_told_and_stops_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = write_sweep(
        tmp_path, grid={"env": ["toy_envs:Broken-v0", "toy_envs:Deadly-v0", "toy_envs:Point-v0"]}, seeds=1
    )
    told, err = call(grid, tmp_path / "out", code=1, capsys=capsys)
    assert (told["cells"], told["done"]) == (3, 1)
    broken, deadly = (cell.key for cell in plan_of(grid).cells[:2])
    assert set(told["failed"]) == {broken, deadly}
    assert "observation entry 1" in told["failed"][broken]
    assert "died of SIGKILL" in told["failed"][deadly]
    assert "2 of 3 cells failed" in err
    assert "Traceback" in (tmp_path / "out" / "failures" / f"{broken}.txt").read_text()
    assert (tmp_path / "out" / "failures" / f"{deadly}.txt").exists()
    assert [row["choice"]["env"] for row in told["rows"]] == ["toy_envs:Point-v0"]
    assert count_events(tmp_path / "out")[deadly] == {"began": 1 + MAX_RETRIES}


def test_two_results_of_one_cell_are_an_alarm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a network was cut in two: an execution ends and finds another one's result."""
    grid = write_sweep(tmp_path, grid={}, seeds=1)
    call(grid, tmp_path / "out", capsys=capsys)
    (path,) = (tmp_path / "out" / "cells").glob("*.json")
    told = json.loads(path.read_text())
    job = job_of(plan_of(grid), tmp_path / "out")
    monkeypatch.setattr(Store, "result", lambda store, cell: None)
    assert run_cell(job, lambda *_: None).state == "done", "the same bytes are no alarm"
    told["training"]["digest"] = "0" * 64
    path.write_text(json.dumps(told))
    with pytest.raises(DeterminismAlarm, match=job.cell.key):
        run_cell(job, lambda *_: None)
    assert json.loads(path.read_text()) == told, "the first one stands"


def test_machines_that_share_no_folder_send_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = write_sweep(tmp_path, grid={}, seeds=1)
    call(grid, tmp_path / "out", capsys=capsys)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    job = job_of(plan_of(grid), tmp_path / "out", identity="another sweep's")
    answer = run_cell(job, lambda *_: None)
    assert isinstance(answer.result, Delivery)
    assert Store(tmp_path / "out").commit(job.cell, answer.result.document) is False, "the same bytes"
    unpack(answer.result.archive, tmp_path / "copy")
    assert (tmp_path / "copy" / "policy" / "manifest.json").read_bytes() == (
        tmp_path / "out" / "runs" / job.cell.key / "policy" / "manifest.json"
    ).read_bytes()
    assert (tmp_path / "elsewhere" / f"homeo-rl-{os.getuid()}").stat().st_mode & 0o077 == 0


def test_a_process_with_other_code_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = write_sweep(tmp_path, grid={}, seeds=1)
    Store(tmp_path / "out").open()
    job = job_of(plan_of(grid), tmp_path / "out")
    other = replace(job, cell=replace(job.cell, code={**job.cell.code, "homeo_rl": "f" * 64}))
    with pytest.raises(UsageError, match=r"homeo_rl .* instead of ffffffffffff"):
        run_cell(other, lambda *_: None)
    assert not results(tmp_path / "out")
