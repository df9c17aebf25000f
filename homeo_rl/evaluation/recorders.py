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


def decide(session: Session, observations: np.ndarray, *, traced: bool) -> Decision:
    """Make one decision in every slot; drift and thresholds are measured where an episode is ``traced``."""
    actions = session.act(observations)
    drift, thetas = (session.drift(), session.sliding_thresholds()) if traced else (None, None)
    alarms = None if session.observer is None else session.observer.alarms()
    return Decision(actions, session.rates(), session.operations(), session.reflexes(), drift, thetas, alarms)


class Recorder:
    """Base: writes nothing."""

    def begin(self, episode: Episode, info: dict[str, Any]) -> None:
        """Write what the reset says."""

    def step(self, transition: Transition, decision: Decision) -> None:
        """Write a decision."""

    def end(self, transition: Transition, session: Session) -> None:
        """Write what is known once the episode is over."""


class _Activity(Recorder):
    """Rates, operations and what a reflex did; at the end the counters of adaptation and sleep, and the drift."""

    def step(self, transition: Transition, decision: Decision) -> None:
        slot, episode, reflexes = transition.slot, transition.episode, decision.reflexes
        if reflexes is not None:
            acted = (reflexes[0][slot].copy(), reflexes[1][slot].copy(), np.copy(decision.actions[slot]))
            episode.reflex.append(acted)
        if decision.rates:
            episode.rates.add([layer[slot] for layer in decision.rates])
        episode.operations += decision.operations[slot]
        if decision.alarms is not None and decision.alarms[slot]:
            now = episode.length
            if episode.alarms and episode.alarms[-1][1] == now - 1:
                episode.alarms[-1] = episode.alarms[-1][0], now
            else:
                episode.alarms.append((now, now))

    def end(self, transition: Transition, session: Session) -> None:
        slot, episode = transition.slot, transition.episode
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

    def step(self, transition: Transition, decision: Decision) -> None:
        slot, episode = transition.slot, transition.episode
        if decision.drift is not None and episode.length % TRACE_EVERY == 0:
            entry = {
                "reward": [0.0, 0.0],
                "drift": decision.drift[slot].tolist(),
                "rate": [float(layer[slot].mean()) for layer in decision.rates],
            }
            if decision.thetas is not None:
                entry["theta"] = decision.thetas[slot].tolist()
            if self._reference:
                pairs = zip(episode.rates.means()[0], self._reference, strict=True)
                entry["rate_error"] = [float(np.abs(mean - reference).mean()) for mean, reference in pairs]
            episode.trace.append(entry)
        earned = episode.trace[-1]["reward"]  # there is an entry from the first decision on
        earned[0] += transition.reward
        earned[1] += 1.0


class _Outcome(Recorder):
    """Return, length and how the episode ended."""

    def __init__(self, watched: bool) -> None:
        self._watched = watched

    def begin(self, episode: Episode, info: dict[str, Any]) -> None:
        episode.unstable = False if self._watched else None

    def step(self, transition: Transition, decision: Decision) -> None:
        episode, info = transition.episode, transition.info
        episode.total += transition.reward
        episode.length += 1
        if transition.over:
            episode.success = success_of(info)
            episode.limited = LIMIT_TAKEN in info
            episode.unstable = UNSTABLE in info if self._watched else None


class _Path(Recorder):
    """Where a robot drove, and how its drive ended; for environments whose infos are `DriveInfo`."""

    def begin(self, episode: Episode, info: dict[str, Any]) -> None:
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
