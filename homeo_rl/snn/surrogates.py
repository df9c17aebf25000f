"""Spikes with a derivative: a step forward, a smooth stand-in backward.

With d = v - threshold, the derivative used in the backward pass is

    rectangle   1 where abs(d) < 0.5, else 0                     (PopSAN, SAN)
    arctan      (alpha/2) / (1 + (pi/2 alpha d)^2), alpha = 2
    sigmoid     alpha s (1 - s), s = sigmoid(alpha d), alpha = 4
    triangle    max(0, 1 - abs(d))
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from homeo_rl.spec import Surrogate


def _rectangle(d: Tensor) -> Tensor:
    return (d.abs() < 0.5).to(d.dtype)


def _arctan(d: Tensor, alpha: float = 2.0) -> Tensor:
    return (alpha / 2) / (1 + (math.pi / 2 * alpha * d).square())


def _sigmoid(d: Tensor, alpha: float = 4.0) -> Tensor:
    s = torch.sigmoid(alpha * d)
    return alpha * s * (1 - s)


def _triangle(d: Tensor) -> Tensor:
    return (1 - d.abs()).clamp_min(0)


DERIVATIVES: dict[Surrogate, Callable[[Tensor], Tensor]] = {
    "rectangle": _rectangle,
    "arctan": _arctan,
    "sigmoid": _sigmoid,
    "triangle": _triangle,
}


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, d: Tensor, kind: Surrogate, inclusive: bool) -> Tensor:
        ctx.save_for_backward(d)
        ctx.kind = kind
        return ((d >= 0) if inclusive else (d > 0)).to(d.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (d,) = ctx.saved_tensors
        return grads[0] * DERIVATIVES[ctx.kind](d), None, None


def spike(d: Tensor, kind: Surrogate, *, inclusive: bool = False) -> Tensor:
    """Return 1.0 where ``d`` = v - threshold is above 0 (``inclusive``: at or above), else 0.0.

    The derivative with respect to ``d`` is that of the surrogate ``kind``.
    """
    if torch.is_grad_enabled() and d.requires_grad:
        result: Tensor = _Spike.apply(d, kind, inclusive)  # type: ignore[no-untyped-call]  # torch ships apply untyped
        return result
    return ((d >= 0) if inclusive else (d > 0)).to(d.dtype)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, spikes: Tensor) -> Tensor:
        return spikes

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


def straight_through(value: Tensor, spikes: Tensor) -> Tensor:
    """Return ``spikes``, with the gradient passed on to ``value`` unchanged (the encoders of PopSAN)."""
    if torch.is_grad_enabled() and value.requires_grad:
        result: Tensor = _StraightThrough.apply(value, spikes)  # type: ignore[no-untyped-call]  # as above
        return result
    return spikes
