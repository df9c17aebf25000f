"""Observations without velocities, so that a policy has to remember what it saw."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from homeo_rl.errors import UsageError

_CLASSIC = {"CartPole": (1, 3), "Pendulum": (2,), "MountainCar": (1,), "MountainCarContinuous": (1,), "Acrobot": (4, 5)}
"""Velocities among the observations of Gymnasium's small environments."""

_PARTS = ("qvel", "cvel", "ten_velocity")
"""Velocities among the parts of a MuJoCo body's observation: of joints, bodies and tendons."""


class MaskVelocity(gym.ObservationWrapper[np.ndarray, Any, np.ndarray], RecordConstructorArgs):
    """Give 0 in the place of every velocity: of Gymnasium's small environments and of its MuJoCo bodies (v5).

    ``--env-wrapper homeo_rl.envs.mask_velocity.MaskVelocity`` trains without velocities, as RL Zoo's wrapper of this
    purpose does.

    Raises:
        UsageError: which entries are velocities is not known.
    """

    def __init__(self, env: gym.Env[np.ndarray, Any]) -> None:
        RecordConstructorArgs.__init__(self)
        gym.ObservationWrapper.__init__(self, env)
        name = "" if env.spec is None else env.spec.id.rpartition(":")[2].partition("-")[0]
        parts: dict[str, int] = getattr(env.unwrapped, "observation_structure", {})
        if name in _CLASSIC:
            self.velocities: tuple[int, ...] = _CLASSIC[name]
        elif "qvel" in parts:
            entries = [part for part, size in parts.items() if part != "skipped_qpos" for _ in range(size)]
            self.velocities = tuple(index for index, part in enumerate(entries) if part in _PARTS)
        else:
            raise UsageError(
                f"MaskVelocity: expected {', '.join(_CLASSIC)} or a MuJoCo body of version 5, got {name or env}; which "
                "entries of its observations are velocities is not known"
            )

    def observation(self, observation: np.ndarray) -> np.ndarray:
        """Return a copy of an observation [D] with zeros in the place of velocities."""
        masked = observation.copy()
        masked[list(self.velocities)] = 0
        return masked
