"""`homeo-rl tune`: killed and gone on with, several processes on one journal, presets that train to the same bits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import yaml
from optuna.trial import FrozenTrial, TrialState

from homeo_rl.agents.presets import PRESETS
from homeo_rl.cli import main
from homeo_rl.errors import UsageError
from homeo_rl.storage.locks import hold_lock
from homeo_rl.training.algorithms import ALGORITHMS
from homeo_rl.training.plan import TrainingPlan
from homeo_rl.tuning.plan import TrialJob, TuningPlan, prepare_plan
from homeo_rl.tuning.preset import Preset, read_preset, text_of
from homeo_rl.tuning.run_trial import _Evaluations, _Pruned, run_trial
from homeo_rl.tuning.space import Entry, default_space, read_space, without
from homeo_rl.tuning.study_journal import (
    JournalLock,
    ask_for_slot,
    distribution,
    open_study,
    prepare_folders,
    slot_of,
)
from homeo_rl.tuning.trials import MIN_COMPLETED, best_of, importances, rows_of
from homeo_rl.tuning.tune import write_outcome

SPACE = """
learning_rate: {low: 1e-4, high: 1e-2, scale: log, schedule: lin, first: 1e-3}
n_steps: {low: 8, high: 32, scale: power-of-two}
gamma: {low: 0.9, high: 0.999, scale: one-minus-log}
agent_kwargs.steps: {low: 2, high: 4}
"""
WORDS = ["tune", "--env", "toy_envs:Point-v0", "-n", "400", "--n-trials", "3", "--seeds", "1", "--episodes", "2",
         "--eval-episodes", "2", "-params", "batch_size:32", "agent_kwargs:{hidden: [8]}", "--json"]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a space, in which a tuning was killed at its second trial and gone on with."""
    place = tmp_path_factory.mktemp("tuning")
    (place / "space.yml").write_text(SPACE)
    process = subprocess.Popen(words_of(place, "cut"), **environment_of(place))
    deadline = time.monotonic() + 300
    while not (place / "cut" / "trials" / "0001" / "seed-0" / "run.json").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return place


def words_of(place: Path, name: str, *more: str) -> list[str]:
    words = [*WORDS, "--space", str(place / "space.yml"), "--storage", str(place / f"{name}.journal"), *more]
    return [
        sys.executable,
        "-W",
        "default",
        "-m",
        "homeo_rl",
        *words,
        *(() if "--workers" in more else ("--workers", "1")),
    ]


def environment_of(place: Path) -> dict[str, Any]:
    path = os.pathsep.join([str(Path(__file__).parents[1] / "support"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return {"cwd": place, "env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}


@pytest.fixture(scope="module")
def told(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what the tuning that was killed says when it is gone on with, and one by two processes without a cut."""
    found = {}
    for name, more in (("cut", ()), ("whole", ("--workers", "2"))):
        done = subprocess.run(words_of(folder, name, *more), check=False, **environment_of(folder))
        assert done.returncode == 0, done.stderr
        for word in ("optuna", "Warning", "[I "):
            assert word not in done.stderr, done.stderr
        found[name] = json.loads(done.stdout.splitlines()[-1])
    return found


def plan_in(place: Path, **changes: Any) -> TuningPlan:
    """Return a checked plan of a small tuning in a new folder."""
    space = place / "space.yml"
    space.write_text(SPACE)
    training = TrainingPlan(
        algo="ppo",
        env=changes.pop("env", "toy_envs:Point-v0"),
        steps=400,
        eval_freq=-1,
        eval_episodes=2,
        hyperparams={"batch_size": 32, "agent_kwargs": {"hidden": [8]}},
    )
    out = place / "out"
    plan = TuningPlan(
        training=training,
        space=read_space(space),
        out=out,
        storage=out / "study.journal",
        trials=3,
        seeds=1,
        episodes=2,
    )
    plan = prepare_plan(replace(plan, **changes))
    prepare_folders(plan)
    return plan


def trials_of(place: Path, name: str) -> list[FrozenTrial]:
    backend = optuna.storages.journal.JournalFileBackend(str(place / f"{name}.journal"))
    study = optuna.load_study(study_name="homeo-rl", storage=optuna.storages.JournalStorage(backend))
    return study.get_trials()


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


def test_killed_and_gone_on_with(folder: Path, told: dict[str, Any]) -> None:
    """The killed trial is marked, its parameters are tried again, and everything comes out as without a kill."""
    cut, whole = told["cut"], told["whole"]
    assert cut["states"] == whole["states"] == {"complete": 3, "pruned": 0, "diverged": 0}
    assert cut["ran"] == 2
    assert whole["ran"] == 3
    assert cut["best"]["value"] == whole["best"]["value"]
    assert cut["best"]["digests"] == whole["best"]["digests"]
    assert [trial.state for trial in trials_of(folder, "whole")] == [TrialState.COMPLETE] * 3
    trials = trials_of(folder, "cut")
    failed = [trial for trial in trials if trial.state is TrialState.FAIL]
    assert [slot_of(trial) for trial in failed] == [1]
    (again,) = (trial for trial in trials if slot_of(trial) == 1 and trial.state is TrialState.COMPLETE)
    assert again.params == failed[0].params
    ended = {name: {slot_of(t): (t.params, t.value) for t in trials_of(folder, name) if t.value is not None}
             for name in ("cut", "whole")}  # fmt: skip
    assert ended["cut"] == ended["whole"]
    assert ended["cut"][0][0]["learning_rate"] == 1e-3, "the first trial begins where the space says"


def test_what_is_left_behind(folder: Path, told: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Summary, picture and the best trial's run; the same command again has nothing left to do."""
    best = told["whole"]["best"]
    assert [path.name for path in (folder / "whole" / "trials").iterdir()] == [f"{best['trial']:04d}"]
    text = (folder / "whole" / "summary.md").read_text()
    assert f"Best: trial {best['trial']}" in text
    assert text.count("| complete |") == 3
    assert (folder / "whole" / "history.png").stat().st_size > 5000
    words = words_of(folder, "whole")[5:]
    main(words)
    again = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert again == {**told["whole"], "ran": 0, "completed_now": 0}


def test_preset_trains_to_the_same_bits(folder: Path, told: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """best.yml by --preset, and its last section by -conf, give the parameters of the trial."""
    best, path = told["whole"]["best"], str(folder / "whole" / "best.yml")
    for number, words in enumerate((["--preset", path], ["--env", "toy_envs:Point-v0", "-n", "400", "-conf", path])):
        main(["train", *words, "--seed", "0", "--out", str(folder / f"again-{number}"), "--json", "--no-progress"])
        assert json.loads(capsys.readouterr().out.splitlines()[-1])["digest"] == best["digests"][0]


def test_words_win_over_a_preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where they are the flag's default; hyper-parameters and arguments are merged by name."""
    preset = Preset(algo="sac", env="Pendulum-v1", agent="san", n_timesteps=7, eval_freq=3, env_kwargs={"g": 9.0},
                    hyperparams={"gamma": 0.9, "n_steps": 8})  # fmt: skip
    (tmp_path / "best.yml").write_text(text_of(preset, []))
    asked: list[TrainingPlan] = []

    def stop(plan: TrainingPlan) -> None:
        asked.append(plan)
        raise UsageError("enough")

    monkeypatch.setattr("homeo_rl.training.plan.prepare", stop)
    given = ["-n", "9", "--algo", "ppo", "--seed", "4", "-params", "gamma:0.5", "--json", "--no-progress"]
    with pytest.raises(SystemExit):
        main(["train", "--preset", str(tmp_path / "best.yml"), *given])
    (plan,) = asked
    assert (plan.algo, plan.steps, plan.seed) == ("ppo", 9, 4)
    assert (plan.env, plan.agent, plan.eval_freq, plan.eval_episodes) == ("Pendulum-v1", "san", 3, 5)
    assert plan.hyperparams == {"gamma": 0.5, "n_steps": 8}
    assert plan.env_kwargs == {"g": 9.0}


def test_presets_survive_their_file(tmp_path: Path) -> None:
    preset = Preset(
        algo="ppo", env="toy_envs:Point-v0", agent="popsan", n_timesteps=400, env_kwargs={"steps": 30},
        hyperparams={"learning_rate": "lin_0.001", "gamma": 0.9871, "agent_kwargs": {"hidden": [8, 8], "steps": 3}},
    )  # fmt: skip
    path = tmp_path / "best.yml"
    path.write_text(text_of(preset, ["why"]))
    assert read_preset(path) == preset
    assert yaml.safe_load(path.read_text())["toy_envs:Point-v0"] == preset.hyperparams


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[1]", "expected a preset"),
        ("{algo: ppo, env: X}", "agent"),
        ("{algo: ppo, env: X, agent: mlp, n_timestep: 3}", "did you mean 'n_timesteps'"),
        ("{algo: ppo, env: X, agent: mlp, n_timesteps: many}", "n_timesteps"),
        ("{algo: ppo, env: X, agent: mlp, hyperparams: 3}", "hyperparams"),
        ("{algo: ppo, env: X, agent: mlp, hyperparams: {a: 1}, X: {a: 2}}", "expected the same as hyperparams"),
        ("a: !!python/name:os.system", "cannot read it"),
        ("a: 1\na: 2", "twice"),
    ],
)
def test_wrong_presets(text: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are refused, naming the file and the field, before anything is written."""
    (tmp_path / "wrong.yml").write_text(text)
    with pytest.raises(SystemExit) as leaving:
        main(["train", "--preset", str(tmp_path / "wrong.yml"), "--out", str(tmp_path / "run")])
    said = capsys.readouterr().err
    assert leaving.value.code == 2
    assert told in said
    assert "wrong.yml" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[1]", "expected names of hyper-parameters"),
        ("learning_rat: {low: 1e-4, high: 1e-2}", "did you mean 'learning_rate'"),
        ("gamma: {low: 0.99, high: 0.9}", "low < high"),
        ("gamma: {low: 0.9}", "low < high"),
        ("gamma: {low: 0.9, high: 1.0, scale: one-minus-log}", "high < 1"),
        ("gamma: {low: 0.9, high: 0.99, scale: logg}", "scale"),
        ("gamma: {low: 0.9, high: 0.99, choices: [0.9, 0.99]}", "choices alone"),
        ("gamma: {choices: [0.9]}", "at least two"),
        ("learning_rate: {low: 0.0, high: 1.0, scale: log}", "low > 0"),
        ("n_steps: {low: 8, high: 100, scale: power-of-two}", "powers of two"),
        ("gamma: {low: 0.9, high: 0.99, first: 0.5}", "first: expected a value of the entry"),
        ("gamma: {low: 0.9, high: 0.99, lowest: 0.5}", "lowest"),
        ("n_epochs: {low: 1.0, high: 9.0}", "n_epochs: expected int"),
        ("n_steps: {choices: [8, many]}", "n_steps: expected int"),
        ("agent_kwargs.steps: {low: 0, high: 3}", "spike steps"),
        ("agent_kwargs.stepz: {low: 1, high: 3}", "stepz"),
        ("agent_kwargs: {choices: [{steps: 2}, {steps: 3}]}\nagent_kwargs.steps: {low: 1, high: 3}", "part of another"),
        ("batch_size: {low: 8, high: 32}", "-params fixes all of it"),
    ],
)
def test_wrong_spaces(text: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are refused before a trial begins, also where only the end of a range does not fit."""
    (tmp_path / "space.yml").write_text(text)
    words = [
        "tune",
        "--env",
        "toy_envs:Point-v0",
        "-n",
        "400",
        "--out",
        str(tmp_path / "out"),
        "-params",
        "batch_size:32",
    ]
    with pytest.raises(SystemExit) as leaving:
        main([*words, "--space", str(tmp_path / "space.yml")])
    said = capsys.readouterr().err
    assert leaving.value.code == 2
    assert told in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--n-trials", "0"], "--n-trials"),
        (["--num-seeds", "0"], "--num-seeds"),
        (["--episodes", "0"], "--episodes"),
        (["--pruner", "medium"], "did you mean 'median'"),
        (["--sampler", "tpa"], "did you mean 'tpe'"),
        (["--algo", "pp0"], "did you mean 'ppo'"),
        (["--agent", "popsam"], "did you mean 'popsan'"),
        (["--algo", "td3", "-n", "5000"], "learning_starts (10000)"),
        (["--space", "nowhere.yml"], "found none"),
    ],
)
def test_wrong_words(words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["tune", "--env", "toy_envs:Point-v0", "--out", str(tmp_path / "out"), *words])
    assert leaving.value.code == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_optuna(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    find = __import__("importlib.util").util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name == "optuna" else find(name, *rest))
    with pytest.raises(SystemExit) as leaving:
        main(["tune"])
    assert leaving.value.code == 2
    assert "pip install 'homeo-rl[tune]'" in capsys.readouterr().err


@pytest.mark.parametrize("agent", PRESETS)
@pytest.mark.parametrize("algo", ALGORITHMS)
def test_every_algorithm_and_agent_has_a_space(algo: str, agent: str, tmp_path: Path) -> None:
    """All ends and choices can be trained with, and the first trial is what a training without tuning has."""
    training = TrainingPlan(algo=algo, env="toy_envs:Point-v0", agent=agent, steps=20_000)
    space = default_space(algo, agent)
    plan = prepare_plan(TuningPlan(training=training, space=space, out=tmp_path, storage=tmp_path / "journal"))
    first = plan.first()
    assert first.keys() == plan.space.keys()
    made = plan.hyperparams(first)
    defaults = ALGORITHMS[algo].defaults
    assert {name: made[name] for name in made if name in defaults} == {
        name: value if name != "learning_rate" or not isinstance(value, str) else "lin_0.001"
        for name, value in defaults.items()
        if name in made
    }
    if "hidden" in PRESETS[agent]:
        assert made["agent_kwargs"]["hidden"] == PRESETS[agent]["hidden"]


@pytest.mark.parametrize(
    ("entry", "value", "coordinate"),
    [
        (Entry(low=8, high=32, scale="power-of-two"), 16, 4),
        (Entry(low=2, high=8), 5, 5),
        (Entry(low=1e-4, high=1e-2, scale="log", schedule="lin"), "lin_0.001", 0.001),
        (Entry(low=0.5, high=0.75, scale="one-minus-log"), 0.75, 0.25),
        (Entry(choices=([8, 8], [16])), [16], "[16]"),
        (Entry(choices=("auto", 0.1)), "auto", '"auto"'),
    ],
)
def test_values_and_coordinates(entry: Entry, value: Any, coordinate: Any) -> None:
    if entry.schedule:
        assert entry.coordinate(0.001) == coordinate
    assert entry.coordinate(value) == coordinate
    assert entry.value(coordinate) == value
    assert entry.coordinate([99]) is None
    assert entry.coordinate(99) is None
    asked = distribution(entry)
    assert asked.to_external_repr(asked.to_internal_repr(coordinate)) == coordinate


def test_drawn_numbers_are_short() -> None:
    assert Entry(low=1e-4, high=1e-2, scale="log").value(0.00123456789) == 0.001235
    assert Entry(low=0.9, high=0.999, scale="one-minus-log").value(0.0123456789) == 0.98765


def test_batches_are_no_larger_than_rollouts(tmp_path: Path) -> None:
    training = TrainingPlan(algo="ppo", env="toy_envs:Point-v0", steps=20_000)
    space = {name: default_space("ppo", "popsan")[name] for name in ("n_steps", "batch_size")}
    plan = prepare_plan(TuningPlan(training=training, space=space, out=tmp_path, storage=tmp_path / "journal"))
    assert plan.hyperparams({"n_steps": 5, "batch_size": 9}) == {"n_steps": 32, "batch_size": 32 * 4}
    assert plan.hyperparams({"n_steps": 9, "batch_size": 9}) == {"n_steps": 512, "batch_size": 512}


def test_what_is_fixed_is_not_looked_for() -> None:
    space = default_space("ppo", "popsan")
    left = without(space, {"gamma": 0.9, "agent_kwargs": {"hidden": [8]}})
    assert space.keys() - left.keys() == {"gamma", "agent_kwargs.hidden"}
    assert not any(name.startswith("agent_kwargs") for name in without(space, {"agent_kwargs": "x"}))


def test_a_dead_process_leaves_its_parameters(tmp_path: Path) -> None:
    """Whatever it died of: running, put in and not begun, or before the trial knew its slot."""
    plan = plan_in(tmp_path)
    with open_study(plan) as study:
        first = ask_for_slot(study, plan, 1).params  # and its process dies
        study.ask()  # this one's died before it was told
        study.enqueue_trial({"n_steps": 3}, user_attrs={"slot": 2})  # and this one's before it began
        trial = ask_for_slot(study, plan, 1)
        assert trial.params == first
        states = [one.state.name for one in study.get_trials()]
        assert states == ["FAIL", "FAIL", "FAIL", "RUNNING"]
        other = ask_for_slot(study, plan, 2)
        assert other.params["n_steps"] == 3
        assert trial.number not in [one.number for one in study.get_trials(states=[TrialState.FAIL])]


def test_draws_do_not_depend_on_interruptions(tmp_path: Path) -> None:
    """The twelfth trial comes of what is known, also where others failed before."""
    found = []
    for name in "ab":
        (tmp_path / name).mkdir()
        plan = plan_in(tmp_path / name, trials=13)
        with open_study(plan) as study:
            for slot in range(12):
                if name == "b" and slot in (3, 11):
                    ask_for_slot(study, plan, slot)  # dies
                trial = ask_for_slot(study, plan, slot)
                study.tell(
                    trial, trial.params["gamma"] + 0.1 * trial.params["n_steps"] if "gamma" in trial.params else 0
                )
            found.append([one.params for one in study.get_trials(states=[TrialState.COMPLETE])])
    assert found[0] == found[1]
    assert len({json.dumps(one) for one in found[0]}) == 12


def test_only_one_process_is_at_a_slot(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    with open_study(plan), hold_lock(plan.out / "claims" / "0001.lock", wait=False):
        assert run_trial(TrialJob(plan, 1), lambda *told: None).state == "locked_elsewhere"


def test_pruning(tmp_path: Path) -> None:
    """A trial whose evaluations lie behind is given up, not before a third of the first training."""
    plan = plan_in(tmp_path)
    assert plan.looks == 10
    path = tmp_path / "evaluations.npz"
    with open_study(plan) as study:
        for slot in range(5):
            trial = ask_for_slot(study, plan, slot)
            for step in range(10):
                trial.report(1.0, step)
            study.tell(trial, 1.0)
        for seen, pruner in ((2, "median"), (6, "median"), (6, "none")):
            if pruner == "none":
                study.pruner = optuna.pruners.NopPruner()
            watched = _Evaluations(ask_for_slot(study, plan, 5), path, 0)
            watched.report_new()  # there is nothing yet
            for count in range(1, seen + 1):
                np.savez(path, results=np.zeros((count, 2)))
                os.utime(path, ns=(count, count))
                if pruner == "median" and count == 4:
                    with pytest.raises(_Pruned):
                        watched.report_new()
                    break
                watched.report_new()
            values = study.get_trials()[-1].intermediate_values
            assert len(values) == (4 if (seen, pruner) == (6, "median") else seen)
            path.unlink()


def test_what_matters(tmp_path: Path) -> None:
    """Values that come of gamma alone make it the most important; before there are enough of them nothing is said."""
    plan = plan_in(tmp_path, trials=MIN_COMPLETED)
    with open_study(plan) as study:
        for slot in range(MIN_COMPLETED):
            assert importances(study, rows_of(study)) == {}
            trial = ask_for_slot(study, plan, slot)
            trial.set_user_attr("hyperparams", plan.hyperparams(trial.params))
            study.tell(trial, -trial.params["gamma"])
    found = write_outcome(plan)
    assert max(found.importances, key=lambda name: found.importances[name]) == "gamma"
    assert sum(found.importances.values()) == pytest.approx(1.0)
    assert found.best is not None
    assert found.best.coordinates["gamma"] == min(row.coordinates["gamma"] for row in found.rows)
    assert read_preset(plan.out / "best.yml").hyperparams["gamma"] == found.best.hyperparams["gamma"]
    assert "importance" in (plan.out / "summary.md").read_text()
    assert (plan.out / "history.png").stat().st_size > 5000


def test_numbers_that_are_not_finite_are_the_parameters_fault(tmp_path: Path) -> None:
    plan = plan_in(tmp_path, env="toy_envs:BadReward-v0", trials=1)
    assert run_trial(TrialJob(plan, 0), lambda *told: None).state == "done"
    with open_study(plan) as study:
        (row,) = rows_of(study)
        assert row.state == "diverged"
        assert best_of([row]) is None


def test_failures_are_kept_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_in(tmp_path)

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise UsageError("no")

    with monkeypatch.context() as patch:
        patch.setattr("homeo_rl.tuning.run_trial.train", refuse)
        with pytest.raises(UsageError):
            run_trial(TrialJob(plan, 0), lambda *told: None)
    with open_study(plan) as study:
        (failed,) = study.get_trials()
        assert failed.state is TrialState.FAIL
        assert failed.user_attrs["fault"] == "no"
        assert ask_for_slot(study, plan, 0).params == failed.params


def test_journals_and_folders_belong_together(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    with open_study(plan):
        pass
    for other, told in (
        (replace(plan, seeds=2), "another seeds"),
        (replace(plan, storage=tmp_path / "other.journal"), "another journal"),
        (replace(plan, out=tmp_path / "elsewhere"), "give that as --out"),
    ):
        prepare_folders(other)
        with pytest.raises(UsageError, match=told), open_study(other):
            pass
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="found other files"):
        prepare_folders(replace(plan, out=tmp_path / "mine"))
    with open_study(replace(plan, trials=99)):
        pass  # more of the same


def test_half_a_line_of_a_dead_process_is_cut_off(tmp_path: Path) -> None:
    plan = plan_in(tmp_path)
    with open_study(plan) as study:
        before = ask_for_slot(study, plan, 0).params
    whole = plan.storage.read_bytes()
    plan.storage.write_bytes(whole + b'{"op_code":4,"work')
    lock = JournalLock(plan.storage)
    lock.acquire()
    lock.release()
    assert plan.storage.read_bytes() == whole
    plan.storage.write_bytes(whole + b'{"op_code":4,"work')
    with open_study(plan) as study:
        assert ask_for_slot(study, plan, 0).params == before


def test_something_else_than_a_journal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "letter.journal").write_text("dear\nfriend\n")
    with pytest.raises(SystemExit) as leaving:
        main([*WORDS, "--storage", str(tmp_path / "letter.journal")])
    assert leaving.value.code == 2
    assert "expected Optuna's journal" in capsys.readouterr().err
