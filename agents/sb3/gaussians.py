"""The Gaussians of SB3's policies, written out: PPO's, and SAC's squashed one with its derivatives.

With mean m, log standard deviation l, noise e and u = m + exp(l) e, the log probability of u is
sum(-e^2 / 2 - l - log(2 pi) / 2), and that of a = tanh(u) is less by sum(log(1 - a^2 + 1e-6)). Stable-Baselines3's
`DiagGaussianDistribution` and `SquashedDiagGaussianDistribution` are the references. Shapes: B batch, A actions.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

EPSILON = 1e-6  # SB3's
_HALF_LOG = 0.5 * math.log(2.0 * math.pi)


@torch.no_grad()
def draw(mean: Tensor, log_std: Tensor, deterministic: bool) -> tuple[Tensor, Tensor]:
    """Return actions [B, A] from torch's global generator, or ``mean`` [B, A], and log probabilities [B].

    Args:
        log_std: the same for all rows [A].
    """
    noise = torch.zeros_like(mean) if deterministic else torch.randn_like(mean)
    return torch.addcmul(mean, noise, log_std.exp()), noise.square().sum(1).mul_(-0.5).sub_(_normaliser(log_std))


def evaluate(mean: Tensor, log_std: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """Return log probabilities [B] of ``actions`` [B, A] and entropies [B], with gradients; ``log_std`` is [A]."""
    total = _normaliser(log_std)
    deviations = (actions - mean) * torch.exp(-log_std)
    return -0.5 * deviations.square().sum(1) - total, (total + 0.5 * len(log_std)).expand(len(mean))


def _normaliser(log_std: Tensor) -> Tensor:
    return log_std.sum() + _HALF_LOG * len(log_std)


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
        actions, terms.sum(1, keepdim=True).sub_(_HALF_LOG * mean.shape[1]), spread, slope,
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
