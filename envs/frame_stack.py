"""Observations of the last decisions side by side, so that a policy without memory can tell a fault from the world."""

from collections import deque
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from homeo_rl.errors import UsageError

Env = gym.Env[Any, Any]

KEY = "frame_stack"
"""Name among the arguments of an environment that stands for the number of observations; it is not given to it."""

MOST = 64
"""Observations that can be stacked."""


class FrameStack(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Return the last ``frames`` observations [D] as one [frames * D], the newest last.

    At the beginning of an episode the first observation stands for those before it. The numbers are those of
    Gymnasium's ``FrameStackObservation`` and ``FlattenObservation``. Degradations of sensors belong beneath this
    wrapper (`homeo_rl.degradations.protocol.wrap_sensors`): the policy remembers what it saw.

    Raises:
        UsageError: the observations are not of one dimension.
    """

    stacks_observations = True

    def __init__(self, env: Env, frames: int) -> None:
        RecordConstructorArgs.__init__(self, frames=frames)
        gym.Wrapper.__init__(self, env)
        space = env.observation_space
        if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1:
            raise UsageError(
                f"--frame-stack: expected a one-dimensional Box of observations, got {space}; --flatten-observations "
                "converts it"
            )
        low, high = np.tile(space.low, frames), np.tile(space.high, frames)
        self.observation_space = gym.spaces.Box(low, high, dtype=space.dtype.type)
        self._frames: deque[np.ndarray] = deque(maxlen=frames)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._frames.extend([observation] * (self._frames.maxlen or 1))
        return np.concatenate(self._frames), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._frames.append(observation)
        return np.concatenate(self._frames), reward, terminated, truncated, info


def with_frames(env: Env, frames: Any) -> Env:
    """Return ``env`` inside a stack of ``frames`` observations; 1 returns ``env`` itself.

    Raises:
        UsageError: it is no such number, or the observations cannot be stacked.
    """
    if not isinstance(frames, int) or isinstance(frames, bool) or not 1 <= frames <= MOST:
        raise UsageError(f"--frame-stack: expected a whole number of 1 to {MOST}, got {frames!r}; correct it")
    return env if frames == 1 else FrameStack(env, frames)
