"""Policies with memory on environments without velocities: spiking membranes, an LSTM, stacked observations.

``python -m benchmarks.masked_velocity --env Pendulum-v1 --steps 200000 --seeds 3 --out FOLDER [--json]``. All arms have
PPO's settings, steps, seeds and about as many parameters, value function included; ``reactive`` has no memory at all.
``replay`` is the exception: the spiking actor under RecurrentTD3, with critics that make up the same number.
``--first-seed`` keeps seeds on which settings are chosen apart from those that are reported. What is trained already is
not trained again, so the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import bisect
import json
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecMonitor, VecNormalize

from homeo_rl.agents import RecurrentTD3, SpikingActorCriticPolicy, SpikingRecurrentPolicy, SpikingRecurrentTD3Policy
from homeo_rl.envs.frame_stack import FrameStack
from homeo_rl.envs.make import make_env
from homeo_rl.envs.mask_velocity import MaskVelocity
from homeo_rl.training.callbacks import NormaliserCallback

SPIKING = {
    "agent": "anytime",
    "agent_kwargs": {
        "hidden": [64, 64],
        "steps": 5,
        "initial": "rest",
        "neuron": {"kind": "multiscale-lif", "current_decay": 0.95, "threshold": 0.5, "surrogate": "rectangle"},
    },
}
ARMS = ("spiking", "lstm", "stacked", "reactive", "replay")
FRAMES = 4
WINDOW = 6
"""Decisions through which gradients of ``replay`` pass."""


def main() -> None:
    """Train what is missing, then print every arm's returns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--env", default="Pendulum-v1")
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--gamma", type=float, default=0.99)
    parser.add_argument("--gae-lambda", type=float, default=0.95)
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="at first; it falls to 0")
    parser.add_argument("--log-std-init", type=float, default=-0.5)
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    told.out.mkdir(parents=True, exist_ok=True)
    target = parameters(build("spiking", told, 0))
    rows = []
    settings = f"{told.gamma}-{told.gae_lambda}-{told.learning_rate}-{told.log_std_init}"
    for seed in range(told.first_seed, told.first_seed + told.seeds):
        for arm in told.arms.split(","):
            path = told.out / f"{told.env}-{told.steps}-{settings}-{arm}-{seed}.json"
            if not path.exists():
                path.write_text(json.dumps(measure(arm, told, seed, target)) + "\n")
            rows.append(json.loads(path.read_text()))
    if told.json:
        print(json.dumps(rows))
        return
    print(f"{told.env} without velocities, {told.steps:,} steps, mean return of {told.episodes} episodes a seed")
    for arm in told.arms.split(","):
        chosen = [row for row in rows if row["arm"] == arm]
        means = [statistics.fmean(row["returns"]) for row in chosen]
        seeds = " ".join(f"{mean:9,.0f}" for mean in means)
        print(f"{arm:9} {statistics.fmean(means):9,.0f}   seeds {seeds}   {chosen[0]['parameters']:,} parameters")


def measure(arm: str, told: argparse.Namespace, seed: int, target: int) -> dict[str, Any]:
    """Train one arm and return its returns in episodes that training did not see."""
    model = build(arm, told, seed, width=width_for(arm, told, target))
    begin = time.process_time()
    model.learn(told.steps, callback=None if arm == "lstm" else NormaliserCallback())
    seconds = time.process_time() - begin
    env = environments(arm, told.env, 4)
    if isinstance(model.env, VecNormalize) and arm == "lstm":
        env = VecNormalize(env, training=False, norm_reward=False)
        env.obs_rms = model.env.obs_rms
    env.seed(10_000)
    returns, _ = evaluate_policy(model, env, n_eval_episodes=told.episodes, return_episode_rewards=True)
    return {
        "arm": arm, "seed": seed, "returns": [float(value) for value in returns], "parameters": parameters(model),
        "cpu_seconds": seconds,
    }  # fmt: skip


def environments(arm: str, name: str, count: int) -> VecEnv:
    """Return environments without velocities."""

    def single() -> Any:
        env: Any = MaskVelocity(make_env(name, {}))
        return FrameStack(env, FRAMES) if arm == "stacked" else env

    return VecMonitor(DummyVecEnv([single] * count))


def build(arm: str, told: argparse.Namespace, seed: int, width: int = 64) -> BaseAlgorithm:
    """Return an arm before its training; ``width`` is that of an LSTM's or MLP's layers."""
    if arm == "replay":
        return build_replay(told, seed, width)
    env = VecNormalize(environments(arm, told.env, 8), norm_obs=arm == "lstm", gamma=told.gamma)
    settings: dict[str, Any] = {
        "n_steps": 128, "batch_size": 256, "n_epochs": 10, "gamma": told.gamma, "gae_lambda": told.gae_lambda,
        "seed": seed, "device": "cpu", "learning_rate": lambda left: told.learning_rate * left,
    }  # fmt: skip
    deviation = {"log_std_init": told.log_std_init}
    if arm == "spiking":
        return RecurrentPPO(SpikingRecurrentPolicy, env, policy_kwargs=SPIKING | deviation, **settings)
    if arm == "lstm":
        kwargs = {"lstm_hidden_size": width, "net_arch": {"pi": [64], "vf": [64]}, **deviation}
        return RecurrentPPO("MlpLstmPolicy", env, policy_kwargs=kwargs, **settings)
    kwargs = {"agent": "mlp", "net_arch": {"pi": [width, width], "vf": [width, width]}, **deviation}
    return PPO(SpikingActorCriticPolicy, env, policy_kwargs=kwargs, **settings)


def build_replay(told: argparse.Namespace, seed: int, width: int) -> BaseAlgorithm:
    """Return TD3 with the same spiking actor and critics of ``width``, before its training."""
    env = environments("replay", told.env, 1)
    size = env.action_space.shape
    assert size is not None
    return RecurrentTD3(
        SpikingRecurrentTD3Policy,
        env,
        policy_kwargs=SPIKING | {"window": WINDOW, "net_arch": [width, width]},
        action_noise=NormalActionNoise(np.zeros(size), np.full(size, 0.1)),
        learning_rate=told.learning_rate,
        gamma=told.gamma,
        batch_size=100,
        buffer_size=told.steps,
        learning_starts=min(5_000, told.steps // 10),
        seed=seed,
        device="cpu",
    )


def width_for(arm: str, told: argparse.Namespace, target: int) -> int:
    """Return the width with which an arm has about ``target`` parameters, the largest that has no more."""
    if arm == "spiking":
        return 64
    widths = range(16, 257, 4)
    key: Callable[[int], bool] = lambda width: parameters(build(arm, told, 0, width)) > target  # noqa: E731
    return widths[bisect.bisect_left(widths, True, key=key) - 1]


def parameters(model: BaseAlgorithm) -> int:
    """Return the number of trained parameters of actor and value function."""
    return sum(int(np.prod(part.shape)) for name, part in model.policy.named_parameters() if "_target." not in name)


if __name__ == "__main__":
    main()
