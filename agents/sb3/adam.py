"""Adam as torch has it, in one call for all parameters and without the bookkeeping of every step.

`torch.optim.Adam(fused=True)` is the reference, and what serves every case that the call does not cover. torch's loop
on the CPU goes through memory and does not look at strides: moments that do not lie as their parameter does are paired
with other weights. So moments that are loaded are laid as the parameters are.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Adam(torch.optim.Adam):
    """torch's Adam, fused. Arguments and state are torch's."""

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters once."""
        batches = [] if closure is not None else [self._gather(group) for group in self.param_groups]
        if not batches or None in batches:
            return super().step(closure)
        with torch.no_grad():
            for group, batch in zip(self.param_groups, batches, strict=True):
                assert batch is not None
                parameters, gradients, means, squares, steps = batch
                torch._foreach_add_(steps, 1)
                first, second = group["betas"]
                torch._fused_adam_(
                    parameters, gradients, means, squares, [], steps, lr=group["lr"], beta1=first, beta2=second,
                    weight_decay=group["weight_decay"], eps=group["eps"], amsgrad=False, maximize=False,
                )  # fmt: skip
        return None

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned, from wherever it was kept."""
        super().load_state_dict(state_dict)
        align_moments(self)

    def _gather(self, group: dict[str, Any]) -> tuple[list[Tensor], ...] | None:
        """Return parameters, gradients, both moments and steps of a group, or None where torch has to see to it."""
        if group["amsgrad"] or group["maximize"] or group["differentiable"] or isinstance(group["lr"], Tensor):
            return None
        batch: tuple[list[Tensor], ...] = ([], [], [], [], [])
        for parameter in group["params"]:
            if not parameter.requires_grad:
                continue
            gradient, state = parameter.grad, self.state.get(parameter)
            if gradient is None or not state or not parameter.is_cpu or gradient.stride() != parameter.stride():
                return None
            parts = parameter, gradient, state["exp_avg"], state["exp_avg_sq"], state["step"]
            for entries, part in zip(batch, parts, strict=True):
                entries.append(part)
        return batch


def align_moments(optimiser: torch.optim.Optimizer) -> None:
    """Lay every part of an optimiser's state that has a parameter's shape in memory as the parameter lies."""
    for parameter, entries in optimiser.state.items():
        for name, value in entries.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                entries[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
