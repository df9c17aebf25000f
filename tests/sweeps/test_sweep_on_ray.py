"""Sweeps on Ray, where it is installed."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sweep_calls import (
    LONG,
    assert_each_once,
    call,
    count_events,
    digests_of,
    finish,
    is_alive,
    make_slow_env,
    results,
    start_sweep,
    unsaved,
    until,
    write_sweep,
)

from homeo_rl.processes import ray
from homeo_rl.sweeps.code_fingerprint import code_version
from homeo_rl.sweeps.store import journal
from homeo_rl.sweeps.sweep import plan_of


def test_ray_that_is_not_installed_names_the_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import_module = importlib.import_module

    def missing(name: str) -> Any:
        if name == "ray":
            raise ImportError(name)
        return import_module(name)

    monkeypatch.setattr(ray.importlib, "import_module", missing)
    _, err = call(write_sweep(tmp_path), tmp_path / "out", "--ray", "local", code=2, capsys=capsys)
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
    make_slow_env(tmp_path, monkeypatch, 0.01)
    found = Cluster(tmp_path / "ray.log")
    for name, value in found.environment.items():
        monkeypatch.setenv(name, value)
    yield found
    found.close()
    code_version.cache_clear()


def running(out: Path) -> list[tuple[int, str, int]]:
    """Return executions that have begun and not ended: how often the cell began before, the cell, the process."""
    last, times = {}, count_events(out)
    for entry in journal(out):
        last[entry["cell"]] = entry
    open_ = [entry for entry in last.values() if entry["event"] == "began" and is_alive(entry["process"])]
    return sorted((times[entry["cell"]]["began"], entry["cell"], entry["process"]) for entry in open_)


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1])
def test_chaos_on_two_nodes(
    seed: int, cluster: Cluster, tmp_path: Path, undisturbed: Callable[[int], dict[str, str]]
) -> None:
    """Five kills of workers, the driver and a node, at random moments: no finished cell is lost or repeated."""
    grid = write_sweep(tmp_path, train=LONG, grid={}, seeds=12, evaluate={"episodes": 1})
    out, rng = tmp_path / "out", random.Random(seed)
    victims = ["worker", "driver", "node", rng.choice(["worker", "driver"]), "worker"]
    rng.shuffle(victims)
    process = start_sweep(grid, out, "--ray", cluster.address)
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
            process = start_sweep(grid, out, "--ray", cluster.address)
    told, _ = finish(process)
    assert (told["cells"], told["done"], told["failed"]) == (12, 12, {})
    assert before.items() <= results(out).items()
    assert_each_once(out, 12)
    assert digests_of(grid, out) == undisturbed(12)
    repeated = sum(events["began"] - 1 for events in count_events(out).values())
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
def test_nodes_that_share_no_folder(
    cluster: Cluster, tmp_path: Path, undisturbed: Callable[[int], dict[str, str]]
) -> None:
    """Results and runs come through Ray's object store, also when a node is lost; a signal is gone on after."""
    grid = write_sweep(tmp_path, train=LONG, grid={}, seeds=6, evaluate={"episodes": 1})
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
    assert digests_of(grid, out) == undisturbed(6)
    assert not journal(out), "the nodes wrote into folders of their own"
    for cell in plan_of(grid).cells:
        assert (out / "runs" / cell.key / "policy" / "manifest.json").exists()
    shutil.rmtree(Path(tempfile.gettempdir()) / f"homeo-rl-{os.getuid()}" / ("0" * 32))


@pytest.mark.long
def test_a_signal_on_ray_saves(cluster: Cluster, tmp_path: Path, undisturbed: Callable[[int], dict[str, str]]) -> None:
    grid = write_sweep(tmp_path, train={**LONG, "save_freq": -1}, grid={}, seeds=3, evaluate={"episodes": 1})
    out = tmp_path / "out"
    process = start_sweep(grid, out, "--ray", cluster.address)
    key = unsaved(out, process)
    process.send_signal(signal.SIGTERM)
    _, err = finish(process, code=128 + signal.SIGTERM)
    assert "the same command resumes" in err
    assert count_events(out)[key] == {"began": 1, "stopped": 1}
    assert list((out / "runs" / key / "checkpoints").glob("0*/manifest.json")), "it was saved"
    told, _ = finish(start_sweep(grid, out, "--ray", cluster.address))
    assert (told["done"], told["failed"]) == (3, {})
    assert_each_once(out, 3)
    assert digests_of(grid, out) == undisturbed(3)
