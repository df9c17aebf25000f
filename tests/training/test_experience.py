"""What a training leaves for an observer: true sequences of whole episodes, bounded, and what fits a model to them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainings import CASES, Cut, cut_at, plan

from homeo_rl.agents.controller import load_controller
from homeo_rl.cli import main
from homeo_rl.envs.make import make_env
from homeo_rl.errors import UsageError
from homeo_rl.evaluation.observer_memory import fit_observer, load_observer
from homeo_rl.observer.memory import MOST_BYTES, MOST_ROWS, sample_rows
from homeo_rl.observer.recording import Recording
from homeo_rl.run import Run
from homeo_rl.training.experience import NEWEST, Steps, sample_episodes
from homeo_rl.training.train import train

SHORT = {"env_kwargs": {"max_episode_steps": 60}, "steps": 1600}
PLANS = {
    "last rollouts": plan("ppo", "Pendulum-v1", hyperparams={"n_steps": 400, "n_envs": 2}, **SHORT),
    "replay ring": plan("sac", "Pendulum-v1", hyperparams={"buffer_size": 1200, "learning_starts": 1500}, **SHORT),
}


def sample_of(run: Run) -> Recording:
    stored = run.load_experience()
    assert stored is not None
    return Recording.from_tensors(stored[0], where="test")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    return {name: train(replace(one, out=tmp_path_factory.mktemp("run") / "run")) for name, one in PLANS.items()}


@pytest.mark.parametrize("source", PLANS)
def test_steps_are_what_the_environment_did(source: str, runs: dict[str, Run]) -> None:
    """The pendulum is repeated from each remembered state: raw observations, executed actions, ends."""
    run = runs[source]
    sample, env = sample_of(run), make_env("Pendulum-v1")
    env.reset(seed=0)
    assert run.load_experience()[1]["source"] == source  # type: ignore[index]
    for row in sample.transitions()[::7]:
        cos, sin, speed = sample.observations[row].astype(float)
        env.unwrapped.state = np.array([np.arctan2(sin, cos), speed])  # type: ignore[attr-defined]
        assert np.allclose(env.step(sample.actions[row])[0], sample.observations[row + 1], atol=1e-4)
    ends = np.flatnonzero(sample.ends)
    lengths = np.diff([-1, *ends])
    assert set(lengths[:-1]) <= {60, 800 % 60, 1600 % 60}  # whole episodes, but for what was cut
    assert sample.ends[-1]
    assert 0 < sample.clean.mean() < 0.6
    assert sample.clean[-len(sample.clean) // 9 :].all()


def test_a_cut_training_leaves_the_same_replay_sample(
    runs: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = replace(PLANS["replay ring"], out=tmp_path / "cut")
    with monkeypatch.context() as patch:
        cut_at(patch, 900)
        with pytest.raises(Cut):
            train(mine)
    one, other = sample_of(runs["replay ring"]), sample_of(train(mine))
    assert all(np.array_equal(*pair) for pair in zip(vars(one).values(), vars(other).values(), strict=True))


@pytest.mark.parametrize(
    "name", ["ppo, choices", "ppo, randomised body, spiking", "ppo, randomised faults, stacked observations"]
)
def test_no_sample_where_an_observer_has_no_use_for_it(name: str, tmp_path: Path) -> None:
    run = train(replace(CASES[name], steps=1100, eval_freq=-1, out=tmp_path / "run"))
    assert run.load_experience() is None


def test_a_model_is_fitted_to_the_sample(
    runs: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr("homeo_rl.evaluation.observer_memory.EPOCHS", 2)
    run = runs["last rollouts"]
    controller = load_controller(run)
    fitted = fit_observer(run, controller, steps=0)
    stored = load_observer(run)
    assert stored is not None
    assert np.array_equal(stored.model.packed, fitted.model.packed)
    assert len(fitted.observations)
    with pytest.raises(UsageError, match="expected a sample of its training in CartPole-v1, found none"):
        fit_observer(run, controller, steps=0, env=("CartPole-v1", {}))
    bare = train(replace(CASES["ppo"], out=tmp_path / "bare"))  # too short to leave a sample
    with pytest.raises(UsageError, match="found none; give steps of practice"):
        fit_observer(bare, load_controller(bare), steps=0)
    with pytest.raises(SystemExit) as leaving:
        main(["calibrate", str(bare.path), "--practice", "0"])
    assert leaving.value.code == 2
    assert "expected a sample of its training" in capsys.readouterr().err
    assert not (bare.path / "observer").exists()
    main(["calibrate", str(run.path), "--practice", "0", "--no-progress"])
    assert "forward model" in capsys.readouterr().out


@pytest.mark.parametrize(("entries", "actions"), [(4, 1), (17, 6), (105, 8), (348, 17)])
def test_all_files_of_an_observer_are_bounded(entries: int, actions: int) -> None:
    rows = sample_rows(entries, actions)
    sequences = 4 * 24 * 30 * (entries + actions)
    weights = 4 * (128 * (entries + actions) + 128 * 128 + 2 * 128 * entries)
    assert 0 < rows <= MOST_ROWS
    assert rows * (4 * (entries + actions) + 2) + sequences + weights < MOST_BYTES
    assert sample_rows(2000, 10) == 0


def test_episodes_are_chosen_newest_first() -> None:
    """Two environments with episodes of 5 and 8 steps, whose observations tell time and environment."""
    times = np.arange(1000)
    observations = np.stack([np.stack([times, np.full(1000, env)], 1) for env in range(2)], 1).astype(np.float32)
    starts = np.stack([(times + 2) % 5 == 0, times % 8 == 0], 1)
    steps = Steps(observations, np.zeros((1000, 2, 1), np.float32), starts)
    one, other = (sample_episodes(steps, 1200, seed=seed) for seed in (0, 1))
    rows = one.observations
    for begin, end in itertools.pairwise([0, *(np.flatnonzero(one.ends) + 1)]):
        assert (np.diff(rows[begin:end], axis=0) == [1, 0]).all()
        assert starts[int(rows[begin, 0]), int(rows[begin, 1])]
    assert 1190 <= len(rows) <= 1200
    assert 1 / NEWEST <= one.clean.mean() <= 1 / NEWEST + 0.02
    assert rows[one.clean][:, 0].min() >= 790 > rows[~one.clean][:, 0].min()
    assert np.array_equal(rows[one.clean], other.observations[other.clean])
    assert not np.array_equal(rows[~one.clean], other.observations[~other.clean])
    assert len(sample_episodes(steps, 5000, seed=0).observations) == 1997  # all, but for an episode that began before
