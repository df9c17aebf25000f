"""What an episode leaves behind."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from homeo_rl.homeostasis.statistics import RateMoments
from homeo_rl.observer.diagnosis import SensorFault
from homeo_rl.seeding import derive


@dataclass
class Episode:
    """What one episode left behind; rates are means over decisions and spike steps.

    Where the environment's info is a `homeo_rl.envs.protocol.DriveInfo`: ``outcome`` "success", "collision" or
    "overtime", ``path_length`` (m), ``time`` (s), ``goal`` [x, y] and ``path``, points [x, y] once in
    `homeo_rl.evaluation.recorders.PATH_EVERY` decisions and at the end. Where a reflex acts: ``reflex``, the events
    [lines], its spikes [outputs] and the action of every decision. Where there is a MuJoCo simulation: ``unstable``,
    whether MuJoCo gave it up, which ended the episode. Where a plug-in adapts: ``rolled_back``, how often its
    adaptation went wrong and was started again; where it sleeps: ``sleeps``, how often; where it observes: ``openings``
    of its gate, ``estimated``, decisions in which its estimate was used, ``alarms``, first and last decision of each,
    and the ``latency``, the ``gains`` of the actuators [K] and the ``sensors`` at fault that it identified at the end.
    ``operations``: spikes,
    additions at synapses and products [3] of all decisions. ``limited``: whether the limit of environments that have
    none ended it.
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
    openings: int | None = None
    estimated: int | None = None
    alarms: list[tuple[int, int]] = field(default_factory=list)
    latency: int | None = None
    gains: np.ndarray | None = None
    sensors: tuple[SensorFault, ...] = ()
    limited: bool = False


class Step(NamedTuple):
    """A decision of an episode, by its index: what was seen [D], what was done, what it earned."""

    episode: int
    observation: Any
    action: Any
    reward: float


def episode_seed(seed: int, purpose: str, index: int) -> int:
    """Return the seed of episode ``index``: the same for all arms and conditions, and another for each purpose."""
    return derive(seed, purpose, index)
