"""Notice that MuJoCo gave up a simulation: it then starts it anew in the middle of an episode and says nothing.

When positions, velocities or accelerations are not finite or huge (above 1e10), MuJoCo counts a warning, puts the
model back to its initial state and goes on. Gymnasium's environments take the jump for a movement and pay for it.
Controls that are bad are replaced by zeros in the same silence.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs

KEY = "unstable"
"""Key of the info that names what went wrong: ``BADQPOS``, ``BADQVEL``, ``BADQACC``, ``BADCTRL``, or ``RESET`` where
time went back without a warning."""

WARNINGS = ("BADQPOS", "BADQVEL", "BADQACC", "BADCTRL")
"""Warnings after which MuJoCo gave a step up."""


class StabilityGuard(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """End an episode in the step in which MuJoCo gave its simulation up.

    Such a step is a truncation with reward 0 and the observation of the step before: nothing of what the simulator
    made up reaches anybody. Its info holds `KEY` and nothing else.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)
        self._base: Any = env.unwrapped
        self._rows = warning_rows()
        self._before: Any = None
        self._time = 0.0
        self._look()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._before = _copy(observation)
        self._look()
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step, and end the episode if it did not take place."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        data = self._base.data
        if data is not self._data:
            self._look()  # the environment loaded another model: nothing to compare with
        elif data.time < self._time or data.warning.number.tobytes() != self._counted:
            reason = self._reason()
            if reason is not None:
                return self._before, 0.0, False, True, {KEY: reason}
        self._time = data.time
        self._before = _copy(observation)
        return observation, reward, terminated, truncated, info

    def _look(self) -> None:
        self._data = self._base.data
        self._counted: bytes = self._data.warning.number.tobytes()
        self._time = self._data.time

    def _reason(self) -> str | None:
        """Return what went wrong; None where MuJoCo only warned of something else (full buffers)."""
        counts, back = self._data.warning.number, self._data.time < self._time
        before = np.frombuffer(self._counted, dtype=counts.dtype)
        grown = [name for name, row in zip(WARNINGS, self._rows, strict=True) if counts[row] > before[row]]
        self._look()
        return grown[0] if grown else "RESET" if back else None


def warning_rows() -> list[int]:
    """Return where MuJoCo counts each of `WARNINGS`."""
    import mujoco

    return [int(getattr(mujoco.mjtWarning, f"mjWARN_{name}")) for name in WARNINGS]


def _copy(observation: Any) -> Any:
    """Return an observation that stays as it is: an environment may reuse its array."""
    return observation.copy() if isinstance(observation, np.ndarray) else observation


def has_simulation(env: gym.Env[Any, Any]) -> bool:
    """Whether an environment keeps a MuJoCo simulation as its ``data``."""
    data = getattr(env.unwrapped, "data", None)
    if data is None:
        return False
    import mujoco

    return isinstance(data, mujoco.MjData)


def is_watched(env: Any) -> bool:
    """Whether somewhere in a stack of wrappers a `StabilityGuard` looks after a simulation."""
    while isinstance(env, gym.Wrapper):
        if isinstance(env, StabilityGuard):
            return True
        env = env.env
    return False
