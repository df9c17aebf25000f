"""Stop a training at the first update that spoils its weights, before anything of it is used or stored.

Every optimiser of the algorithm is looked at after each of its steps: one norm over all its weights and gradients. A
gradient that is finite and huge counts too: squared, it makes Adam's second moment infinite, and the weights would
then never move again. Losses are looked at where they are logged, once in an algorithm's ``train``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from homeo_rl.errors import NumericalFault
from homeo_rl.finite import LIMIT


class BadUpdate(NumericalFault):
    """An update gave weights, gradients or a loss that are not finite, or absurd; the policy is not worth storing."""


class UpdateGuard(BaseCallback):
    """Check every update of the model that learns.

    Raises:
        BadUpdate: naming the environment step, the optimiser and the parameter, or the loss.
    """

    def __init__(self) -> None:
        super().__init__()
        self._hooks: list[Any] = []

    def _on_training_start(self) -> None:
        for name, optimiser in optimisers(self.model):
            self._hooks.append(optimiser.register_step_post_hook(_check_of(self.model, name)))
        self.model.set_logger(FiniteLogger(self.model, self.model.logger))

    def _on_training_end(self) -> None:
        while self._hooks:
            self._hooks.pop().remove()

    def _on_step(self) -> bool:
        return True


class FiniteLogger(Logger):
    """A model's logger without the figures that are not finite: a mean over nothing is not logged.

    Raises:
        BadUpdate: such a figure is a loss of a gradient step.
    """

    def __init__(self, model: BaseAlgorithm, logger: Logger) -> None:
        super().__init__(logger.dir, logger.output_formats)
        self._model = model

    def record(self, key: str, value: Any, exclude: str | tuple[str, ...] | None = None) -> None:
        """Take a figure down for the next dump."""
        if isinstance(value, float | np.floating) and not math.isfinite(value):
            if key.startswith("train/") and key.endswith("loss"):
                raise BadUpdate(
                    f"step {self._model.num_timesteps}: {key} is {value}; expected a finite loss; "
                    "lower learning_rate; the last saved policy is kept"
                )
            return
        super().record(key, value, exclude)


def optimisers(model: BaseAlgorithm) -> Iterator[tuple[str, torch.optim.Optimizer]]:
    """Yield every optimiser of an algorithm with its name: policy, or actor, critic and entropy."""
    for name in ("policy", "actor", "critic"):
        optimiser = getattr(getattr(model, name, None), "optimizer", None)
        if isinstance(optimiser, torch.optim.Optimizer):
            yield name, optimiser
    entropy = getattr(model, "ent_coef_optimizer", None)
    if isinstance(entropy, torch.optim.Optimizer):
        yield "entropy", entropy


def _check_of(model: BaseAlgorithm, name: str) -> Any:
    """Return the hook that checks ``model`` after a step of its optimiser ``name``."""

    @torch.no_grad()
    def check(optimiser: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        # A norm is not finite where an entry is not; a comparison with NaN is false.
        if not float(torch.nn.utils.get_total_norm(parameters + gradients, foreach=True)) <= LIMIT:
            _tell(model, name, parameters)

    return check


def _tell(model: BaseAlgorithm, optimiser: str, parameters: list[torch.nn.Parameter]) -> None:
    """Raise for the first parameter or gradient that is beyond the limit; none is if only their sum was."""
    names = {id(parameter): name for name, parameter in model.policy.named_parameters()}
    for parameter in parameters:
        for what, values in (("", parameter), ("gradient of ", parameter.grad)):
            if values is not None and not float(values.norm()) <= LIMIT:
                # The largest entry; a NaN counts as larger than anything.
                worst = float(values.flatten()[values.abs().argmax()])
                raise BadUpdate(
                    f"step {model.num_timesteps}: update of the {optimiser}: {what}parameter "
                    f"{names.get(id(parameter), 'log_ent_coef')} reaches {worst:g}; expected finite numbers within "
                    f"{LIMIT:g}; lower learning_rate; the last saved policy is kept"
                )
