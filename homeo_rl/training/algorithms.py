"""Algorithms by name, with the policy that carries a spiking actor into each."""

from __future__ import annotations

from typing import Any

from stable_baselines3 import A2C, DDPG, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm

from homeo_rl.agents.policies import SpikingActorCriticPolicy, SpikingSACPolicy, SpikingTD3Policy

CLASSES: dict[str, tuple[type[BaseAlgorithm], type[Any]]] = {
    "a2c": (A2C, SpikingActorCriticPolicy),
    "ddpg": (DDPG, SpikingTD3Policy),
    "ppo": (PPO, SpikingActorCriticPolicy),
    "sac": (SAC, SpikingSACPolicy),
    "td3": (TD3, SpikingTD3Policy),
}
"""One of `homeo_rl.training.hyperparams.ALGORITHMS` each."""
