"""What DWAM is compared with: its own rule with one part broken, at the same rate, bounds and cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from homeo_rl.homeostasis.dwam import PaperDWAM
from homeo_rl.homeostasis.protocol import DecisionRates, LayerReference, State
from homeo_rl.seeding import generator

if TYPE_CHECKING:  # see `homeo_rl.homeostasis.protocol`
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class ControlDWAM(PaperDWAM):
    """DWAM, with phi as it should not be, or with another reading of the coefficient of variation.

    If an arm does as well as DWAM when every neuron is given another's phi, or when weights move the wrong way, what
    helped was not the rule.

    Attributes:
        phi: "shuffled" gives each neuron of a layer another's phi, always the same one's; "flipped" changes the sign;
            "own" is DWAM's.
        cv: "time" is a neuron's deviation over decisions, as in DWAM; "neurons" is the deviation over the neurons of a
            layer in this decision, relative to their mean, one gain a layer.
    """

    name: ClassVar[str] = "dwam-control"

    phi: Literal["shuffled", "flipped", "own"] = "shuffled"
    cv: Literal["time", "neurons"] = "time"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.phi not in ("shuffled", "flipped", "own"):
            raise ValueError(f"phi: expected shuffled, flipped or own, got {self.phi!r}")
        if self.cv not in ("time", "neurons"):
            raise ValueError(f"cv: expected time or neurons, got {self.cv!r}")

    def postsynaptic_factor(
        self, state: State, layer: LayerReference, rates: DecisionRates
    ) -> tuple[State, Tensor, float]:
        """Break the factor of the paper's rule."""
        moments, factor, bound = super().postsynaptic_factor(state, layer, rates)
        if self.phi == "flipped":
            factor = -factor
        elif self.phi == "shuffled":
            factor = factor[:, generator(layer.index, "shuffled phi").permutation(factor.shape[1])]
        return moments, factor, bound

    def gain(self, rate: Tensor, mean: Tensor, square: Tensor) -> Tensor:
        """Return g [B, N] or, across neurons, [B, 1]."""
        if self.cv == "time" or self.zeta is None:
            return super().gain(rate, mean, square)
        deviation = rate.std(1, correction=0, keepdim=True)
        return (self.zeta * deviation / rate.mean(1, keepdim=True).clamp_min(1e-3)).clamp(0.0, 1.0)
