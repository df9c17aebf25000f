"""Inputs of a page that need policies and suites, which reports do not load: recorded episodes, conditions in words."""

from collections.abc import Mapping
from dataclasses import dataclass

from homeo_rl.evaluation.recording import RecordedEpisode as RecordedEpisode


@dataclass(frozen=True)
class Damage:
    """A condition of a suite: the step at which its damage begins, and a description."""

    onset: int
    text: str


Suites = Mapping[str, Mapping[str, Damage]]  # conditions of suites: by content hash of the suite, then by label
