"""Small sweeps, called in this process or started in another, and what is left of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from homeo_rl.cli import main
from homeo_rl.sweeps.cell_job import CellJob
from homeo_rl.sweeps.cells import Cell
from homeo_rl.sweeps.store import Store, journal
from homeo_rl.sweeps.sweep import Plan, plan_of

ROOT = Path(__file__).parents[2]

TRAIN: dict[str, Any] = {
    "algo": "ppo",
    "env": "toy_envs:Point-v0",
    "agent": "mlp",
    "n_timesteps": 128,
    "eval_freq": -1,
    "save_freq": 64,
    "params": {"n_steps": 32, "n_envs": 1, "batch_size": 32, "n_epochs": 1, "net_arch": [8]},
}
SWEEP: dict[str, Any] = {
    "train": {**TRAIN, "params": {**TRAIN["params"], "agent_kwargs": {"hidden": [8]}}},
    "grid": {"params.learning_rate": [1e-3, 3e-4]},
    "seeds": 2,
    "evaluate": {"episodes": 2},
}
SLOW = """
import time
import gymnasium as gym
import toy_envs

class Slow(toy_envs.Point):
    def step(self, action):
        time.sleep(PAUSE)
        return super().step(action)

gym.register("Slow-v0", entry_point=Slow)
"""


def write_sweep(folder: Path, **sections: Any) -> Path:
    """Write a sweep's file; sections replace those of `SWEEP`, those of train are laid over it."""
    train = {**SWEEP["train"], **sections.pop("train", {})}
    path = folder / "grid.yml"
    path.write_text(yaml.safe_dump({**SWEEP, **sections, "train": train}, sort_keys=False))
    return path


def make_slow_env(folder: Path, monkeypatch: pytest.MonkeyPatch, pause: float) -> None:
    """Let ``slow_world:Slow-v0`` be an environment whose steps last so many seconds."""
    (folder / "slow_world.py").write_text(SLOW.replace("PAUSE", repr(pause)))
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ['PYTHONPATH']}")
    monkeypatch.syspath_prepend(str(folder))


def call(grid: Path, out: Path, *flags: str, code: int = 0, capsys: pytest.CaptureFixture[str]) -> tuple[Any, str]:
    """Run ``homeo-rl sweep`` in this process; return what its last line and its errors tell."""
    left: Any = 0
    try:
        main(["sweep", str(grid), "--out", str(out), "--workers", "2", "--json", "--no-progress", *flags])
    except SystemExit as leaving:
        left = leaving.code
    said, err = capsys.readouterr()
    assert left == code, (left, said, err)
    return json.loads(said.splitlines()[-1]) if said else None, err


def start_sweep(grid: Path, out: Path, *flags: str) -> subprocess.Popen[str]:
    """Begin ``homeo-rl sweep`` in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-m", "homeo_rl", "sweep", str(grid), "--out", str(out), "--json"]
    return subprocess.Popen(
        [*command, *(flags or ("--workers", "2"))],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def until(what: Callable[[], Any], *, seconds: float = 90.0, alive: subprocess.Popen[str] | None = None) -> Any:
    """Wait until something is so, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        if alive is not None and alive.poll() is not None:
            raise AssertionError(alive.communicate())
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return found


def finish(process: subprocess.Popen[str], code: int = 0) -> tuple[Any, str]:
    said, err = process.communicate(timeout=300)
    assert process.returncode == code, (process.returncode, said[-2000:], err[-4000:])
    if code >= 128:
        assert said == "", "a result, or others' words in its place"
        return None, err
    return json.loads(said.splitlines()[-1]), err


def count_events(out: Path) -> dict[str, dict[str, int]]:
    """Return how often each cell began and finished, as the processes themselves wrote it down."""
    found: dict[str, dict[str, int]] = {}
    for entry in journal(out):
        events = found.setdefault(entry["cell"], {})
        events[entry["event"]] = events.get(entry["event"], 0) + 1
    return found


def results(out: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in sorted((out / "cells").glob("*.json"))}


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def assert_each_once(out: Path, cells: int) -> None:
    """Every cell has one result; none was finished twice, and none begun again after it was finished."""
    entries, done = journal(out), results(out)
    assert len(done) == cells
    for key in done:
        mine = [entry for entry in entries if entry["cell"] == key]
        finished = [entry["time"] for entry in mine if entry["event"] == "finished"]
        assert len(finished) <= 1, mine  # none: it was killed between the result and this line
        made = (out / "cells" / f"{key}.json").stat().st_mtime
        assert all(entry["time"] <= made + 0.01 for entry in mine if entry["event"] == "began"), mine


def cell_of(tmp_path: Path) -> Cell:
    return plan_of(write_sweep(tmp_path)).cells[0]


def job_of(plan: Plan, out: Path, identity: str | None = None) -> CellJob:
    identity = Store(out).identity() if identity is None else identity
    return CellJob(plan.cells[0], plan.sweep.evaluate, plan.suite, plan.routes, out.resolve(), identity or "")


LONG = {"n_timesteps": 320, "env": "slow_world:Slow-v0"}


def digests_of(grid: Path, out: Path) -> dict[str, str]:
    told = results(out)
    return {cell.title: json.loads(told[cell.key])["training"]["digest"] for cell in plan_of(grid).cells}


def in_the_middle(out: Path, process: subprocess.Popen[str]) -> str:
    """Wait until a cell that is worked on has a checkpoint; return its key."""

    def found() -> str:
        paths = sorted((out / "runs").glob("*/checkpoints/*/manifest.json"))
        keys = [path.parts[-4] for path in paths if path.parts[-2].isdigit()]
        return next((key for key in keys if key not in results(out)), "")

    return str(until(found, alive=process))


def worker_of(out: Path, key: str) -> int:
    return int([entry for entry in journal(out) if entry["cell"] == key and entry["event"] == "began"][-1]["process"])


def unsaved(out: Path, process: subprocess.Popen[str]) -> str:
    """Wait until a cell that is worked on has come some way; return its key."""

    def found() -> str:
        far = [path.parent.name for path in (out / "runs").glob("*/0.monitor.csv") if path.stat().st_size > 120]
        return next((key for key in far if key not in results(out)), "")

    return str(until(found, alive=process))
