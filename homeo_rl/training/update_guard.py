"""Stop a training at the first update that spoils its weights, before anything of it is used or stored.

One norm over all weights and gradients is checked after every step of every optimiser. A gradient that is finite and
huge counts too: squared, it makes Adam's second moment infinite, and the weights would then never move again. Losses
are checked where they are logged (`homeo_rl.training.logger`).
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from torch.utils.hooks import RemovableHandle

from homeo_rl.errors import BadUpdate
from homeo_rl.numerics.limits import LIMIT


class UpdateGuard(BaseCallback):
    """Check every update of the model that learns.

    Raises BadUpdate: naming the environment step, the optimiser and the parameter.
    """

    def __init__(self) -> None:
        super().__init__()
        self._hooks: list[RemovableHandle] = []

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
    """Yield every optimiser of an algorithm with its name."""
    for name in ("policy", "actor", "critic", "actor_target"):
        optimiser = getattr(getattr(model, name, None), "optimizer", None)
        if isinstance(optimiser, torch.optim.Optimizer):
            yield name, optimiser
    entropy = getattr(model, "ent_coef_optimizer", None)
    if isinstance(entropy, torch.optim.Optimizer):
        yield "entropy", entropy


def guard(
    optimiser: torch.optim.Optimizer, module: torch.nn.Module, *, name: str, where: Callable[[], str], kept: str = ""
) -> RemovableHandle:
    """Let every later step of ``optimiser`` that spoils its weights raise `BadUpdate`.

    The message says ``name`` of the optimiser, ``where`` the training is ("step 120") and what is ``kept``. Removing
    the handle that is returned ends the check.

    Returns what ends the check.
    """

    @torch.no_grad()
    def check(optimiser: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        # A norm is not finite where an entry is not; a comparison with NaN is false.
        if not float(torch.nn.utils.get_total_norm(parameters + gradients, foreach=True)) <= LIMIT:
            names = {id(parameter): name for name, parameter in module.named_parameters()}
            culprit = _find_culprit(parameters, names)
            if culprit:
                raise BadUpdate(
                    f"{where()}: update of the {name}: {culprit}; expected finite numbers within {LIMIT:g}; lower "
                    f"learning_rate{kept and '; ' + kept}"
                )

    return optimiser.register_step_post_hook(check)


def _find_culprit(parameters: list[torch.nn.Parameter], names: dict[int, str]) -> str:
    """Return the first parameter or gradient that is beyond the limit; "" if only their sum was."""
    for parameter in parameters:
        for what, values in (("", parameter), ("gradient of ", parameter.grad)):
            if values is not None and not float(values.norm()) <= LIMIT:
                # The largest entry; a NaN counts as larger than anything.
                worst = float(values.flatten()[values.abs().argmax()])
                return f"{what}parameter {names.get(id(parameter), 'log_ent_coef')} reaches {worst:g}"
    return ""
