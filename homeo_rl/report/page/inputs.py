"""Inputs of a page that need policies and suites, which reports do not load: recorded episodes, conditions in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


class RecordedEpisode(Protocol):
    """One episode that was played for the page, as `homeo_rl.evaluation.recorded_episode` records it.

    ``rates`` are spikes of a neuron per spike step, [decisions, N] of each spiking layer; ``rewards`` [decisions];
    ``frames`` pictures [H, W, 3], ``pause`` milliseconds apart; ``missing`` is the
    reason why there are no frames.
    """

    @property
    def run(self) -> str: ...  # noqa: D102
    @property
    def arm(self) -> str: ...  # noqa: D102
    @property
    def condition(self) -> str: ...  # noqa: D102
    @property
    def total(self) -> float: ...  # noqa: D102
    @property
    def steps(self) -> int: ...  # noqa: D102
    @property
    def rates(self) -> Sequence[np.ndarray]: ...  # noqa: D102
    @property
    def rewards(self) -> np.ndarray: ...  # noqa: D102
    @property
    def frames(self) -> Sequence[np.ndarray]: ...  # noqa: D102
    @property
    def pause(self) -> int: ...  # noqa: D102
    @property
    def missing(self) -> str: ...  # noqa: D102


@dataclass(frozen=True)
class Damage:
    """A condition of a suite: the step at which its damage begins, and a description."""

    onset: int
    text: str


Suites = Mapping[str, Mapping[str, Damage]]  # conditions of suites: by content hash of the suite, then by label
