"""What a page is given by those who may load policies and suites: episodes, and what conditions do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


class RecordedEpisode(Protocol):
    """One episode that was played for the page (`homeo_rl.evaluation.recorded_episode` makes these).

    ``rates`` are spikes a neuron over spike steps, [decisions, N] for each spiking layer; ``rewards`` [decisions];
    ``observations`` [decisions, D]; ``frames`` pictures [H, W, 3], ``pause`` milliseconds apart; ``missing`` says why
    there are none.
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
    def observations(self) -> np.ndarray: ...  # noqa: D102
    @property
    def frames(self) -> Sequence[np.ndarray]: ...  # noqa: D102
    @property
    def pause(self) -> int: ...  # noqa: D102
    @property
    def missing(self) -> str: ...  # noqa: D102


@dataclass(frozen=True)
class Damage:
    """What a suite says of a condition: from which step on, and what is done, in words."""

    onset: int
    text: str


Suites = Mapping[str, Mapping[str, Damage]]
"""What suites say of their conditions: by content hash, then by label."""
