"""Episodes that were played to be looked at; without torch, for reports."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True, kw_only=True)
class RecordedEpisode:
    """An episode that `homeo_rl.evaluation.recorded_episode` recorded."""

    run: str
    arm: str
    condition: str
    total: float
    steps: int  # spike steps of a decision
    rates: tuple[np.ndarray, ...]  # spikes over spike steps, [decisions, N] of each spiking layer; () without spikes
    rewards: np.ndarray  # [decisions]
    observations: np.ndarray  # what the policy was given, [decisions, D]
    frames: tuple[np.ndarray, ...] = ()  # pictures [H, W, 3] of bytes
    pause: int = 0  # milliseconds between two pictures, at the environment's own pace
    missing: str = ""  # why there are no pictures; "" where there are, or none were wanted


class Course(NamedTuple):
    """One episode: what was true, measured and estimated [T, D], and whether the estimate was used [T]."""

    true: np.ndarray
    measured: np.ndarray
    estimated: np.ndarray
    used: np.ndarray
