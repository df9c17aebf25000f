"""Which episodes a page would show; playing them needs the policy, which reports do not load."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from homeo_rl.report.page.inputs import Suites
from homeo_rl.report.page.report_data import REFERENCE, Comparison, NamedRun, ReportData

_MAX_ARMS, _MAX_GROUPS, _MAX_DELAYED = 4, 5, 6
"""Arms whose spikes are compared, groups of which a run is played, conditions that begin inside an episode."""


@dataclass(frozen=True)
class EpisodeRequest:
    """An episode of a run: ``document`` is its evaluation.json ({} without one), ``video`` asks for frames."""

    member: NamedRun
    document: Mapping[str, Any]
    arm: str
    condition: str
    video: bool


def request_episodes(data: ReportData, suites: Suites) -> tuple[list[EpisodeRequest], list[str]]:
    """Return the episodes to play, and a sentence on each group of which none is played.

    Of the first run of a group: clean episodes of all arms, episodes under the damage with the largest gain of an arm,
    and, for their rewards, episodes whose damage begins inside the episode.
    """
    requests: list[EpisodeRequest] = []
    playable = [group for group in data.groups if group.members[0].run.spec.origin != "compile"]
    for group in playable[:_MAX_GROUPS]:
        comparison = next((each for each in data.comparisons if each.group == group), None)
        if comparison is None:
            requests.append(EpisodeRequest(group.members[0], {}, REFERENCE, "clean", True))
        else:
            requests += _of_comparison(comparison, suites)
    skipped = playable[_MAX_GROUPS:]
    return requests, [f"{group.name}: not played; a page shows episodes of {_MAX_GROUPS} agents." for group in skipped]


def _of_comparison(comparison: Comparison, suites: Suites) -> list[EpisodeRequest]:
    member, document, arms = comparison.members[0], comparison.documents[0], comparison.arms
    clean = next((row.label for row in comparison.rows if row.severity == 0.0), None)
    requests = []
    if clean is not None:
        requests = [EpisodeRequest(member, document, arm, clean, arm == arms[0]) for arm in arms[:_MAX_ARMS]]
    gain = comparison.largest_gain()
    if gain is None:
        return requests
    best, damage = gain
    known = suites.get(comparison.suite_hash, {})
    delayed = [c for c in comparison.damaged if c != damage and c in known and known[c].onset > 0]
    for label in (damage, *delayed[:_MAX_DELAYED]):
        requests += [EpisodeRequest(member, document, arm, label, label == damage) for arm in (REFERENCE, best)]
    return requests
