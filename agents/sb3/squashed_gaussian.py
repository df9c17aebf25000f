"""SAC's squashed Gaussian with its derivatives written out.

With mean m, log standard deviation l, noise e, u = m + exp(l) e and a = tanh(u), the log probability is
sum(-e^2 / 2 - l - log(2 pi) / 2 - log(1 - a^2 + 1e-6)), as in Stable-Baselines3's `SquashedDiagGaussianDistribution`,
which is the reference. Shapes: B batch, A actions.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

EPSILON = 1e-6  # SB3's


class Sample(NamedTuple):
    """Actions that were drawn, and what their derivatives need."""

    actions: Tensor  # [B, A]
    log_probability: Tensor  # [B, 1]
    spread: Tensor  # exp(l) e [B, A]
    slope: Tensor  # 1 - a^2 [B, A]
    inside: Tensor  # whether the log standard deviation is not clamped [B, A]


@torch.no_grad()
def sample(mean: Tensor, log_std: Tensor, bounds: tuple[float, float]) -> Sample:
    """Draw from torch's global generator, with ``log_std`` [B, A] clamped to ``bounds``; no gradient passes."""
    held = log_std.clamp(*bounds)
    noise = torch.randn_like(mean)
    spread = noise * held.exp()
    actions = torch.tanh(mean + spread)
    slope = 1.0 - actions.square()
    terms = noise.square_().mul_(-0.5).sub_(held).sub_((slope + EPSILON).log_())
    return Sample(
        actions, terms.sum(1, keepdim=True).sub_(0.5 * math.log(2.0 * math.pi) * mean.shape[1]), spread, slope,
        held == log_std,
    )  # fmt: skip


@torch.no_grad()
def derivatives(drawn: Sample, of_actions: Tensor, of_log_probability: float) -> tuple[Tensor, Tensor]:
    """Return the derivatives [B, A] with respect to mean and log standard deviation.

    Args:
        of_actions: of the loss with respect to the actions [B, A].
        of_log_probability: of the loss with respect to every row's log probability.
    """
    through = (drawn.actions * drawn.slope).div_(drawn.slope + EPSILON).mul_(2.0 * of_log_probability)
    of_mean = through.addcmul_(of_actions, drawn.slope)
    of_log_std = (of_mean * drawn.spread).sub_(of_log_probability).mul_(drawn.inside)
    return of_mean, of_log_std
