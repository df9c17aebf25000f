"""A check after every step of an optimiser: one norm over all its weights and gradients.

A gradient that is finite and huge counts too: squared, it makes Adam's second moment infinite, and the weights would
then never move again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.hooks import RemovableHandle

from homeo_rl.errors import BadUpdate
from homeo_rl.numerics.limits import LIMIT


def guard(
    optimiser: torch.optim.Optimizer, module: torch.nn.Module, *, name: str, where: Callable[[], str], kept: str = ""
) -> RemovableHandle:
    """Let every later step of ``optimiser`` that spoils its weights raise `BadUpdate`.

    Args:
        optimiser: what is checked.
        module: whose parameters it changes, for their names.
        name: its own, for the message.
        where: tells where the training is, such as "step 120".
        kept: what is not lost, for the message.

    Returns:
        what ends the check.
    """

    @torch.no_grad()
    def check(optimiser: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        # A norm is not finite where an entry is not; a comparison with NaN is false.
        if not float(torch.nn.utils.get_total_norm(parameters + gradients, foreach=True)) <= LIMIT:
            names = {id(parameter): name for name, parameter in module.named_parameters()}
            culprit = _culprit(parameters, names)
            if culprit:
                raise BadUpdate(
                    f"{where()}: update of the {name}: {culprit}; expected finite numbers within {LIMIT:g}; lower "
                    f"learning_rate{kept and '; ' + kept}"
                )

    return optimiser.register_step_post_hook(check)


def _culprit(parameters: list[torch.nn.Parameter], names: dict[int, str]) -> str:
    """Return the first parameter or gradient that is beyond the limit; "" if only their sum was."""
    for parameter in parameters:
        for what, values in (("", parameter), ("gradient of ", parameter.grad)):
            if values is not None and not float(values.norm()) <= LIMIT:
                # The largest entry; a NaN counts as larger than anything.
                worst = float(values.flatten()[values.abs().argmax()])
                return f"{what}parameter {names.get(id(parameter), 'log_ent_coef')} reaches {worst:g}"
    return ""
