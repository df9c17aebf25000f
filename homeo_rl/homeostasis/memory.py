"""What a network remembers of being healthy: observations, and what its neurons answered to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # see `homeo_rl.homeostasis.protocol`
    from torch import Tensor


@dataclass(frozen=True)
class Memory:
    """A reservoir of clean observations and the healthy network's responses; no weight is in it.

    Shapes: M observations, T spike steps, N neurons of a layer.

    Attributes:
        inputs: observations as the network sees them, normalised, [M, inputs].
        trains: what the encoder sends for them, and then the spikes of every layer (potentials of a read-out that does
            not fire), each [M, T, N].
    """

    inputs: Tensor
    trains: tuple[Tensor, ...]

    def first(self, count: int) -> Memory:
        """Return the memory of the first ``count`` observations; they are in random order."""
        return Memory(self.inputs[:count], tuple(train[:count] for train in self.trains))

    @property
    def size(self) -> int:
        """Bytes that it needs: float32 observations, one bit a spike."""
        return 4 * self.inputs.numel() + sum(len(train) * ((train[0].numel() + 7) // 8) for train in self.trains[1:])
