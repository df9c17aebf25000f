"""``homeo-rl diagnose`` and the arm ``observer`` on an agent of the package, whose forward model comes with it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from homeo_rl.agents.controller import load_controller
from homeo_rl.degradations import load_suite
from homeo_rl.errors import UsageError
from homeo_rl.evaluation.evaluate import evaluate
from homeo_rl.evaluation.observer_memory import fit_observer, load_observer
from homeo_rl.evaluation.plan import EvaluationPlan
from homeo_rl.observer.memory import ObserverMemory
from homeo_rl.run import Run, copy_run
from homeo_rl.storage.pretrained import FOLDER
from tests.support.cli_calls import call

HOST = "popsan-halfcheetah-0"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return copy_run(Run.open(FOLDER / HOST), tmp_path_factory.mktemp("hosts") / HOST)


@pytest.mark.parametrize("agent", sorted(path.parent.name for path in FOLDER.glob("*/observer")))
def test_every_shipped_model_belongs_to_its_policy(agent: str) -> None:
    memory = load_observer(Run.open(FOLDER / agent))
    assert isinstance(memory, ObserverMemory)
    assert memory.size < 4_000_000
    assert np.median(memory.model.r2[memory.model.moves]) > 0.4


def test_a_broken_sensor_is_explained(host: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "sensor.png"
    words = ("diagnose", host.path, "--condition", "velocity", "--episodes", "1", "--picture", picture)
    printed, _ = call(*words, capsys=capsys)
    assert "velocity, seen by observer" in printed
    assert picture.stat().st_size > 10_000


def test_the_diagnosis_is_right_and_helps(host: Run, capsys: pytest.CaptureFixture[str]) -> None:

    printed, _ = call("diagnose", host.path, "--condition", "delay-1", "--episodes", "2", "--json", capsys=capsys)
    for episode in json.loads(printed)["episodes"]:
        assert episode["latency"] == 1
        assert episode["detected"] <= 30
        assert episode["return"] > episode["without"] + 1000
        assert episode["estimated"] > 0.9 * episode["steps"]


def test_draws_of_all_conditions_give_a_confusion_table(
    host: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which sensors were broken is known from the robot's truth, not from the observer."""
    suite, path = tmp_path / "few.yaml", tmp_path / "confusion.csv"
    suite.write_text(
        "name: few\nversion: 1\ndescription: few\nconditions:\n  - name: clean\n  - name: stuck\n"
        "    degradations: [{kind: obs-stuck, fraction: 0.2}]\n  - name: beam\n"
        "    degradations: [{kind: lidar-stuck}]\n  - name: late\n    degradations: [{kind: obs-delayed, steps: 1}]\n"
        "  - name: never\n    onset: 5000\n    degradations: [{kind: velocity, std: 10.0}]\n"
    )
    words = ("diagnose", host.path, "--suite", suite, "--draws", "1", "--table", path, "--json")
    printed, _ = call(*words, capsys=capsys)
    rows = {row["true"]: row for row in json.loads(printed)["confusion"]}
    assert list(rows) == ["nothing", "stuck", "latency"], "a lidar is not there, and the last fault never begins"
    assert rows["nothing"]["counts"] == {"nothing": 1}
    assert (rows["nothing"]["broken"], rows["nothing"]["reported"]) == (0, 0)
    assert rows["latency"]["counts"] == {"latency": 1}
    assert rows["latency"]["broken"] is None, "all sensors are late, none is wrong by itself"
    assert rows["stuck"]["counts"] == {"stuck": 1}
    assert rows["stuck"]["broken"] == 3, "20 % of 17"
    assert rows["stuck"]["recall"] > 0.5
    with path.open() as file:
        table = list(csv.DictReader(file))
    assert [(row["true"], row["stuck"], row["right"]) for row in table] == [
        ("nothing", "0", "1"), ("stuck", "1", "1"), ("latency", "0", "1"),
    ]  # fmt: skip
    for wrong, advice in (
        ((), "--draws 5"),
        (("--draws", "-1"), "from 1 on"),
        (("--draws", "1", "--table", "x.txt"), "confusion.csv"),
        (("--draws", "1", "--table", tmp_path / "none" / "x.csv"), "make the folder"),
        (("--draws", "1", "--picture", "x.png"), "leave one"),
    ):
        assert advice in call("diagnose", host.path, *wrong, code=2, capsys=capsys)[1]


def test_healthy_and_damaged_networks_are_left_alone(host: Run) -> None:
    suite = load_suite("homeostasis")
    kept = tuple(c for c in suite.conditions if c.label in ("clean", "zero-30", "gaussian-0.05"))
    assert len(kept) >= 2, [c.label for c in suite.conditions]
    plan = EvaluationPlan(
        suite=type(suite)(name="few", version=1, description="", conditions=kept), arms=("none", "observer"),
        episodes=1, seed=5, max_episode_steps=300,
    )  # fmt: skip
    result = evaluate(host, plan, workers=1)
    scores = result.scores
    diagnoses = json.loads((result.folder / "diagnoses.json").read_text())["cells"]
    assert {cell["arm"] for cell in diagnoses} == {"observer"}
    assert {cell["condition"] for cell in diagnoses} == {score.label for score in scores}
    for condition in {score.label for score in scores}:
        plain, observed = (next(s for s in scores if (s.label, s.arm) == (condition, arm)) for arm in plan.arms)
        assert plain.total == observed.total, condition
        assert observed.openings == 0
        assert plain.openings is None


def test_the_health_card_is_inspected(host: Run, capsys: pytest.CaptureFixture[str]) -> None:
    memory = load_observer(host)
    assert memory is not None
    printed, _ = call("inspect", host.path, capsys=capsys)
    assert f"sensor 3, {memory.model.r2[3]:.3f}, " in printed
    printed, _ = call("inspect", host.path, "--json", capsys=capsys)
    assert json.loads(printed)["forward_model"]["r2"] == memory.model.r2.tolist()


def test_what_it_cannot_do_is_said(host: Run, capsys: pytest.CaptureFixture[str]) -> None:
    _, message = call("diagnose", host.path, "--condition", "nothing", code=2, capsys=capsys)
    assert "delay-1" in message
    words = ("diagnose", host.path, "--condition", "velocity", "--homeostasis", "sleep")
    assert "write observer" in call(*words, code=2, capsys=capsys)[1]


def test_a_log_takes_the_place_of_practice(host: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    x = np.cumsum(0.1 * rng.normal(size=(1500, 17)), 0).astype(np.float32)
    ends = np.arange(1500) % 100 == 99
    np.savez(tmp_path / "log.npz", observations=x, actions=rng.uniform(-1, 1, (1500, 6)), ends=ends)
    copy = copy_run(host, tmp_path / "copy")
    before = load_observer(copy)
    printed, _ = call("calibrate", copy.path, "--from", tmp_path / "log.npz", "--episodes", "1", capsys=capsys)
    assert "forward model" in printed
    after = load_observer(copy)
    assert before is not None
    assert after is not None
    assert not np.array_equal(before.model.packed, after.model.packed)
    untouched = copy_run(host, tmp_path / "untouched")
    _, message = call("calibrate", untouched.path, "--from", tmp_path / "none.npz", code=2, capsys=capsys)
    assert "none.npz: expected an .npz file, found none" in message
    assert untouched.load_calibration() is None
    np.savez(tmp_path / "log.npz", observations=x[:, :5], actions=x[:, :6], ends=ends)
    _, message = call("calibrate", copy.path, "--from", tmp_path / "log.npz", "--episodes", "1", code=2, capsys=capsys)
    assert "shape [steps, 17]" in message
    again = load_observer(copy)
    assert again is not None
    assert np.array_equal(again.model.packed, after.model.packed)


def test_a_policy_of_choices_has_no_observer(make_run: object, tmp_path: Path) -> None:
    run = make_run("CartPole-v1")  # type: ignore[operator]
    with pytest.raises(UsageError, match="continuous"):
        fit_observer(run, load_controller(run))
