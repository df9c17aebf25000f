"""The linear homeostat: the plainest rule that pulls mean rates back, DWAM's rival and control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from homeo_rl.homeostasis.protocol import (
    RATE,
    DecisionRates,
    Homeostasis,
    LayerReference,
    Modulation,
    State,
    finite_rows,
)


@dataclass(frozen=True, kw_only=True)
class LinearHomeostat(Homeostasis):
    """Move weights or biases in proportion to how far the running mean rate is from the calibrated one::

        m += (c - m) / tau
        dW_ij = eta (c0_i - m_i) x_j        ("weights")        db_i = eta (c0_i - m_i)        ("bias")

    Attributes:
        eta: learning rate.
        tau: decisions over which the mean runs.
        target: what is moved.
        trust: bound of the change, as a multiple of the layer's root mean square trained weight (for a bias also
            times the number of inputs, the scale of the current they can carry).
    """

    name: ClassVar[str] = "linear"

    eta: float = 3e-4
    tau: float = 30.0
    target: Literal["weights", "bias"] = "weights"
    trust: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.target not in ("weights", "bias"):
            raise ValueError(f"target: expected weights or bias, got {self.target!r}")
        if self.eta < 0 or self.tau < 1 or self.trust < 0:
            raise ValueError(f"expected eta >= 0, tau >= 1, trust >= 0, got {self.eta!r}, {self.tau!r}, {self.trust!r}")

    def init(self, layer: LayerReference, batch: int) -> State:
        """Start from no change and from the calibrated mean."""
        neurons = layer.rate.shape[0]
        shape = (batch, layer.inputs, neurons) if self.target == "weights" else (batch, neurons)
        delta = layer.rate.new_zeros(shape)
        return {"delta": delta.transpose(1, 2) if delta.dim() == 3 else delta, "m": layer.rate.repeat(batch, 1)}

    def modulation(self, state: State) -> Modulation:
        """Add the change to the weights or to the bias."""
        return Modulation(weight=state["delta"]) if self.target == "weights" else Modulation(bias=state["delta"])

    def step(self, state: State, layer: LayerReference, rates: DecisionRates) -> State:
        """One update; the delta is advanced in place."""
        m = state["m"] + (rates.post - state["m"]) / self.tau
        rise = finite_rows(state.get(RATE, self.eta) * (layer.rate - m))
        bound = self.trust * layer.weight_scale
        if self.target == "weights":
            delta = state["delta"].addcmul_(rise.unsqueeze(2), finite_rows(rates.pre).unsqueeze(1))
        else:
            delta, bound = state["delta"].add_(rise), bound * layer.inputs
        return {**state, "delta": delta.clamp_(-bound, bound), "m": m}
