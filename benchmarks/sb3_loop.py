"""Stable-Baselines3's training loop with a spiking actor against the same loop with MLPs.

``python -m benchmarks.sb3_loop [--json]``. PPO, SAC and TD3 with SB3's defaults on HalfCheetah-v5, float32. "stock" is
SB3 alone, unchanged, with its ``MlpPolicy`` of the same widths; "mlp" is our policy with an MLP actor, and our gradient
steps. Batches, critics and hidden widths are the same for all. Medians are microseconds of the process's CPU time an
environment step, on one thread; the arms take turns.
"""

from __future__ import annotations

import itertools
import statistics
import time
import warnings
from typing import Any, NamedTuple

import gymnasium as gym
import stable_baselines3 as sb3
import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from benchmarks.common import arguments, report
from homeo_rl.agents import SpikingActorCriticPolicy, SpikingSACPolicy, SpikingTD3Policy
from homeo_rl.agents.sb3.algorithms import SAC, TD3
from homeo_rl.envs.make import make_env

ALGORITHMS: dict[str, tuple[Any, Any, Any]] = {  # SB3's class, ours under it, and our policy
    "ppo": (sb3.PPO, sb3.PPO, SpikingActorCriticPolicy),
    "sac": (sb3.SAC, SAC, SpikingSACPolicy),
    "td3": (sb3.TD3, TD3, SpikingTD3Policy),
}
AGENTS = ("stock", "mlp", "san", "popsan")
PEERS = AGENTS[:2]


class Size(NamedTuple):
    """How much is measured.

    Attributes:
        rounds: of every agent, in turn.
        steps: of the environment in a round, by algorithm.
        hidden: neurons of a hidden layer.
        rollout: steps of PPO between its updates.
        learning_starts: steps of SAC and TD3 before their first update.
    """

    rounds: int
    steps: dict[str, int]
    hidden: int
    rollout: int
    learning_starts: int


FULL = Size(rounds=5, steps={"ppo": 1024, "sac": 200, "td3": 300}, hidden=256, rollout=512, learning_starts=100)
TINY = Size(rounds=1, steps={"ppo": 64, "sac": 10, "td3": 10}, hidden=16, rollout=64, learning_starts=20)


def main() -> None:
    """Measure and print."""
    told = arguments(__doc__)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    size = TINY if told.tiny else FULL
    steps = size.steps
    medians: dict[str, float] = {}
    ratios: dict[str, float | None] = {}
    for algo in ALGORITHMS:
        models = {agent: _model(algo, agent, size) for agent in AGENTS}
        times: dict[str, list[float]] = {agent: [] for agent in AGENTS}
        for model in models.values():
            model.learn(size.rollout if algo == "ppo" else size.learning_starts + 20)
        for _ in range(size.rounds):
            for agent, model in models.items():
                begin = time.process_time()
                model.learn(steps[algo], reset_num_timesteps=False)
                times[agent].append((time.process_time() - begin) / steps[algo])
        for agent in AGENTS:
            medians[f"{algo}: {agent}"] = 1e6 * statistics.median(times[agent])
        for peer, agent in itertools.product(PEERS, AGENTS[2:]):
            shares = [a / b for a, b in zip(times[peer], times[agent], strict=True)]
            ratios[f"{algo}_{agent}_vs_{peer}"] = statistics.median(shares)
    note = "share of the steps per second of SB3's own MLP loop (stock; goal >= 1, PPO 0.9) and of ours with an MLP"
    report(medians, ratios, as_json=told.json, note=note)


def _model(algo: str, agent: str, size: Size) -> BaseAlgorithm:
    peer, kind, policy = ALGORITHMS[algo]
    settings = {"n_steps": size.rollout} if algo == "ppo" else {"learning_starts": size.learning_starts}
    if agent == "stock":
        widths = [size.hidden, size.hidden]
        arch = {"pi": widths, "vf": [64, 64]} if algo == "ppo" else {"pi": widths, "qf": widths}
        stock: BaseAlgorithm = peer(
            "MlpPolicy", gym.make("HalfCheetah-v5"), policy_kwargs={"net_arch": arch}, seed=0, device="cpu", **settings
        )
        return stock
    kwargs = {"agent": agent, "agent_kwargs": {"hidden": [size.hidden, size.hidden]}}
    model: BaseAlgorithm = kind(
        policy, make_env("HalfCheetah-v5", {}), policy_kwargs=kwargs, seed=0, device="cpu", **settings
    )
    return model


if __name__ == "__main__":
    main()
