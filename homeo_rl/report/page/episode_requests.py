"""Which episodes a page would like to show; playing them needs the policy, which reports do not load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from homeo_rl.report.page.inputs import Suites
from homeo_rl.report.page.report_data import REFERENCE, Comparison, ReportData, NamedRun
from homeo_rl.report.page.sections.robustness import telling

_ARMS, _RUNS, _LATE = 4, 5, 6
"""Arms whose spikes are compared, runs whose episodes are played (one of each group), conditions that begin late."""


@dataclass(frozen=True)
class EpisodeRequest:
    """An episode: of a run, as an evaluation's document says ({} where there is none), with pictures or without."""

    member: NamedRun
    document: Mapping[str, Any]
    arm: str
    condition: str
    film: bool


def episode_requests(material: ReportData, suites: Suites) -> tuple[list[EpisodeRequest], list[str]]:
    """Return the episodes that would be shown.

    Of one run a group: clean ones of all arms, the damage that an arm helps most against, and, for their rewards,
    damage that begins inside an episode. The second list says of which groups nothing is played.
    """
    found: list[EpisodeRequest] = []
    acting = [group for group in material.groups if group.members[0].run.spec.origin != "compile"]
    for group in acting[:_RUNS]:
        one = next((one for one in material.comparisons if one.group == group), None)
        found += [EpisodeRequest(group.members[0], {}, REFERENCE, "clean", True)] if one is None else _of(one, suites)
    return found, [f"{group.name}: not played; a page shows episodes of {_RUNS} agents." for group in acting[_RUNS:]]


def _of(one: Comparison, suites: Suites) -> list[EpisodeRequest]:
    member, document = one.members[0], one.documents[0]
    clean = next((row.label for row in one.rows if row.severity == 0.0), None)
    found = [EpisodeRequest(member, document, arm, clean, arm == one.arms[0]) for arm in one.arms[:_ARMS] if clean is not None]
    most = telling(one)
    if most is None:
        return found
    best, damage = most
    told = suites.get(one.suite_hash, {})
    late = [label for label in one.damaged if label != damage and label in told and told[label].onset > 0]
    for label in (damage, *late[:_LATE]):
        found += [EpisodeRequest(member, document, arm, label, label == damage) for arm in (REFERENCE, best)]
    return found
