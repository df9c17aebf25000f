"""Faults that a training survives, counted for TensorBoard."""

from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from homeo_rl.agents.sb3.policies import policy_of
from homeo_rl.envs.stability import KEY, StabilityGuard


class IncidentCallback(BaseCallback):
    """Log ``env/unstable``, episodes whose simulation MuJoCo gave up, where there is a simulation; and
    ``homeo/rolled_back``, adaptations that were started again, where a plug-in adapts in training.

    Both are totals since the training began.
    """

    def __init__(self) -> None:
        super().__init__()
        self.unstable = 0
        self._watched = False

    def state_dict(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return what a resumed training has to know."""
        return {"unstable": self.unstable}, {}

    def load_state_dict(self, document: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Take over what `state_dict` returned."""
        self.unstable = document["unstable"]

    def _on_training_start(self) -> None:
        self._watched = any(self.training_env.env_is_wrapped(StabilityGuard))

    def _on_step(self) -> bool:
        if self._watched:
            self.unstable += sum(KEY in info for info in self.locals["infos"])
            self.logger.record("env/unstable", self.unstable)
        online = policy_of(self.model).head().online
        if online is not None:
            self.logger.record("homeo/rolled_back", online.rolled_back)
        return True
