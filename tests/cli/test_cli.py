"""The command line as a user meets it: in its own process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cli_errors
import numpy as np
import pytest
from cli_calls import call, last
from PIL import Image

from homeo_rl.cli import main
from homeo_rl.cli.common import print_doubt
from homeo_rl.run import Run

SMALL = ["-params", "agent_kwargs:{hidden: [12, 10]}", "--no-progress"]


def train(folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> Any:
    words = ["train", "--env", "toy_envs:Point-v0", "-n", "300", "-f", folder, "--eval-freq", "100", "--json", *SMALL]
    out, _ = call(*words, *more, capsys=capsys)
    return last(out)


def test_train_evaluate_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = train(
        tmp_path, capsys, "--algo", "ppo", "-params", "n_steps:32", "batch_size:32", "agent_kwargs:{hidden: [12, 10]}"
    )
    run = Run.open(Path(message["run"]))
    assert run.path == tmp_path / "ppo" / "Point-v0_1"
    expected = {
        "run.json", "policy", "best", "checkpoints", "tb", "Point-v0.zip", "best_model.zip", "evaluations.npz",
        ".lock", "0.monitor.csv", "1.monitor.csv", "2.monitor.csv", "3.monitor.csv", "Point-v0",
    }  # fmt: skip
    assert {path.name for path in run.path.iterdir()} == expected
    assert {path.name for path in run.export_folder.iterdir()} == {"args.yml", "config.yml", "command.txt"}
    assert "n_steps:32" in (run.export_folder / "command.txt").read_text()
    assert run.spec.hyperparams["n_steps"] == 32
    assert run.spec.controller is not None
    assert run.spec.controller.network.hidden == (12, 10)

    out, _ = call(
        "evaluate",
        run.path,
        "--suite",
        "quick",
        "--episodes",
        "3",
        "--workers",
        "1",
        "--json",
        "--no-progress",
        capsys=capsys,
    )
    result = last(out)
    assert set(result) == {"run", "suite", "suite_hash", "scores", "picture", "paths", "cells", "differences"}
    assert set(result["cells"][0]) >= {
        "arm", "condition", "severity", "episodes", "mean", "iqm", "ci_low", "ci_high", "retention", "success",
    }  # fmt: skip
    assert len(result["cells"]) == 2 * 6
    folder = Path(result["scores"]).parent
    assert {path.name for path in folder.iterdir()} == {"scores.csv", "evaluation.json", "report.md", "returns.png"}
    with Image.open(folder / "returns.png") as picture:
        assert picture.width > 600
    assert "dead-neurons" in out

    out, _ = call("report", run.path, "--conditions", "weights-zero,dead-neurons", "--json", capsys=capsys)
    report = last(out)
    assert Path(report["page"]).exists()
    assert all(d["conditions"] == ["weights-zero", "dead-neurons"] for d in report["differences"])

    hint = "how many entries there are depends on include_cinert_in_observation"
    words = ["import", "sb3-zip", run.path / "Point-v0.zip", "--agent", "popsan", "--out", tmp_path / "ant"]
    _, err = call(*words, "--env", "Ant-v5", code=2, capsys=capsys)
    assert hint.replace("cinert", "cfrc_ext") in err
    _, err = call("enjoy", run.path, "--env", "Humanoid-v5", "--video", tmp_path / "x.gif", code=2, capsys=capsys)
    assert hint in err
    assert not (tmp_path / "x.gif").exists()


def test_returns_near_random_ones_are_remarked_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a training whose last evaluation shows it, and after a clean episode; where nothing is known, nowhere."""
    remark = "the policy counts as untrained"
    words = ["train", "--env", "CartPole-v1", "-n", "64", "--eval-freq", "64", "--out", tmp_path / "pole", *SMALL]
    out, _ = call(*words, "-params", "n_steps:64", "batch_size:64", "n_envs:1", capsys=capsys)
    assert remark in out
    print_doubt("CartPole-v1", [400.0, 500.0])
    print_doubt("toy_envs:Point-v0", [0.0])
    print_doubt("CartPole-v1", [])
    assert capsys.readouterr().out == ""
    print_doubt("module:CartPole-v1", [10.0, 20.0])
    assert "note: return 15.0 is -0.02 of the way from random" in capsys.readouterr().out
    for length, expected in ((30, True), (400, False)):  # a video cuts the second one
        episode = SimpleNamespace(index=0, total=30.0, length=length, outcome="", success=None)
        monkeypatch.setattr("homeo_rl.evaluation.enjoy.enjoy", lambda *_, episode=episode, **__: [episode])
        out, _ = call("enjoy", tmp_path / "pole", "--video", tmp_path / "pole.gif", capsys=capsys)
        assert (remark in out) == expected


def test_one_seed_is_one_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Training twice with one seed gives the same policy; evaluating twice the same bytes."""
    small = [
        "-n",
        "150",
        "-params",
        "learning_starts:50",
        "batch_size:16",
        "agent_kwargs:{hidden: [12, 10]}",
        "net_arch:[8]",
    ]
    runs = [Path(train(tmp_path / name, capsys, "--algo", "td3", *small)["run"]) for name in "ab"]
    policies = [(run / "policy" / "tensors.safetensors").read_bytes() for run in runs]
    assert policies[0] == policies[1]
    other = Path(train(tmp_path / "c", capsys, "--algo", "td3", "--seed", "1", *small)["run"])
    assert (other / "policy" / "tensors.safetensors").read_bytes() != policies[0]
    words = ["evaluate", "--episodes", "2", "--workers", "1", "--json", "--no-progress"]
    texts = []
    for num_envs in ("1", "8"):
        out, _ = call(*words, runs[0], "--num-envs", num_envs, capsys=capsys)
        texts.append(Path(last(out)["scores"]).read_text())
    assert texts[0] == texts[1]


def test_tensorboard_tags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    message = train(
        tmp_path, capsys, "--algo", "ppo", "--homeostasis-in-training", "dwam-paper", "-n", "1500",
        "-params", "n_steps:64", "batch_size:64", "n_envs:2", "agent_kwargs:{hidden: [12, 10]}",
    )  # fmt: skip
    run = Path(message["run"])
    call("evaluate", run, "--suite", "quick", "--episodes", "2", "--workers", "1", "--no-progress", capsys=capsys)

    def tags(folder: Path) -> set[str]:
        events = EventAccumulator(str(folder))
        events.Reload()
        return set(events.Tags()["scalars"])

    training = tags(next((run / "tb").glob("PPO_*")))
    assert {"rollout/ep_rew_mean", "train/loss", "time/fps", "eval/mean_reward"} <= training
    assert {"snn/rate/0", "snn/rate/1", "snn/rate/2", "snn/synops", "snn/spikes", "snn/energy_nJ"} <= training
    assert {f"homeo/{name}/{layer}" for name in ("drift", "theta", "rate_error") for layer in range(3)} <= training
    assert "homeo/ratio_gap" in training
    cells = [tags(run / "tb" / "quick" / c / a) for c in ("clean", "weights-zero") for a in ("none", "dwam")]
    assert all({"suite/return", "suite/length", "suite/energy_nJ"} <= cell for cell in cells)
    assert {f"within_episode/{n}/{k}" for n in ("drift", "theta", "rate_error") for k in range(3)} <= cells[-1]
    cards = sorted(set().union(training, *(tags(path.parent) for path in (run / "tb").rglob("events.*"))))
    assert len(cards) < 70, "one card a figure, not one a cell"
    assert not [card for card in cards if card < "eval/" and "homeo" not in card], "the learning curve comes first"
    assert {card.partition("/")[0] for card in set(cards) - training} == {"suite", "within_episode"}
    text = EventAccumulator(str(run / "tb" / "evaluation"))
    text.Reload()
    assert text.Tags()["tensors"] == ["suite/quick/text_summary"]


def test_import_and_enjoy(tmp_path: Path, popsan_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = call(
        "import", "popsan", popsan_file, "--env", "HalfCheetah-v5", "--out", tmp_path / "p", "--json", capsys=capsys
    )
    assert last(out)["run"] == str(tmp_path / "p")
    _, err = call(
        "import", "popsan", popsan_file, "--env", "HalfCheetah-v5", "--out", tmp_path / "p", code=2, capsys=capsys
    )
    assert "expected a new or empty folder" in err


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_videos(make_run: Callable[..., Run], tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str) -> None:
    run, path = make_run(), tmp_path / f"film{suffix}"
    call(
        "enjoy",
        run.path,
        "--video",
        path,
        "--condition",
        "weights-zero",
        "--homeostasis",
        "dwam",
        "--max-episode-steps",
        "15",
        capsys=capsys,
    )
    with Image.open(path) as film:
        assert film.n_frames == 16  # type: ignore[attr-defined]
        film.seek(5)
        picture = np.asarray(film.convert("RGB"))
        assert picture.shape == (24, 32, 3)
        assert picture[5].mean() > 200, "the bright row is where the sixth frame has it"
        assert picture[15].mean() < 50


def test_mujoco_video_follows_the_robot(
    popsan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from homeo_rl.envs.rendering import choose_backend
    from homeo_rl.errors import UsageError

    monkeypatch.setenv("MUJOCO_GL", "")  # whatever is chosen is undone after the test
    monkeypatch.setenv("PYOPENGL_PLATFORM", "")
    try:
        choose_backend()
    except UsageError as error:
        pytest.skip(f"this machine cannot render MuJoCo: {error}")
    call("import", "popsan", popsan_file, "--env", "HalfCheetah-v5", "--out", tmp_path / "p", capsys=capsys)
    call("enjoy", tmp_path / "p", "--video", tmp_path / "film.gif", "--steps", "60", capsys=capsys)
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames > 55, "frames that do not change are merged: the robot left the picture"  # type: ignore[attr-defined]


def test_what_rendering_needs_is_named(
    make_run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """CartPole is drawn by a package that may be absent."""
    monkeypatch.setitem(sys.modules, "pygame", None)
    run = make_run("CartPole-v1", "mlp")
    with pytest.raises(SystemExit):
        main(["enjoy", str(run.path), "--video", str(tmp_path / "film.gif")])
    assert "pygame" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "message"), cli_errors.BAD, ids=[" ".join(words) for words, _ in cli_errors.BAD])
def test_bad_input(
    words: list[str], message: str, make_run: Callable[..., Run], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Exit code 2, one line that says what to do, nothing written."""
    run = make_run()
    empty = tmp_path / "empty"
    empty.mkdir()
    cli_errors.write_files(empty)
    monkeypatch.chdir(empty)
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    command = [str(run.path) if word == "RUN" else str(tmp_path / "out") if word == "OUT" else word for word in words]
    out, err = call(*command, code=2, capsys=capsys)
    assert len(err.strip().splitlines()) <= (3 if words[0] == "compile" else 1), err
    assert len(err) < 800
    assert message in err
    assert err.startswith("homeo-rl")
    assert not out
    assert (
        sorted(str(path) for path in tmp_path.rglob("*") if "runs" not in path.name or any(path.rglob("*.*"))) == before
    )


@pytest.mark.parametrize("algo", ["ppo", "td3"])
def test_nan_ends_training_with_code_4(algo: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "--algo", algo, "--env", "toy_envs:Broken-v0", "-n", "200", "-f", tmp_path, *SMALL]
    _, err = call(*words, code=4, capsys=capsys)
    assert "Broken-v0: step 7: observation entry 1 is nan" in err
    (path,) = tmp_path.glob("*/Broken-v0_1")
    run = Run.open(path)
    assert run.spec.steps < 200
    assert run.load_policy()[1]["controller"], "what was learnt before the fault is kept"


def test_sigterm_keeps_the_policy(tmp_path: Path) -> None:
    """A terminated training exits with 143, says so, and leaves a run that can be evaluated."""
    command = [
        sys.executable, "-m", "homeo_rl", "train", "--env", "toy_envs:Point-v0", "-n", "10000000",
        "--out", str(tmp_path / "run"), "--eval-freq", "-1", *SMALL, "-params", "n_steps:64", "batch_size:64",
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while (
        not list(tmp_path.glob("run/0.monitor.csv"))
        or len((tmp_path / "run" / "0.monitor.csv").read_text().splitlines()) < 5
    ):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert "SIGTERM" in err
    run = Run.open(tmp_path / "run")
    assert 0 < run.spec.steps < 10_000_000
    assert run.load_policy()[1]["controller"]


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from homeo_rl.cli import main\n"
        "try: main(['train', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'stable_baselines3', 'mujoco', 'numba', 'matplotlib', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    assert "--homeostasis-in-training" in done.stdout


@pytest.mark.long
def test_how_soon_errors_are_told(make_run: Callable[..., Run], tmp_path: Path) -> None:
    """Each wrong command in a process of its own; seconds are printed, not judged: machines differ."""
    run = make_run()
    folder = tmp_path / "empty"
    folder.mkdir()
    cli_errors.write_files(folder)
    spent = []
    for words, message in cli_errors.BAD:
        command = [
            str(run.path) if word == "RUN" else str(tmp_path / "out") if word == "OUT" else word for word in words
        ]
        began = time.monotonic()
        done = subprocess.run([sys.executable, "-m", "homeo_rl", *command], cwd=folder, capture_output=True, text=True)
        spent.append((time.monotonic() - began, " ".join(words)))
        assert done.returncode == 2, (words, done.stderr)
        assert len(done.stderr.strip().splitlines()) <= 3
        assert message in done.stderr
    assert sorted(path.name for path in folder.iterdir()) == sorted(cli_errors.FILES)
    print(f"{len(spent)} wrong command lines: exit 2 within {max(spent)[0]:.1f} s (slowest: {max(spent)[1]}), "
          f"median {sorted(spent)[len(spent) // 2][0]:.1f} s")  # fmt: skip
