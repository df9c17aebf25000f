"""Short trainings of every kind, and what cuts one off."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from homeo_rl.run import Run
from homeo_rl.training.plan import TrainingPlan
from homeo_rl.training.resume import checkpointer

SMALL = {"agent_kwargs": {"hidden": [8, 8]}, "net_arch": [8]}
ON = {**SMALL, "n_steps": 32, "batch_size": 32, "n_epochs": 2, "n_envs": 2}
A2C = {**SMALL, "n_steps": 8, "n_envs": 2}
OFF = {**SMALL, "learning_starts": 60, "batch_size": 16, "buffer_size": 150}


def plan(algo: str, env: str, agent: str = "mlp", steps: int = 320, **fields: Any) -> TrainingPlan:
    base = {"ppo": ON, "recurrent_ppo": ON, "a2c": A2C}.get(algo, OFF)
    hyperparams = {**base, **fields.pop("hyperparams", {})}
    return TrainingPlan(
        algo=algo, env=env, agent=agent, steps=steps, hyperparams=hyperparams, save_freq=64, eval_freq=100,
        eval_episodes=1, seed=3, **fields,
    )  # fmt: skip


CASES: dict[str, TrainingPlan] = {
    "ppo": plan("ppo", "Pendulum-v1"),
    "ppo, spiking, MuJoCo": plan("ppo", "InvertedPendulum-v5", "popsan"),
    "ppo, choices": plan("ppo", "CartPole-v1"),
    "ppo, normalised rewards, falling rate": plan(
        "ppo", "Pendulum-v1", hyperparams={"normalize_reward": True, "learning_rate": "lin_1e-3"}
    ),
    "ppo, homeostasis in training": plan(
        "ppo", "Pendulum-v1", "popsan", homeostasis_in_training="dwam-paper", steps=1400, hyperparams={"n_steps": 64}
    ),
    "ppo, navigation": plan("ppo", "homeo_rl/NavigationTrain-v0", "san", hyperparams={"normalize_reward": True}),
    "ppo, randomised faults, stacked observations": plan(
        "ppo", "toy_envs:Point-v0", randomise="senses", env_kwargs={"frame_stack": 3}
    ),
    "ppo, randomised body, spiking": plan("ppo", "InvertedPendulum-v5", "popsan", randomise="all"),
    "sac, randomised faults": plan("sac", "toy_envs:Point-v0", randomise="senses"),
    "recurrent": plan(
        "recurrent_ppo",
        "Pendulum-v1",
        "popsan",
        env_kwargs={"env_wrapper": "homeo_rl.envs.mask_velocity.MaskVelocity"},
    ),
    "recurrent, off-policy": plan(
        "recurrent_sac",
        "Pendulum-v1",
        "popsan",
        env_kwargs={"env_wrapper": "homeo_rl.envs.mask_velocity.MaskVelocity"},
        hyperparams={"n_envs": 2, "window": 4},
    ),
    "a2c": plan("a2c", "Pendulum-v1"),
    "sac": plan("sac", "Pendulum-v1"),
    "sac, spiking, two environments": plan("sac", "Pendulum-v1", "san", hyperparams={"n_envs": 2}),
    "sac, navigation": plan("sac", "homeo_rl/NavigationTrain-v0", "san"),
    "td3, noise, MuJoCo": plan("td3", "HalfCheetah-v5", "popsan", hyperparams={"noise_std": 0.1}),
    "proxy target": plan("proxy_td3", "Pendulum-v1", "popsan", hyperparams={"noise_std": 0.1}),
    "batch normalisation": plan("batchnorm_td3", "Pendulum-v1", "popsan", hyperparams={"noise_std": 0.1}),
    "tqc, spiking": plan("tqc", "Pendulum-v1", "popsan"),
    "crossq": plan("crossq", "Pendulum-v1"),
    "ddpg": plan("ddpg", "Pendulum-v1", hyperparams={"noise_std": 0.1}),
}


class Cut(BaseException):
    """The power went."""


def cut_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let the training die at the first boundary from ``step`` on; what is in memory is lost."""
    before = checkpointer.Checkpointer.__call__

    def call(self: checkpointer.Checkpointer) -> None:
        before(self)
        if self.model.num_timesteps >= step:
            raise Cut

    monkeypatch.setattr(checkpointer.Checkpointer, "__call__", call)


def files_of(run: Run) -> dict[str, Any]:
    monitors = {path.name: len(path.read_text().splitlines()) for path in sorted(run.path.glob("*.monitor.csv"))}
    evaluations = run.path / "evaluations.npz"
    results = dict(np.load(evaluations)) if evaluations.exists() else {}
    return {**monitors, **{name: values.tolist() for name, values in results.items()}}
