"""DWAM, dynamic weight adaptation: BCM with a sliding threshold and a coefficient-of-variation gain.

After Zhou et al., "Dynamic Weight Adaptation in Spiking Neural Networks Inspired by Biological Homeostasis" (AAAI
2026, arXiv 2511.17563), whose rule phi = c (c - theta) with theta = theta_M zeta sigma/mu + c (1 - zeta sigma/mu)
is the same as phi = g c (c - theta_M) with g = zeta sigma/mu. The windows, the rate and the sliding threshold's
reference activity c0 are not public; theta_M = E[c^2] / c0 follows Bienenstock, Cooper and Munro (1982).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from homeo_rl.homeostasis.protocol import (
    RATE,
    BcmRule,
    CompiledRule,
    DecisionRates,
    Homeostasis,
    LayerReference,
    Modulation,
    State,
    finite_rows,
)

if TYPE_CHECKING:  # see `homeo_rl.homeostasis.protocol`
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class PaperDWAM(Homeostasis):
    """Online BCM weight adaptation; once a decision, for every spiking layer::

        m += (c - m) / tau          q += (c^2 - q) / tau
        g = clip(zeta sqrt(q - m^2) / max(m, 1e-3), 0, 1)        (1 when zeta is None: plain BCM)
        theta_M = q / c0
        dW_ij = eta g_i c_i (c_i - theta_M,i) x_j

    State: ``delta`` [B, N_out, N_in] and the moments ``m``, ``q`` [B, N_out]; it starts from no delta and from the
    calibrated moments.

    Attributes:
        eta: learning rate, one for all layers or one a layer.
        zeta: strength of the coefficient-of-variation gain; None is plain BCM.
        tau: decisions over which the moments run.
        c0: reference mean rate; None takes each neuron's calibrated rate. 1 is the textbook's omission: every rate then
            climbs to saturation, which a test shows.
        floor: least c0, so that silent neurons have a finite threshold.
        trust: bound of abs(delta), as a multiple of the layer's root mean square trained weight.
    """

    name: ClassVar[str] = "dwam-paper"
    described_as: ClassVar[str] = "DWAM"

    eta: float | tuple[float, ...] = 1e-4
    zeta: float | None = 3.0
    tau: float = 30.0
    c0: float | None = None
    floor: float = 0.02
    trust: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        rates = self.eta if isinstance(self.eta, tuple) else (self.eta,)
        if not rates or min(rates) < 0:
            raise ValueError(f"eta: expected >= 0, got {self.eta!r}")
        if self.tau < 1:
            raise ValueError(f"tau: expected >= 1 decision, got {self.tau!r}")
        if self.zeta is not None and self.zeta < 0:
            raise ValueError(f"zeta: expected >= 0 or none, got {self.zeta!r}")
        if not 0 < self.floor <= 1 or (self.c0 is not None and not 0 < self.c0 <= 1):
            raise ValueError(f"floor and c0: expected in (0, 1], got {self.floor!r} and {self.c0!r}")
        if self.trust < 0:
            raise ValueError(f"trust: expected >= 0, got {self.trust!r}")

    def init(self, layer: LayerReference, batch: int) -> State:
        """Start from no delta and from the calibrated moments."""
        return {
            "delta": layer.rate.new_zeros(batch, layer.inputs, layer.rate.shape[0]).transpose(1, 2),
            "m": layer.rate.repeat(batch, 1),
            "q": layer.square.repeat(batch, 1),
        }

    def modulation(self, state: State) -> Modulation:
        """Add the delta to the trained weights."""
        return Modulation(weight=state["delta"])

    def step(self, state: State, layer: LayerReference, rates: DecisionRates) -> State:
        """One BCM update; the delta is advanced in place."""
        moments, factor, bound = self.postsynaptic_factor(state, layer, rates)
        delta = state["delta"].addcmul_(factor.unsqueeze(2), finite_rows(rates.pre).unsqueeze(1)).clamp_(-bound, bound)
        return {**state, "delta": delta, **moments}

    @property
    def compiled(self) -> tuple[str, ...]:
        """The BCM rule, where no part of it is overridden."""
        parts = ("step", "postsynaptic_factor", "gain", "reference_rate")
        return ("bcm",) if all(getattr(type(self), name) is getattr(PaperDWAM, name) for name in parts) else ()

    def rule_for_kernel(self, state: State, layer: LayerReference) -> CompiledRule | None:
        """Return the BCM rule of one layer."""
        if not self.compiled:
            return None
        bcm = BcmRule(
            mean=state["m"], square=state["q"], reference_rate=self.reference_rate(layer),
            learning_rate=state.get(RATE), eta=self.rate_of(layer), zeta=-1.0 if self.zeta is None else self.zeta,
            tau=self.tau, bound=self.trust * layer.weight_scale,
        )  # fmt: skip
        return CompiledRule(weights=bcm)

    def postsynaptic_factor(
        self, state: State, layer: LayerReference, rates: DecisionRates
    ) -> tuple[State, Tensor, float]:
        """Return the moments after a decision, eta phi [B, N_out] (times x_j it is dW) and the bound of the delta."""
        c = rates.post
        m = state["m"] + (c - state["m"]) / self.tau
        q = state["q"] + (c * c - state["q"]) / self.tau
        phi = c * (c - q / self.reference_rate(layer))
        if self.zeta is not None:
            phi = phi * self.gain(c, m, q)
        return (
            {"m": m, "q": q},
            finite_rows(state.get(RATE, self.rate_of(layer)) * phi),
            self.trust * layer.weight_scale,
        )

    def gain(self, rate: Tensor, mean: Tensor, square: Tensor) -> Tensor:
        """Return g [B, N_out] for the rates of a decision and the moments after it; asked where zeta is a number."""
        assert self.zeta is not None
        deviation = (square - mean * mean).clamp_min(0.0).sqrt()
        return (self.zeta * deviation / mean.clamp_min(1e-3)).clamp(0.0, 1.0)

    def sliding_threshold(self, state: State, layer: LayerReference) -> Tensor:
        """Return theta_M."""
        return state["q"] / self.reference_rate(layer)

    def rate_of(self, layer: LayerReference) -> float:
        """Return the learning rate of one layer."""
        if isinstance(self.eta, tuple):
            if layer.index >= len(self.eta):
                raise ValueError(
                    f"eta: {len(self.eta)} rates given, but there is a layer {layer.index}; give one a layer"
                )
            return self.eta[layer.index]
        return self.eta

    def reference_rate(self, layer: LayerReference) -> Tensor:
        """Return c0, shape [N_out]."""
        if self.c0 is not None:
            return layer.rate.new_full(layer.rate.shape, self.c0)
        return layer.rate.clamp_min(self.floor)


if not TYPE_CHECKING:  # a type checker that sees it takes every name for right

    def __getattr__(name: str) -> type[PaperDWAM]:
        if name != "DWAM":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        warnings.warn(
            "homeo_rl.homeostasis.dwam.DWAM is now PaperDWAM; the old name goes with version 0.3",
            DeprecationWarning,
            stacklevel=2,
        )
        return PaperDWAM
