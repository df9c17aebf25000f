"""The data of a page: runs, the groups that differ in their seed only, and their evaluations."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from homeo_rl.errors import UsageError
from homeo_rl.evaluation.recording import RecordedEpisode as RecordedEpisode
from homeo_rl.report.baselines import Baseline, baseline_of
from homeo_rl.report.episodes import Row
from homeo_rl.report.evaluations import (
    Evaluation,
    latest_evaluation,
    number_repeated,
    policy_key,
    read_evaluation,
    without_copies,
)
from homeo_rl.report.statistics import REFERENCE as REFERENCE
from homeo_rl.report.statistics import Cell, Difference, cells, differences, measures_of
from homeo_rl.run import Run
from homeo_rl.spec import dump


@dataclass(frozen=True)
class Damage:
    """A condition of a suite: the step at which its damage begins, and a description."""

    onset: int
    text: str


Suites = Mapping[str, Mapping[str, Damage]]  # conditions of suites: by content hash of the suite, then by label


@dataclass(frozen=True)
class NamedRun:
    """A run with a name that is unique on the page."""

    run: Run
    name: str


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed only, with a name that distinguishes them from the other groups."""

    name: str
    members: tuple[NamedRun, ...]

    @property
    def spiking(self) -> bool:
        """Whether its policy is a spiking network."""
        controller = self.members[0].run.spec.controller
        return controller is not None and controller.network.is_spiking


@dataclass(frozen=True)
class Comparison:
    """Evaluations of one group under one suite; runs are strata.

    ``chosen`` are the conditions that arms are compared under (None: all), ``baseline`` the random and the best known
    return of the environment.
    """

    group: Group
    members: tuple[NamedRun, ...]
    folders: tuple[Path, ...]
    documents: tuple[dict[str, Any], ...]
    rows: tuple[Row, ...]
    chosen: tuple[str, ...] | None = None
    baseline: Baseline | None = None

    @property
    def suite(self) -> str:
        """Name, version and content hash of the suite."""
        document = self.documents[0]
        cut = f", cut to T = {document['time_steps']}" if document.get("time_steps") else ""
        name, version, digest = (document.get(key, "?") for key in ("suite", "suite_version", "suite_hash"))
        return f"{name} version {version} ({digest}){cut}"

    @property
    def suite_hash(self) -> str:
        """Content hash of the suite."""
        return str(self.documents[0].get("suite_hash"))

    @property
    def name(self) -> str:
        """The group's name."""
        return self.group.name

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """One cell an arm and condition."""
        return tuple(cells(self.rows, self.baseline))

    @property
    def arms(self) -> list[str]:
        """All arms, the reference first."""
        return _reference_first(row.arm for row in self.rows)

    @property
    def labels(self) -> list[str]:
        """All conditions in the order of the suite, the clean one first."""
        return list(dict.fromkeys(row.label for row in self.rows))

    @property
    def damaged(self) -> list[str]:
        """The conditions that arms are compared under."""
        labels = dict.fromkeys(row.label for row in self.rows if row.severity > 0)
        return [label for label in labels if self.chosen is None or label in self.chosen]

    @cached_property
    def clean(self) -> float | None:
        """The reference arm's mean clean return, the divisor of retention; None where retention is not meaningful."""
        if self.measures[0] != "retention":
            return None
        return next(cell.mean for cell in self.cells if cell.arm == REFERENCE and cell.severity == 0.0)

    @cached_property
    def measures(self) -> tuple[str, ...]:
        """Measures that arms are compared by, the primary one first."""
        return measures_of(self.cells, self.baseline)

    @property
    def untrained(self) -> str:
        """Why the clean policy does not count as trained, or ""."""
        return next((cell.reason for cell in self.cells), "")

    @property
    def env(self) -> str:
        """The environment that the runs were trained in."""
        return self.members[0].run.spec.env

    def difference(self, label: str, measure: str, arm: str) -> Difference | None:
        """Return an arm minus the reference arm under one condition; None where they cannot be compared."""
        rows = [row for row in self.rows if row.arm in (arm, REFERENCE) and (row.label == label or row.severity == 0.0)]
        return next(iter(differences(rows, conditions=[label], measures=(measure,), baseline=self.baseline)), None)

    def largest_gain(self) -> tuple[str, str] | None:
        """Return the arm and the condition of the largest gain over the reference arm; None with one arm."""
        gains = {
            (difference.arm, label): difference.mean
            for label in self.damaged
            for difference in differences(self.rows, conditions=[label], measures=self.measures[:1])
        }
        return max(gains, key=lambda pair: gains[pair]) if gains else None


@dataclass(frozen=True)
class ReportData:
    """Everything that is read before the page is written; ``notes`` are sentences on what was left out."""

    groups: tuple[Group, ...]
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...] = ()

    @property
    def members(self) -> list[NamedRun]:
        """All runs, group by group."""
        return [member for group in self.groups for member in group.members]

    @property
    def arms(self) -> list[str]:
        """All arms of all comparisons, the reference first."""
        return _reference_first(arm for comparison in self.comparisons for arm in comparison.arms)

    @property
    def labels(self) -> list[str]:
        """All conditions of all comparisons."""
        return list(dict.fromkeys(label for comparison in self.comparisons for label in comparison.labels))


def _reference_first(arms: Iterable[str]) -> list[str]:
    return sorted(dict.fromkeys(arms), key=lambda arm: arm != REFERENCE)


def collect(runs: Sequence[Run], *, suite: str | None = None, conditions: Sequence[str] | None = None) -> ReportData:
    """Sort runs into groups and read the newest evaluation of each.

    Args:
        suite: evaluations of this suite only; None: the newest evaluation of each run.
        conditions: labels that paired comparisons are restricted to.

    Raises:
        UsageError: a suite or a condition that no evaluation has, or copies of a run with different evaluations.
        StorageFault: scores are damaged; the message names the file and the line.
    """
    notes: list[str] = []
    distinct = _without_copies(runs, suite, notes)
    by_config: dict[str, list[NamedRun]] = {}
    unique = number_repeated(run.name for run, _ in distinct)
    for (run, _), name in zip(distinct, unique, strict=True):
        by_config.setdefault(_config_key(run), []).append(NamedRun(run, name))
    names = _group_names(list(by_config.values()))
    groups = [Group(name, tuple(members)) for name, members in zip(names, by_config.values(), strict=True)]
    evaluations = {run.path: evaluation for run, evaluation in distinct if evaluation is not None}
    comparisons = [each for group in groups for each in _compare(group, suite, evaluations, conditions, notes)]
    if suite is not None and not comparisons:
        raise UsageError(f"--suite: expected a finished evaluation of {suite!r} in one of the runs, found none")
    known = {row.label for comparison in comparisons for row in comparison.rows}
    for label in conditions or ():
        if label not in known:
            raise UsageError(f"--conditions: expected some of {', '.join(sorted(known))}, got {label!r}")
    return ReportData(tuple(groups), tuple(comparisons), tuple(notes))


def _without_copies(runs: Sequence[Run], suite: str | None, notes: list[str]) -> list[tuple[Run, Evaluation | None]]:
    """Return the runs of distinct policies with their newest evaluations; of copies, the first that has one."""
    by_folder: dict[Path, Run] = {}
    for run in runs:
        by_folder.setdefault(run.path.resolve(), run)
    distinct: dict[str, tuple[Run, Evaluation | None]] = {}
    for run in by_folder.values():
        key, evaluation = policy_key(run.path), _evaluation_of(run, suite)
        first, known = distinct.setdefault(key, (run, evaluation))
        if first is run:
            continue
        if known is not None and evaluation is not None:
            if known.policy != evaluation.policy or known.suite != evaluation.suite:
                raise UsageError(f"{run.path}: a copy of {first.path} with another evaluation; report one of the two")
            notes += without_copies([known, evaluation])[1]
            continue
        kept, dropped = (run, first) if known is None and evaluation is not None else (first, run)
        distinct[key] = kept, known or evaluation
        notes.append(f"{dropped.path} is a copy of {kept.path} (same policy); counted once.")
    return list(distinct.values())


def _evaluation_of(run: Run, suite: str | None) -> Evaluation | None:
    try:
        folder = latest_evaluation(run, suite)
    except UsageError:
        return None
    return read_evaluation(folder)


def _config_key(run: Run) -> str:
    """Return a text that is equal for two runs exactly if they differ in their seed only."""
    spec = dump(run.spec)
    for name in ("seed", "digest", "command", "versions", "steps", "source"):
        spec.pop(name, None)
    return json.dumps(spec, sort_keys=True)


def _group_names(groups: Sequence[Sequence[NamedRun]]) -> list[str]:
    """Return for each group the shortest name that distinguishes it from all others."""
    candidates: list[list[str]] = []
    for members in groups:
        spec = members[0].run.spec
        agent = spec.agent or spec.origin
        algo = f"{agent} ({spec.algo or spec.origin})"
        more = f" and {len(members) - 1} more" if len(members) > 1 else ""
        candidates.append([agent, algo, f"{algo} on {spec.env}", f"{agent}: {members[0].name}{more}"])
    levels = list(zip(*candidates, strict=True))
    return [
        next((name for name, level in zip(names, levels, strict=True) if level.count(name) == 1), names[-1])
        for names in candidates
    ]


def _compare(
    group: Group,
    suite: str | None,
    evaluations: Mapping[Path, Evaluation],
    conditions: Sequence[str] | None,
    notes: list[str],
) -> list[Comparison]:
    """Return one comparison for each suite that the runs of a group were evaluated on."""
    by_suite: dict[str, list[tuple[NamedRun, Evaluation]]] = {}
    for member in group.members:
        evaluation = evaluations.get(member.run.path)
        if evaluation is None:
            notes.append(f"{member.name} has no finished evaluation{f' of suite {suite}' if suite else ''}.")
            continue
        rows = tuple(replace(row, run=member.name) for row in evaluation.rows)
        by_suite.setdefault(evaluation.suite, []).append((member, replace(evaluation, rows=rows)))
    return [
        Comparison(
            group,
            tuple(member for member, _ in pairs),
            tuple(evaluation.folder for _, evaluation in pairs),
            tuple(evaluation.document for _, evaluation in pairs),
            tuple(row for _, evaluation in pairs for row in evaluation.rows),
            None if conditions is None else tuple(conditions),
            baseline_of(pairs[0][1].environment),
        )
        for pairs in by_suite.values()
    ]


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
