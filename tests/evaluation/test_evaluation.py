from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from homeo_rl.agents.controller import load_controller
from homeo_rl.degradations import DEGRADATIONS, Condition, Suite, build, load_suite
from homeo_rl.degradations.suites import suite_from_dicts
from homeo_rl.errors import EnvironmentFault, NumericalFault, UsageError
from homeo_rl.evaluation.calibrate import calibration_of
from homeo_rl.evaluation.evaluate import Result, evaluate
from homeo_rl.evaluation.metrics import COLUMNS
from homeo_rl.evaluation.plan import Plan
from homeo_rl.homeostasis import MECHANISMS
from homeo_rl.run import Run
from homeo_rl.storage import bundle

ARMS = ("none", "dwam-paper:eta=1e-3", "linear:target=bias", "linear", "bdett", "dwam-paper:scope=run:eta=1e-3")


def suite(*kinds: str, severity: float = 1.0, onset: int = 0) -> Suite:
    damaged = [
        Condition(name=kind, severity=severity, degradations=(build({"kind": kind}, where="test"),), onset=onset)
        for kind in kinds
    ]
    return Suite(name="test", version=1, description="", conditions=(Condition(name="clean"), *damaged))


def plan(
    chosen: Suite, arms: tuple[str, ...] = ("none", "dwam-paper:eta=1e-3"), episodes: int = 3, **more: Any
) -> Plan:
    return Plan(suite=chosen, arms=arms, episodes=episodes, calibration_episodes=2, **{"seed": 0, **more})


def text(result: Result) -> str:
    return (result.folder / "scores.csv").read_text()


def rows(result: Result) -> list[dict[str, str]]:
    with (result.folder / "scores.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("agent", "overrides"), [("popsan", {}), ("san", {}), ("popsan", {"membrane": "episode"})])
def test_scores_do_not_depend_on_how_many_run_side_by_side(
    make_run: Callable[..., Run], agent: str, overrides: dict[str, Any]
) -> None:
    """1, 2, 3, 4 and 8 environments, 1 and 2 processes, one command twice: the same scores.csv, byte for byte."""
    run = make_run(agent=agent, overrides=overrides)
    what = plan(suite("obs-gaussian", "weights-drift", "dead-neurons", "stuck-neurons"), ARMS, episodes=7)
    texts = {
        text(evaluate(run, what, num_envs=num_envs, workers=workers))
        for num_envs, workers in ((1, 1), (2, 1), (4, 1), (8, 1), (8, 2), (3, 1), (8, 1))
    }
    assert len(texts) == 1
    assert len(texts.pop().splitlines()) == 1 + len(ARMS) * 5 * 7


def kinds_of(env: str) -> list[str]:
    """The degradations that are tried in ``env``: those of a lidar need one."""
    return [kind for kind in DEGRADATIONS if kind.startswith("lidar") == env.startswith("homeo_rl/Navigation")]


WALKED = ["HalfCheetah-v5", "homeo_rl/Navigation-v0"]


@pytest.mark.parametrize("env", WALKED)
def test_severity_zero_is_clean_to_the_bit(make_run: Callable[..., Run], env: str) -> None:
    run = make_run(env, overrides={"steps": 2})
    kinds = kinds_of(env)
    short = {"max_episode_steps": 30}
    run.spec.env_kwargs.update(short)
    run.write_spec()
    result = evaluate(run, plan(suite(*kinds, severity=0.0), episodes=2), workers=1)
    assert not result.skipped
    by_cell: dict[tuple[str, str], list[tuple[str, ...]]] = {}
    for row in rows(result):
        by_cell.setdefault((row["arm"], row["condition"]), []).append(tuple(row[column] for column in COLUMNS[4:]))
    for arm in ("none", "dwam-paper:eta=1e-3"):
        for kind in kinds:
            assert by_cell[arm, kind] == by_cell[arm, "clean"], (arm, kind)


@pytest.mark.parametrize(("env", "kind"), [(env, kind) for env in WALKED for kind in kinds_of(env)])
def test_parameters_are_the_same_bits_after_any_evaluation(make_run: Callable[..., Run], env: str, kind: str) -> None:
    """In the process (every session of every cell) and on the disk."""
    run = make_run(env, overrides={"steps": 2})
    run.spec.env_kwargs.update({"max_episode_steps": 12})
    run.write_spec()
    files = {p: p.read_bytes() for p in (run.path / "policy").iterdir()}
    before = [t.clone() for t in load_controller(run).state_dict().values()]
    assert not evaluate(run, plan(suite(kind), tuple(MECHANISMS), episodes=2), workers=1).skipped
    assert files == {p: p.read_bytes() for p in (run.path / "policy").iterdir()}
    after = load_controller(run).state_dict().values()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_mechanism_that_does_nothing_scores_as_none(make_run: Callable[..., Run]) -> None:
    """The adapting path with eta 0 is the frozen policy bit for bit: the arms differ by the mechanism only."""
    run = make_run()
    result = evaluate(run, plan(suite("weights-gaussian"), ("none", "dwam-paper:eta=0", "linear:eta=0"), 5), workers=1)
    found = {
        arm: [s.total for s in result.scores if s.arm == arm] for arm in ("none", "dwam-paper:eta=0", "linear:eta=0")
    }
    assert found["none"] == found["dwam-paper:eta=0"] == found["linear:eta=0"]


def test_arms_meet_the_same_episodes(make_run: Callable[..., Run]) -> None:
    result = evaluate(make_run(), plan(suite("weights-zero", "obs-stuck"), ARMS[:4]), workers=1)
    seeds = {(s.condition, s.episode): set() for s in result.scores}
    for s in result.scores:
        seeds[s.condition, s.episode].add((s.seed, s.length))
    assert all(len(found) == 1 for found in seeds.values())
    totals = [s.total for s in result.scores if s.arm == "none" and s.condition == "weights-zero"]
    assert len(set(totals)) == len(totals)


def test_scores_are_what_they_say(make_run: Callable[..., Run]) -> None:
    run = make_run()
    result = evaluate(run, plan(suite("dead-neurons"), episodes=4), workers=1)
    controller = load_controller(run)
    calibration = calibration_of(run, controller, which="policy", episodes=2)
    assert tuple(rows(result)[0]) == COLUMNS
    for s in result.scores:
        assert s.success in (True, False)
        assert 20 <= s.length <= 40
        assert s.firing_rate is not None
        assert 0 < s.firing_rate < 1
        assert s.rate_deviation is not None
        assert s.rate_deviation > 0
        assert (s.weight_drift > 0) == s.arm.startswith("dwam")
        assert s.synops > 0
    assert len(calibration.rates) == 3
    assert all(np.all(sq >= r * r - 1e-12) for r, sq in zip(calibration.rates, calibration.squares, strict=True))
    assert result.traces["dwam-paper:eta=1e-3", "clean"][1]["drift"][0] > 0


def test_control_arm_is_evaluated_too(make_run: Callable[..., Run]) -> None:
    run = make_run(agent="mlp")
    result = evaluate(run, plan(suite("weights-gaussian", "dead-neurons", "stuck-neurons"), ("none",)), workers=1)
    assert len(result.scores) == 12
    assert result.scores[0].firing_rate is None
    assert len({round(s.total, 9) for s in result.scores if s.episode == 0}) == 4, "damage changes an MLP as well"
    with pytest.raises(UsageError, match="this run's policy is an MLP"):
        evaluate(run, plan(suite("weights-gaussian"), ("none", "dwam")), workers=1)


def test_discrete_actions(make_run: Callable[..., Run]) -> None:
    result = evaluate(make_run("toy_envs:Choice-v0"), plan(suite("action-noise")), workers=1)
    assert len(result.scores) == 12


def test_conditions_that_do_not_apply_are_skipped_aloud(make_run: Callable[..., Run]) -> None:
    result = evaluate(make_run(), plan(suite("body-mass", "obs-dropped")), workers=1)
    assert set(result.skipped) == {"body-mass"}
    assert {s.condition for s in result.scores} == {"clean", "obs-dropped"}


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_evaluation_goes_on(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """Finished cells are kept and not run again, and the result is that of an undisturbed evaluation."""
    run, what = make_run(), plan(suite("obs-gaussian", "weights-zero"))
    whole = text(evaluate(run, what, workers=1))
    stored = bundle.write_json
    written: list[Path] = []

    def interrupt(path: Path, document: Any) -> None:
        stored(path, document)
        if path.parent.name == "cells":
            written.append(path)
            if len(written) == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr(bundle, "write_json", interrupt)
    with pytest.raises(KeyboardInterrupt):
        evaluate(run, what, workers=workers)
    result = evaluate(run, what, workers=workers)
    assert len(set(written)) == len(written) == 6
    assert text(result) == whole
    assert result.folder.name == "test_2"


def test_another_command_does_not_go_on_with_a_foreign_evaluation(make_run: Callable[..., Run]) -> None:
    run = make_run()
    first = evaluate(run, plan(suite("obs-gaussian")), workers=1)
    (first.folder / "scores.csv").unlink()
    second = evaluate(run, plan(suite("obs-gaussian"), seed=1), workers=1)
    assert second.folder != first.folder


def test_calibration_is_made_anew_for_another_policy(make_run: Callable[..., Run]) -> None:
    run, other = make_run(), make_run(name="other", seed=1)
    controller = load_controller(run)
    first = calibration_of(run, controller, which="policy", episodes=2)
    again = calibration_of(run, controller, which="policy", episodes=2)
    assert all(np.array_equal(a, b) for a, b in zip(first.rates, again.rates, strict=True))
    run.save_policy(*other.load_policy())
    changed = calibration_of(run, load_controller(run), which="policy", episodes=2)
    assert not all(np.array_equal(a, b) for a, b in zip(first.rates, changed.rates, strict=True))


def test_nan_stops_an_evaluation_and_leaves_nothing(make_run: Callable[..., Run]) -> None:
    run = make_run(agent="mlp")
    from dataclasses import replace

    broken = Run(run.path, replace(run.spec, env="toy_envs:Broken-v0"))
    broken.write_spec()
    for workers in (1, 2):
        with pytest.raises(NumericalFault, match="Broken-v0: step 7: observation entry 1"):
            evaluate(broken, plan(suite("obs-dropped"), ("none",)), workers=workers)
    assert not list(run.path.glob("evaluations/*"))


def test_a_dead_worker_is_reported(make_run: Callable[..., Run]) -> None:
    run = make_run("toy_envs:Deadly-v0", agent="mlp")
    with pytest.raises(EnvironmentFault, match="a worker process died"):
        evaluate(run, plan(suite("obs-dropped"), ("none",)), workers=2)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_evaluation_that_is_told_to_end_leaves_no_process(
    make_run: Callable[..., Run], tmp_path: Path, workers: int
) -> None:
    """It does not wait for what its workers are at: here an hour."""
    run, at = make_run("toy_envs:Endless-v0", agent="mlp"), tmp_path / "at"
    at.mkdir()
    asked = ["--suite", "quick", "--homeostasis", "none", "--episodes", "1", "--workers", str(workers)]
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "homeo_rl", "evaluate", str(run.path), *asked],
        env={**os.environ, "ENDLESS": str(at)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while len(list(at.iterdir())) < workers:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.terminate()
    try:
        _, err = process.communicate(timeout=600)  # of an hour; a fork server may compile
        assert process.returncode == 128 + signal.SIGTERM, err
        for worker in at.iterdir():
            with pytest.raises(ProcessLookupError):
                os.kill(int(worker.name), 0)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"episodes": 0}, "--episodes"),
        ({"arms": ()}, "at least one arm"),
        ({"arms": ("none", "none")}, "given twice"),
        ({"arms": ("dwamm",)}, "did you mean 'dwam'"),
        ({"calibration_episodes": 0}, "--calibration-episodes"),
    ],
)
def test_bad_plans_are_refused(change: dict[str, Any], said: str) -> None:
    fields = {"suite": load_suite("clean"), "arms": ("none",), "episodes": 2, "seed": 0, **change}
    with pytest.raises(UsageError, match=said):
        Plan(**fields)


def test_rewards_along_an_episode_and_what_was_asked_for(make_run: Callable[..., Run]) -> None:
    """A trace tells rewards and how many episodes still run; a suite can be rebuilt from the evaluation's folder."""
    run = make_run()
    what = plan(suite("weights-drift"), ("none",), episodes=4)
    result = evaluate(run, what, command="homeo-rl evaluate it")
    told = json.loads((result.folder / "evaluation.json").read_text())
    assert told["command"] == "homeo-rl evaluate it"
    again = suite_from_dicts(told["suite"], told["suite_version"], told["conditions"], where="test")
    assert again.hash == what.suite.hash == told["suite_hash"]
    clean = [score for score in result.scores if score.condition == "clean"]
    trace = result.traces["none", "clean"]
    assert trace[0]["episodes"] == [4.0]
    assert trace[-1]["episodes"][0] >= 1
    lengths = [score.length for score in clean]
    windows = [sum(min(max(length - 20 * place, 0), 20) for length in lengths) for place in range(len(trace))]
    earned = sum(entry["reward"][0] * count for entry, count in zip(trace, windows, strict=True))
    assert earned == pytest.approx(sum(score.total for score in clean))
