"""Sweeps: every cell once, whatever is killed; the same tables in the end."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import importlib
import importlib.util
import io
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from homeo_rl.cli import main
from homeo_rl.errors import StorageFault, UsageError
from homeo_rl.processes import ray
from homeo_rl.processes import slots as places
from homeo_rl.processes.executor import Answer, Tell
from homeo_rl.processes.local import LocalExecutor
from homeo_rl.processes.scheduler import AGAIN, Running, State, drive
from homeo_rl.storage import bundle
from homeo_rl.sweeps.cell_job import Delivery, Job, run_cell, training_plan
from homeo_rl.sweeps.cells import Cell, cells_of, short_names
from homeo_rl.sweeps.code_fingerprint import code_version, modules_of, own_sources
from homeo_rl.sweeps.live_table import drawn
from homeo_rl.sweeps.read_sweep import read_sweep
from homeo_rl.sweeps.run_archive import packed, unpack
from homeo_rl.sweeps.store import DeterminismAlarm, Store, journal
from homeo_rl.sweeps.sweep import Plan, plan_of
from homeo_rl.sweeps.sweep_spec import Resources, Training
from homeo_rl.sweeps.table import rows_of
from homeo_rl.training.train import train

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
import worlds

class Slow(worlds.Point):
    def step(self, action):
        time.sleep(PAUSE)
        return super().step(action)

gym.register("Slow-v0", entry_point=Slow)
"""


def written(folder: Path, **sections: Any) -> Path:
    """Write a sweep's file; sections replace those of `SWEEP`, those of train are laid over it."""
    train = {**SWEEP["train"], **sections.pop("train", {})}
    path = folder / "grid.yml"
    path.write_text(yaml.safe_dump({**SWEEP, **sections, "train": train}, sort_keys=False))
    return path


def slow(folder: Path, monkeypatch: pytest.MonkeyPatch, pause: float) -> None:
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


def begun(grid: Path, out: Path, *flags: str) -> subprocess.Popen[str]:
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


def counted(out: Path) -> dict[str, dict[str, int]]:
    """Return how often each cell began and finished, as the processes themselves wrote it down."""
    found: dict[str, dict[str, int]] = {}
    for entry in journal(out):
        events = found.setdefault(entry["cell"], {})
        events[entry["event"]] = events.get(entry["event"], 0) + 1
    return found


def results(out: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in sorted((out / "cells").glob("*.json"))}


def alive(pid: int) -> bool:
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


# The file.


def test_a_file_is_its_combinations(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        grid={"agent": ["popsan", "mlp"], "params.agent_kwargs.steps": [2, 4]},
        zip={"params.learning_rate": ["1e-3", 0.0003], "params.batch_size": [16, 32]},
        seeds=[3, 1],
    )
    sweep, combinations = read_sweep(path)
    assert sweep.seeds == (3, 1)
    chosen = [tuple(combination.choice.values()) for combination in combinations]
    assert chosen[:3] == [(1e-3, 16, "popsan", 2), (1e-3, 16, "popsan", 4), (1e-3, 16, "mlp", 2)]
    assert len(chosen) == len({str(choice) for choice in chosen}) == 8
    last = combinations[-1].training
    assert (last.agent, last.params["learning_rate"], last.params["batch_size"]) == ("mlp", 0.0003, 32)
    assert last.params["agent_kwargs"] == {"hidden": [8], "steps": 4}
    assert combinations[0].training.params["agent_kwargs"] == {"hidden": [8], "steps": 2}, "they share nothing"
    cells = cells_of(combinations, sweep.seeds, {})
    assert [cell.seed for cell in cells] == [3] * 8 + [1] * 8, "all combinations have a seed before one has two"
    assert cells[0].title == "learning_rate=0.001 batch_size=16 agent=popsan steps=2 seed=3"
    assert len({cell.key for cell in cells}) == 16


def test_numbers_as_people_write_them(tmp_path: Path) -> None:
    path = tmp_path / "grid.yml"
    path.write_text("train: {n_timesteps: 2e4, params: {learning_rate: 3e-4}}\ngrid: {agent: &two [popsan, mlp]}\n")
    sweep, combinations = read_sweep(path)
    assert (sweep.train.n_timesteps, sweep.train.params["learning_rate"]) == (20_000, 3e-4)
    assert sweep.seeds == (0, 1, 2, 3, 4)
    assert len(combinations) == 2


BAD: dict[str, tuple[str, str]] = {
    "train:\n  algo: ppo\n  lerning_rate: 1\n": ("line 3", "unknown key of train 'lerning_rate'"),
    "trian: {}\n": ("line 1", "did you mean 'train'?"),
    "train: {}\nresources:\n  cpu: 2\n": ("line 3", "did you mean 'cpus'?"),
    "train: {}\nevaluate: {sweet: quick}\n": ("line 2", "unknown key of evaluate"),
    "train: {}\ngrid:\n  learning_rate: [1]\n": ("line 3", "Hyper-parameters are written params.NAME"),
    "train: {}\ngrid:\n\n  agent.x: [1]\n": ("line 4", "unknown name 'agent.x'"),
    "grid:\n  agent: mlp\n": ("line 2: grid.agent", "got 'mlp'"),
    "grid:\n  agent: []\n": ("line 2", "expected different values, at least one"),
    "grid:\n  agent: [mlp, mlp]\n": ("line 2", "expected different values"),
    "grid: {agent: [mlp]}\nzip: {agent: [mlp]}\n": ("line 2", "is in grid too"),
    "zip:\n  agent: [mlp, mlp]\n  algo: [ppo, ppo]\n": ("line 1: zip", "expected different values"),
    "zip:\n  agent: [mlp, san]\n  algo: [ppo]\n": ("line 1", "lists of one length, got agent 2, algo 1"),
    "grid:\n  params: [{}]\n  params.gamma: [0.9]\n": ("line 2", "params.gamma is part of it"),
    "train: {params: {agent_kwargs: 3}}\ngrid:\n  params.agent_kwargs.steps: [1]\n": ("line 3", "to be a mapping"),
    "train:\n  n_timesteps: many\n": ("line 2: train.n_timesteps", "valid integer"),
    "train: {}\ngrid:\n  n_timesteps: [10, many]\n": ("line 3: grid.n_timesteps", "valid integer"),
    "seeds: 0\n": ("line 1: seeds", "a number of seeds"),
    "train: {}\nseeds: [1, 1]\n": ("line 2: seeds", "different ones"),
    "seeds: [-1]\n": ("line 1", "0 to 4294967295"),
    "resources: {cpus: 0}\n": ("line 1", "cpus > 0"),
    "train: {algo: ppo}\ntrain: {algo: sac}\n": ("line 2", "'train' is there twice"),
    "train: {params: {gamma: .nan}}\n": ("line 1", "expected a finite number"),
    "train: {params: {2026: 1}}\n": ("line 1", "expected names"),
    "train: [\n": ("line 2", "expected YAML"),
    "[1, 2]\n": ("", "expected train, grid, zip"),
    "": ("", "expected train, grid, zip"),
    "train: !!python/object/apply:os.system [touch owned]\n": ("line 1", "could not determine a constructor"),
    "grid: {params.gamma: [" + ", ".join(str(n) for n in range(40_000)) + "]}\n": ("", "at most 100,000 cells"),
    "a: &a [x, x, x, x, x, x, x, x]\n" + "".join(
        f"{new}: &{new} [{', '.join([f'*{old}'] * 8)}]\n" for old, new in zip("abcdef", "bcdefg", strict=True)
    ): ("", "at most 100000 entries"),
}  # fmt: skip


@pytest.mark.parametrize("number", range(len(BAD)))
def test_a_bad_file_is_refused_with_its_line(
    number: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text, words = list(BAD.items())[number]
    path = tmp_path / "grid.yml"
    path.write_text(text)
    _, err = call(path, tmp_path / "out", code=2, capsys=capsys)
    assert all(word in err for word in words), err
    assert len(err.splitlines()) == 1
    assert {entry.name for entry in tmp_path.iterdir()} == {"grid.yml"}, "something was written"


@pytest.mark.parametrize(
    ("sections", "word"),
    [
        ({"train": {"algo": "pppo"}}, "pppo"),
        ({"grid": {"env": ["toy_envs:Point-v0", "toy_envs:Pont-v0"]}}, "env=toy_envs:Pont-v0"),
        ({"grid": {"params.lerning_rate": [1.0]}}, "lerning_rate"),
        ({"evaluate": {"suite": "quik"}}, "quik"),
        ({"evaluate": {"homeostasis": "none,dwom"}}, "dwom"),
        ({"evaluate": {"routes": "nowhere.json"}}, "nowhere.json"),
        ({"train": {"num_threads": 2}}, "expected at least as many cpus as num_threads"),
        ({"train": {"device": "cuda"}}, "expected gpus > 0"),
        ({"train": {"gym_packages": ["not_a_module"]}}, "not_a_module"),
        ({"resources": {"memory_gb": 1e6}}, "not enough"),
    ],
)
def test_what_cannot_be_trained_is_told_before_anything_is(
    sections: dict[str, Any], word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, err = call(written(tmp_path, **sections), tmp_path / "out", code=2, capsys=capsys)
    assert word in err
    assert not (tmp_path / "out").exists()


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    _, err = call(written(tmp_path), tmp_path / "out", code=2, capsys=capsys)
    assert "choose another --out" in err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]


def test_keys_are_what_decides_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow(tmp_path, monkeypatch, 0.001)
    first = {cell.key for cell in plan_of(written(tmp_path, train={"env": "slow_world:Slow-v0"})).cells}
    same = {"env": "slow_world:Slow-v0", "save_freq": 7, "vec_env": "workers", "num_threads": 1}
    assert first == {cell.key for cell in plan_of(written(tmp_path, train=same, resources={"cpus": 3})).cells}
    for other in ({"train": {**same, "n_timesteps": 129}}, {"train": same, "evaluate": {"episodes": 3}}):
        assert not first & {cell.key for cell in plan_of(written(tmp_path, **other)).cells}
    more = plan_of(written(tmp_path, train=same, seeds=3, grid={"params.learning_rate": [1e-3, 3e-4, 1e-4]})).cells
    assert first < {cell.key for cell in more}, "a grid that grew keeps what was done"
    slow(tmp_path, monkeypatch, 0.002)  # the environment was edited
    code_version.cache_clear()
    assert not first & {cell.key for cell in plan_of(written(tmp_path, train=same)).cells}


def test_code_versions_see_every_source_file() -> None:
    assert modules_of("toy_envs:Point-v0", ("gymnasium.envs", "homeo_rl")) == ("gymnasium", "toy_envs")
    told = code_version(("toy_envs",))
    assert told["toy_envs"] == hashlib.sha256((ROOT / "tests" / "support" / "toy_envs.py").read_bytes()).hexdigest()
    assert told["package numpy"]
    mine, other = own_sources(("gymnasium", "toy_envs"))
    assert (mine.name, other) == ("homeo_rl", ROOT / "tests" / "support" / "toy_envs.py"), (
        "installed packages do not travel"
    )
    assert (mine / "envs" / "making.py").is_file()
    with pytest.raises(UsageError, match="not_a_module"):
        code_version(("not_a_module",))


def test_short_names_are_different() -> None:
    assert short_names(["params.steps", "agent", "params.agent_kwargs.steps"]) == {
        "params.steps": "params.steps", "agent": "agent", "params.agent_kwargs.steps": "params.agent_kwargs.steps",
    }  # fmt: skip


# The folder.


def cell_of(tmp_path: Path) -> Cell:
    return plan_of(written(tmp_path)).cells[0]


def test_the_first_result_stands_and_another_one_is_an_alarm(tmp_path: Path) -> None:
    cell, store = cell_of(tmp_path), Store(tmp_path / "out")
    store.open()
    mine = {"config": cell.config, "code": cell.code, "training": {"digest": "a"}}
    assert store.result(cell) is None
    assert store.commit(cell, mine)
    assert not store.commit(cell, dict(reversed(mine.items()))), "the order of keys is not a difference"
    with pytest.raises(DeterminismAlarm, match=rf"determinism alarm: cell {cell.key} \(learning_rate=0.001 seed=0\)"):
        store.commit(cell, {**mine, "training": {"digest": "b"}})
    assert store.result(cell) == mine
    (other,) = (tmp_path / "out" / "cells").glob("*.differs-*.json")
    assert bundle.read_json(other)["training"] == {"digest": "b"}
    assert not list((tmp_path / "out" / "cells").glob(".*")), "no temporary file is left"
    (tmp_path / "out" / "cells" / f"{cell.key}.json").write_text('{"config": {}}')
    with pytest.raises(StorageFault, match="another one's"):
        store.result(cell)


def test_of_many_that_commit_at_once_one_wins(tmp_path: Path) -> None:
    cell, store = cell_of(tmp_path), Store(tmp_path / "out")
    store.open()
    for number in range(20):
        one = replace(cell, key=f"{number:016x}")
        with ThreadPoolExecutor(8) as pool:
            wins = list(pool.map(lambda _, one=one: store.commit(one, {"config": 1}), range(8)))
        assert sum(wins) == 1


def test_a_claim_is_one_process_and_dies_with_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "out")
    store.open()
    code = "import sys, time; from pathlib import Path; from homeo_rl.sweeps.store import Store\n"
    code += "with Store(Path(sys.argv[1])).claimed('k') as mine: print(mine, flush=True); time.sleep(60)"
    command = [sys.executable, "-c", code, str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        with store.claimed("k") as mine:
            assert not mine
        with store.claimed("another") as mine:
            assert mine
        other.kill()
    with store.claimed("k") as mine:
        assert mine


def test_a_run_travels_whole_and_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "run" / "policy").mkdir(parents=True)
    (tmp_path / "run" / "policy" / "weights").write_bytes(b"w" * 1000)
    (tmp_path / "run" / "checkpoints").mkdir()
    (tmp_path / "run" / "checkpoints" / "big").write_bytes(b"c")
    (tmp_path / "run" / "link").symlink_to("/etc/passwd")
    unpack(packed(tmp_path / "run"), tmp_path / "copy")
    assert [path.relative_to(tmp_path / "copy") for path in (tmp_path / "copy").rglob("*") if path.is_file()] == [
        Path("policy/weights")
    ]
    for name in ("../outside", str(tmp_path / "outside")):
        held = io.BytesIO()
        with zipfile.ZipFile(held, mode="w") as archive:
            archive.writestr("policy/weights", b"w")
            archive.writestr(name, b"")
        for evil in (held.getvalue(), held.getvalue()[:-10]):
            with pytest.raises(StorageFault, match="could not be unpacked"):
                unpack(evil, tmp_path / "evil")
        assert not (tmp_path / "outside").exists()
        assert not (tmp_path / "evil").exists()
        assert not (tmp_path / ".evil.new").exists()


# Executors, with tasks that do next to nothing.


class Ear:
    """Listens to a driver."""

    def __init__(self) -> None:
        self.ended_: list[tuple[str, str]] = []
        self.notes: list[str] = []

    def show(self, state: State) -> None:
        assert len(state.running) <= state.places

    def ended(self, key: str, state: State, answer: Answer) -> None:
        self.ended_.append((key, answer.state))

    def note(self, text: str) -> None:
        self.notes.append(text)


def write_down(job: tuple[str, str], tell: Tell) -> Answer:
    """Append the job to a log; fail, die once or die always, as it says."""
    log, name = job
    tell("writing", 0, 1, "")
    with Path(log).open("a") as file:
        file.write(f"{name} {os.getpid()}\n")
    if name.startswith("fails"):
        raise UsageError(f"{name}: expected nothing of it")
    if name.startswith("breaks"):
        raise ZeroDivisionError
    before = Path(log).read_text().count(f"{name} ")
    if name.startswith("dies always") or (name.startswith("dies once") and before == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if name.startswith("is told") and before == 1:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    if name.startswith("sleeps"):
        time.sleep(60)
    if name.startswith("held") and before == 1:
        return Answer("held")
    return Answer("done", seconds=0.1, result=name)


def driven(names: list[str], tmp_path: Path, places: int = 2) -> tuple[State, Ear, list[str], dict[str, Any]]:
    log, ear, taken = tmp_path / "log", Ear(), {}
    state = State(len(names), places)
    with LocalExecutor(write_down, places) as executor:
        jobs = {name: (str(log), name) for name in names}
        drive(jobs, executor, state, ear, lambda key, answer: taken.__setitem__(key, answer.result))
    return state, ear, log.read_text().splitlines(), taken


def test_workers_are_kept_and_each_job_is_done_once(tmp_path: Path) -> None:
    names = [f"job {number}" for number in range(20)]
    state, ear, log, taken = driven(names, tmp_path)
    assert sorted(line.rpartition(" ")[0] for line in log) == sorted(names)
    assert len({line.rpartition(" ")[2] for line in log}) <= 2
    assert (state.done, state.failed, state.running) == (20, {}, {})
    assert taken == {name: name for name in names}
    assert sorted(ear.ended_) == [(name, "done") for name in sorted(names)]
    assert not ear.notes


def test_a_worker_that_dies_is_replaced_and_failures_stop_nobody(tmp_path: Path) -> None:
    names = ["dies once", "fails", "dies always", "a", "breaks", "held", "is told", "b"]
    state, ear, log, _ = driven(names, tmp_path)
    times = {name: sum(line.startswith(f"{name} ") for line in log) for name in names}
    expected = {"dies once": 2, "dies always": 1 + AGAIN, "held": 2, "is told": 2}
    assert times == {name: expected.get(name, 1) for name in names}
    assert state.done == 5
    assert set(state.failed) == {"fails", "dies always", "breaks"}
    assert state.failed["fails"] == "fails: expected nothing of it"
    assert "died of SIGKILL" in state.failed["dies always"]
    assert "ZeroDivisionError" in state.failed["breaks"]
    assert sum("given out again" in note for note in ear.notes) == 1 + AGAIN + 1
    assert not state.elsewhere


def test_workers_die_with_their_driver(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_sweeps\n"
        "if __name__ == '__main__': test_sweeps.driven(['sleeps 1', 'sleeps 2'], Path(sys.argv[1]))"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    with subprocess.Popen([sys.executable, "-W", "ignore", str(script), str(tmp_path)]) as driver:
        log = tmp_path / "log"
        until(lambda: log.exists() and log.read_text().count("\n") == 2)
        workers = [int(line.rpartition(" ")[2]) for line in log.read_text().splitlines()]
        assert all(alive(worker) for worker in workers)
        driver.kill()
    until(lambda: not any(alive(worker) for worker in workers), seconds=10)


def test_places_of_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert places.gpu_shares(["0", "1", "2"], 1) == ("0", "1", "2")
    assert places.gpu_shares(["0", "1", "2"], 2) == ("0,1",)
    assert places.gpu_shares(["0", "1"], 0.5) == ("0", "0", "1", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.setattr(os, "cpu_count", lambda: 9)
    monkeypatch.setattr(places, "available_memory", lambda: 5 << 30)
    notes: list[str] = []
    assert places.local_places(None, Resources(cpus=2), notes) == (4, ())
    assert places.local_places(7, Resources(cpus=2), notes) == (7, ())
    assert not notes
    assert places.local_places(None, Resources(memory_gb=2), notes) == (2, ())
    assert "memory" in notes[-1]
    assert places.local_places(8, Resources(gpus=0.5), notes) == (4, ("3", "3", "5", "5"))
    with pytest.raises(UsageError, match="GPUs"):
        places.local_places(8, Resources(gpus=3), notes)
    with pytest.raises(UsageError, match="--workers"):
        places.local_places(0, Resources(), notes)


def see_devices(job: str, tell: Tell) -> Answer:
    time.sleep(0.3)
    return Answer("done", result=os.environ.get("CUDA_VISIBLE_DEVICES"))


def test_each_place_has_its_gpu() -> None:
    taken: dict[str, Any] = {}
    with LocalExecutor(see_devices, 2, devices=("3", "5")) as executor:
        drive(
            {"a": "", "b": ""}, executor, State(2, 2), Ear(), lambda key, answer: taken.__setitem__(key, answer.result)
        )
    assert set(taken.values()) == {"3", "5"}


def test_the_board_says_what_runs(tmp_path: Path) -> None:
    cells = {cell.key: cell for cell in plan_of(written(tmp_path)).cells}
    first, second, third, _ = cells
    state = State(4, 2, done=1, seconds=[10.0], failed={third: "no"}, elsewhere={third})
    state.running[first] = Running(0.0, 5.0, "training", 50, 200, "return 3.0")
    state.running[second] = Running(0.0)  # given out, but not begun
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(drawn(cells, state, 15.0))
    text = console.export_text()
    assert "1 of 4 done, 1 running, 1 waiting, 1 failed (1 at another driver)" in text
    row = next(line for line in text.splitlines() if "training" in line)
    assert all(word in row for word in ("learning_rate=0.001 seed=0", "50/200", "10 s", "30 s", "return 3.0"))
    assert "learning_rate=0.0003" not in text
    assert len(text.splitlines()) == 4, "what is done, a bar, the header, a row"


# Whole sweeps.


def test_a_sweep_is_its_trainings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same digests as of trainings alone, in whatever processes; tables; nothing is done twice; it can grow."""
    grid = written(tmp_path, evaluate={"episodes": 2, "homeostasis": "none,dwam"}, grid={"agent": ["mlp", "popsan"]})
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
    assert counted(tmp_path / "out") == {key: {"began": 1, "finished": 1} for key in results(tmp_path / "out")}
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

    grid = written(
        tmp_path, evaluate={"episodes": 2, "homeostasis": "none,dwam"}, grid={"agent": ["mlp", "popsan"]}, seeds=3
    )
    told, _ = call(grid, tmp_path / "out", capsys=capsys)
    assert (told["cells"], told["ran"]) == (6, 2)
    assert_each_once(tmp_path / "out", 6)


def test_a_failed_cell_is_told_and_stops_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = written(tmp_path, grid={"env": ["toy_envs:Broken-v0", "toy_envs:Deadly-v0", "toy_envs:Point-v0"]}, seeds=1)
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
    assert counted(tmp_path / "out")[deadly] == {"began": 1 + AGAIN}


def test_two_results_of_one_cell_are_an_alarm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a network was cut in two: an execution ends and finds another one's result."""
    grid = written(tmp_path, grid={}, seeds=1)
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


def job_of(plan: Plan, out: Path, identity: str | None = None) -> Job:
    identity = Store(out).identity() if identity is None else identity
    return Job(plan.cells[0], plan.sweep.evaluate, plan.suite, plan.routes, out.resolve(), identity or "")


def test_machines_that_share_no_folder_send_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = written(tmp_path, grid={}, seeds=1)
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
    grid = written(tmp_path, grid={}, seeds=1)
    Store(tmp_path / "out").open()
    job = job_of(plan_of(grid), tmp_path / "out")
    other = replace(job, cell=replace(job.cell, code={**job.cell.code, "homeo_rl": "f" * 64}))
    with pytest.raises(UsageError, match=r"homeo_rl .* instead of ffffffffffff"):
        run_cell(other, lambda *_: None)
    assert not results(tmp_path / "out")


def test_tables_do_not_depend_on_order(tmp_path: Path) -> None:
    cells = plan_of(written(tmp_path, seeds=4)).cells
    told = {
        cell.key: {"evaluation": {"cells": [{"arm": "none", "label": "clean", "mean": float(place), "success": None}]}}
        for place, cell in enumerate(cells)
    }
    rows = rows_of(cells, told)
    assert [(row.choice["params.learning_rate"], row.seeds, row.mean) for row in rows] == [
        (1e-3, 4, 3.0),
        (3e-4, 4, 4.0),
    ]
    assert (rows[0].iqm, rows[0].least, rows[0].most) == (3.0, 0.0, 6.0)
    assert rows_of(cells, dict(reversed(told.items()))) == rows
    del told[cells[0].key]
    assert [row.seeds for row in rows_of(cells, told)] == [3, 4]


# Kills.


LONG = {"n_timesteps": 320, "env": "slow_world:Slow-v0"}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Digests that the cells of `whole` end with when nobody disturbs them; how slow the world is changes nothing."""
    folder, found = tmp_path_factory.mktemp("undisturbed"), {}
    for cell in plan_of(written(folder, train={**LONG, "env": "toy_envs:Point-v0"}, grid={}, seeds=12)).cells:
        done = train(training_plan(cell.training, seed=cell.seed, out=folder / cell.key))
        found[cell.title] = done.spec.digest
    return found


@pytest.fixture
def whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: dict[str, str]
) -> Iterator[tuple[Path, dict[str, str]]]:
    """A sweep of three cells that take seconds, and the digests that they end with when nobody disturbs them."""
    code_version.cache_clear()
    slow(tmp_path, monkeypatch, 0.01)
    grid = written(tmp_path, train=LONG, grid={}, seeds=3, evaluate={"episodes": 1})
    yield grid, {f"seed={seed}": undisturbed[f"seed={seed}"] for seed in range(3)}
    code_version.cache_clear()


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


def test_a_killed_worker_s_cell_goes_on(whole: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    grid, digests = whole
    out = tmp_path / "out"
    process = begun(grid, out)
    key = in_the_middle(out, process)
    os.kill(worker_of(out, key), signal.SIGKILL)
    told, err = finish(process)
    assert (told["done"], told["failed"]) == (3, {})
    assert f"cell {key}: its process died of SIGKILL (out of memory?); given out again, 1 of 3" in err
    assert counted(out)[key] == {"began": 2, "finished": 1}
    assert_each_once(out, 3)
    assert digests_of(grid, out) == digests


def test_a_killed_driver_takes_its_workers_and_the_next_goes_on(
    whole: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    grid, digests = whole
    out = tmp_path / "out"
    process = begun(grid, out)
    until(lambda: results(out), alive=process)
    key = in_the_middle(out, process)
    workers = {entry["process"] for entry in journal(out)}
    process.kill()
    process.communicate()
    until(lambda: not any(alive(worker) for worker in workers), seconds=10)
    before = results(out)
    told, _ = finish(begun(grid, out))
    assert told["ran"] == 3 - len(before)
    assert before.items() <= results(out).items()
    assert counted(out)[key]["began"] == 2
    assert_each_once(out, 3)
    assert digests_of(grid, out) == digests


def unsaved(out: Path, process: subprocess.Popen[str]) -> str:
    """Wait until a cell that is worked on has come some way; return its key."""

    def found() -> str:
        far = [path.parent.name for path in (out / "runs").glob("*/0.monitor.csv") if path.stat().st_size > 120]
        return next((key for key in far if key not in results(out)), "")

    return str(until(found, alive=process))


@pytest.mark.parametrize(
    "how",
    [
        pytest.param("SIGTERM", marks=pytest.mark.long),
        "as a terminal does Ctrl-C",
        "as a service manager does SIGTERM",
    ],
)
def test_a_signal_saves_and_the_same_command_goes_on(
    how: str, whole: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    _, digests = whole
    grid = written(tmp_path, train={**LONG, "save_freq": -1}, grid={}, seeds=3, evaluate={"episodes": 1})
    out = tmp_path / "out"
    process = begun(grid, out)
    key = unsaved(out, process)
    assert not list((out / "runs").glob("*/checkpoints/*")), "nothing is saved but at a signal"
    if how == "SIGTERM":
        process.terminate()
    elif how == "as a terminal does Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)
    else:
        for pid in (process.pid, *{entry["process"] for entry in journal(out)}):
            os.kill(pid, signal.SIGTERM)
    number = signal.SIGINT if "Ctrl-C" in how else signal.SIGTERM
    _, err = finish(process, code=128 + number)
    assert "the same command resumes" in err
    assert counted(out)[key] == {"began": 1, "stopped": 1}
    assert list((out / "runs" / key / "checkpoints").glob("0*/manifest.json")), "it was saved"
    assert (out / "summary.csv").exists()
    told, _ = finish(begun(grid, out))
    assert (told["done"], told["failed"]) == (3, {})
    assert_each_once(out, 3)
    assert digests_of(grid, out) == digests


def test_a_pipe_that_nobody_reads_is_a_signal(whole: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    _, digests = whole
    grid = written(tmp_path, train={**LONG, "save_freq": -1}, grid={}, seeds=3, evaluate={"episodes": 1})
    out = tmp_path / "out"
    process = begun(grid, out)
    for end in (process.stdout, process.stderr):
        assert end is not None
        end.close()
    assert process.wait(timeout=120) not in (0, 2)
    assert len(results(out)) < 3, "it notices when the first cell has ended, and begins no other"
    told, _ = finish(begun(grid, out))
    assert (told["done"], told["failed"]) == (3, {})
    assert_each_once(out, 3)
    assert digests_of(grid, out) == digests


def test_two_drivers_share_the_work(whole: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    grid, digests = whole
    out = tmp_path / "out"
    both = [begun(grid, out, "--workers", "2") for _ in range(2)]
    told = [finish(process)[0] for process in both]
    assert [one["done"] for one in told] == [3, 3]
    assert counted(out) == {key: {"began": 1, "finished": 1} for key in results(out)}
    assert told[0]["rows"] == told[1]["rows"]
    assert_each_once(out, 3)
    assert digests_of(grid, out) == digests


# Ray, where it is installed.


def test_ray_that_is_not_installed_names_the_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import_module = importlib.import_module

    def missing(name: str) -> Any:
        if name == "ray":
            raise ImportError(name)
        return import_module(name)

    monkeypatch.setattr(ray.importlib, "import_module", missing)
    _, err = call(written(tmp_path), tmp_path / "out", "--ray", "local", code=2, capsys=capsys)
    assert "pip install 'homeo-rl[ray]'" in err


class Cluster:
    """Two nodes of Ray on this machine, with a token and a folder of their own; the second one can be lost."""

    def __init__(self, log: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))  # short: it holds sockets
        (self.folder / "token").write_text(secrets.token_hex(32))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.log = log
        port = self.address.rpartition(":")[2]
        self.head = self._start("--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={self.folder}/r")
        until(lambda: self._nodes() == 1, alive=self.head)
        self.node = self._start(f"--address={self.address}")
        until(lambda: self._nodes() == 2, alive=self.node)

    @property
    def environment(self) -> dict[str, str]:
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.folder / "token")}
        return {**os.environ, **token, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONWARNINGS": "ignore"}

    def lose_the_node(self) -> None:
        """Kill all of the second node at once, and start another one."""
        kill_tree(self.node)
        self.node = self._start(f"--address={self.address}")

    def close(self) -> None:
        for process in (self.node, self.head):
            kill_tree(process)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, *words: str) -> subprocess.Popen[str]:
        command = [str(Path(sys.executable).parent / "ray"), "start", "--block", "--num-cpus=1"]
        with self.log.open("a") as log:
            return subprocess.Popen(
                [*command, "--object-store-memory=100000000", *words],
                env=self.environment, stdout=log, stderr=log, text=True,
            )  # fmt: skip

    def _nodes(self) -> int:
        code = f"import ray; ray.init(address={self.address!r}, logging_level=50, log_to_driver=False)\n"
        code += "print(sum(node['Alive'] for node in ray.nodes()))"
        done = subprocess.run(
            [sys.executable, "-c", code], env=self.environment, capture_output=True, text=True, check=False
        )
        return int(done.stdout or 0)


def kill_tree(process: subprocess.Popen[str]) -> None:
    """Kill a process that we started and all that it started."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    doomed = [process.pid]
    for pid in doomed:
        doomed += [child for child, parent in parents.items() if parent == pid]
    for pid in doomed:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("ray is not installed (pip install 'homeo-rl[ray]')")
    slow(tmp_path, monkeypatch, 0.01)
    found = Cluster(tmp_path / "ray.log")
    for name, value in found.environment.items():
        monkeypatch.setenv(name, value)
    yield found
    found.close()
    code_version.cache_clear()


def running(out: Path) -> list[tuple[int, str, int]]:
    """Return executions that have begun and not ended: how often the cell began before, the cell, the process."""
    last, times = {}, counted(out)
    for entry in journal(out):
        last[entry["cell"]] = entry
    open_ = [entry for entry in last.values() if entry["event"] == "began" and alive(entry["process"])]
    return sorted((times[entry["cell"]]["began"], entry["cell"], entry["process"]) for entry in open_)


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1])
def test_chaos_on_two_nodes(seed: int, cluster: Cluster, tmp_path: Path, undisturbed: dict[str, str]) -> None:
    """Five kills of workers, the driver and a node, at random moments: no finished cell is lost or repeated."""
    grid = written(tmp_path, train=LONG, grid={}, seeds=12, evaluate={"episodes": 1})
    out, rng = tmp_path / "out", random.Random(seed)
    victims = ["worker", "driver", "node", rng.choice(["worker", "driver"]), "worker"]
    rng.shuffle(victims)
    process = begun(grid, out, "--ray", cluster.address)
    before: dict[str, bytes] = {}
    for victim in victims:
        count = len(before)
        until(lambda count=count: len(results(out)) > count and running(out), alive=process)
        time.sleep(rng.uniform(0.0, 3.0))
        before = results(out)
        print(f"{victim} killed after {len(before)} of 12 cells")
        if victim == "worker":
            os.kill(until(lambda: running(out), alive=process)[0][2], signal.SIGKILL)
        elif victim == "node":
            cluster.lose_the_node()
        else:
            process.kill()
            process.communicate()
            process = begun(grid, out, "--ray", cluster.address)
    told, _ = finish(process)
    assert (told["cells"], told["done"], told["failed"]) == (12, 12, {})
    assert before.items() <= results(out).items()
    assert_each_once(out, 12)
    assert digests_of(grid, out) == undisturbed
    repeated = sum(events["began"] - 1 for events in counted(out).values())
    print(f"{repeated} executions were cut off and went on")
    assert repeated >= 1


UNSHARED = """
import sys
from homeo_rl.sweeps.store import Store
opened = Store.open
Store.open = lambda store: (opened(store), "0" * 32)[1]  # the nodes will not find it
from homeo_rl.cli import main
main(sys.argv[1:])
"""


@pytest.mark.long
def test_nodes_that_share_no_folder(cluster: Cluster, tmp_path: Path, undisturbed: dict[str, str]) -> None:
    """Results and runs come through Ray's object store, also when a node is lost; a signal is gone on after."""
    grid = written(tmp_path, train=LONG, grid={}, seeds=6, evaluate={"episodes": 1})
    out, script = tmp_path / "out", tmp_path / "unshared.py"
    script.write_text(UNSHARED)
    command = [sys.executable, "-W", "ignore", str(script), "sweep", str(grid), "--out", str(out), "--json"]

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*command, "--ray", cluster.address], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    process = start()
    until(lambda: results(out), alive=process)
    cluster.lose_the_node()
    until(lambda: len(results(out)) > 2, alive=process)
    process.send_signal(signal.SIGTERM)
    finish(process, code=128 + signal.SIGTERM)
    before = results(out)
    told, _ = finish(start())
    assert (told["done"], told["failed"]) == (6, {})
    assert before.items() <= results(out).items()
    assert digests_of(grid, out) == {f"seed={place}": undisturbed[f"seed={place}"] for place in range(6)}
    assert not journal(out), "the nodes wrote into folders of their own"
    for cell in plan_of(grid).cells:
        assert (out / "runs" / cell.key / "policy" / "manifest.json").exists()
    shutil.rmtree(Path(tempfile.gettempdir()) / f"homeo-rl-{os.getuid()}" / ("0" * 32))


@pytest.mark.long
def test_a_signal_on_ray_saves(cluster: Cluster, tmp_path: Path, undisturbed: dict[str, str]) -> None:
    grid = written(tmp_path, train={**LONG, "save_freq": -1}, grid={}, seeds=3, evaluate={"episodes": 1})
    out = tmp_path / "out"
    process = begun(grid, out, "--ray", cluster.address)
    key = unsaved(out, process)
    process.send_signal(signal.SIGTERM)
    _, err = finish(process, code=128 + signal.SIGTERM)
    assert "the same command resumes" in err
    assert counted(out)[key] == {"began": 1, "stopped": 1}
    assert list((out / "runs" / key / "checkpoints").glob("0*/manifest.json")), "it was saved"
    told, _ = finish(begun(grid, out, "--ray", cluster.address))
    assert (told["done"], told["failed"]) == (3, {})
    assert_each_once(out, 3)
    assert digests_of(grid, out) == {f"seed={place}": undisturbed[f"seed={place}"] for place in range(3)}


# What is written about it.


def test_the_page_s_files_are_sound(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "sweeps.md").read_text()
    grids = [block for block in page.split("```") if block.startswith("yaml")]
    for number, block in enumerate(grids):
        path = tmp_path / f"{number}.yml"
        path.write_text(block.removeprefix("yaml"))
        sweep, combinations = read_sweep(path)
        assert sweep.seeds
        assert combinations
    assert grids
    fields = [name for name in Training.__dataclass_fields__ if name not in page]
    assert not fields, f"the page does not name {fields}"


RECIPES = ROOT / "docs" / "cluster"


def test_the_cluster_s_file_is_sound() -> None:
    document = yaml.safe_load((RECIPES / "ray-cluster.yaml").read_text())
    assert set(document) >= {"cluster_name", "provider", "auth", "head_start_ray_commands", "worker_start_ray_commands"}
    commands = [command for name, value in document.items() if name.endswith("commands") for command in value]
    for command in commands:
        done = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    if importlib.util.find_spec("ray") is not None:
        schema = Path(importlib.util.find_spec("ray").origin).parent / "autoscaler" / "ray-schema.json"  # type: ignore[union-attr, arg-type]
        importlib.import_module("jsonschema").validate(document, json.loads(schema.read_text()))


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("slurm-array.sh", "homeo-rl sweep grid.yml --out /shared/sweep --workers 16"),
        (
            "slurm-ray.sh",
            "ray symmetric-run --address node1:10007 --min-nodes 3 --num-cpus 16 --object-store-memory 1000000000 -- "
            "BIN/homeo-rl sweep grid.yml --out /shared/sweep --ray auto",
        ),
    ],
)
def test_slurm_s_scripts_run(script: str, words: str, tmp_path: Path) -> None:
    """With Slurm's commands, Ray's and ours put in place by some that say what they are given."""
    assert {path.name for path in RECIPES.glob("*.sh")} == {"slurm-array.sh", "slurm-ray.sh"}
    for name in ("homeo-rl", "ray"):
        (tmp_path / name).write_text(f'#!/bin/bash\necho {name} "$@"\n')
    (tmp_path / "srun").write_text('#!/bin/bash\nwhile [[ $1 == -* ]]; do shift; done\nexec "$@"\n')
    (tmp_path / "scontrol").write_text("#!/bin/bash\nprintf 'node1\\nnode2\\nnode3\\n'\n")
    for path in tmp_path.iterdir():
        path.chmod(0o755)
    slurm = {
        "SLURM_CPUS_PER_TASK": "16",
        "SLURM_JOB_ID": "40007",
        "SLURM_JOB_NUM_NODES": "3",
        "SLURM_JOB_NODELIST": "n",
    }
    own = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "HOMEO_RL_BIN": str(tmp_path), **slurm}

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", str(RECIPES / script), *arguments]
        return subprocess.run(command, env=own, capture_output=True, text=True, check=False)

    done = call("grid.yml", "/shared/sweep")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == words.replace("BIN", str(tmp_path))
    assert "expected the sweep's file" in call().stderr
    assert call("grid.yml").returncode != 0
