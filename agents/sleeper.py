"""Who sleeps when: self-tests of the slots of a session, what sleep changed in each, and what was rehearsed."""

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
class _Bed:
    """What is known of one slot.

    ``weights`` are those that it was given, ``worn`` those that it acts with; ``normal`` is what its layers answered
    after it slept (None: it never did, what is remembered holds), ``awake`` counts the decisions since
    then. ``tested`` says whether the weights are those of the last self-test: without a change its outcome would be the
    same.
    """

    weights: Weights
    worn: Weights
    decisions: int = 0
    awake: int = 0
    sleeps: int = 0
    tested: bool = False
    normal: tuple[Tensor, ...] | None = None


class Woken(NamedTuple):
    """What a slot acts with after it slept.

    ``adaptation`` is what its mechanism learned in a rehearsal, a state of one row a layer, with the rate that the
    rehearsal found; None where it begins anew.
    """

    weights: Weights
    adaptation: tuple[State, ...] | None


class Sleeper:
    """Self-test, sleep and rehearsal for every slot on its own.

    Args:
        network: whose layers are replayed.
        plugin: how it sleeps.
        memory: what it remembers.
        references: what is normal for the mechanism that adapts awake.
        slots: how many.
        act: from the network's outputs to actions of one scale, which tell how well a rehearsal went.
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
        self._beds = [_Bed(self._trained, self._trained) for _ in range(slots)]

    def begin(self, slot: int) -> None:
        """Forget what sleep changed in ``slot``: an episode begins."""
        self._beds[slot] = _Bed(self._trained, self._trained)

    def worn(self, slot: int, weights: Weights) -> Weights:
        """Return what ``slot`` acts with when its own weights become ``weights``: what sleep changed stays on top."""
        bed = self._beds[slot]
        bed.worn = _moved(bed.worn, bed.weights, weights) if bed.sleeps else weights
        bed.weights, bed.tested = weights, False
        return bed.worn

    @torch.inference_mode()
    def tend(self, slot: int) -> Woken | None:
        """Test ``slot`` if it is time to, before a decision; return what it woke with, or None: it did not sleep."""
        bed = self._beds[slot]
        due = bed.decisions == 0 or bed.decisions % self.plugin.every == self.plugin.every - 1
        bed.decisions += 1
        bed.awake += 1
        if not due or bed.tested or (bed.sleeps and bed.awake < self.plugin.rest):
            return None
        bed.tested = True
        if self._passed(bed):
            return None
        bed.worn = self.replay.mended(self.plugin, bed.worn, bed.weights)
        bed.normal = self.replay.answers(bed.worn)
        bed.sleeps, bed.awake = bed.sleeps + 1, 0
        return Woken(bed.worn, None if self.rehearsal is None else self.rehearsal(bed.worn).adaptation)

    def select(self, slots: Sequence[int]) -> None:
        """Drop all slots but these."""
        self._beds = [self._beds[slot] for slot in slots]

    @property
    def sleeps(self) -> list[int]:
        """How often each slot slept in its episode."""
        return [bed.sleeps for bed in self._beds]

    def drift(self, slot: int) -> list[float]:
        """Return the norm of what sleep added to each layer's weights in ``slot``."""
        bed = self._beds[slot]
        if not bed.sleeps:
            return [0.0] * len(bed.worn)
        return [float((a.weight - b.weight).double().norm()) for a, b in zip(bed.worn, bed.weights, strict=True)]

    def _passed(self, bed: _Bed) -> bool:
        if bed.worn is not self._trained:
            return self.replay.test(bed.worn, bed.normal).passed(self.plugin.tolerance)
        if self._passes is None:
            self._passes = self.replay.test(self._trained).passed(self.plugin.tolerance)
        return self._passes


def _moved(worn: Weights, before: Weights, after: Weights) -> Weights:
    """Return ``after`` with what ``worn`` is more than ``before``; synapses that are gone stay gone."""
    return tuple(
        new._replace(
            weight=(new.weight + (mine.weight - old.weight)) * (new.weight != 0), bias=new.bias + (mine.bias - old.bias)
        )
        for mine, old, new in zip(worn, before, after, strict=True)
    )
