"""Claims that take minutes to hours: `make test-long`. Each prints the figure that the README quotes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cli_calls import call, last
from conftest import published

from homeo_rl.degradations import load_suite
from homeo_rl.report import cells, differences, read_scores

pytestmark = pytest.mark.long

DAMAGED = ["weights-gaussian", "weights-zero", "dead-neurons"]


@pytest.fixture
def popsan(tmp_path: Path, popsan_file: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    call("import", "popsan", popsan_file, "--env", "HalfCheetah-v5", "--out", tmp_path / "popsan", capsys=capsys)
    return tmp_path / "popsan"


def test_published_policy_clean(popsan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = call(
        "evaluate", popsan, "--suite", "clean", "--homeostasis", "none", "--episodes", "10", "--json", capsys=capsys
    )
    mean = last(out)["cells"][0]["mean"]
    with capsys.disabled():
        print(f"\nclean mean return of the published policy: {mean:.0f}")
    assert 9600 <= mean <= 10300


def test_dwam_keeps_the_published_policy_alive(popsan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    since = time.monotonic()
    out, _ = call(
        "evaluate",
        popsan,
        "--suite",
        "paper-mujoco",
        "--homeostasis",
        "none,dwam,linear,bdett",
        "--json",
        capsys=capsys,
    )
    spent = time.monotonic() - since
    rows = read_scores(Path(last(out)["scores"]))
    paired = {d.arm: d for d in differences(rows, conditions=DAMAGED)}
    clean = {cell.arm: cell for cell in cells(rows) if cell.label == "clean"}
    with capsys.disabled():
        print(f"\n4 arms, {len(load_suite('paper-mujoco').conditions)} conditions, 20 episodes: {spent:.0f} s")
        for arm, cell in clean.items():
            print(
                f"{arm}: clean mean {cell.mean:.0f}, IQM {cell.iqm:.0f}", replace(paired[arm]) if arm in paired else ""
            )
    # Interquartile means: the frozen policy falls over in about one clean episode of thirty.
    assert clean["dwam"].iqm == pytest.approx(clean["none"].iqm, rel=0.02)
    assert paired["dwam"].mean >= 0.10
    assert paired["dwam"].ci_low > 0


@pytest.mark.parametrize("seed", ["0", "1", "2"])
@pytest.mark.parametrize("agent", ["popsan", "mlp", "qcfs"])
@pytest.mark.parametrize(
    ("algo", "env", "steps", "least"),
    [
        ("ppo", "InvertedPendulum-v5", "100000", 900.0),
        ("sac", "Pendulum-v1", "10000", -250.0),
        ("td3", "HalfCheetah-v5", "100000", 1500.0),
    ],
)
def test_training_from_scratch(
    algo: str, env: str, steps: str, least: float, agent: str, seed: str,
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Mean return of 20 fresh episodes after training; the other arms are printed, the spiking one is held to it."""
    out = tmp_path / "run"
    call(
        "train",
        "--algo",
        algo,
        "--env",
        env,
        "--agent",
        agent,
        "-n",
        steps,
        "--seed",
        seed,
        "--out",
        out,
        capsys=capsys,
    )
    output, _ = call("evaluate", out, "--suite", "clean", "--homeostasis", "none", "--json", capsys=capsys)
    mean = last(output)["cells"][0]["mean"]
    curve = np.load(out / "evaluations.npz")
    with capsys.disabled():
        points = ", ".join(f"{t}: {r:.0f}" for t, r in zip(curve["timesteps"], curve["results"].mean(1), strict=True))
        print(f"\n{algo} {agent} {env} seed {seed}: {mean:.0f} ({points})")
    if agent == "popsan":
        assert mean >= least


@pytest.fixture
def routes() -> Path:
    return published("navigation", "routes.json")


@pytest.mark.parametrize("seed", ["0", "1", "2"])
@pytest.mark.parametrize(("algo", "agent", "least"), [("td3", "san", 0.95), ("sac", "san", 0.9), ("sac", "mlp", 0.0)])
def test_navigation_from_scratch(
    algo: str, agent: str, least: float, seed: str, routes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One command, worlds 1 to 4 only; then the 100 shared routes of the evaluation world.

    The goal is 95 %. SAC misses it with one seed of ten (docs/navigation.md); the control arm is printed.
    """
    since = time.monotonic()
    call("train", "--algo", algo, "--env", "homeo_rl/NavigationTrain-v0", "--agent", agent, "--seed", seed,
         "--out", tmp_path / "run", capsys=capsys)  # fmt: skip
    spent = time.monotonic() - since
    output, _ = call("evaluate", tmp_path / "run", "--suite", "clean", "--env", "homeo_rl/Navigation-v0",
                   "--routes", routes, "--homeostasis", "none", "--json", capsys=capsys)  # fmt: skip
    cell = last(output)["cells"][0]
    with capsys.disabled():
        print(f"\n{algo} {agent} seed {seed}: {spent / 60:.0f} min; {cell}")
    assert spent < 3600
    assert cell["success"] >= least


@pytest.mark.parametrize(("env", "least"), [("homeo_rl/Navigation-v0", 0.97), ("homeo_rl/NavigationDynamic-v0", 0.0)])
def test_the_pretrained_agent_drives(
    env: str,
    least: float,
    routes: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Among moving obstacles, which it was not trained for, its figure is printed only."""
    monkeypatch.chdir(tmp_path)
    out, _ = call("evaluate", "navigation-san", "--suite", "clean", "--env", env, "--routes", routes, "--homeostasis",
                   "none", "--json", capsys=capsys)  # fmt: skip
    cell = last(out)["cells"][0]
    with capsys.disabled():
        print(f"\nnavigation-san on the shared routes, {env}: {cell}")
    assert cell["success"] >= least


def cut_returns(run: Path, capsys: pytest.CaptureFixture[str]) -> list[float]:
    """Mean returns of 20 episodes after 1, 2, 3 and 4 spike steps."""
    output, _ = call("evaluate", run, "--suite", "clean", "--homeostasis", "none", "--time-steps", "1,2,3,4", "--json",
                   capsys=capsys)  # fmt: skip
    return [cells[0]["mean"] for cells in last(output)["time_steps"].values()]


@pytest.mark.parametrize(("loss", "least"), [("tet-s", 950.0), ("sdt", 0.0), ("lts", 0.0)])
def test_a_student_balances_after_one_step(
    loss: str, least: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call("train", "--algo", "ppo", "--env", "InvertedPendulum-v5", "--agent", "mlp", "-n", "60000", "--out",
         tmp_path / "teacher", capsys=capsys)  # fmt: skip
    call("distill", tmp_path / "teacher", "--out", tmp_path / "student", "--loss", loss, capsys=capsys)
    returns = cut_returns(tmp_path / "student", capsys)
    with capsys.disabled():
        print(f"\n{loss}: returns after 1, 2, 3, 4 steps: {', '.join(f'{value:.0f}' for value in returns)}")
    assert returns[0] >= least


@pytest.mark.parametrize(("loss", "least"), [("tet-s", 7000.0), ("sdt", 0.0), ("lts", 0.0)])
def test_a_student_of_the_published_policy(
    loss: str, least: float, popsan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call("distill", popsan, "--out", tmp_path / "student", "--loss", loss, "--rounds", "8", "--samples", "10000",
         "--steps", "4000", capsys=capsys)  # fmt: skip
    returns = cut_returns(tmp_path / "student", capsys)
    with capsys.disabled():
        print(f"\n{loss}: returns after 1, 2, 3, 4 steps: {', '.join(f'{value:.0f}' for value in returns)}")
    assert returns[0] >= least


def test_initial_potentials_lift_the_first_step(capsys: pytest.CaptureFixture[str]) -> None:
    """Ten seeds of digits; the control is printed beside."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.imp_digits", "--json"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout.splitlines()[-1])
    with capsys.disabled():
        print(f"\npoints after one step: {result['imp_gain_t1']}, control {result['constant_gain_t1']}")
    for network in ("mlp", "cnn"):
        assert result["imp_gain_t1"][network] >= 3
        assert result["intervals"][f"{network} sdt IMP"][0] > 0
