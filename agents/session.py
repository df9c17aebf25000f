"""A session: the only place where the state of a network changes while it acts.

It drives a batch of episodes, one a *slot*, side by side: each slot has its own damaged weights, its own adaptation
and its own randomness, and gives the same actions, bit for bit, whatever runs in the other slots.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from homeo_rl.agents.controller import Controller
from homeo_rl.agents.external import ExternalNetwork
from homeo_rl.agents.sleeper import Sleeper, SleepResult
from homeo_rl.errors import InputError
from homeo_rl.homeostasis.memory import Memory
from homeo_rl.homeostasis.observer import ObserverMechanism, split_observer
from homeo_rl.homeostasis.plasticity_guard import not_finite, out_of_bounds
from homeo_rl.homeostasis.protocol import SCOPES, Homeostasis, LayerReference, State
from homeo_rl.homeostasis.sleep import SleepHomeostat, needs_memory
from homeo_rl.imports.aliases import accept_older_keywords
from homeo_rl.numerics.arrays import floats_of, index_of, instance_of, whole_number
from homeo_rl.observer.memory import ObserverMemory
from homeo_rl.observer.observer import Observer
from homeo_rl.seeding import generator
from homeo_rl.snn.inputs import require_weights
from homeo_rl.snn.network import Rows, SpikingNetwork
from homeo_rl.snn.state import LayerWeights, Weights, map_weights

DECISIONS_BETWEEN_CHECKS = 20
"""Decisions of an episode between two checks of all that its adaptation added to the weights."""


class Session:
    """Act for ``slots`` episodes at once, adapting online if a plug-in is given.

    An adaptation that goes wrong (`homeo_rl.homeostasis.plasticity_guard`) starts again from no change in that slot
    alone, and ``rolled_back`` [slots] counts how often that happened in the slot's episode.
    """

    @torch.inference_mode()
    def __init__(
        self,
        controller: Controller,
        slots: int,
        *,
        plugin: Homeostasis | None = None,
        references: tuple[LayerReference, ...] = (),
        memory: Memory | None = None,
        observer_memory: ObserverMemory | None = None,
        reflex: bool = True,
        auto_sleep: bool = True,
    ) -> None:
        """Begin at rest; ``reflex`` False leaves the reflex of a composed policy out.

        ``memory`` is what a mechanism that sleeps replays, ``observer_memory`` the forward model of one that observes.
        ``auto_sleep`` False keeps `act` from self-tests and sleeps: the caller decides when, by `needs_sleep` and
        `sleep`.

        Raises:
            InputError: what is given is not of its type, or a mechanism adapts without one reference a layer, or sleeps
                without a memory.
        """
        instance_of(controller, Controller, what="controller", advice="load_controller reads that of a run")
        slots = whole_number(slots, what="slots", least=1)
        if plugin is not None:
            instance_of(
                plugin, Homeostasis, what="plugin", advice="homeo_rl.homeostasis.make makes one of an arm's name"
            )
        self.controller = controller if reflex or controller.reflex is None else controller.bare()
        self.network = controller.network
        self.trained = self.network.parameters_of_layers()
        self._inputs = controller.spec.network.inputs
        self._auto_sleep = auto_sleep
        self._make_similar: Callable[[], Session] = partial(
            Session, self.controller, slots, plugin=plugin, references=references, memory=memory,
            observer_memory=observer_memory, auto_sleep=False,
        )  # fmt: skip
        # Asked once: modules look their parts up at every question.
        self._drawn: tuple[int, int] | None = None
        if isinstance(self.network, SpikingNetwork) and self.network.encoder.stochastic:
            self._drawn = self.network.spec.steps, self.network.spec.widths[0]
        self._waiting = set(range(slots))  # slots without an episode
        self._has_slot_weights = False  # whether slots have weights of their own, or views of the trained ones
        self._noise: list[np.random.Generator | None] = [None] * slots
        self._ages = [0] * slots  # decisions since each slot's adaptation began
        self.rolled_back = [0] * slots
        self._sleeper: Sleeper | None = None
        observes, plugin = split_observer(plugin)
        self.observer = None if observes is None else self._make_observer(observes, observer_memory, slots)
        if plugin is not None and needs_memory(plugin):
            self._sleeper = self._make_sleeper(plugin, references, memory, slots)
            plugin = self._sleeper.plugin.awake
            if self._sleeper.rehearsal is not None:
                references = self._sleeper.rehearsal.references
        self.state = self.network.initial_state(
            slots, plugin=plugin, references=references, weights=_expand(self.trained, slots)
        )
        self.reflex = self.controller.reflex
        if self.reflex is not None:
            self.state.reflex = self.reflex.initial_state(slots)

    @property
    def slots(self) -> int:
        """How many episodes run now."""
        return self.state.batch

    @accept_older_keywords(fresh="reset_run_state")
    @torch.inference_mode()
    def begin(
        self, slot: int, noise: np.random.Generator, *, reset_run_state: bool = True, keep_weights: bool = False
    ) -> None:
        """Start an episode in ``slot``: trained weights, adaptation as its scope says, randomness from ``noise``.

        ``reset_run_state`` False keeps a state of scope "run" that an earlier episode of this slot left.
        ``keep_weights`` True keeps the weights as they are, of a reflex too: damage and repairs persist, the schedule
        of self-tests and the count of sleeps continue, and adaptation begins with what the last rehearsal chose.

        Raises:
            InputError: there is no such slot, or ``noise`` is no generator.
        """
        slot = self._slot(slot)
        instance_of(noise, np.random.Generator, what="noise", advice="numpy.random.default_rng(seed) makes one")
        self._noise[slot] = noise
        self._waiting.discard(slot)
        self._ages[slot] = self.rolled_back[slot] = 0
        if self._sleeper is not None and not keep_weights:
            self._sleeper.begin(slot, noise)
        if self.observer is not None:
            self.observer.begin(slot)
        if self._has_slot_weights and not keep_weights:
            self._set_slot_weights(slot, self.trained)
        ended = torch.zeros(self.slots, dtype=torch.bool)
        ended[slot] = True
        self.state = self.network.forget(self.state, ended, "episode")
        if reset_run_state:
            self.state = self.network.forget(self.state, ended, "run")
        if isinstance(self.network, ExternalNetwork):
            self.state.remembered[slot] = self.network.begin(noise)
        if self.reflex is not None and self.state.reflex is not None:
            self.state.reflex = self.reflex.network.forget(self.state.reflex, ended)
            if self.state.reflex.weights is not None and not keep_weights:
                healthy = self.reflex.network.parameters_of_layers()[0]
                self.state.reflex = self.reflex.network.with_weights(self.state.reflex, slot, healthy)
        if self._sleeper is not None:
            self._adopt(slot, self._sleeper.adaptation_of(slot))

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Load everything that is compiled when it is first used, so that no later call is slow; nothing changes.

        Another session of the same kind decides, tests itself and sleeps in the place of this one, which takes as long
        as a first decision and a sleep do. A policy that is no network of this package is not called: it may count.
        """
        if isinstance(self.network, ExternalNetwork):
            return
        scratch = self._make_similar()
        for slot in range(scratch.slots):
            scratch.begin(slot, generator(0, "warm-up"))
        normaliser = self.controller.normaliser
        usual = normaliser.running_mean.numpy() if normaliser.active else np.zeros(self._inputs)
        rows = np.tile(usual.astype(np.float32), (scratch.slots, 1))
        scratch.act(rows)
        scratch.set_weights(0, tuple(layer._replace(weight=0.5 * layer.weight) for layer in self.trained))
        scratch.act(rows)
        if scratch._sleeper is not None and scratch.needs_sleep()[0]:
            scratch.sleep([0])
        if scratch.observer is not None:
            scratch.observer.rehearse(0)
        scratch.act(rows)

    @torch.inference_mode()
    def set_reflex(self, slot: int, weights: Weights) -> None:
        """Let the reflex of ``slot`` run with ``weights`` (those of its network's layers).

        Raises:
            InputError: there is no reflex, no such slot, no episode in it, or the weights do not fit.
            NonFiniteInput: a weight is not finite.
        """
        if self.reflex is None or self.state.reflex is None:
            raise InputError(
                "set_reflex: expected a policy with a reflex, this one has none; homeo-rl compose adds one"
            )
        slot = self._slot(slot, begun=True)
        require_weights(weights, self.reflex.network.parameters_of_layers())
        self.state.reflex = self.reflex.network.with_weights(self.state.reflex, slot, weights[0])

    @torch.inference_mode()
    def set_weights(self, slot: int, weights: Weights) -> None:
        """Let ``slot`` run with ``weights`` (shapes as the trained ones, without a batch dimension).

        Raises:
            InputError: there is no such slot, no episode in it (which begins with the trained weights), or the weights
                do not fit.
            NonFiniteInput: a weight is not finite.
        """
        slot = self._slot(slot, begun=True)
        require_weights(weights, self.trained)
        self._set_slot_weights(
            slot, weights if self._sleeper is None else self._sleeper.effective_weights(slot, weights)
        )

    @torch.inference_mode()
    def read_back(self, slot: int, weights: Weights) -> None:
        """Let ``slot`` run with exactly ``weights``, as they were read from the hardware, repairs included.

        Unlike after `set_weights`, no earlier repair is added; a sleep that is not over yet is given up. The next
        self-test compares with the responses after the last sleep: what was written wrongly is found.

        Raises:
            InputError: there is no such slot, no episode in it, or the weights do not fit.
            NonFiniteInput: a weight is not finite.
        """
        slot = self._slot(slot, begun=True)
        require_weights(weights, self.trained)
        if self._sleeper is not None:
            self._sleeper.read_back(slot, weights)
        self._set_slot_weights(slot, weights)

    def weights_of(self, slot: int) -> Weights:
        """Return a copy of the weights that ``slot`` acts with, damage and repairs included: what a chip is to have.

        What a mechanism adds awake is not in them. Shapes are those of the trained weights, [N, N_in] and [N].

        Raises InputError: there is no such slot.
        """
        slot = self._slot(slot)
        current = self.state.weights if self._has_slot_weights else _expand(self.trained, self.slots)
        assert current is not None
        return tuple(map_weights(layer, lambda part: part[slot].detach().clone()) for layer in current)

    def _set_slot_weights(self, slot: int, weights: Weights) -> None:
        if not self._has_slot_weights:
            self._has_slot_weights = True
            self.state.weights = tuple(map_weights(layer, Tensor.clone) for layer in _expand(self.trained, self.slots))
        assert self.state.weights is not None
        layers = []
        for current, new in zip(self.state.weights, weights, strict=True):
            current.weight[slot] = new.weight
            current.bias[slot] = new.bias
            layers.append(current._replace(alive=self._flag(current.alive, new.alive, new, slot, 1.0),
                                        stuck=self._flag(current.stuck, new.stuck, new, slot, 0.0)))  # fmt: skip
        # Another tuple is another table of addresses for the compiled decision.
        if any(
            a is not b
            for old, new in zip(self.state.weights, layers, strict=True)
            for a, b in zip(old, new, strict=True)
        ):
            self.state.weights = tuple(layers)

    def _flag(
        self, current: Tensor | None, new: Tensor | None, layer: LayerWeights, slot: int, neutral: float
    ) -> Tensor | None:
        if current is None and new is None:
            return None
        if current is None:
            current = torch.full((self.slots, layer.bias.shape[0]), neutral)
        current[slot] = neutral if new is None else new
        return current

    @torch.inference_mode()
    def act(self, observations: np.ndarray) -> np.ndarray:
        """Return one action a slot for ``observations`` [slots, D], adapting if there is a plug-in.

        Where the plug-in sleeps, slots whose self-test is due and fails sleep first, unless the session was made with
        ``auto_sleep`` False.

        Raises:
            InputError: another shape, no real numbers, or a slot in which no episode began.
            NonFiniteInput: an observation is not finite; nothing has changed.
        """
        if self._waiting or not self._noise:
            raise self._unready()
        x = floats_of(
            observations, (self.state.batch, self._inputs), what="observations [slots, D]",
            advice="give one row a slot, of the entries that the policy was made for",
            finite=bool(self._sleeper or self.observer or self._drawn),  # before a slot sleeps, observes or draws
        )  # fmt: skip
        if self.observer is not None:
            x = self.observer(x)
        if self._sleeper is not None:
            self._sleep(self._sleeper)
        rows = Rows(torch.from_numpy(x), x, self._draw() if self._drawn else None)
        action, self.state = self.controller.act_on(rows, self.state, adapt=True)
        if self.state.plugin is not None:
            self._guard()
        result: np.ndarray = action.numpy()
        if self._sleeper is not None and self._sleeper.plugin.asleep == "hold":
            result = np.stack([self._sleeper.hold(slot, row) for slot, row in enumerate(result)])
        if self.observer is not None:
            self.observer.record(result)
        return result

    @torch.inference_mode()
    def needs_sleep(self) -> np.ndarray:
        """Return whether each slot's self-test fails, [slots] bool; it changes nothing.

        The self-test replays what is remembered; weights that did not change since are not tested again. A slot that is
        asleep needs no other sleep.

        Raises InputError: a slot in which no episode began, or a plug-in that neither sleeps nor rehearses.
        """
        sleeper = self._require_sleeper("needs_sleep")
        return np.array([sleeper.needs_sleep(slot) for slot in range(self.slots)], dtype=bool)

    @torch.inference_mode()
    def sleep(self, slots: Sequence[int] | None = None) -> list[int]:
        """Let ``slots`` sleep now, by default those that need it, and return them.

        It blocks until they are repaired. A plug-in with a pause or a ramp puts the repaired weights in place over the
        next decisions instead.

        Raises InputError: no such slot, one without an episode, or a plug-in that neither sleeps nor rehearses.
        """
        sleeper = self._require_sleeper("sleep")
        chosen = np.flatnonzero(self.needs_sleep()).tolist() if slots is None else [self._slot(slot) for slot in slots]
        for slot in chosen:
            self._wake(slot, sleeper.sleep(slot))
        return list(chosen)

    def _require_sleeper(self, what: str) -> Sleeper:
        if self._waiting or not self._noise:
            raise self._unready(what)
        if self._sleeper is None:
            raise InputError(
                f"{what}: expected a plug-in that sleeps or rehearses, this session has none; add sleep or dwam"
            )
        return self._sleeper

    def _make_sleeper(
        self, plugin: Homeostasis, references: tuple[LayerReference, ...], memory: Memory | None, slots: int
    ) -> Sleeper:
        if memory is None or not isinstance(self.network, SpikingNetwork):
            raise InputError(
                f"plug-in {plugin.name}: expected a spiking network and its memory, got "
                f"{'none' if memory is None else 'a network without spikes'}; a calibration has it (session_of)"
            )
        asleep = plugin if isinstance(plugin, SleepHomeostat) else SleepHomeostat(form="none", awake=plugin)
        return Sleeper(self.network, asleep, memory, references, slots, self.controller.unit_action)

    def _make_observer(self, mechanism: ObserverMechanism, memory: ObserverMemory | None, slots: int) -> Observer:
        if memory is None or memory.model.entries != self._inputs:
            raise InputError(
                f"plug-in observer: expected a forward model of {self._inputs} entries, got "
                f"{'none' if memory is None else memory.model.entries}; homeo-rl calibrate --practice makes it"
            )
        return Observer(memory, slots, self._act_healthy, margin=mechanism.margin)

    @torch.inference_mode()
    def _act_healthy(self, observations: np.ndarray) -> np.ndarray:
        """Return the trained policy's actions for first observations [N, D], -1 to 1 from bound to bound."""
        x, noise = torch.from_numpy(observations), None
        if self._drawn is not None:
            drawn = torch.from_numpy(generator(0, "observer", "encoder").random(self._drawn, dtype=np.float32))
            noise = drawn.expand(len(x), *self._drawn).contiguous()
        alone = self.controller if self.reflex is None else self.controller.bare()
        action, _ = alone.act_on(Rows(x, observations, noise), self.network.initial_state(len(x)))
        result: np.ndarray = self.controller.squasher.unscale(action).numpy()
        return result

    def _sleep(self, sleeper: Sleeper) -> None:
        for slot in range(self.slots):
            self._wake(slot, sleeper.maybe_sleep(slot, may_begin=self._auto_sleep))

    def _wake(self, slot: int, sleep_result: SleepResult | None) -> None:
        if sleep_result is None:
            return
        self._set_slot_weights(slot, sleep_result.weights)
        if self.state.plugin is not None:  # what adapted to the damage would repair it a second time
            ended = torch.zeros(self.slots, dtype=torch.bool)
            ended[slot] = True
            self.state = self.network.forget(self.state, ended, self.state.plugin.scope)
        self._adopt(slot, sleep_result.adaptation)

    def _adopt(self, slot: int, adaptation: tuple[State, ...] | None) -> None:
        """Begin to adapt in ``slot`` with what a rehearsal learned."""
        for current, learned in zip(self.state.adaptation, adaptation or (), strict=adaptation is not None):
            for name, value in current.items():
                value[slot] = learned[name][0]

    def _guard(self) -> None:
        """Roll back adaptations that went wrong.

        Matrices are looked at after a slot's first decision, when an absurd parameter shows and before its change
        acts, and then once in `DECISIONS_BETWEEN_CHECKS` of the slot's own decisions, whatever other slots do.
        """
        state, plugin = self.state, self.state.plugin
        assert plugin is not None
        self._ages = [age + 1 for age in self._ages]
        wrong = not_finite(state.adaptation)
        due = [slot for slot, age in enumerate(self._ages) if age % DECISIONS_BETWEEN_CHECKS == 1]
        if due:
            wrong = sorted({*wrong, *out_of_bounds(plugin, state.references, state.adaptation, due)})
        if wrong:
            ended = torch.zeros(self.slots, dtype=torch.bool)
            ended[wrong] = True
            for scope in SCOPES:  # membranes too: what went wrong may have charged them
                self.state = self.network.forget(self.state, ended, scope)
            for slot in wrong:
                self._ages[slot], self.rolled_back[slot] = 0, self.rolled_back[slot] + 1

    @torch.inference_mode()
    def select(self, slots: Sequence[int]) -> None:
        """Drop all slots but these; they are numbered anew in the given order.

        Raises:
            InputError: there is no such slot, or it is given twice.
        """
        instance_of(slots, (Sequence, np.ndarray), what="select", advice="give a list of slots")
        kept = [self._slot(slot) for slot in slots]
        if len(set(kept)) < len(kept):
            raise InputError(f"select: expected every slot once, got {kept}; leave out the second")
        rows = torch.as_tensor(kept, dtype=torch.long)
        state = self.state
        if self._has_slot_weights and state.weights is not None:
            state.weights = tuple(map_weights(layer, lambda part: part[rows]) for layer in state.weights)
        else:
            state.weights = _expand(self.trained, len(rows))
        state.adaptation = [{key: value[rows] for key, value in layer.items()} for layer in state.adaptation]
        state.membranes = [
            None if membrane is None else type(membrane)(*(part[rows] for part in membrane))
            for membrane in state.membranes
        ]
        state.measured = tuple(rate[rows] for rate in state.rates)
        if self.reflex is not None and state.reflex is not None:
            state.reflex = self.reflex.network.keep(state.reflex, rows)
        state.remembered = [state.remembered[row] for row in kept] if state.remembered else []
        state.batch = len(rows)
        if self._sleeper is not None:
            self._sleeper.select(kept)
        if self.observer is not None:
            self.observer.select(kept)
        self._noise = [self._noise[row] for row in kept]
        self._ages = [self._ages[row] for row in kept]
        self.rolled_back = [self.rolled_back[row] for row in kept]
        self._waiting = {slot for slot, row in enumerate(kept) if row in self._waiting}

    def keep(self, slots: Sequence[int]) -> None:
        """Call `select`, by its older name."""
        _warn_renamed("Session.keep", "select")
        self.select(slots)

    def reflexes(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Events [slots, lines] and spikes [slots, outputs] of the reflex in the last decision; None without one."""
        state = self.state.reflex
        return None if state is None else (state.events.bool().numpy(), state.spikes.bool().numpy())

    @torch.inference_mode()
    def rates(self) -> list[np.ndarray]:
        """Mean rates [slots, N] of each spiking layer in the last decision; empty for an MLP."""
        return [rate.numpy() for rate in self.state.rates[1:]]

    @torch.inference_mode()
    def operations(self) -> np.ndarray:
        """What the last decision cost, [slots, 3]: spikes, additions at synapses, products (all that an MLP has)."""
        results = np.stack([part.numpy() for part in self.network.operations(self.state.rates)], 1)
        return results if len(results) == self.slots else np.broadcast_to(results, (self.slots, 3))

    @torch.inference_mode()
    def drift(self) -> np.ndarray:
        """Weight change of each slot and layer, norm(delta) / norm(trained), [slots, layers]."""
        result = np.zeros((self.slots, len(self.trained)))
        if self.state.plugin is not None:
            for index, (adaptation, layer) in enumerate(zip(self.state.adaptation, self.trained, strict=True)):
                delta = self.state.plugin.modulation(adaptation).weight
                if delta is not None:
                    size = float(layer.weight.double().norm())
                    # Row by row, so that a slot's figure does not depend on its neighbours.
                    result[:, index] = [float(row.double().norm()) / size for row in delta]
        if self._sleeper is not None:
            sizes = np.array([float(layer.weight.double().norm()) for layer in self.trained])
            result += np.array([self._sleeper.drift(slot) for slot in range(self.slots)]) / sizes
        return result

    @property
    def sleeps(self) -> list[int] | None:
        """How often each slot slept since it began with the trained weights; None where the plug-in does not."""
        return None if self._sleeper is None else self._sleeper.sleeps

    @torch.inference_mode()
    def sliding_thresholds(self) -> np.ndarray | None:
        """Mean sliding threshold of each slot and layer, [slots, layers]; None without one."""
        plugin = self.state.plugin
        if plugin is None:
            return None
        results = [
            plugin.sliding_threshold(adaptation, layer)
            for adaptation, layer in zip(self.state.adaptation, self.state.references, strict=True)
        ]
        values = [threshold.mean(-1) for threshold in results if threshold is not None]
        return torch.stack(values, 1).numpy() if len(values) == len(results) else None

    thetas = sliding_thresholds  # its name in version 0.1

    def _slot(self, slot: int, *, begun: bool = False) -> int:
        """Return a slot that there is, and where an episode began if it must have."""
        slot = index_of(slot, self.slots, what="slot", advice="slots are numbered anew by select()")
        if begun and slot in self._waiting:
            raise InputError(
                f"slot {slot}: expected one in which an episode began, got none; call begin({slot}, generator) first"
            )
        return slot

    def _unready(self, what: str = "act") -> InputError:
        if not self._noise:
            return InputError(f"{what}: expected a session with slots, select() left none; make a new Session")
        waiting = ", ".join(map(str, sorted(self._waiting)))
        return InputError(
            f"{what}: expected an episode in every slot, none began in slot {waiting}; "
            "call begin(slot, generator) first"
        )

    def _draw(self) -> Tensor:
        assert self._drawn is not None
        draws = [noise.random(self._drawn, dtype=np.float32) for noise in self._noise if noise is not None]
        return torch.as_tensor(np.stack(draws))


def _warn_renamed(old: str, new: str) -> None:
    warnings.warn(f"{old} is now {new}; the old name goes with version 0.3", DeprecationWarning, stacklevel=3)


def _expand(trained: Weights, slots: int) -> Weights:
    return tuple(LayerWeights(layer.weight.expand(slots, -1, -1), layer.bias.expand(slots, -1)) for layer in trained)
