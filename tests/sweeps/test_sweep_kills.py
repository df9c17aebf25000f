"""Sweeps whose processes are killed or stopped: every cell once, the same results in the end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from sweep_calls import (
    LONG,
    assert_each_once,
    count_events,
    digests_of,
    finish,
    in_the_middle,
    is_alive,
    results,
    start_sweep,
    unsaved,
    until,
    worker_of,
    write_sweep,
)

from homeo_rl.sweeps.store import journal


def test_a_killed_worker_s_cell_goes_on(whole: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    grid, digests = whole
    out = tmp_path / "out"
    process = start_sweep(grid, out)
    key = in_the_middle(out, process)
    os.kill(worker_of(out, key), signal.SIGKILL)
    told, err = finish(process)
    assert (told["done"], told["failed"]) == (3, {})
    assert f"cell {key}: its process died of SIGKILL (out of memory?); given out again, 1 of 3" in err
    assert count_events(out)[key] == {"began": 2, "finished": 1}
    assert_each_once(out, 3)
    assert digests_of(grid, out) == digests


def test_a_killed_driver_takes_its_workers_and_the_next_goes_on(
    whole: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    grid, digests = whole
    out = tmp_path / "out"
    process = start_sweep(grid, out)
    until(lambda: results(out), alive=process)
    key = in_the_middle(out, process)
    workers = {entry["process"] for entry in journal(out)}
    process.kill()
    process.communicate()
    until(lambda: not any(is_alive(worker) for worker in workers), seconds=10)
    before = results(out)
    told, _ = finish(start_sweep(grid, out))
    assert told["ran"] == 3 - len(before)
    assert before.items() <= results(out).items()
    assert count_events(out)[key]["began"] == 2
    assert_each_once(out, 3)
    assert digests_of(grid, out) == digests


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
    grid = write_sweep(tmp_path, train={**LONG, "save_freq": -1}, grid={}, seeds=3, evaluate={"episodes": 1})
    out = tmp_path / "out"
    process = start_sweep(grid, out)
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
    assert count_events(out)[key] == {"began": 1, "stopped": 1}
    assert list((out / "runs" / key / "checkpoints").glob("0*/manifest.json")), "it was saved"
    assert (out / "summary.csv").exists()
    told, _ = finish(start_sweep(grid, out))
    assert (told["done"], told["failed"]) == (3, {})
    assert_each_once(out, 3)
    assert digests_of(grid, out) == digests


def test_a_pipe_that_nobody_reads_is_a_signal(whole: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    _, digests = whole
    grid = write_sweep(tmp_path, train={**LONG, "save_freq": -1}, grid={}, seeds=3, evaluate={"episodes": 1})
    out = tmp_path / "out"
    process = start_sweep(grid, out)
    for end in (process.stdout, process.stderr):
        assert end is not None
        end.close()
    assert process.wait(timeout=120) not in (0, 2)
    assert len(results(out)) < 3, "it notices when the first cell has ended, and begins no other"
    told, _ = finish(start_sweep(grid, out))
    assert (told["done"], told["failed"]) == (3, {})
    assert_each_once(out, 3)
    assert digests_of(grid, out) == digests


def test_two_drivers_share_the_work(whole: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    grid, digests = whole
    out = tmp_path / "out"
    both = [start_sweep(grid, out, "--workers", "2") for _ in range(2)]
    told = [finish(process)[0] for process in both]
    assert [one["done"] for one in told] == [3, 3]
    assert count_events(out) == {key: {"began": 1, "finished": 1} for key in results(out)}
    assert told[0]["rows"] == told[1]["rows"]
    assert_each_once(out, 3)
    assert digests_of(grid, out) == digests
