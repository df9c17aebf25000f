"""BDETT, the bioinspired dynamic energy-temporal threshold of Ding et al. (NeurIPS 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from homeo_rl.homeostasis.protocol import CompiledRule, EnergyRule, Homeostasis, LayerReference, State

if TYPE_CHECKING:  # see `homeo_rl.homeostasis.protocol`
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class BDETT(Homeostasis):
    """Thresholds that follow the membrane potentials of their layer; at every spike step, v after integration::

        T_t  = exp((v_{t-1} - v_t) / 3) - 1
        th_t = 0.5 E_{t-1} + 0.5 T_t                                        spike if v_t > th_t
        V_m  = mean(v_t)  - 0.2 (max v_t  - min v_t)                        over the layer
        V_th = mean(th_t) - 0.2 (max th_t - min th_t)
        E_t  = 0.01 (v_t - V_m) + V_th + ln(1 + exp((v_t - V_m) / psi))

    State: the energy term E as ``energy`` [B, N_out]. The authors carry E across episodes too, which is
    ``scope="run"``; the default "episode" makes an episode's score independent of the episodes before it.

    Attributes:
        psi: 6 for PopSAN hosts, 4 for SAN.
        initial: E at the start.
    """

    name: ClassVar[str] = "bdett"
    adapts_threshold: ClassVar[bool] = True

    psi: float = 6.0
    initial: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.psi <= 0:
            raise ValueError(f"psi: expected > 0, got {self.psi!r}")

    @property
    def compiled(self) -> tuple[str, ...]:
        """The equations above, where they are not overridden."""
        return ("energy",) if type(self) is BDETT else ()

    def rule_for_kernel(self, state: State, layer: LayerReference) -> CompiledRule | None:
        """Return E and psi."""
        if not self.compiled:
            return None
        energy = EnergyRule(state["energy"], self.psi, self.initial if self.scope == "decision" else None)
        return CompiledRule(thresholds=energy)

    def init(self, layer: LayerReference, batch: int) -> State:
        """Start every energy at ``initial``."""
        return {"energy": layer.rate.new_full((batch, layer.rate.shape[0]), self.initial)}

    def threshold(self, state: State, before: Tensor, potential: Tensor) -> tuple[Tensor, State]:
        """One spike step of the equations above."""
        temporal = ((before - potential) / 3.0).clamp_max(_EXP_MAX).exp() - 1.0
        threshold = 0.5 * state["energy"] + 0.5 * temporal
        rise = potential - _lower_mean(potential)
        # ln(1 + exp(z)) written out: torch's softplus rounds differently at different places of a batch.
        energy = 0.01 * rise + _lower_mean(threshold) + (rise / self.psi).clamp_max(_EXP_MAX).exp().log1p()
        return threshold, {"energy": energy}

    def sliding_threshold(self, state: State, layer: LayerReference) -> Tensor:
        """Return the energy term E."""
        return state["energy"]


_EXP_MAX = 60.0
"""exp of more than this says nothing about a threshold any more, and must not overflow float32."""


def _lower_mean(value: Tensor) -> Tensor:
    spread = value.amax(-1, keepdim=True) - value.amin(-1, keepdim=True)
    return value.mean(-1, keepdim=True) - 0.2 * spread
