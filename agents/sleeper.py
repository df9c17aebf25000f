"""When slots of a session sleep: self-tests, what sleep changed in each slot, and rehearsal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from homeo_rl.homeostasis.memory import Memory
from homeo_rl.homeostasis.protocol import LayerReference, State
from homeo_rl.homeostasis.rate_search import rehearsing
from homeo_rl.homeostasis.sleep import SleepHomeostat
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.snn.rate_search import Rehearsal
from homeo_rl.snn.replay import Replay
from homeo_rl.snn.state import Weights


@dataclass
class _SlotState:
    """The state of one slot.

    ``weights`` were set, damage included; ``effective_weights`` are those that it acts with. ``normal`` are the
    responses of its layers after its last sleep (None before the first: the memory's hold), ``awake`` counts the
    decisions since then. ``tested``: the weights are those of the last self-test, whose outcome would be the same.
    """

    weights: Weights
    effective_weights: Weights
    decisions: int = 0
    awake: int = 0
    sleeps: int = 0
    tested: bool = False
    normal: tuple[Tensor, ...] | None = None


class SleepResult(NamedTuple):
    """The weights of a slot after its sleep.

    ``adaptation`` is what its mechanism learned in a rehearsal, a state of one row a layer, with the rate that the
    rehearsal chose; None where it begins anew.
    """

    weights: Weights
    adaptation: tuple[State, ...] | None


class Sleeper:
    """Self-test, sleep and rehearsal for every slot on its own.

    ``references`` are those of the mechanism that adapts awake; ``act`` maps the network's outputs to actions of one
    scale, by which a rehearsal is judged.
    """

    def __init__(
        self,
        network: SpikingNetwork,
        plugin: SleepHomeostat,
        memory: Memory,
        references: tuple[LayerReference, ...],
        slots: int,
        act: Callable[[Tensor], Tensor],
    ) -> None:
        self.plugin = plugin
        memory = memory.first(plugin.observations)
        self.replay, self.rehearsal = Replay(network, memory), None
        if plugin.awake is not None and rehearsing(plugin.awake) is not None:
            self.rehearsal = Rehearsal(network, memory, plugin.awake, references, act)
        self._trained = network.parameters_of_layers()
        self._passes: bool | None = None  # of the trained weights: asked once
        self._slots = [_SlotState(self._trained, self._trained) for _ in range(slots)]

    def begin(self, slot: int) -> None:
        """Forget what sleep changed in ``slot``: an episode begins."""
        self._slots[slot] = _SlotState(self._trained, self._trained)

    def effective_weights(self, slot: int, weights: Weights) -> Weights:
        """Return what ``slot`` acts with when its weights become ``weights``: the changes of its sleep are added."""
        state = self._slots[slot]
        state.effective_weights = (
            _add_sleep_changes(state.effective_weights, state.weights, weights) if state.sleeps else weights
        )
        state.weights, state.tested = weights, False
        return state.effective_weights

    @torch.inference_mode()
    def maybe_sleep(self, slot: int) -> SleepResult | None:
        """Test ``slot`` before a decision if that is due, and let it sleep if it fails; return None if it did not."""
        state = self._slots[slot]
        due = state.decisions == 0 or state.decisions % self.plugin.every == self.plugin.every - 1
        state.decisions += 1
        state.awake += 1
        if not due or state.tested or (state.sleeps and state.awake < self.plugin.rest):
            return None
        state.tested = True
        if self._passed(state):
            return None
        state.effective_weights = self.replay.mended(self.plugin, state.effective_weights, state.weights)
        state.normal = self.replay.answers(state.effective_weights)
        state.sleeps, state.awake = state.sleeps + 1, 0
        return SleepResult(
            state.effective_weights,
            None if self.rehearsal is None else self.rehearsal(state.effective_weights).adaptation,
        )

    def select(self, slots: Sequence[int]) -> None:
        """Drop all slots but these."""
        self._slots = [self._slots[slot] for slot in slots]

    @property
    def sleeps(self) -> list[int]:
        """How often each slot slept in its episode."""
        return [state.sleeps for state in self._slots]

    def drift(self, slot: int) -> list[float]:
        """Return the norm of what sleep added to each layer's weights in ``slot``."""
        state = self._slots[slot]
        if not state.sleeps:
            return [0.0] * len(state.effective_weights)
        return [
            float((a.weight - b.weight).double().norm())
            for a, b in zip(state.effective_weights, state.weights, strict=True)
        ]

    def _passed(self, state: _SlotState) -> bool:
        if state.effective_weights is not self._trained:
            return self.replay.test(state.effective_weights, state.normal).passed(self.plugin.tolerance)
        if self._passes is None:
            self._passes = self.replay.test(self._trained).passed(self.plugin.tolerance)
        return self._passes


def _add_sleep_changes(effective_weights: Weights, before: Weights, after: Weights) -> Weights:
    """Return ``after`` with what ``worn`` is more than ``before``; synapses that are gone stay gone."""
    return tuple(
        new._replace(
            weight=(new.weight + (current.weight - old.weight)) * (new.weight != 0),
            bias=new.bias + (current.bias - old.bias),
        )
        for current, old, new in zip(effective_weights, before, after, strict=True)
    )
