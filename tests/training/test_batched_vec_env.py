"""Training on the batch engine against Gymnasium's environments: the same bits, cut or not, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv
from trainings import Cut, cut_at, files_of, plan

from homeo_rl.agents.sb3.bounded_monitor import Monitored
from homeo_rl.envs.env_factory import Recipe
from homeo_rl.envs.make import make_env
from homeo_rl.envs.stability import StabilityGuard
from homeo_rl.errors import StorageFault, UsageError
from homeo_rl.training.batched_vec_env import BatchedVecEnv
from homeo_rl.training.plan import TrainingPlan
from homeo_rl.training.train import train

pytest.importorskip("mujoco.batch", reason="the batch engine needs MuJoCo 4.0")

PLANS = {
    "ppo": plan("ppo", "Hopper-v5", "popsan", hyperparams={"n_envs": 3, "normalize_reward": True}),
    "sac": plan("sac", "HalfCheetah-v5", env_kwargs={"max_episode_steps": 50}, hyperparams={"n_envs": 2}),
    "ppo, contacts": plan("ppo", "Ant-v5", env_kwargs={"max_episode_steps": 40}),
}


def infos_of(infos: Any) -> list[dict[str, Any]]:
    """Return what a training reads of infos, without clocks."""
    told = []
    for info in infos:
        episode = {key: value for key, value in info.get("episode", {}).items() if key != "t"}
        last = info.get("terminal_observation", np.zeros(0)).tolist()
        told.append({"episode": episode, "last": last, "truncated": info.get("TimeLimit.truncated", False)})
    return told


@pytest.mark.parametrize("name", ["HalfCheetah-v5", "Hopper-v5", "Walker2d-v5", "Ant-v5"])
def test_steps_are_those_of_monitored_environments(name: str) -> None:
    """Seeds, ends, first observations of unseeded episodes, and infos."""
    kwargs = {"max_episode_steps": 45}
    apart = DummyVecEnv([lambda: Recipe(name, kwargs).make(Monitored)] * 3)
    batch = BatchedVecEnv(make_env(name, kwargs), 3, threads=2)
    assert batch.env_is_wrapped(Monitor) == batch.env_is_wrapped(StabilityGuard) == [True] * 3
    rng, ended = np.random.default_rng(0), 0
    for seed in (7, None):  # the second time, generators continue
        if seed is not None:
            apart.seed(seed), batch.seed(seed)
        assert np.array_equal(apart.reset(), batch.reset())
        for _ in range(60):
            actions = rng.uniform(-1.0, 1.0, (3, *batch.action_space.shape)).astype(np.float32)  # type: ignore[misc]
            one, other = apart.step(actions), batch.step(actions)
            for left, right in zip(one[:3], other[:3], strict=True):
                assert left.dtype == right.dtype
                assert np.array_equal(left, right)
            assert infos_of(one[3]) == infos_of(other[3])
            ended += int(other[2].sum())
    assert ended >= 6
    apart.close(), batch.close()


@pytest.mark.parametrize("name", PLANS)
def test_a_training_is_the_same_and_resumes_exactly(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = train(replace(PLANS[name], out=tmp_path / "gymnasium"))
    mine = replace(PLANS[name], engine="rollout", out=tmp_path / "rollout")
    for step in (100, 200):
        with monkeypatch.context() as patch:
            cut_at(patch, step)
            with pytest.raises(Cut):
                train(mine)
    with pytest.raises(StorageFault, match="expected one of --engine gymnasium, found rollout"):
        train(replace(mine, engine="gymnasium"))
    notes: list[str] = []
    other = train(mine, note=notes.append)
    assert any("going on at step" in note for note in notes)
    assert not any("did not come back" in note for note in notes)
    assert one.spec.digest == other.spec.digest
    assert files_of(one) == files_of(other)
    for path in one.path.glob("*.monitor.csv"):
        rows = [(run.path / path.name).read_text().splitlines()[1:] for run in (one, other)]
        assert [row.rpartition(",")[0] for row in rows[0]] == [row.rpartition(",")[0] for row in rows[1]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"env": "Pendulum-v1"}, "expected one of HalfCheetah-v5"),
        ({"env_kwargs": {"frame_stack": 2}}, "expected no wrapper"),
        ({"randomise": "senses"}, "without --randomise"),
        ({"vec_env": "workers"}, "got --vec-env workers"),
        ({"engine": "rolout"}, "did you mean 'rollout'"),
    ],
)
def test_what_the_engine_does_not_step_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    refused: TrainingPlan = replace(PLANS["ppo"], engine="rollout", out=tmp_path / "run")
    with pytest.raises(UsageError, match=message):
        train(replace(refused, **changes))
    assert not (tmp_path / "run").exists()
