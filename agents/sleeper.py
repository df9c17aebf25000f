"""When slots of a session sleep: self-tests, what sleep changed in each slot, and rehearsal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from homeo_rl.homeostasis.memory import Memory
from homeo_rl.homeostasis.protocol import LayerReference, State
from homeo_rl.homeostasis.rate_search import rehearsing
from homeo_rl.homeostasis.sleep import SleepHomeostat
from homeo_rl.seeding import derive, generator
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.snn.rate_search import Rehearsal
from homeo_rl.snn.replay import Replay, memory_for
from homeo_rl.snn.state import Weights


@dataclass
class _Waking:
    """A sleep in progress: weights before and after, when the slot wakes, and over how many decisions they change."""

    before: Weights
    after: Weights
    wakes: int
    ramp: int

    def share(self, decision: int) -> float:
        """Return which share of the change has been written at ``decision``: below 0 while asleep, 1 at the end."""
        if decision < self.wakes:
            return -1.0
        return min(1.0, (decision - self.wakes + 1) / self.ramp) if self.ramp else 1.0


@dataclass
class _SlotState:
    """What is known of one slot.

    ``weights`` are those that it was given, ``effective`` those that it acts with; ``reference`` is how its layers
    responded after it slept (None: it never did, what is remembered holds), ``awake`` counts the decisions since then.
    ``tested`` says whether the weights are those of the last self-test: without a change its outcome would be the same.
    ``passed`` is the outcome of a self-test that was asked for (None: the weights changed since). ``stream`` names the
    random numbers of what is written; ``waking`` is a sleep in progress, in which the slot may hold the action
    ``held``. ``learned`` is what the last rehearsal chose.
    """

    weights: Weights
    effective: Weights
    decisions: int = 0
    awake: int = 0
    sleeps: int = 0
    tested: bool = False
    passed: bool | None = None
    reference: tuple[Tensor, ...] | None = None
    stream: int = 0
    waking: _Waking | None = None
    held: np.ndarray | None = None
    learned: tuple[State, ...] | None = None


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
        self._trained = network.parameters_of_layers()
        memory = memory_for(plugin, memory, self._trained)
        self.replay, self.rehearsal = Replay(network, memory, act), None
        if plugin.awake is not None and rehearsing(plugin.awake) is not None:
            self.rehearsal = Rehearsal(network, memory, plugin.awake, references, act)
        self._passes: bool | None = None  # of the trained weights: asked once
        self._states = [_SlotState(self._trained, self._trained) for _ in range(slots)]

    def begin(self, slot: int, noise: np.random.Generator) -> None:
        """Forget what sleep changed in ``slot``: an episode begins, whose randomness is that of ``noise``."""
        # A stream of its own: what is written with noise must not change what the encoder draws.
        stream = derive(0, "writing", str(noise.bit_generator.state)) if self.plugin.write_noise else 0
        self._states[slot] = _SlotState(self._trained, self._trained, stream=stream)

    def effective_weights(self, slot: int, weights: Weights) -> Weights:
        """Return what ``slot`` acts with when its own weights become ``weights``: what sleep changed stays on top."""
        state = self._states[slot]
        state.effective = _carry_over(state.effective, state.weights, weights) if state.sleeps else weights
        if state.waking is not None:
            state.waking.before = _carry_over(state.waking.before, state.weights, weights)
            state.waking.after = _carry_over(state.waking.after, state.weights, weights)
        state.weights, state.tested, state.passed = weights, False, None
        return state.effective

    def read_back(self, slot: int, weights: Weights) -> None:
        """Take ``weights`` for what ``slot`` acts with and was given; a sleep in progress ends."""
        state = self._states[slot]
        state.weights = state.effective = weights
        state.tested, state.passed, state.waking, state.held = False, None, None, None

    @torch.inference_mode()
    def needs_sleep(self, slot: int) -> bool:
        """Whether the self-test of ``slot`` fails; it is not asked again before the weights change."""
        state = self._states[slot]
        if state.waking is not None:
            return False
        if state.passed is None:
            state.passed = self._passed(state)
        return not state.passed

    @torch.inference_mode()
    def sleep(self, slot: int) -> SleepResult | None:
        """Repair ``slot`` between two decisions; return what it wakes with, or None: it wakes in a later decision."""
        state = self._states[slot]
        if state.waking is None:
            self._repair(state, state.decisions)
        return self._wake(state, state.decisions)

    def adaptation_of(self, slot: int) -> tuple[State, ...] | None:
        """Return what the last rehearsal of ``slot`` chose; None where there was none."""
        return self._states[slot].learned

    @torch.inference_mode()
    def maybe_sleep(self, slot: int, *, may_begin: bool = True) -> SleepResult | None:
        """Test ``slot`` if it is time to, before a decision; return what it woke with, or None: weights stay.

        ``may_begin`` False leaves tests and sleeps to `needs_sleep` and `sleep`; one that began goes on.
        """
        state = self._states[slot]
        decision = state.decisions
        due = decision == 0 or decision % self.plugin.every == self.plugin.every - 1
        state.decisions += 1
        state.awake += 1
        if state.waking is None:
            if not may_begin or not due or state.tested or (state.sleeps and state.awake < self.plugin.rest):
                return None
            state.tested = True
            if self._passed(state):
                return None
            self._repair(state, decision)
        return self._wake(state, decision)

    def _repair(self, state: _SlotState, decision: int) -> None:
        after = self._write(state, self.replay.repair(self.plugin, state.effective, state.weights))
        state.waking = _Waking(state.effective, after, decision + self.plugin.pause, self.plugin.ramp)
        state.sleeps += 1

    def _wake(self, state: _SlotState, decision: int) -> SleepResult | None:
        waking = state.waking
        assert waking is not None
        share = waking.share(decision)
        if share < 0.0:
            return None
        state.held, state.passed = None, None
        if share < 1.0:
            state.effective = _blend(waking.before, waking.after, share)
            return SleepResult(state.effective, None)
        state.effective, state.waking, state.awake = waking.after, None, 0
        state.reference = self.replay.layer_responses(state.effective)
        state.learned = None if self.rehearsal is None else self.rehearsal(state.effective).adaptation
        return SleepResult(state.effective, state.learned)

    def _write(self, state: _SlotState, repaired: Weights) -> Weights:
        """Return the weights that a chip has after writing the repaired ones, each with its own relative error."""
        size = self.plugin.write_noise
        if not size:
            return repaired
        draws = generator(state.stream, str(state.sleeps))

        def write(before: Tensor, after: Tensor) -> Tensor:
            noise = torch.as_tensor(draws.standard_normal(tuple(after.shape), dtype=np.float32)).to(after)
            return torch.where(after != before, after * (1.0 + size * noise), after)

        return tuple(
            new._replace(weight=write(old.weight, new.weight), bias=write(old.bias, new.bias))
            for old, new in zip(state.effective, repaired, strict=True)
        )

    def hold(self, slot: int, action: np.ndarray) -> np.ndarray:
        """Return what ``slot`` does when it decided on ``action``: asleep, it may hold the first one of its sleep."""
        state = self._states[slot]
        if state.waking is None or self.plugin.asleep != "hold" or state.decisions - 1 >= state.waking.wakes:
            return action
        if state.held is None:
            state.held = np.array(action)
        return state.held

    def select(self, slots: Sequence[int]) -> None:
        """Drop all slots but these."""
        self._states = [self._states[slot] for slot in slots]

    @property
    def sleeps(self) -> list[int]:
        """How often each slot slept since it began with the trained weights."""
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


def _blend(before: Weights, after: Weights, share: float) -> Weights:
    """Return weights and biases ``share`` of the way from one to the other."""
    return tuple(
        new._replace(weight=old.weight.lerp(new.weight, share), bias=old.bias.lerp(new.bias, share))
        for old, new in zip(before, after, strict=True)
    )


def _carry_over(effective: Weights, before: Weights, after: Weights) -> Weights:
    """Return ``after`` with what ``effective_weights`` is more than ``before``; synapses that are gone stay gone."""
    return tuple(
        new._replace(
            weight=(new.weight + (now.weight - old.weight)) * (new.weight != 0),
            bias=new.bias + (now.bias - old.bias),
        )
        for now, old, new in zip(effective, before, after, strict=True)
    )
