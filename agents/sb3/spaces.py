"""Stable-Baselines3's spaces as an actor meets them: a row of numbers in, a row of numbers out."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete
from stable_baselines3.common.preprocessing import get_flattened_obs_dim, is_image_space


def is_row(space: gym.Space[Any]) -> bool:
    """Whether observations are rows of numbers as they come."""
    return isinstance(space, Box) and len(space.shape) == 1


def flat_observation_space(space: gym.Space[Any]) -> Box:
    """Return what is left of an observation after SB3's preprocessing (one-hot, images / 255) and flattening."""
    if is_row(space):
        assert isinstance(space, Box)
        return space
    if isinstance(space, Box) and not is_image_space(space):
        return Box(space.low.ravel(), space.high.ravel(), dtype=np.float32)
    return Box(0.0, 1.0, (get_flattened_obs_dim(space),), np.float32)


def feature_space(features: int) -> Box:
    """Return what a features extractor of one's own gives."""
    return Box(-np.inf, np.inf, (features,), np.float32)


def action_output_space(space: gym.Space[Any]) -> gym.Space[Any]:
    """Return what an actor's outputs stand for: bounded numbers, or scores of choices, those of several in a row."""
    if isinstance(space, Box) and len(space.shape) != 1:
        return Box(
            space.low.ravel(), space.high.ravel(), dtype=np.float32 if space.dtype.kind == "f" else space.dtype.type
        )
    if isinstance(space, gym.spaces.MultiDiscrete):
        return Discrete(int(space.nvec.sum()))
    if isinstance(space, gym.spaces.MultiBinary):
        return Discrete(int(np.prod(space.shape)))
    return space
