"""The one episode loop: a batch of episodes side by side, each as if it were alone.

An episode's score depends on its own seed, condition and arm only. The loop may run one episode at a time or many; the
numbers are the same to the last bit, because every slot has its own environment, randomness and weights, and the
session's arithmetic does not mix slots.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from homeo_rl.agents.session import Session
from homeo_rl.degradations.protocol import Condition, NetworkDamage
from homeo_rl.evaluation.engines import Batched, Engine, make_engine
from homeo_rl.evaluation.episode import Episode as Episode
from homeo_rl.evaluation.episode import Step as Step
from homeo_rl.evaluation.episode import episode_seed as episode_seed
from homeo_rl.evaluation.recorders import TRACE_EVERY, Recorder, Transitions, decide, recorders_for
from homeo_rl.imports.aliases import accept_older_keywords
from homeo_rl.seeding import derive, generator

Env = gym.Env[Any, Any]


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread: results do not depend on the machine, and tiny products do not wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@accept_older_keywords(chained="carry_over", normal="reference_rates")
@one_thread()
def rollout(
    new_session: Callable[[int], Session],
    new_env: Callable[[], Env] | Batched,
    seeds: Sequence[int],
    *,
    condition: Condition,
    num_envs: int,
    carry_over: bool = False,
    reference_rates: Sequence[np.ndarray] = (),
    options: Sequence[dict[str, Any]] = (),
    on_step: Callable[[Step], None] | None = None,
    on_episode: Callable[[Episode], None] | None = None,
) -> list[Episode]:
    """Run one episode for each seed and return them in that order.

    Args:
        new_env: makes an undamaged environment; `Batched` steps all of them as one batch, with the same scores.
        num_envs: episodes side by side; the scores do not depend on it.
        carry_over: adaptation carries on from episode to episode (scope "run"): they run one after another.
        reference_rates: calibrated mean rates [N] of each layer, which traces are compared with.
        options: options of ``reset``, in turn over the episodes (routes); () gives none.
    """
    waiting = [Episode(index, seed) for index, seed in enumerate(seeds)]
    done: list[Episode] = []
    count = min(1 if carry_over else num_envs, len(waiting))
    session = new_session(count)
    engine = make_engine(new_env, condition, session.controller.observation_std, count)
    batch = _Batch(session, engine, condition, recorders_for(engine.env, reference_rates), options, on_step)
    try:
        for row in range(count):
            batch.begin(row, row, waiting.pop(0))
        while batch.slots:
            over = []
            for index in batch.step():
                slot = batch.slots[index]
                done.append(slot.episode)
                if on_episode is not None:
                    on_episode(slot.episode)
                if waiting:
                    batch.begin(index, slot.row, waiting.pop(0), fresh=not carry_over)
                else:
                    over.append(index)
            if over:
                batch.drop(over)
    finally:
        engine.close()
    return sorted(done, key=lambda episode: episode.index)


@dataclass
class _Slot:
    """One of the episodes side by side, and its row of the engine."""

    row: int
    episode: Episode
    damage: NetworkDamage | None
    reflex_damage: NetworkDamage | None


@dataclass
class _Batch:
    """The episodes side by side, and who records them."""

    session: Session
    engine: Engine
    condition: Condition
    recorders: list[Recorder]
    options: Sequence[dict[str, Any]]
    on_step: Callable[[Step], None] | None
    slots: list[_Slot] = field(default_factory=list)
    seen: Any = ()  # the observation of each slot: an array [slots, D], or a sequence of rows
    has_damage: bool = False

    def begin(self, index: int, row: int, episode: Episode, *, fresh: bool = True) -> None:
        """Start an episode in a slot; not ``fresh`` is one that carries on the adaptation of the one before."""
        options = self.options[episode.index % len(self.options)] if self.options else None
        observation, info = self.engine.reset(row, episode.seed % 2**32, options)
        self.session.begin(index, generator(episode.seed, "encoder"), reset_run_state=fresh)
        reflex_damage = None
        if self.session.reflex is not None:  # a chip apart: the policy's damage is the same with and without it
            reflex_damage = self.condition.network_damage(derive(episode.seed, "reflex", 0))
        for recorder in self.recorders:
            recorder.begin(index, episode, info)
        damage = self.condition.network_damage(episode.seed)
        self.has_damage = self.has_damage or damage is not None or reflex_damage is not None
        self.slots[index : index + 1] = [_Slot(row, episode, damage, reflex_damage)]
        self.seen = [*self.seen[:index], observation, *self.seen[index + 1 :]]

    def step(self) -> list[int]:
        """Make one decision in every slot; return the slots whose episode ended."""
        episodes = [slot.episode for slot in self.slots]
        for index, slot in enumerate(self.slots) if self.has_damage else ():
            self._damage(index, slot)
        traced = any(episode.length % TRACE_EVERY == 0 for episode in episodes)
        seen = self.seen if isinstance(self.seen, np.ndarray) else np.stack(self.seen)
        decision = decide(self.session, seen, traced=traced)
        result = self.engine.step([slot.row for slot in self.slots], decision.actions)
        over = [bool(ends[0] or ends[1]) for ends in zip(result.terminated, result.truncated, strict=True)]
        transitions = Transitions(episodes, result.rewards, over, result.infos)
        for index, episode in enumerate(episodes) if self.on_step is not None else ():
            action, reward = decision.actions[index].copy(), result.rewards[index]
            self.on_step(Step(episode.index, self.seen[index], action, reward))  # type: ignore[misc]  # there is one
        self.seen = result.observations
        for recorder in self.recorders:
            recorder.record(transitions, decision)
        ended = [transitions.of(index) for index in range(len(over)) if over[index]]
        drift = self.session.drift() if ended else None
        for transition in ended:
            for recorder in self.recorders:
                recorder.end(transition, self.session)
            if drift is not None:
                transition.episode.drift = drift[transition.slot].tolist()
        return [transition.slot for transition in ended]

    def _damage(self, index: int, slot: _Slot) -> None:
        """Change the weights of a slot's policy and reflex where damage changes them at this decision."""
        session, step = self.session, slot.episode.length
        weights = slot.damage.at(step, session.trained) if slot.damage else None
        if weights is not None:
            session.set_weights(index, weights)
        if slot.reflex_damage is not None and session.reflex is not None:
            weights = slot.reflex_damage.at(step, session.reflex.network.parameters_of_layers())
            if weights is not None:
                session.set_reflex(index, weights)

    def drop(self, slots: Sequence[int]) -> None:
        """Leave slots out for which no episode waits."""
        left = [index for index in range(len(self.slots)) if index not in slots]
        self.session.select(left)
        self.slots, self.seen = [self.slots[index] for index in left], [self.seen[index] for index in left]
        for recorder in self.recorders:
            recorder.select(left)
