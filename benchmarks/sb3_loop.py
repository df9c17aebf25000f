"""Stable-Baselines3's training loop with a spiking actor against the same loop with an MLP actor.

``python -m benchmarks.sb3_loop [--json]``. PPO, SAC and TD3 with SB3's defaults on HalfCheetah-v5; critics,
normaliser and everything else are the same. Medians are microseconds an environment step.
"""

from __future__ import annotations

import statistics
import time
import warnings
from typing import Any

import torch
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm

from benchmarks.common import arguments, report
from homeo_rl.agents import SpikingActorCriticPolicy, SpikingSACPolicy, SpikingTD3Policy
from homeo_rl.envs.make import make_env

ALGORITHMS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "ppo": (PPO, SpikingActorCriticPolicy, {"n_steps": 512}),
    "sac": (SAC, SpikingSACPolicy, {"learning_starts": 100}),
    "td3": (TD3, SpikingTD3Policy, {"learning_starts": 100}),
}
AGENTS = ("mlp", "san", "popsan")


def main() -> None:
    """Measure and print."""
    told = arguments(__doc__)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    rounds, steps = (1, {"ppo": 512, "sac": 20, "td3": 20}) if told.tiny else (5, {"ppo": 1024, "sac": 200, "td3": 300})
    medians: dict[str, float] = {}
    ratios: dict[str, float | None] = {}
    for algo in ALGORITHMS:
        models = {agent: _model(algo, agent) for agent in AGENTS}
        times: dict[str, list[float]] = {agent: [] for agent in AGENTS}
        for model in models.values():
            model.learn(512 if algo == "ppo" else 120)
        for _ in range(rounds):
            for agent, model in models.items():
                begin = time.perf_counter()
                model.learn(steps[algo], reset_num_timesteps=False)
                times[agent].append((time.perf_counter() - begin) / steps[algo])
        for agent in AGENTS:
            medians[f"{algo}: {agent}"] = 1e6 * statistics.median(times[agent])
        for agent in AGENTS[1:]:
            ratios[f"{algo}_{agent}_vs_mlp"] = medians[f"{algo}: mlp"] / medians[f"{algo}: {agent}"]
    report(medians, ratios, as_json=told.json, note="*_vs_mlp: share of the MLP actor's steps per second (goal >= 0.7)")


def _model(algo: str, agent: str) -> BaseAlgorithm:
    kind, policy, settings = ALGORITHMS[algo]
    kwargs = {"agent": agent, "agent_kwargs": {"hidden": [256, 256]}}
    model: BaseAlgorithm = kind(
        policy, make_env("HalfCheetah-v5", {}), policy_kwargs=kwargs, seed=0, device="cpu", **settings
    )
    return model


if __name__ == "__main__":
    main()
