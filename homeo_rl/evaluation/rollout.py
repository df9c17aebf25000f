"""The one episode loop: a batch of episodes side by side, each as if it were alone.

An episode's score depends on its own seed, condition and arm only. The loop may run one episode at a time or many; the
numbers are the same to the last bit, because every slot has its own environment, randomness and weights, and the
session's arithmetic does not mix slots.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch

from homeo_rl.agents.session import Session
from homeo_rl.degradations.protocol import Condition, NetworkDamage
from homeo_rl.envs.protocol import is_driving, success_of
from homeo_rl.envs.stability import KEY, is_watched
from homeo_rl.envs.time_limit import KEY as LIMIT_TAKEN
from homeo_rl.homeostasis.statistics import RateMoments
from homeo_rl.seeding import derive, generator

Env = gym.Env[Any, Any]

TRACE_EVERY = 20
"""Decisions between two entries of an episode's trace."""

PATH_EVERY = 5
"""Decisions between two points of a robot's path."""


@dataclass
class Episode:
    """What one episode left behind; rates are means over decisions and spike steps.

    Where the environment's info is a `homeo_rl.envs.protocol.DriveInfo`: ``outcome`` "success", "collision" or
    "overtime", ``path_length`` (m), ``time`` (s), ``goal`` [x, y] and ``path``, points [x, y] once in `PATH_EVERY`
    decisions and at the end. Where a reflex acts:
    ``reflex``, the events [lines], its spikes [outputs] and the action of every decision. Where there is a MuJoCo
    simulation: ``unstable``, whether MuJoCo gave it up, which ended the episode. Where a plug-in adapts:
    ``rolled_back``, how often its adaptation went wrong and was started again; where it sleeps: ``sleeps``, how often.
    ``operations``: spikes, additions at
    synapses and products [3] of all decisions. ``limited``: whether the limit of environments that have none ended it.
    """

    index: int
    seed: int
    total: float = 0.0
    length: int = 0
    success: bool | None = None
    outcome: str | None = None
    path_length: float | None = None
    time: float | None = None
    goal: list[float] = field(default_factory=list)
    path: list[list[float]] = field(default_factory=list)
    rates: RateMoments = field(default_factory=RateMoments)
    operations: np.ndarray = field(default_factory=lambda: np.zeros(3))
    drift: list[float] = field(default_factory=list)
    trace: list[dict[str, list[float]]] = field(default_factory=list)
    reflex: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=list)
    unstable: bool | None = None
    rolled_back: int | None = None
    sleeps: int | None = None
    limited: bool = False


class Step(NamedTuple):
    """A decision of an episode, by its index: what was seen [D], what was done, what it earned."""

    episode: int
    observation: Any
    action: Any
    reward: float


@dataclass
class _Slot:
    env: Env
    episode: Episode
    observation: Any
    damage: NetworkDamage | None
    drives: bool = False
    reflex_damage: NetworkDamage | None = None


def episode_seed(seed: int, purpose: str, index: int) -> int:
    """Return the seed of episode ``index``: the same for all arms and conditions, and another for each purpose."""
    return derive(seed, purpose, index)


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread: results do not depend on the machine, and tiny products do not wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@one_thread()
def rollout(
    new_session: Callable[[int], Session],
    new_env: Callable[[], Env],
    seeds: Sequence[int],
    *,
    condition: Condition,
    num_envs: int,
    chained: bool = False,
    normal: Sequence[np.ndarray] = (),
    options: Sequence[dict[str, Any]] = (),
    on_step: Callable[[Step], None] | None = None,
    on_episode: Callable[[Episode], None] | None = None,
) -> list[Episode]:
    """Run one episode for each seed and return them in that order.

    Args:
        new_session: makes a session of so many slots.
        new_env: makes an undamaged environment.
        seeds: one per episode.
        condition: what is damaged.
        num_envs: episodes side by side; the scores do not depend on it.
        chained: adaptation carries on from episode to episode (scope "run"): they run one after another.
        normal: calibrated mean rates [N] of each layer, which traces are compared with.
        options: what ``reset`` is told, in turn over the episodes (routes); () tells nothing.
        on_step: told of each step of each episode.
        on_episode: told of each episode that ended.
    """
    waiting = [Episode(index, seed) for index, seed in enumerate(seeds)]
    done: list[Episode] = []
    count = min(1 if chained else num_envs, len(waiting))
    session = new_session(count)
    slots: list[_Slot] = []
    envs: list[Env] = []
    try:
        for place in range(count):
            envs.append(condition.wrap(new_env(), session.controller.spread))
            slots.append(_begin(session, place, envs[-1], waiting.pop(0), condition, options, fresh=True))
        while slots:
            ended = _advance(session, slots, normal, on_step)
            over = []
            for place in ended:
                slot = slots[place]
                done.append(slot.episode)
                if on_episode is not None:
                    on_episode(slot.episode)
                if waiting:
                    slots[place] = _begin(
                        session, place, slot.env, waiting.pop(0), condition, options, fresh=not chained
                    )
                else:
                    over.append(place)
            if over:
                left = [place for place in range(len(slots)) if place not in over]
                session.keep(left)
                slots = [slots[place] for place in left]
    finally:
        for env in envs:
            env.close()
    return sorted(done, key=lambda episode: episode.index)


def _begin(
    session: Session,
    place: int,
    env: Env,
    episode: Episode,
    condition: Condition,
    options: Sequence[dict[str, Any]],
    *,
    fresh: bool,
) -> _Slot:
    told = options[episode.index % len(options)] if options else None
    observation, info = env.reset(seed=episode.seed % 2**32, options=told)
    session.begin(place, generator(episode.seed, "encoder"), fresh=fresh)
    slot = _Slot(env, episode, observation, condition.network_damage(episode.seed), is_driving(env))
    if session.reflex is not None:  # a chip of its own: the policy's damage is the same with and without it
        slot.reflex_damage = condition.network_damage(derive(episode.seed, "reflex", 0))
    episode.unstable = False if is_watched(env) else None
    if slot.drives:
        episode.goal = _point(info["goal"])
        episode.path.append(_point(info["pose"]))
    return slot


def _point(pose: Any) -> list[float]:
    """Return x and y, to the millimetre."""
    return [round(float(value), 3) for value in pose[:2]]


def _advance(
    session: Session, slots: list[_Slot], normal: Sequence[np.ndarray], on_step: Callable[[Step], None] | None
) -> list[int]:
    """Make one decision in every slot; return the places whose episode ended."""
    for place, slot in enumerate(slots):
        weights = slot.damage.at(slot.episode.length, session.trained) if slot.damage else None
        if weights is not None:
            session.set_weights(place, weights)
        if slot.reflex_damage is not None and session.reflex is not None:
            reflex = slot.reflex_damage.at(slot.episode.length, session.reflex.network.parameters_of_layers())
            if reflex is not None:
                session.set_reflex(place, reflex)
    actions = session.act(np.stack([slot.observation for slot in slots]))
    rates, operations = session.rates(), session.operations()
    reflexes = session.reflexes()
    tracing = [place for place, slot in enumerate(slots) if slot.episode.length % TRACE_EVERY == 0]
    drift = session.drift() if tracing else None
    thetas = session.sliding_thresholds() if tracing else None
    ended = []
    for place, slot in enumerate(slots):
        episode = slot.episode
        seen = slot.observation
        slot.observation, reward, terminated, truncated, info = slot.env.step(actions[place])
        if on_step is not None:
            on_step(Step(episode.index, seen, actions[place].copy(), float(reward)))
        if reflexes is not None:
            episode.reflex.append((reflexes[0][place].copy(), reflexes[1][place].copy(), np.copy(actions[place])))
        if rates:
            episode.rates.add([layer[place] for layer in rates])
        episode.operations += operations[place]
        if drift is not None and place in tracing:
            entry = {
                "reward": [0.0, 0.0],
                "drift": drift[place].tolist(),
                "rate": [float(layer[place].mean()) for layer in rates],
            }
            if thetas is not None:
                entry["theta"] = thetas[place].tolist()
            if normal:
                means, _ = episode.rates.means()
                entry["rate_error"] = [float(np.abs(m - c0).mean()) for m, c0 in zip(means, normal, strict=True)]
            episode.trace.append(entry)
        earned = episode.trace[-1]["reward"]  # there is an entry from the first decision on
        earned[0] += float(reward)
        earned[1] += 1.0
        episode.total += float(reward)
        episode.length += 1
        over = bool(terminated or truncated)
        if slot.drives and (over or episode.length % PATH_EVERY == 0):
            episode.path.append(_point(info["pose"]))
        if over:
            episode.success = success_of(info)
            episode.limited = LIMIT_TAKEN in info
            if slot.drives:
                collided = info["collision"]
                episode.outcome = "success" if episode.success else "collision" if collided else "overtime"
                episode.path_length, episode.time = info.get("path_length"), info.get("time")
            if episode.unstable is not None:
                episode.unstable = KEY in info
            if session.state.plugin is not None:
                episode.rolled_back = session.rolled_back[place]
            if session.sleeps is not None:
                episode.sleeps = session.sleeps[place]
            ended.append(place)
    if ended:
        last = session.drift()
        for place in ended:
            slots[place].episode.drift = last[place].tolist()
    return ended
