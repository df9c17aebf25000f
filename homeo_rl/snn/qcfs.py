"""QCFS: a ReLU that is clipped at theta and takes one of L + 1 levels (Bu et al., ICLR 2022).

With d = theta / L, the level of an input is n = clip(floor(z / d + 1/2), 0, L) and the output n d. A spiking neuron
that emits n spikes of amplitude d says the same (`homeo_rl.snn.spike_accumulation`). Backward, with Q = n / L::

    dh/dz = 1 inside (0, theta), else 0          dh/dtheta = Q - z / theta inside, 1 above, 0 below
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

LEAST_THETA = 1e-3  # theta is this plus a softplus, so it never reaches 0, where all gradients end


def level_of(z: Tensor, step: Tensor | float, levels: int) -> Tensor:
    """Return clip(floor(z / step + 1/2), 0, levels), in the type of ``z``: the exact count of spikes."""
    return torch.floor(z / step + 0.5).clamp(0, levels)


def ladder_level(z: Tensor, step: Tensor | float, levels: int) -> Tensor:
    """Return how many of the thresholds (k - 1/2) step, k = 1 ... levels, ``z`` reaches.

    The same number as `level_of` without a division: exact where the thresholds and ``z`` are.
    """
    thresholds = (torch.arange(1, levels + 1, dtype=z.dtype, device=z.device) - 0.5) * step
    return torch.bucketize(z, thresholds, right=True).to(z.dtype)


class QCFS(nn.Module):
    """The activation, with a learnable theta of one value; takes the place of ``nn.ReLU`` and the like.

    ``activation_fn=QCFS`` or ``functools.partial(QCFS, levels=4)`` makes Stable-Baselines3's own networks of it.

    Args:
        levels: L, at least 1: spikes at most, and time steps of the converted layer.
        theta: where it is clipped at the start; one to two standard deviations of the inputs train well.

    Raises ValueError: no level, or a theta that is not above 0.001.
    """

    def __init__(self, levels: int = 8, theta: float = 1.0) -> None:
        super().__init__()
        if levels < 1 or levels != int(levels):
            raise ValueError(f"levels: expected a whole number of at least 1, got {levels!r}")
        self.levels = int(levels)
        self.raw_theta = nn.Parameter(torch.zeros(()))
        self.set_theta(theta)

    @torch.no_grad()
    def set_theta(self, theta: float) -> None:
        """Clip at ``theta``. Raises ValueError: it is not above 0.001."""
        if not theta > LEAST_THETA:
            raise ValueError(f"theta: expected more than {LEAST_THETA}, got {theta!r}")
        above = theta - LEAST_THETA
        self.raw_theta.fill_(above + math.log(-math.expm1(-above)))  # the inverse of softplus

    @property
    def theta(self) -> Tensor:
        """Where the activation is clipped, a positive scalar."""
        return LEAST_THETA + nn.functional.softplus(self.raw_theta)

    def step(self, like: Tensor) -> Tensor:
        """Return d = theta / L, threshold and amplitude of the converted neuron, in the type of ``like``."""
        return self.theta.to(like.dtype) / self.levels

    def forward(self, z: Tensor) -> Tensor:
        """Return the levels of ``z`` (any shape) times d."""
        result: Tensor = _Quantise.apply(z, self.theta.to(z.dtype), self.levels)  # type: ignore[no-untyped-call]  # torch ships apply untyped
        return result

    def extra_repr(self) -> str:
        """Show levels and theta."""
        return f"levels={self.levels}, theta={float(self.theta.detach()):.4g}"


class _Quantise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, theta: Tensor, levels: int) -> Tensor:
        step = theta / levels
        level = level_of(z, step, levels)
        ctx.save_for_backward(z, theta, level)
        ctx.levels = levels
        return level * step

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        z, theta, level = ctx.saved_tensors
        above, inside = z >= theta, (z > 0) & (z < theta)
        of_theta = torch.where(inside, level / ctx.levels - z / theta, above.to(z.dtype))
        return grads[0] * inside, (grads[0] * of_theta).sum(), None


@torch.no_grad()
def fit_thetas(network: nn.Module, x: Tensor, *, deviations: float = 2.0) -> None:
    """Set every QCFS's theta to so many standard deviations of its input on the samples ``x``, layer after layer.

    An activation whose inputs all lie outside (0, theta) has no gradient to learn theta by.
    """
    for activation in (part for part in network.modules() if isinstance(part, QCFS)):
        seen: list[Tensor] = []
        hook = activation.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0]))
        try:
            network(x)
        finally:
            hook.remove()
        spread = float(torch.cat([z.flatten() for z in seen]).std())
        activation.set_theta(max(deviations * spread, 2 * LEAST_THETA))
