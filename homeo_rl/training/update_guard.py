"""Stop a training at the first update that spoils its weights, before anything of it is used or stored.

Every optimiser of the algorithm is looked at after each of its steps. Losses are looked at where they are logged
(`homeo_rl.training.logger`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from homeo_rl.training.updates import guard


class UpdateGuard(BaseCallback):
    """Check every update of the model that learns.

    Raises:
        BadUpdate: naming the environment step, the optimiser and the parameter.
    """

    def __init__(self) -> None:
        super().__init__()
        self._hooks: list[Any] = []

    def _on_training_start(self) -> None:
        for name, optimiser in optimisers(self.model):
            hook = guard(
                optimiser, self.model.policy, name=name, where=lambda: f"step {self.model.num_timesteps}",
                kept="the last saved policy is kept",
            )  # fmt: skip
            self._hooks.append(hook)

    def _on_training_end(self) -> None:
        while self._hooks:
            self._hooks.pop().remove()

    def _on_step(self) -> bool:
        return True


def optimisers(model: BaseAlgorithm) -> Iterator[tuple[str, torch.optim.Optimizer]]:
    """Yield every optimiser of an algorithm with its name: policy, or actor, critic and entropy."""
    for name in ("policy", "actor", "critic"):
        optimiser = getattr(getattr(model, name, None), "optimizer", None)
        if isinstance(optimiser, torch.optim.Optimizer):
            yield name, optimiser
    entropy = getattr(model, "ent_coef_optimizer", None)
    if isinstance(entropy, torch.optim.Optimizer):
        yield "entropy", entropy
