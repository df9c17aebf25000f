"""A copy of a layer's weights in a few bits each: what a chip may keep beside its memory.

Every neuron has one scale, the largest of its absolute weights (the bias counts as one), and 2^bits equal cells from
minus to plus that scale. A weight is known to lie in its cell. Shapes: N neurons with N_in inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # see `homeo_rl.homeostasis.protocol`
    from torch import Tensor

MAX_BITS = 16


@dataclass(frozen=True)
class WeightCopy:
    """The cells of the weights and biases of one layer."""

    cells: Tensor  # index of each weight's cell [N, N_in + 1], the bias last
    scale: Tensor  # largest absolute weight of each neuron [N, 1]
    bits: int  # of a weight

    @property
    def size(self) -> int:
        """Bytes that it needs: ``bits`` a weight, and a float16 a neuron."""
        return (self.cells.numel() * self.bits + 7) // 8 + 2 * self.scale.numel()

    @property
    def centre(self) -> Tensor:
        """The middle of each cell [N, N_in + 1]: the copy itself."""
        centre: Tensor = (self.cells + 0.5) * (2.0 * self._half) - self.scale
        return centre

    def clip(self, weights: Tensor) -> Tensor:
        """Return ``weights`` [N, N_in + 1], those outside of their cell moved to its nearest edge."""
        clipped: Tensor = weights.clamp(self.centre - self._half, self.centre + self._half)
        return clipped

    @property
    def _half(self) -> Tensor:
        half: Tensor = self.scale / 2**self.bits
        return half


def copy_weights(weights: Tensor, bits: int) -> WeightCopy:
    """Return the copy of weights and biases [N, N_in + 1] in ``bits`` bits each.

    Raises:
        ValueError: ``bits`` is not a whole number from 1 to 16.
    """
    if bits != int(bits) or not 1 <= bits <= MAX_BITS:
        raise ValueError(f"bits: expected a whole number from 1 to {MAX_BITS}, got {bits!r}; give one")
    count = 2 ** int(bits)
    largest = weights.abs().amax(1, keepdim=True)
    scale = (largest * (1.0 + 2.0**-10)).half().to(weights)  # stored in 16 bits, and no weight is beyond it
    cells = ((weights / scale.clamp_min(1e-12) + 1.0) * (count / 2)).floor().clamp(0, count - 1)
    return WeightCopy(cells, scale, int(bits))
