"""Two mechanisms at once: one that moves thresholds, and one that changes weights, biases or gains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from homeo_rl.homeostasis.protocol import CompiledRule, DecisionRates, Homeostasis, LayerReference, Modulation, State

if TYPE_CHECKING:  # see `homeo_rl.homeostasis.protocol`
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class CombinedMechanism(Homeostasis):
    """Run ``thresholds`` and ``weights`` side by side; neither knows of the other.

    State: the entries of both, their names behind ``thresholds.`` and ``weights.``.
    """

    name: ClassVar[str] = "both"
    described_as: ClassVar[str] = "Both"
    adapts_threshold: ClassVar[bool] = True

    thresholds: Homeostasis
    weights: Homeostasis

    def __post_init__(self) -> None:
        object.__setattr__(self, "scope", self.weights.scope)
        super().__post_init__()
        if not self.thresholds.adapts_threshold or self.weights.adapts_threshold:
            raise ValueError(
                f"expected one mechanism that moves thresholds and one that does not, got {self.thresholds.name} and "
                f"{self.weights.name}"
            )
        if self.thresholds.scope not in ("decision", self.weights.scope):
            raise ValueError(
                f"scope: expected the same for both, or decision for thresholds, got {self.thresholds.scope!r} and "
                f"{self.weights.scope!r}"
            )

    @property
    def compiled(self) -> tuple[str, ...]:
        """The rules of both."""
        return (self.name, *self.thresholds.compiled, *self.weights.compiled)

    def rule_for_kernel(self, state: State, layer: LayerReference) -> CompiledRule | None:
        """Return the rules of both."""
        moving = self.thresholds.rule_for_kernel(_part(state, _THRESHOLDS), layer) or CompiledRule()
        adapting = self.weights.rule_for_kernel(_part(state, _WEIGHTS), layer) or CompiledRule()
        return CompiledRule(adapting.weights, moving.thresholds)

    def init(self, layer: LayerReference, batch: int) -> State:
        """Start both."""
        return _join(self.thresholds.init(layer, batch), self.weights.init(layer, batch))

    def modulation(self, state: State) -> Modulation:
        """Return what the second adds."""
        return self.weights.modulation(_part(state, _WEIGHTS))

    def threshold(self, state: State, before: Tensor, potential: Tensor) -> tuple[Tensor, State]:
        """Ask the first."""
        level, after = self.thresholds.threshold(_part(state, _THRESHOLDS), before, potential)
        return level, _join(after, _part(state, _WEIGHTS))

    def step(self, state: State, layer: LayerReference, rates: DecisionRates) -> State:
        """Advance both."""
        return _join(
            self._thresholds_after(state, layer, rates),
            self.weights.step(_part(state, _WEIGHTS), layer, rates),
        )

    def _thresholds_after(self, state: State, layer: LayerReference, rates: DecisionRates) -> State:
        if self.thresholds.scope == "decision":
            return self.thresholds.init(layer, len(rates.post))
        return self.thresholds.step(_part(state, _THRESHOLDS), layer, rates)

    def sub_state(self, part: Homeostasis, state: State) -> State:
        """Return what a state holds of one of both, under its own names."""
        return _part(state, _THRESHOLDS if part is self.thresholds else _WEIGHTS)

    def sliding_threshold(self, state: State, layer: LayerReference) -> Tensor | None:
        """Return the sliding threshold of the second."""
        return self.weights.sliding_threshold(_part(state, _WEIGHTS), layer)


_THRESHOLDS, _WEIGHTS = "thresholds.", "weights."


def _part(state: State, prefix: str) -> State:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _join(thresholds: State, weights: State) -> State:
    return {_THRESHOLDS + key: value for key, value in thresholds.items()} | {
        _WEIGHTS + key: value for key, value in weights.items()
    }
