"""Fault models between Stable-Baselines3 and its environments."""

from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from homeo_rl.degradations.fault_model import FaultModel


class FaultyVecEnv(VecEnvWrapper):
    """An SB3 ``VecEnv`` with faults; ``terminal_observation`` is what the policy would have seen.

    ``seed(s)`` gives the faults of environment i the seed s + i at the next reset, as the environments.
    """

    def __init__(self, venv: VecEnv, model: FaultModel) -> None:
        super().__init__(venv)
        self.model = model
        self._fault_seed: int | None = None

    def seed(self, seed: int | None = None) -> Any:
        """Seed environments and faults."""
        self._fault_seed = seed
        return super().seed(seed)

    def reset(self) -> np.ndarray:
        """Begin new episodes."""
        observations = self.venv.reset()
        self.model.reset(seed=self._fault_seed)
        self._fault_seed = None
        seen: np.ndarray = self.model.observe(observations)
        return seen

    def step_async(self, actions: np.ndarray) -> None:
        """Start a step with the actions that are executed."""
        self.venv.step_async(self.model.act(actions.reshape(len(actions), -1)).reshape(actions.shape))

    def step_wait(self) -> VecEnvStepReturn:
        """Return what the policy sees of the step."""
        observations, rewards, dones, infos = self.venv.step_wait()
        final = np.array(observations)
        for i in np.flatnonzero(dones):
            final[i] = infos[i]["terminal_observation"]
        seen, last = self.model.observe_step(observations, dones.astype(np.bool_), final)
        for i in np.flatnonzero(dones):
            infos[i]["terminal_observation"] = last[i]
        return seen, rewards, dones, infos
