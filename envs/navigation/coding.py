"""The spike coding of Tang et al. (IROS 2020): 22 signed entries become 24 in [0, 1], fit to be firing rates."""

import math
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from homeo_rl.envs.navigation.kernels import BEAMS

FASTEST = 0.5  # linear speed that is coded as 1 (m/s)
TURNING = 2.0  # angular speed that is coded as 1 (rad/s)

SIGNED = gym.spaces.Box(
    np.array([-math.pi, 0.0, 0.0, -1.8, *[0.0] * BEAMS], dtype=np.float32),
    np.array([math.pi, 1.0, FASTEST, 1.8, *[1.0] * BEAMS], dtype=np.float32),
)
"""Goal direction (rad, left positive), 0.3 m / goal distance, speed (m/s), turn (rad/s), 0.35 m / each beam's range."""

CODED = gym.spaces.Box(np.zeros(6 + BEAMS, dtype=np.float32), np.ones(6 + BEAMS, dtype=np.float32))
"""Direction left and right, distance, speed, turn left and right, beams."""


def spike_code(observations: np.ndarray) -> np.ndarray:
    """Code observations [..., 22] as [..., 24]."""
    coded = np.empty((*observations.shape[:-1], 6 + BEAMS), dtype=np.float32)
    direction, turn = observations[..., 0] / np.float32(math.pi), observations[..., 3] / np.float32(TURNING)
    coded[..., 0], coded[..., 1] = np.maximum(direction, 0), np.maximum(-direction, 0)
    coded[..., 2] = observations[..., 1]
    coded[..., 3] = observations[..., 2] / np.float32(FASTEST)
    coded[..., 4], coded[..., 5] = np.maximum(turn, 0), np.maximum(-turn, 0)
    coded[..., 6:] = observations[..., 4:]
    return np.clip(coded, 0.0, 1.0, out=coded)


class SpikeCoded(gym.ObservationWrapper[Any, Any, Any], RecordConstructorArgs):
    """Give the spike-coded observation of a navigation environment that gives the signed one.

    Raises ValueError: its observations are not the signed ones.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        RecordConstructorArgs.__init__(self)
        gym.ObservationWrapper.__init__(self, env)
        if env.observation_space != SIGNED:
            raise ValueError(
                f"SpikeCoded: expected the navigation observation of 22 entries, got {env.observation_space}"
            )
        self.observation_space = CODED

    def observation(self, observation: np.ndarray) -> np.ndarray:
        """Code one observation."""
        return spike_code(observation)
