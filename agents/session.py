"""A session: the only place where the state of a network changes while it acts.

It drives a batch of episodes, one a *slot*, side by side: each slot has its own damaged weights, its own adaptation
and its own randomness, and gives the same actions, bit for bit, whatever runs in the other slots.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from homeo_rl.agents.controller import Controller
from homeo_rl.agents.sleeper import Sleeper
from homeo_rl.homeostasis.guard import not_finite, out_of_bounds
from homeo_rl.homeostasis.memory import Memory
from homeo_rl.homeostasis.protocol import SCOPES, Homeostasis, LayerReference
from homeo_rl.homeostasis.sleep import SleepHomeostat, needs_memory
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.snn.state import LayerWeights, Weights, map_weights

LOOK_EVERY = 20
"""Decisions of an episode between two looks at everything that its adaptation added to the weights."""


class Session:
    """Act for ``slots`` episodes at once, adapting online if a plug-in is given.

    An adaptation that goes wrong (`homeo_rl.homeostasis.guard`) starts again from no change in that slot alone, and
    ``rolled_back`` [slots] counts how often that happened in the slot's episode.
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
        reflex: bool = True,
    ) -> None:
        """Begin at rest; ``reflex`` False leaves the reflex of a composed policy out.

        Raises:
            ValueError: a mechanism that adapts without one reference a layer, or that sleeps without a memory.
        """
        self.controller = controller if reflex or controller.reflex is None else controller.bare()
        self.network = controller.network
        self.trained = self.network.parameters_of_layers()
        self._own = False  # whether slots have weights of their own, or views of the trained ones
        self._noise: list[np.random.Generator | None] = [None] * slots
        self._ages = [0] * slots  # decisions since each slot's adaptation began
        self.rolled_back = [0] * slots
        self._sleeper: Sleeper | None = None
        if plugin is not None and needs_memory(plugin):
            if memory is None or not isinstance(self.network, SpikingNetwork):
                raise ValueError(
                    f"plug-in {plugin.name}: expected a spiking network and its memory (a calibration has it)"
                )
            asleep = plugin if isinstance(plugin, SleepHomeostat) else SleepHomeostat(form="none", awake=plugin)
            self._sleeper = Sleeper(self.network, asleep, memory, references, slots, controller.unit_action)
            plugin = asleep.awake
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

    @torch.inference_mode()
    def begin(self, slot: int, noise: np.random.Generator, *, fresh: bool = True) -> None:
        """Start an episode in ``slot``: trained weights, adaptation as its scope says, randomness from ``noise``.

        ``fresh`` False keeps a state of scope "run" that an earlier episode of this slot left.
        """
        self._noise[slot] = noise
        self._ages[slot] = self.rolled_back[slot] = 0
        if self._sleeper is not None:
            self._sleeper.begin(slot)
        if self._own:
            self._put(slot, self.trained)
        ended = torch.zeros(self.slots, dtype=torch.bool)
        ended[slot] = True
        self.state = self.network.forget(self.state, ended, "episode")
        if fresh:
            self.state = self.network.forget(self.state, ended, "run")
        if self.reflex is not None and self.state.reflex is not None:
            self.state.reflex = self.reflex.network.forget(self.state.reflex, ended)
            if self.state.reflex.weights is not None:
                self.set_reflex(slot, self.reflex.network.parameters_of_layers())

    @torch.inference_mode()
    def set_reflex(self, slot: int, weights: Weights) -> None:
        """Let the reflex of ``slot`` run with ``weights`` (those of its network's layers)."""
        assert self.reflex is not None
        assert self.state.reflex is not None
        self.state.reflex = self.reflex.network.with_weights(self.state.reflex, slot, weights[0])

    @torch.inference_mode()
    def set_weights(self, slot: int, weights: Weights) -> None:
        """Let ``slot`` run with ``weights`` (shapes as the trained ones, without a batch dimension)."""
        self._put(slot, weights if self._sleeper is None else self._sleeper.worn(slot, weights))

    def _put(self, slot: int, weights: Weights) -> None:
        if not self._own:
            self._own = True
            self.state.weights = tuple(map_weights(layer, Tensor.clone) for layer in _expand(self.trained, self.slots))
        assert self.state.weights is not None
        layers = []
        for mine, new in zip(self.state.weights, weights, strict=True):
            mine.weight[slot] = new.weight
            mine.bias[slot] = new.bias
            layers.append(mine._replace(alive=self._flag(mine.alive, new.alive, new, slot, 1.0),
                                        stuck=self._flag(mine.stuck, new.stuck, new, slot, 0.0)))  # fmt: skip
        self.state.weights = tuple(layers)

    def _flag(
        self, mine: Tensor | None, new: Tensor | None, layer: LayerWeights, slot: int, neutral: float
    ) -> Tensor | None:
        if mine is None and new is None:
            return None
        if mine is None:
            mine = torch.full((self.slots, layer.bias.shape[0]), neutral)
        mine[slot] = neutral if new is None else new
        return mine

    @torch.inference_mode()
    def act(self, observations: np.ndarray) -> np.ndarray:
        """Return one action a slot for ``observations`` [slots, D], adapting if there is a plug-in.

        Where the plug-in sleeps, slots whose self-test is due and fails sleep first.
        """
        if self._sleeper is not None:
            self._sleep(self._sleeper)
        x = torch.as_tensor(observations, dtype=torch.float32)
        action, self.state = self.controller(x, self.state, adapt=True, noise=self._draw())
        if self.state.plugin is not None:
            self._guard()
        result: np.ndarray = action.numpy()
        return result

    def _sleep(self, sleeper: Sleeper) -> None:
        for slot in range(self.slots):
            woken = sleeper.tend(slot)
            if woken is None:
                continue
            self._put(slot, woken.weights)
            if self.state.plugin is not None:  # what adapted to the damage would mend it a second time
                ended = torch.zeros(self.slots, dtype=torch.bool)
                ended[slot] = True
                self.state = self.network.forget(self.state, ended, self.state.plugin.scope)
            if woken.adaptation is not None:
                for mine, learned in zip(self.state.adaptation, woken.adaptation, strict=True):
                    for name, value in mine.items():
                        value[slot] = learned[name][0]

    def _guard(self) -> None:
        """Roll back adaptations that went wrong.

        Matrices are looked at after a slot's first decision, when an absurd parameter shows and before its change
        acts, and then once in `LOOK_EVERY` of the slot's own decisions: its fate does not depend on other slots.
        """
        state, plugin = self.state, self.state.plugin
        assert plugin is not None
        self._ages = [age + 1 for age in self._ages]
        wrong = not_finite(state.adaptation)
        due = [slot for slot, age in enumerate(self._ages) if age % LOOK_EVERY == 1]
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
    def keep(self, slots: Sequence[int]) -> None:
        """Drop all slots but these; they are numbered anew in the order given."""
        rows = torch.as_tensor(list(slots), dtype=torch.long)
        state = self.state
        if self._own and state.weights is not None:
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
        state.batch = len(rows)
        if self._sleeper is not None:
            self._sleeper.keep(slots)
        self._noise = [self._noise[int(row)] for row in rows]
        self._ages = [self._ages[int(row)] for row in rows]
        self.rolled_back = [self.rolled_back[int(row)] for row in rows]

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
        found = torch.stack(tuple(self.network.operations(self.state.rates)), 1).numpy()
        return np.broadcast_to(found, (self.slots, 3))

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
                    result[:, index] = [float(own.double().norm()) / size for own in delta]
        if self._sleeper is not None:
            sizes = np.array([float(layer.weight.double().norm()) for layer in self.trained])
            result += np.array([self._sleeper.drift(slot) for slot in range(self.slots)]) / sizes
        return result

    @property
    def sleeps(self) -> list[int] | None:
        """How often each slot slept in its episode; None where the plug-in does not."""
        return None if self._sleeper is None else self._sleeper.sleeps

    @torch.inference_mode()
    def thetas(self) -> np.ndarray | None:
        """Mean sliding threshold of each slot and layer, [slots, layers]; None without one."""
        plugin = self.state.plugin
        if plugin is None:
            return None
        found = [
            plugin.theta(adaptation, layer)
            for adaptation, layer in zip(self.state.adaptation, self.state.references, strict=True)
        ]
        values = [theta.mean(-1) for theta in found if theta is not None]
        return torch.stack(values, 1).numpy() if len(values) == len(found) else None

    def _draw(self) -> Tensor | None:
        if not isinstance(self.network, SpikingNetwork) or not self.network.encoder.stochastic:
            return None
        shape = (self.network.spec.steps, self.network.spec.widths[0])
        draws = [noise.random(shape, dtype=np.float32) for noise in self._noise if noise is not None]
        return torch.as_tensor(np.stack(draws))


def _expand(trained: Weights, slots: int) -> Weights:
    return tuple(LayerWeights(layer.weight.expand(slots, -1, -1), layer.bias.expand(slots, -1)) for layer in trained)
