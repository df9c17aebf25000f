"""When slots of a session sleep: self-tests, what sleep changed in each slot, and rehearsal."""

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
    """What is known of one slot.

    ``weights`` are those that it was given, ``effective`` those that it acts with; ``reference`` is how its layers
    responded after it slept (None: it never did, what is remembered holds), ``awake`` counts the decisions since then.
    ``tested`` says whether the weights are those of the last self-test: without a change its outcome would be the same.
    """

    weights: Weights
    effective: Weights
    decisions: int = 0
    awake: int = 0
    sleeps: int = 0
    tested: bool = False
    reference: tuple[Tensor, ...] | None = None


class SleepResult(NamedTuple):
    """What a slot acts with after it slept.

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
        self._states = [_SlotState(self._trained, self._trained) for _ in range(slots)]

    def begin(self, slot: int) -> None:
        """Forget what sleep changed in ``slot``: an episode begins."""
        self._states[slot] = _SlotState(self._trained, self._trained)

    def effective_weights(self, slot: int, weights: Weights) -> Weights:
        """Return what ``slot`` acts with when its own weights become ``weights``: what sleep changed stays on top."""
        state = self._states[slot]
        state.effective = _carry_over(state.effective, state.weights, weights) if state.sleeps else weights
        state.weights, state.tested = weights, False
        return state.effective

    @torch.inference_mode()
    def maybe_sleep(self, slot: int) -> SleepResult | None:
        """Test ``slot`` if it is time to, before a decision; return what it woke with, or None: it did not sleep."""
        state = self._states[slot]
        due = state.decisions == 0 or state.decisions % self.plugin.every == self.plugin.every - 1
        state.decisions += 1
        state.awake += 1
        if not due or state.tested or (state.sleeps and state.awake < self.plugin.rest):
            return None
        state.tested = True
        if self._passed(state):
            return None
        state.effective = self.replay.repair(self.plugin, state.effective, state.weights)
        state.reference = self.replay.layer_responses(state.effective)
        state.sleeps, state.awake = state.sleeps + 1, 0
        return SleepResult(
            state.effective,
            None if self.rehearsal is None else self.rehearsal(state.effective).adaptation,
        )

    def select(self, slots: Sequence[int]) -> None:
        """Drop all slots but these."""
        self._states = [self._states[slot] for slot in slots]

    @property
    def sleeps(self) -> list[int]:
        """How often each slot slept in its episode."""
        return [state.sleeps for state in self._states]

    def drift(self, slot: int) -> list[float]:
        """Return the norm of what sleep added to each layer's weights in ``slot``."""
        state = self._states[slot]
        if not state.sleeps:
            return [0.0] * len(state.effective)
        return [
            float((a.weight - b.weight).double().norm()) for a, b in zip(state.effective, state.weights, strict=True)
        ]

    def _passed(self, state: _SlotState) -> bool:
        if state.effective is not self._trained:
            return self.replay.test(state.effective, state.reference).passed(self.plugin.tolerance)
        if self._passes is None:
            self._passes = self.replay.test(self._trained).passed(self.plugin.tolerance)
        return self._passes


def _carry_over(effective: Weights, before: Weights, after: Weights) -> Weights:
    """Return ``after`` with what ``effective_weights`` is more than ``before``; synapses that are gone stay gone."""
    return tuple(
        new._replace(
            weight=(new.weight + (now.weight - old.weight)) * (new.weight != 0),
            bias=new.bias + (now.bias - old.bias),
        )
        for now, old, new in zip(effective, before, after, strict=True)
    )
