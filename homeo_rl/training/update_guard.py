"""Stop a training at the first update that spoils its weights, before anything of it is used or stored.

Every optimiser of the algorithm is looked at after each of its steps: one norm over all its weights and gradients. A
gradient that is finite and huge counts too: squared, it makes Adam's second moment infinite, and the weights would
then never move again. Losses are looked at where they are logged (`homeo_rl.training.logger`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from homeo_rl.errors import BadUpdate
from homeo_rl.finite import LIMIT


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
            self._hooks.append(optimiser.register_step_post_hook(_check_of(self.model, name)))

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
