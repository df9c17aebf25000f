"""What writes an episode while it runs: a recorder writes one aspect of it (rates, trace, path, outcome, counters)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from homeo_rl.agents.session import Session
from homeo_rl.envs.protocol import is_driving, success_of
from homeo_rl.envs.stability import KEY as UNSTABLE
from homeo_rl.envs.stability import is_watched
from homeo_rl.envs.time_limit import KEY as LIMIT_TAKEN
from homeo_rl.evaluation.episode import Episode
from homeo_rl.homeostasis.statistics import RateMoments
from homeo_rl.snn.kernels.counting import add_moments

TRACE_EVERY = 20  # decisions between two entries of an episode's trace
PATH_EVERY = 5  # decisions between two points of a robot's path


class Decision(NamedTuple):
    """One decision of all slots: what the session measured, [slots, ...] each (see `Session`)."""

    actions: np.ndarray
    rates: list[np.ndarray]
    operations: np.ndarray
    reflexes: tuple[np.ndarray, np.ndarray] | None
    drift: np.ndarray | None
    thetas: np.ndarray | None
    alarms: np.ndarray | None


class Transition(NamedTuple):
    """What became of a decision in one slot; ``over`` says whether the episode ended with it."""

    slot: int
    episode: Episode
    reward: float
    over: bool
    info: dict[str, Any]


class Transitions(NamedTuple):
    """What became of a decision in all slots, in order."""

    episodes: Sequence[Episode]
    rewards: Sequence[float]
    over: Sequence[bool]
    infos: Sequence[dict[str, Any]]

    def of(self, slot: int) -> Transition:
        """Return what became of it in one slot."""
        return Transition(slot, self.episodes[slot], self.rewards[slot], self.over[slot], self.infos[slot])


def decide(session: Session, observations: np.ndarray, *, traced: bool) -> Decision:
    """Make one decision in every slot; drift and thresholds are measured where an episode is ``traced``."""
    actions = session.act(observations)
    drift, thetas = (session.drift(), session.sliding_thresholds()) if traced else (None, None)
    alarms = None if session.observer is None else session.observer.alarms()
    return Decision(actions, session.rates(), session.operations(), session.reflexes(), drift, thetas, alarms)


class Recorder:
    """Base: writes nothing."""

    def begin(self, slot: int, episode: Episode, info: dict[str, Any]) -> None:
        """Write what the reset says."""

    def record(self, transitions: Transitions, decision: Decision) -> None:
        """Write a decision of all slots, in order."""
        for slot in range(len(transitions.episodes)):
            self.step(transitions.of(slot), decision)

    def step(self, transition: Transition, decision: Decision) -> None:
        """Write a decision of one slot."""

    def end(self, transition: Transition, session: Session) -> None:
        """Write what is known once the episode is over."""

    def select(self, slots: Sequence[int]) -> None:
        """Leave all slots out but these, which are numbered anew in this order."""


class _Activity(Recorder):
    """Rates, operations and what a reflex did; at the end the counters of adaptation and sleep, and the drift.

    Sums of all slots are rows of arrays, and added at once; while an episode runs, its sums are views of its row.
    """

    def __init__(self) -> None:
        self._episodes: list[Episode] = []
        self._sums: list[np.ndarray] = []  # of operations, rates and squared rates, [slots, ...]
        self._sizes: list[int] = []

    def begin(self, slot: int, episode: Episode, info: dict[str, Any]) -> None:
        self._episodes[slot : slot + 1] = [episode]
        if self._sums:
            for total in self._sums:
                total[slot] = 0.0
            self._lend(slot)

    def record(self, transitions: Transitions, decision: Decision) -> None:
        if not self._sums:
            self._sizes = [layer.shape[1] for layer in decision.rates]
            count, width = len(self._episodes), sum(self._sizes)
            self._sums = [np.zeros((count, columns)) for columns in (3, width, width)]
            for slot in range(count):
                self._lend(slot)
        operations, first, second = self._sums
        operations += decision.operations
        start = 0
        for layer in decision.rates:
            add_moments(layer, start, first, second)
            start += layer.shape[1]
        for episode in self._episodes if self._sizes else ():
            episode.rates.decisions += 1
        if decision.reflexes is not None or decision.alarms is not None:
            super().record(transitions, decision)

    def step(self, transition: Transition, decision: Decision) -> None:
        slot, episode, reflexes = transition.slot, transition.episode, decision.reflexes
        if reflexes is not None:
            acted = (reflexes[0][slot].copy(), reflexes[1][slot].copy(), np.copy(decision.actions[slot]))
            episode.reflex.append(acted)
        if decision.alarms is not None and decision.alarms[slot]:
            now = episode.length
            if episode.alarms and episode.alarms[-1][1] == now - 1:
                episode.alarms[-1] = episode.alarms[-1][0], now
            else:
                episode.alarms.append((now, now))

    def select(self, slots: Sequence[int]) -> None:
        self._episodes = [self._episodes[slot] for slot in slots]
        self._sums = [total[list(slots)] for total in self._sums]
        for slot in range(len(slots)):
            self._lend(slot)

    def _lend(self, slot: int) -> None:
        episode = self._episodes[slot]
        episode.operations, first, second = (total[slot] for total in self._sums)
        if self._sizes:
            episode.rates = RateMoments(episode.rates.decisions, self._sizes, first, second)

    def end(self, transition: Transition, session: Session) -> None:
        slot, episode = transition.slot, transition.episode
        episode.operations, moments = episode.operations.copy(), episode.rates  # the next episode gets the row
        episode.rates = RateMoments(moments.decisions, moments.sizes, moments.first.copy(), moments.second.copy())
        if session.state.plugin is not None:
            episode.rolled_back = session.rolled_back[slot]
        if session.sleeps is not None:
            episode.sleeps = session.sleeps[slot]
        if session.observer is not None:
            episode.openings, episode.estimated = session.observer.openings[slot], session.observer.used[slot]
            diagnosis = session.observer.diagnose(slot)
            episode.latency, episode.gains, episode.sensors = diagnosis.latency, diagnosis.gains, diagnosis.sensors


class _Trace(Recorder):
    """The course of homeostasis, an entry in `TRACE_EVERY` decisions, and the reward until the next one."""

    def __init__(self, reference_rates: Sequence[np.ndarray]) -> None:
        self._reference = reference_rates

    def record(self, transitions: Transitions, decision: Decision) -> None:
        if decision.drift is not None:
            means = [layer.mean(1).tolist() for layer in decision.rates]
            for slot, episode in enumerate(transitions.episodes):
                if episode.length % TRACE_EVERY == 0:
                    episode.trace.append(self._entry(slot, episode, decision, [layer[slot] for layer in means]))
        for episode, reward in zip(transitions.episodes, transitions.rewards, strict=True):
            earned = episode.trace[-1]["reward"]  # there is an entry from the first decision on
            earned[0] += reward
            earned[1] += 1.0

    def _entry(self, slot: int, episode: Episode, decision: Decision, rate: list[float]) -> dict[str, list[float]]:
        assert decision.drift is not None
        entry = {"reward": [0.0, 0.0], "drift": decision.drift[slot].tolist(), "rate": rate}
        if decision.thetas is not None:
            entry["theta"] = decision.thetas[slot].tolist()
        if self._reference:
            pairs = zip(episode.rates.means()[0], self._reference, strict=True)
            entry["rate_error"] = [float(np.abs(mean - reference).mean()) for mean, reference in pairs]
        return entry


class _Outcome(Recorder):
    """Return, length and how the episode ended."""

    def __init__(self, watched: bool) -> None:
        self._watched = watched

    def begin(self, slot: int, episode: Episode, info: dict[str, Any]) -> None:
        episode.unstable = False if self._watched else None

    def record(self, transitions: Transitions, decision: Decision) -> None:
        for episode, reward, over, info in zip(*transitions, strict=True):
            episode.total += reward
            episode.length += 1
            if over:
                episode.success = success_of(info)
                episode.limited = LIMIT_TAKEN in info
                episode.unstable = UNSTABLE in info if self._watched else None


class _Path(Recorder):
    """Where a robot drove, and how its drive ended; for environments whose infos are `DriveInfo`."""

    def begin(self, slot: int, episode: Episode, info: dict[str, Any]) -> None:
        episode.goal = _point(info["goal"])
        episode.path.append(_point(info["pose"]))

    def step(self, transition: Transition, decision: Decision) -> None:
        episode, info = transition.episode, transition.info
        if transition.over or episode.length % PATH_EVERY == 0:
            episode.path.append(_point(info["pose"]))
        if transition.over:
            episode.outcome = "success" if episode.success else "collision" if info["collision"] else "overtime"
            episode.path_length, episode.time = info.get("path_length"), info.get("time")


def _point(pose: Any) -> list[float]:
    return [round(float(value), 3) for value in pose[:2]]


def recorders_for(env: gym.Env[Any, Any], reference_rates: Sequence[np.ndarray]) -> list[Recorder]:
    """Return the recorders of episodes in ``env``, in the order in which they write: each may read what is there.

    ``reference_rates``: calibrated mean rates [N] of each layer; () where there are none.
    """
    drives: list[Recorder] = [_Path()] if is_driving(env) else []
    return [_Activity(), _Trace(reference_rates), _Outcome(is_watched(env)), *drives]
