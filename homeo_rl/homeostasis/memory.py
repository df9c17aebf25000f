"""What a network remembers of being healthy: observations, and what its neurons answered to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from homeo_rl.homeostasis.weight_copy import WeightCopy, copy_weights

if TYPE_CHECKING:  # see `homeo_rl.homeostasis.protocol`
    from torch import Tensor


@dataclass(frozen=True)
class Memory:
    """A reservoir of clean observations and the healthy network's responses, and at will a coarse copy of its weights.

    Shapes: M observations, T spike steps, N neurons of a layer.

    Attributes:
        inputs: observations as the network sees them, normalised, [M, inputs].
        trains: what the encoder sends for them, and then the spikes of every layer (potentials of a read-out that does
            not fire), each [M, T, N].
        copies: weights of every layer in a few bits each; () has none.
        currents: mean input currents [M, N] of every layer; () has none.
    """

    inputs: Tensor
    trains: tuple[Tensor, ...]
    copies: tuple[WeightCopy, ...] = ()
    currents: tuple[Tensor, ...] = ()

    def first(self, count: int) -> Memory:
        """Return the memory of the first ``count`` observations; they are in random order."""
        return replace(
            self,
            inputs=self.inputs[:count],
            trains=tuple(train[:count] for train in self.trains),
            currents=tuple(received[:count] for received in self.currents),
        )

    def with_copies(self, layers: Sequence[Tensor], bits: int) -> Memory:
        """Return the memory with a copy of the healthy weights and biases [N, N_in + 1]; 0 bits keep none."""
        return replace(self, copies=tuple(copy_weights(layer, bits) for layer in layers) if bits else ())

    def with_currents(self, layers: Sequence[Tensor]) -> Memory:
        """Return the memory with the mean currents that healthy weights and biases [N, N_in + 1] gave."""
        pairs = zip(self.trains, layers, strict=False)
        return replace(self, currents=tuple(train.mean(1) @ m[:, :-1].T + m[:, -1] for train, m in pairs))

    @property
    def size(self) -> int:
        """Bytes that it needs: float32 observations, one bit a spike, copies, float32 currents."""
        spikes = sum(len(train) * ((train[0].numel() + 7) // 8) for train in self.trains[1:])
        return (
            4 * self.inputs.numel()
            + spikes
            + sum(copy.size for copy in self.copies)
            + sum(4 * part.numel() for part in self.currents)
        )
