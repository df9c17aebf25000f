"""Every benchmark runs with tiny sizes and prints what it promises; nothing here is timed."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from c_controller import needs_gcc
from forked import run_forked
from trainings import plan

from benchmarks.imp_digits import ARMS, LOSSES, NETWORKS, draw
from homeo_rl.training.train import train

ROOT = Path(__file__).parents[2]
RATIOS = {
    "policy_step": {"vs_mlp", "vs_limit", "checks_us"},
    "sb3_loop": {f"{algo}_{agent}_vs_mlp" for algo in ("ppo", "sac", "td3") for agent in ("san", "popsan")},
    "training_step": {"vs_mlp", "vs_limit", "vs_limit_float32"},
    "observer_step": {"shut_us", "alarm_us", "rehearsal_ms"},
    "many_robots": {"times_gymnasium", "times_physics"},
    "batched_faults": {"worst_kind_percent", "four_together_percent"},
    "dwam_step": {"vs_plain", "crowd_time_per_environment", "crowd_memory_per_weights"},
    "gpu_step": {"forward_vs_reference", "training_vs_reference", "forward_vs_limit", "training_vs_limit"},
    "evaluation_suite": {"vs_limit"},
    "conversion_digits": {"equal"},
    "checkpoint_cost": {"share_of_training_percent", "vs_stable_baselines3"},
    "c_controller": {"c_over_network", "c_native_over_network", "c_over_session", "c_over_session_dwam"},
    "compiler_sizes": {"upper_over_gates_4", "gates_over_lower_4", "upper_over_gates_6", "gates_over_lower_6"},
    "spike_trains": {"agreement"},
    "sweep_overhead": {"vs_cells"},
    "sweep": {"speedup", "efficiency"},
    "navigation_world": {"steps_per_second", "vs_shapely", "330_obstacles_vs_33", "resident_mb"},
}


def benchmark(name: str) -> None:
    """Run a benchmark as ``python -m`` does."""
    sys.argv[1:] = ["--tiny", "--json"]
    runpy.run_module(f"benchmarks.{name}", run_name="__main__", alter_sys=True)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=needs_gcc if name == "c_controller" else ()) for name in sorted(RATIOS)]
)
def test_benchmark(name: str) -> None:
    done = run_forked(benchmark, name, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert RATIOS[name] <= set(result["ratios"])
    assert all(value > 0 for value in [*result["medians"].values(), *result["ratios"].values()])
    assert result["medians"]


def test_imp_digits(tmp_path: Path) -> None:
    """Gains by network, accuracies by step, and with --json not a file."""
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "benchmarks.imp_digits",
        "--tiny",
        "--json",
    ]
    before = sorted((ROOT / "runs").rglob("*"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert set(result["imp_gain_t1"]) == set(result["constant_gain_t1"]) == {"mlp", "cnn"}
    assert len(result["accuracy"]) == 2 * 4 * 3
    assert all(len(steps) == 4 and all(0 <= value <= 100 for value in steps) for steps in result["accuracy"].values())
    assert result["picture"] is None, "JSON is all that was asked for"
    assert list(tmp_path.iterdir()) == []
    assert sorted((ROOT / "runs").rglob("*")) == before


def test_imp_digits_draws(tmp_path: Path) -> None:
    """The picture is drawn where --picture says."""
    rng = np.random.default_rng(0)
    names = [f"{network} {loss} {arm}" for network in NETWORKS for loss in LOSSES for arm in ARMS]
    draw({name: rng.uniform(50.0, 90.0, (3, 4)) for name in names}, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 10_000


def test_sleep_repairs() -> None:
    """A row for each arm, the frozen policy first; bytes grow with the memory."""
    command = [
        sys.executable, "-W", "ignore", "-m", "benchmarks.sleep_repairs", "popsan-hopper-0", "--tiny", "--json",
        "--conditions", "zero-30", "--arms", "weight-copy", "--observations", "20,250",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    frozen, small, large = json.loads(done.stdout.splitlines()[-1])
    assert (frozen["arm"], frozen["harmed"], frozen["stored"]) == ("none", None, None)
    assert small["arm"] == "weight-copy:observations=20"
    assert large["stored"] > small["stored"] > 0
    assert large["seconds"] > 0
    assert 0 <= small["harmed"] <= 1
    assert small["worst"] <= small["retention"]


def test_masked_velocity(tmp_path: Path) -> None:
    """Arms of about equal size, each trained once: the same command again prints the same numbers."""
    command = [
        sys.executable, "-W", "ignore", "-m", "benchmarks.masked_velocity", "--steps", "256", "--seeds", "1",
        "--episodes", "1", "--out", str(tmp_path / "cells"),
    ]  # fmt: skip
    first, again = (
        subprocess.run([*command, *more], cwd=ROOT, capture_output=True, text=True, check=False)
        for more in (["--json"], [])
    )
    assert first.returncode == 0, first.stderr
    rows = {row["arm"]: row for row in json.loads(first.stdout.splitlines()[-1])}
    assert set(rows) == {"spiking", "lstm", "stacked", "reactive", "replay"}
    assert all(0.85 < row["parameters"] / rows["spiking"]["parameters"] < 1.05 for row in rows.values())
    assert again.stdout.count(" parameters") == len(rows)
    assert f"{rows['lstm']['returns'][0]:,.0f}" in again.stdout


def test_published_table(tmp_path: Path) -> None:
    """A row a run: the curve's best and last mean, and returns of held-out episodes that repeat."""
    run = train(replace(plan("td3", "Hopper-v5"), out=tmp_path / "hopper"))
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.published_table", str(run.path), "--episodes", "2"]
    first, again = (
        subprocess.run([*command, *more], cwd=ROOT, capture_output=True, text=True, check=False)
        for more in (["--json"], [])
    )
    assert first.returncode == 0, first.stderr
    (row,) = json.loads(first.stdout.splitlines()[-1])
    means = np.load(run.path / "evaluations.npz")["results"].mean(1)
    assert (row["best"], row["final"]) == (means.max(), means[-1])
    assert row["best_at"] in (100, 200, 300)
    line = again.stdout.splitlines()[1].split()
    assert line[0] == "hopper"
    assert line[4:] == [f"{row['held_out']:,.0f}", f"{row['held_out_of_best']:,.0f}", "3,410", "3,592"]


def test_all_benchmarks_are_tested() -> None:
    """A new benchmark is run here the day it is written."""
    names = {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    assert names - set(RATIOS) == {
        "__init__",
        "common",
        "networks",
        "navigation_rendering",
        "imp_digits",
        "masked_velocity",
        "published_table",
        "random_returns",
        "sleep_repairs",
    }
