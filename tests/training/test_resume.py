"""Exact resume: a training that was cut off anywhere ends with the same bits as one that was not."""

from __future__ import annotations

import errno
import functools
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import race
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from trainings import CASES, Cut, cut_at, files_of, plan

from homeo_rl.cli import main
from homeo_rl.errors import StorageFault, UsageError
from homeo_rl.processes.signals import Stopped
from homeo_rl.run import Run
from homeo_rl.storage import bundle
from homeo_rl.training import estimate as estimates
from homeo_rl.training import logger
from homeo_rl.training.resume import checkpointer, snapshot
from homeo_rl.training.train import train

Trained = Callable[..., Run]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Return a maker of runs of a case, or of its plan with changes, that were never cut; each is trained once."""

    @functools.cache
    def of(name: str, **changes: Any) -> Run:
        return train(replace(CASES[name], out=tmp_path_factory.mktemp("whole") / "run", **changes))

    return of


@pytest.mark.parametrize("name", CASES)
def test_cut_and_gone_on_is_never_cut(
    name: str, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(name)
    mine = replace(CASES[name], out=tmp_path / "cut")
    total = mine.steps or 0
    for step in (total // 3, 2 * total // 3):
        with monkeypatch.context() as patch:
            cut_at(patch, step)
            with pytest.raises(Cut):
                train(mine)
    notes: list[str] = []
    done = train(mine, note=notes.append)
    assert any("going on at step" in note for note in notes)
    assert not any("did not come back" in note for note in notes)
    assert done.spec.digest == whole.spec.digest
    assert done.policy_digest() == whole.policy_digest()
    assert files_of(done) == files_of(whole)
    assert not (done.path / "checkpoints").exists()


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return steps and values of everything but clocks."""
    found: dict[str, list[tuple[int, float]]] = {}
    (own,) = (path for path in folder.iterdir() if path.is_dir())
    told = EventAccumulator(str(own)).Reload()
    for tag in told.Tags()["scalars"]:
        if tag != "time/fps":
            found[tag] = [(event.step, event.value) for event in told.Scalars(tag)]
    return found


@pytest.mark.parametrize("points", [2, 500])
def test_curves_go_on_as_one(points: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorBoard shows what it would have shown; points are not closer to each other than useful."""
    monkeypatch.setattr(logger, "POINTS", points)
    mine = replace(plan("ppo", "Pendulum-v1", steps=640), eval_freq=-1)
    whole = train(replace(mine, out=tmp_path / "whole"))
    with monkeypatch.context() as patch:
        cut_at(patch, 330)
        with pytest.raises(Cut):
            train(replace(mine, out=tmp_path / "cut"))
    done = train(replace(mine, out=tmp_path / "cut"))
    assert curves(done.path / "tb") == curves(whole.path / "tb")
    steps = [step for step, _ in curves(whole.path / "tb")["train/loss"]]
    assert steps == ([384] if points == 2 else list(range(128, 641, 64)))


def test_the_same_command_finds_its_numbered_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = replace(CASES["a2c"], log_folder=tmp_path)
    with monkeypatch.context() as patch:
        cut_at(patch, 100)
        with pytest.raises(Cut):
            train(mine)
        with pytest.raises(Cut):
            train(replace(mine, seed=4))  # another plan is another run
    done = train(mine)
    assert done.path.name == "Pendulum-v1_1"
    assert train(mine).path.name == "Pendulum-v1_3"  # what is finished stays as it is
    assert train(replace(mine, seed=4, fresh=True)).path.name == "Pendulum-v1_4"


def test_what_lies_there_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = replace(CASES["a2c"], out=tmp_path / "run")
    with monkeypatch.context() as patch:
        cut_at(patch, 100)
        with pytest.raises(Cut):
            train(mine)
    with pytest.raises(UsageError, match=r"another plan \(seed: 3 there, 5 asked for\)"):
        train(replace(mine, seed=5))
    done = train(mine)
    notes: list[str] = []
    assert train(mine, note=notes.append).spec.digest == done.spec.digest  # killed as it ended, and given again
    assert "finished before" in notes[0]
    fresh = train(replace(mine, fresh=True))
    assert fresh.spec.digest == done.spec.digest
    assert (tmp_path / "run.before-1" / "run.json").exists()


@pytest.mark.parametrize("name", ["a2c", "sac"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    name: str, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = replace(CASES[name], out=tmp_path / "run")
    whole = trained(name)
    with monkeypatch.context() as patch:
        cut_at(patch, 250)
        with pytest.raises(Cut):
            train(mine)
    found = sorted(path for path in (mine.out / "checkpoints").iterdir() if path.name.isdigit())
    assert len(found) == 2
    blob = bytearray((found[-1] / "tensors.safetensors").read_bytes())
    blob[len(blob) // 2] ^= 1
    (found[-1] / "tensors.safetensors").write_bytes(blob)
    assert train(mine).spec.digest == whole.spec.digest


def test_no_sound_checkpoint_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = replace(CASES["a2c"], out=tmp_path / "run")
    with monkeypatch.context() as patch:
        cut_at(patch, 250)
        with pytest.raises(Cut):
            train(mine)
    for path in (mine.out / "checkpoints").glob("*/tensors.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StorageFault, match=r"SHA-256|bytes"):
        train(mine)


DROPPED = {
    "torch's generator": ("sac", lambda m: m.tensors.__setitem__("rng/torch", _another_generator())),
    "numpy's generator": ("sac", lambda m: m.document["rng"]["numpy"].__setitem__(1, 5)),
    "the environment's generator": ("sac", lambda m: _moved(m.document["env"]["rows"][0]["began"]["generator"])),
    "the actions since": ("sac", lambda m: m.tensors.__setitem__("env/0/actions", m.tensors["env/0/actions"][:-1])),
    "the last observation": ("sac", lambda m: m.tensors["last/_last_obs"].__imul__(0.5)),
    "moments of Adam": ("sac", lambda m: _first(m, "exp_avg").__imul__(0.0)),
    "steps of Adam": ("sac", lambda m: _first(m, "step").__isub__(40)),
    "the entropy coefficient": ("sac", lambda m: m.tensors["log_ent_coef"].__iadd__(0.1)),
    "the ring's place": ("sac", lambda m: m.document["replay"].__setitem__("added", m.document["replay"]["added"] - 1)),
    "a target": ("sac", lambda m: _scale(m, "critic_target.qf0", 0.9)),
    "the normaliser's statistics": ("sac", lambda m: _scale(m, "running_mean", 0.9)),
    "normalised rewards": (
        "ppo, normalised rewards, falling rate", lambda m: m.tensors["env/normalised/returns"].__imul__(0.0)
    ),
    "progress": (
        "ppo, normalised rewards, falling rate", lambda m: m.document["counters"].__setitem__("num_timesteps", 64)
    ),
    "the plug-in's state": ("ppo, homeostasis in training", lambda m: _online(m).__iadd__(1.0)),
}  # fmt: skip


def _another_generator() -> np.ndarray:
    return torch.Generator().manual_seed(5).get_state().numpy()


def _moved(state: dict[str, Any]) -> None:
    state["state"]["state"] += 2


def _first(moment: snapshot.Snapshot, name: str) -> np.ndarray:
    return next(v for k, v in moment.tensors.items() if k.startswith("optimiser/") and k.endswith("/" + name))


def _scale(moment: snapshot.Snapshot, name: str, factor: float) -> None:
    """Scale a part of the policy, under every name that SB3 keeps it by."""
    for key, value in moment.tensors.items():
        if key.startswith("policy/") and name in key:
            value *= factor


def _online(moment: snapshot.Snapshot) -> np.ndarray:
    """The largest part of the plug-in's state: what it added to the weights."""
    found = [value for key, value in moment.tensors.items() if key.startswith("online/adaptation")]
    return max(found, key=lambda value: value.size)


@pytest.fixture(scope="module")
def whole_and_cut(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[str, Path]]:
    """Return a maker of a case's digest and of the folder that it leaves when it is cut; both are trained once."""

    @functools.cache
    def of(name: str) -> tuple[str, Path]:
        folder = tmp_path_factory.mktemp("begun")
        mine = replace(CASES[name], out=folder / "cut", eval_freq=-1)
        whole = trained(name, eval_freq=-1)
        with pytest.MonkeyPatch.context() as patch:
            cut_at(patch, {"sac": 256, "ppo, homeostasis in training": 1100}.get(name, 128))
            with pytest.raises(Cut):
                train(mine)
        return whole.spec.digest, folder / "cut"

    return of


@pytest.mark.parametrize("what", DROPPED)
def test_whatever_is_forgotten_is_noticed(
    what: str, whole_and_cut: Callable[[str], tuple[str, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tests above can fail: without this part of a checkpoint the parameters or the check of the world differ."""
    name, drop = DROPPED[what]
    digest, folder = whole_and_cut(name)
    shutil.copytree(folder, tmp_path / "cut")
    mine = replace(CASES[name], out=tmp_path / "cut", eval_freq=-1)
    load = checkpointer.Checkpoints.load

    def loaded(self: Any) -> Any:
        found = load(self)
        assert found is not None
        drop(found[1])
        return found

    monkeypatch.setattr(checkpointer.Checkpoints, "load", loaded)
    notes: list[str] = []
    try:
        done = train(mine, note=notes.append)
    except StorageFault:
        return
    assert done.spec.digest != digest or any("did not come back" in note for note in notes)


def test_nothing_forgotten_is_nothing_noticed(whole_and_cut: Callable[[str], tuple[str, Path]], tmp_path: Path) -> None:
    """And pass: the copy of a run that was cut goes on as it would have gone on itself."""
    digest, folder = whole_and_cut("sac")
    shutil.copytree(folder, tmp_path / "cut")
    assert train(replace(CASES["sac"], out=tmp_path / "cut", eval_freq=-1)).spec.digest == digest


def words(out: Path, *more: str) -> list[str]:
    small = ["-params", "n_steps:16", "n_envs:1", "batch_size:16", "agent_kwargs:{hidden: [8, 8]}"]
    return [
        "train", "--algo", "ppo", "--env", "toy_envs:Paced-v0", "--agent", "mlp", "-n", "640", "--eval-freq", "-1",
        "--save-freq", "100000", "--out", str(out), "--json", *more, *small,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    main(words(folder))
    return folder


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_saves_and_the_same_command_goes_on(
    number: signal.Signals, undisturbed: Path, tmp_path: Path, capsys: Any
) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "homeo_rl", *words(tmp_path / "cut")]
    environment = {**os.environ, "STEP_SECONDS": "0.02"}  # how slow the steps are changes nothing else
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    deadline = time.monotonic() + 120
    while not (tmp_path / "cut" / "0.monitor.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(number)
    begin = time.monotonic()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number, said
    assert "the same command resumes" in said
    assert time.monotonic() - begin < 30
    assert list((tmp_path / "cut" / "checkpoints").glob("0*"))
    main(words(tmp_path / "cut"))
    cut = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert cut["digest"] == Run.open(undisturbed).spec.digest


def test_a_signal_that_cannot_wait(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An iteration takes too long: its beginning is written, and gone on from."""
    mine, whole = replace(CASES["ppo"], out=tmp_path / "run", save_freq=10**6), trained("ppo")

    def impatient(self: checkpointer.Checkpointer, steps: list[int] = [0]) -> None:  # noqa: B006  # counts the calls
        before(self)
        steps[0] += 1
        if steps[0] == 3:
            self.signals.ask(signal.SIGTERM)
            self.signals._insist(signal.SIGALRM, None)

    before = checkpointer.Checkpointer.__call__
    with monkeypatch.context() as patch:
        patch.setattr(checkpointer.Checkpointer, "__call__", impatient)
        with pytest.raises(Stopped):
            train(mine)
    notes: list[str] = []
    assert train(mine, note=notes.append).spec.digest == whole.spec.digest
    assert "going on at step 128" in notes[0]


def test_one_of_two_commands_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = replace(CASES["a2c"], out=tmp_path / "run")
    with monkeypatch.context() as patch:
        cut_at(patch, 100)
        with pytest.raises(Cut):
            train(mine)
    with Run.open(mine.out).hold(), pytest.raises(UsageError, match=f"process {os.getpid()}"):
        train(mine)
    (mine.out / ".lock").write_text("process 999999 on elsewhere\n")  # stale: nobody holds it
    train(mine)


def test_hundreds_of_starts_share_no_folder(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        made = [path for paths in pool.map(race.make_numbered, [tmp_path] * 20, [20] * 20) for path in paths]
    assert len(set(made)) == 400


def test_of_commands_started_together_one_has_the_folder(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as pool:
        for trial in range(25):
            won = list(pool.map(race.claims, [tmp_path / str(trial)] * 4, range(4)))
            assert won.count(True) == 1
            assert Run.open(tmp_path / str(trial)).spec.seed == won.index(True)


def test_a_folder_of_a_command_that_was_killed_before_it_began(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").write_text("process 1 on elsewhere\n")
    (tmp_path / "run" / "run.json.new").write_text('{"form')
    assert train(replace(CASES["a2c"], out=tmp_path / "run")).spec.digest


def test_too_much_is_refused_before_it_starts(tmp_path: Path, capsys: Any) -> None:
    """A buffer larger than the memory, a disk that is full, a folder that cannot be written to."""
    with pytest.raises(SystemExit) as stopped:
        main(["train", "--algo", "sac", "--env", "HalfCheetah-v5", "--out", str(tmp_path / "run"),
              "-params", "buffer_size:10000000000"])  # fmt: skip
    told = capsys.readouterr().err
    assert stopped.value.code == 2
    assert "GB" in told
    assert "buffer_size" in told
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit):
        main(["train", "--env", "Pendulum-v1", "--out", str(tmp_path / "file" / "run")])
    assert "cannot make the run folder" in capsys.readouterr().err
    with pytest.raises(UsageError, match=r"of disk for checkpoints"):
        estimates.require(estimates.Estimate(0, 2**60, 0), tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_keeps_the_last_checkpoint(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third checkpoint meets a full disk: exit by StorageFault, the second is whole, and the same plan goes on."""
    for name in ("a2c", "sac"):
        mine = replace(CASES[name], out=tmp_path / name, eval_freq=-1)
        whole = trained(name, eval_freq=-1)
        with monkeypatch.context() as patch:

            def full(path: Path, blob: bytes, out: Path = mine.out, written: Any = bundle.write_synced) -> None:
                if len(list((out / "checkpoints").glob("0*"))) >= 2 and "checkpoints" in str(path):
                    written(path, blob[: len(blob) // 2])
                    raise OSError(errno.ENOSPC, "No space left on device")
                written(path, blob)

            patch.setattr(bundle, "write_synced", full)
            with pytest.raises(StorageFault, match="No space left"):
                train(mine)
        assert train(mine).spec.digest == whole.spec.digest


def test_verify_resume(tmp_path: Path, capsys: Any) -> None:
    run = train(replace(CASES["a2c"], out=tmp_path / "run"))
    main(["verify-resume", str(run.path), "--steps", "100", "--json"])
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["equal"] is True
    assert told["whole"] == told["cut"]
    with pytest.raises(SystemExit) as stopped:
        main(["verify-resume", str(tmp_path / "nowhere")])
    assert stopped.value.code == 2


def dies_at(number: int, folder: Path) -> None:
    """Leave the process before the ``number``-th change of a file under ``folder``."""
    counted = [0]
    changes = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree")

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            if not isinstance(arguments[2], int) or not arguments[2] & (os.O_WRONLY | os.O_RDWR):
                return
        elif event not in changes:
            return
        if str(folder) in str(arguments[0]):
            counted[0] += 1
            if counted[0] == number:
                os._exit(9)

    sys.addaudithook(hook)


def in_a_child(what: Any) -> int:
    """Run in a forked process; return its exit code."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            what()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def crash_points(name: str, whole: Run, tmp_path: Path, points: list[int]) -> int:
    """Kill the training before each of these storage calls, go on, compare; return how many there were."""
    mine = replace(CASES[name], eval_freq=-1, tensorboard=tmp_path / "tb")
    met = 0
    for point in points:
        out = tmp_path / f"run{point}"

        def doomed(point: int = point, out: Path = out) -> None:
            dies_at(point, out)
            train(replace(mine, out=out))

        code = in_a_child(doomed)
        if code == 0:
            break  # there are no more
        assert code == 9, code
        met += 1
        assert train(replace(mine, out=out)).spec.digest == whole.spec.digest, point
    return met


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
@pytest.mark.parametrize(("name", "calls"), [("a2c", [1, 3, 12, 20, 31, 44]), ("sac", [3, 20, 44])])
def test_killed_at_some_storage_calls(name: str, calls: list[int], trained: Trained, tmp_path: Path) -> None:
    """What the long test does at every call."""
    assert crash_points(name, trained(name, eval_freq=-1), tmp_path, calls) >= len(calls) - 1


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
@pytest.mark.parametrize("name", ["ppo", "sac"])
def test_killed_at_every_storage_call(name: str, trained: Trained, tmp_path: Path) -> None:
    met = crash_points(name, trained(name, eval_freq=-1), tmp_path, list(range(1, 2000)))
    print(f"{name}: killed at {met} storage calls, 0 mismatches")
    assert met > 50
