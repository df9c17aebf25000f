"""What a page is made of: runs, which of them belong together, and their evaluations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from homeo_rl import checkpoint
from homeo_rl.errors import UsageError
from homeo_rl.report.build import latest_evaluation
from homeo_rl.report.statistics import Cell, Row, cells, read_scores
from homeo_rl.run import Run
from homeo_rl.spec import dump

REFERENCE = "none"
"""The arm that the others are compared with."""


@dataclass(frozen=True)
class Member:
    """A run with a name that no other run of the page has."""

    run: Run
    name: str


@dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but their seed, with a name that tells them from the other groups."""

    name: str
    members: tuple[Member, ...]

    @property
    def spiking(self) -> bool:
        """Whether its policy sends spikes."""
        controller = self.members[0].run.spec.controller
        return controller is not None and controller.network.body != "mlp"


@dataclass(frozen=True)
class Comparison:
    """Evaluations of one group under one suite; runs are strata. ``chosen`` are the conditions that are compared."""

    group: Group
    members: tuple[Member, ...]
    folders: tuple[Path, ...]
    documents: tuple[dict[str, Any], ...]
    rows: tuple[Row, ...]
    chosen: tuple[str, ...] | None = None

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
        return tuple(cells(self.rows))

    @property
    def arms(self) -> list[str]:
        """All arms, the reference first."""
        found = list(dict.fromkeys(row.arm for row in self.rows))
        return sorted(found, key=lambda arm: arm != REFERENCE)

    @property
    def labels(self) -> list[str]:
        """All conditions, the clean one first, as the suite has them."""
        return list(dict.fromkeys(row.label for row in self.rows))

    @property
    def damaged(self) -> list[str]:
        """The conditions that arms are compared under."""
        found = dict.fromkeys(row.label for row in self.rows if row.severity > 0)
        return [label for label in found if self.chosen is None or label in self.chosen]

    @cached_property
    def clean(self) -> float | None:
        """The reference arm's mean clean return, which returns are divided by; None unless it is positive."""
        totals = [row.total for row in self.rows if row.arm == REFERENCE and row.severity == 0.0]
        mean = float(np.mean(totals)) if totals else 0.0
        return mean if mean > 0 else None


@dataclass(frozen=True)
class Material:
    """Everything that is known before a page is laid out; ``notes`` are sentences on what was left out."""

    groups: tuple[Group, ...]
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...] = ()

    @property
    def members(self) -> list[Member]:
        """All runs, group by group."""
        return [member for group in self.groups for member in group.members]

    @property
    def arms(self) -> list[str]:
        """All arms of all comparisons, the reference first."""
        found = dict.fromkeys(arm for comparison in self.comparisons for arm in comparison.arms)
        return sorted(found, key=lambda arm: arm != REFERENCE)


def gather(runs: Sequence[Run], *, suite: str | None = None, conditions: Sequence[str] | None = None) -> Material:
    """Sort runs into groups and read the newest evaluation of each.

    Args:
        runs: any runs; a folder that is given twice counts once.
        suite: evaluations of this suite only; None is the newest of each run, whatever its suite.
        conditions: labels that paired comparisons are restricted to.

    Raises:
        UsageError: a suite or a condition that no evaluation has, or scores that cannot be read.
    """
    members = _named(runs)
    sorted_out: dict[str, list[Member]] = {}
    for member in members:
        sorted_out.setdefault(_likeness(member.run), []).append(member)
    names = _names(list(sorted_out.values()))
    groups = [Group(name, tuple(group)) for name, group in zip(names, sorted_out.values(), strict=True)]
    notes: list[str] = []
    comparisons = [one for group in groups for one in _compared(group, suite, conditions, notes)]
    if suite is not None and not comparisons:
        raise UsageError(f"--suite: expected a finished evaluation of {suite!r} in one of the runs, found none")
    known = {row.label for one in comparisons for row in one.rows}
    for label in conditions or ():
        if label not in known:
            raise UsageError(f"--conditions: expected some of {', '.join(sorted(known))}, got {label!r}")
    return Material(tuple(groups), tuple(comparisons), tuple(notes))


def _named(runs: Sequence[Run]) -> list[Member]:
    found: list[Member] = []
    seen: dict[Path, None] = {}
    for run in runs:
        if run.path.resolve() in seen:
            continue
        seen[run.path.resolve()] = None
        taken = sum(member.run.name == run.name for member in found)
        found.append(Member(run, run.name if not taken else f"{run.name} ({taken + 1})"))
    return found


def _likeness(run: Run) -> str:
    """Return a text that is equal for runs that differ in their seed only."""
    spec = dump(run.spec)
    for name in ("seed", "digest", "command", "versions", "steps", "source"):
        spec.pop(name, None)
    return json.dumps(spec, sort_keys=True)


def _names(groups: Sequence[Sequence[Member]]) -> list[str]:
    """Return for each group the shortest name that tells it from all others."""
    told: list[list[str]] = []
    for members in groups:
        spec = members[0].run.spec
        agent = spec.agent or spec.origin
        algo = f"{agent} ({spec.algo or spec.origin})"
        more = f" and {len(members) - 1} more" if len(members) > 1 else ""
        told.append([agent, algo, f"{algo} on {spec.env}", f"{agent}: {members[0].name}{more}"])
    levels = list(zip(*told, strict=True))
    return [next((n for n, level in zip(mine, levels, strict=True) if level.count(n) == 1), mine[-1]) for mine in told]


def _compared(group: Group, suite: str | None, conditions: Sequence[str] | None, notes: list[str]) -> list[Comparison]:
    """Return the evaluations of a group, one comparison for each suite."""
    apart: dict[str, list[tuple[Member, Path, dict[str, Any], list[Row]]]] = {}
    for member in group.members:
        try:
            folder = latest_evaluation(member.run, suite)
        except UsageError:
            notes.append(f"{member.name} has no finished evaluation{f' of suite {suite}' if suite else ''}.")
            continue
        document = checkpoint.read_json(folder / "evaluation.json")
        rows = [replace(row, run=member.name) for row in read_scores(folder / "scores.csv")]
        key = json.dumps([document.get(name) for name in ("suite_hash", "env", "time_steps")])
        apart.setdefault(key, []).append((member, folder, document, rows))
    return [
        Comparison(
            group,
            tuple(member for member, *_ in found),
            tuple(folder for _, folder, *_ in found),
            tuple(document for _, _, document, _ in found),
            tuple(row for *_, rows in found for row in rows),
            None if conditions is None else tuple(conditions),
        )
        for found in apart.values()
    ]
