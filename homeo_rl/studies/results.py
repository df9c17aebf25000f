"""The episodes of a study as arrays, and what they say: means, differences, chances, harm, recovery.

Statistics after Agarwal et al. (NeurIPS 2021): every (host, condition) is a stratum, resampled with its number of
episodes; arms are paired by episode, whose seed and damage they share. Retention is a return divided by the mean clean
return of the same host's reference (the group's first arm), so harm done to the healthy policy counts. Shapes: E
episodes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import permutation_test

from homeo_rl.errors import StorageFault
from homeo_rl.evaluation.metrics import label_of, numbers
from homeo_rl.report.baselines import baseline_of, doubt
from homeo_rl.report.statistics import bootstrap, interval, iqm
from homeo_rl.seeding import generator
from homeo_rl.storage.files import printable
from homeo_rl.studies.study import Group
from homeo_rl.studies.tables import TABLE, read_tables, unreadable

_REMEDY = "run homeo-rl study again, with another --out"

FLIPS = 20_000
"""Sign flips of a permutation test: the least p-value is 1 / FLIPS."""

CLEAN, NETWORK, SURROUNDINGS = ("",), ("network",), ("surroundings",)
DAMAGED = (*NETWORK, *SURROUNDINGS)
EVERY = (*CLEAN, *DAMAGED)
"""Kinds of cells."""


@dataclass(frozen=True)
class Cell:
    """One arm of one host under one condition, episode by episode.

    Attributes:
        value: retention of each episode, or success [E].
        figures: other columns of the table by name, [E], NaN where they do not exist.
        kind: "" where nothing is damaged, else "network" or "surroundings".
    """

    group: str
    role: str
    host: str
    arm: str
    condition: str
    kind: str
    value: np.ndarray
    figures: dict[str, np.ndarray]


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Harm:
    """A cell that is worse than the reference's: mean paired difference, one-sided p-value, and Holm's correction."""

    cell: Cell
    difference: float
    p: float
    corrected: float


@dataclass(frozen=True)
class Recovery:
    """What became of a damage in mid-episode. Reward is that of all robots that started; those that fell earn nothing.

    Attributes:
        regained: reward over the last fifth of the episode, as a share of that of the reference's clean episodes.
        lost: share of the reference's clean reward that is missing from the damage to the end.
        decisions: until the reward is nine tenths of the reference's clean one for good; None: never.
        course: reward over time, one figure in ``every`` decisions, 1 is the mean of the reference's clean one.
        usual: that of the reference's clean episodes.
    """

    group: str
    arm: str
    condition: str
    onset: int
    every: int
    regained: float
    lost: float
    decisions: int | None
    course: np.ndarray
    usual: np.ndarray


@dataclass(frozen=True)
class Results:
    """Everything that a study left behind.

    Attributes:
        raw: cells of hosts without a clean return above 0: there is no retention, and their values are returns.
    """

    document: dict[str, Any]
    cells: tuple[Cell, ...]
    courses: tuple[dict[str, Any], ...]
    raw: tuple[Cell, ...] = ()

    @cached_property
    def _of_group(self) -> dict[str, list[Cell]]:
        found: dict[str, list[Cell]] = {}
        for cell in self.cells:
            found.setdefault(cell.group, []).append(cell)
        return found

    @cached_property
    def _at(self) -> dict[tuple[str, str, str, str], Cell]:
        return {(cell.group, cell.host, cell.condition, cell.arm): cell for cell in self.cells}

    @property
    def groups(self) -> list[str]:
        """Names of the groups, in the order of the file."""
        return list(self._of_group)

    def arms(self, group: str) -> list[str]:
        """Arms of a group, in the order of the file."""
        return list(dict.fromkeys(cell.arm for cell in self._of_group.get(group, ())))

    def reference(self, group: str) -> str:
        """Arm that the others of a group are compared with."""
        return self.arms(group)[0]

    def of(
        self,
        group: str | None = None,
        arm: str | None = None,
        *,
        host: str | None = None,
        condition: str | None = None,
        kinds: Sequence[str] = EVERY,
        among: Sequence[str] = (),
    ) -> list[Cell]:
        """Return the cells of a group, an arm, ..., of some kinds of damage, of some conditions; None or () is all."""
        wanted = (group, arm, host, condition)
        return [
            cell
            for cell in (self.cells if group is None else self._of_group.get(group, ()))
            if cell.kind in kinds
            and (not among or cell.condition in among)
            and all(
                want in (None, has)
                for want, has in zip(wanted, (cell.group, cell.arm, cell.host, cell.condition), strict=True)
            )
        ]

    def beside(self, cell: Cell, arm: str) -> Cell | None:
        """Return what another arm did on the same host, under the same condition."""
        return self._at.get((cell.group, cell.host, cell.condition, arm))

    def pairs(self, cells: Iterable[Cell], against: str = "") -> list[tuple[Cell, np.ndarray]]:
        """Return each cell that the other arm, by default the reference, is there for too, with the differences [E]."""
        beside = [(cell, self.beside(cell, against or self.reference(cell.group))) for cell in cells]
        return [(cell, cell.value - other.value) for cell, other in beside if other is not None]


def read_results(folder: Path) -> Results:
    """Read what `homeo_rl.studies.run_study` wrote.

    Raises:
        UsageError: it is missing, or something else.
        StorageFault: a return is not a finite number, or an episode is there twice; the message names the line.
    """
    document, (header, *rows), courses = read_tables(folder)
    raw: list[Cell] = []
    try:
        named = [dict(zip(header, row, strict=True)) for row in rows]
        _check(named, folder)
        cells = tuple(_cells(document, named, raw))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise unreadable(folder, error) from None
    return Results(document, cells, tuple(courses), tuple(raw))


def beside_retention(results: Results) -> Results:
    """Return what is known of the hosts that have no retention; the values of its cells are returns."""
    return Results(results.document, results.raw, ())


def untrained_hosts(results: Results) -> dict[str, str]:
    """Return the hosts whose clean policy does not count as trained, and why."""
    found = {}
    for cell in (*results.cells, *results.raw):
        first = results.document["study"]["groups"]
        reference = next(group["arms"][0] for group in first if group["name"] == cell.group)
        if cell.kind or cell.arm != reference or not np.isnan(cell.figures["success"]).any():
            continue
        totals = cell.figures["return"]
        ends = interval(iqm(bootstrap([totals], "study"), axis=1))
        reason = doubt(float(totals.mean()), *ends, baseline_of(results.document["envs"].get(cell.host, "")))
        if reason:
            found[cell.host] = reason
    return found


def mean_of(cells: Sequence[Cell], *, middle: bool = False) -> Estimate:
    """Return the mean over cells of their mean value, or the interquartile mean over all their episodes."""
    samples = bootstrap([cell.value for cell in cells], "study")
    values = np.concatenate([cell.value for cell in cells])
    if middle:
        return Estimate(float(iqm(values)), *interval(iqm(samples, axis=1)))
    weights = np.concatenate([np.full(len(cell.value), 1 / len(cell.value)) for cell in cells]) / len(cells)
    return Estimate(float(values @ weights), *interval(samples @ weights))


def difference_of(pairs: Sequence[tuple[Cell, np.ndarray]]) -> Estimate:
    """Return the mean over cells of their mean paired difference."""
    samples = np.mean([bootstrap([gap], f"{c.host} {c.condition}").mean(1) for c, gap in pairs], axis=0)
    return Estimate(float(np.mean([gap.mean() for _, gap in pairs])), *interval(samples))


def room_of(results: Results, group: str) -> float:
    """Return what the mean over a group's damaged cells would gain if no damage of a network cost anything.

    Not a limit: what is damaged and mended may do better than what is whole. NaN where no clean cells are.
    """
    reference = results.reference(group)
    damaged = results.of(group, reference, kinds=DAMAGED)
    clean = {cell.host: cell.value.mean() for cell in results.of(group, reference, kinds=CLEAN)}
    lost = [clean.get(cell.host, math.nan) - cell.value.mean() for cell in damaged if cell.kind in NETWORK]
    return float(sum(lost) / len(damaged)) if damaged else math.nan


def chance_of(pairs: Sequence[tuple[Cell, np.ndarray]]) -> float:
    """Return the share of paired episodes in which the arm did better; ties count half."""
    gaps = np.concatenate([gap for _, gap in pairs])
    return float((gaps > 0).mean() + 0.5 * (gaps == 0).mean())


def harms_of(pairs: Sequence[tuple[Cell, np.ndarray]]) -> list[Harm]:
    """Test every cell for harm (paired sign flips, one-sided) and correct by Holm for all cells together."""
    found = [(cell, float(gap.mean()), _p_of_harm(gap, cell)) for cell, gap in pairs]
    corrected = holm([p for _, _, p in found])
    return [Harm(cell, mean, p, c) for (cell, mean, p), c in zip(found, corrected, strict=True)]


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values after Holm's step-down correction (Scandinavian Journal of Statistics, 1979)."""
    order = sorted(range(len(p)), key=lambda place: p[place])
    corrected, so_far = [1.0] * len(p), 0.0
    for rank, place in enumerate(order):
        so_far = max(so_far, min(1.0, (len(p) - rank) * p[place]))
        corrected[place] = so_far
    return corrected


def profile_of(cells: Sequence[Cell], levels: np.ndarray) -> np.ndarray:
    """Return the share of episodes that reach each level, cells with equal weight."""
    return np.asarray(np.mean([(cell.value[:, None] >= levels).mean(0) for cell in cells], axis=0))


def recoveries_of(results: Results) -> list[Recovery]:
    """Return how every arm of every group did after each damage that began in mid-episode, averaged over hosts.

    Hosts whose clean episodes end before the damage begins, or earn nothing after it, tell nothing and are left out.
    """
    entries = [Group(**entry) for entry in results.document["study"]["groups"]]
    first = {entry.name: entry.arms[0] for entry in entries}
    found: dict[tuple[str, str, str], dict[str, dict[str, Any]]] = {}
    for course in results.courses:
        key = (entries[course["entry"]].name, course["arm"], course["condition"])
        found.setdefault(key, {})[course["host"]] = course
    clean = {
        key[0]: told
        for key, told in found.items()
        if key[1] == first[key[0]] and not next(iter(told.values()))["onset"]
    }
    recoveries = (
        _recovery(key, told, clean[key[0]])
        for key, told in found.items()
        if next(iter(told.values()))["onset"] and key[0] in clean
    )
    return [recovery for recovery in recoveries if recovery is not None]


def _recovery(
    key: tuple[str, str, str], told: dict[str, dict[str, Any]], clean: dict[str, dict[str, Any]]
) -> Recovery | None:
    group, arm, label = key
    first = next(iter(told.values()))
    onset, every = int(first["onset"]), int(first["every"])
    begin = -(-onset // every)
    hosts = [h for h in told if h in clean and _rewards(clean[h], len(clean[h]["trace"]))[begin:].sum() > 0]
    if not hosts:
        return None
    length = max(int(np.flatnonzero(_rewards(clean[host], len(clean[host]["trace"])))[-1]) + 1 for host in hosts)
    wanted = np.stack([_rewards(clean[host], length) for host in hosts])
    scale = wanted[:, begin:].mean(1, keepdims=True)
    usual, mean = (wanted / scale).mean(0), (np.stack([_rewards(told[h], length) for h in hosts]) / scale).mean(0)
    last = max(1, length // 5)
    back = mean[begin:] >= 0.9 * usual[begin:]
    steady = next((place for place in range(len(back)) if back[place:].all()), None)
    return Recovery(
        group, arm, label, onset, every, float(mean[-last:].mean() / usual[-last:].mean()),
        float(1.0 - mean[begin:].sum() / usual[begin:].sum()), None if steady is None else steady * every, mean, usual,
    )  # fmt: skip


def _rewards(course: dict[str, Any], length: int) -> np.ndarray:
    """Return the mean reward a decision of all robots that started [length]; a trace's is of those that still act."""
    rates = np.array([entry["reward"][0] * entry["episodes"][0] for entry in course["trace"]]) / course["episodes"]
    return np.pad(rates, (0, max(0, length - len(rates))))[:length]


def _p_of_harm(gap: np.ndarray, cell: Cell) -> float:
    if not gap.any():
        return 1.0
    rng = generator(0, "sign flips", cell.host, cell.arm, cell.condition)
    tested = permutation_test(
        (gap,), lambda x, axis: x.mean(axis), permutation_type="samples", alternative="less", n_resamples=FLIPS - 1,
        vectorized=True, rng=rng,
    )  # fmt: skip
    return float(tested.pvalue)


def _cells(document: dict[str, Any], rows: Sequence[dict[str, str]], raw: list[Cell]) -> Iterable[Cell]:
    groups = [Group(**entry) for entry in document["study"]["groups"]]
    sorted_rows: dict[tuple[int, str, str, str], list[dict[str, str]]] = {}
    for row in rows:
        label = label_of(row["condition"], float(row["severity"]))
        sorted_rows.setdefault((int(row["entry"]), row["host"], row["arm"], label), []).append(row)
    clean: dict[tuple[str, str], float] = {}
    seen: set[tuple[str, str, str, str]] = set()
    for (entry, host, arm, label), mine in sorted_rows.items():
        group = groups[entry]
        name = (group.name, host, arm, label)
        if name in seen:  # a host may be in a second entry with other arms; the reference is there twice
            continue
        seen.add(name)
        mine.sort(key=lambda row: int(row["episode"]))
        figures = {figure: np.array([_number(row.get(figure, "")) for row in mine]) for figure in numbers()}
        kinds = document["suites"][group.suite]["conditions"]
        if arm == group.arms[0] and label not in kinds:
            clean[group.name, host] = float(figures["return"].mean())
        success = not np.isnan(figures["success"]).any()
        place = (group.name, group.role, host, arm, label, kinds.get(label, ""))
        if not success and not clean.get((group.name, host), 0.0) > 0:
            raw.append(Cell(*place, figures["return"], figures))
            continue
        value = figures["success"] if success else figures["return"] / clean[group.name, host]
        yield Cell(*place, value, figures)


def _check(rows: Sequence[dict[str, str]], folder: Path) -> None:
    """Check that every episode is there once, with a return that can be averaged.

    Raises:
        StorageFault: naming the host and the line.
    """
    lines: dict[tuple[str, ...], int] = {}
    for line, row in enumerate(rows, start=2):
        where = f"{folder / TABLE}: line {line}, host {printable(row['host'])}"
        for figure in numbers():
            text = row.get(figure, "")
            if (text or figure == "return") and not _is_finite(text):
                raise StorageFault(f"{where}: {figure}: expected a finite number, got {printable(text)!r}; {_REMEDY}")
        episode = tuple(row[name] for name in ("entry", "host", "arm", "condition", "severity", "episode"))
        if lines.setdefault(episode, line) != line:
            raise StorageFault(
                f"{where}: expected each episode once, got that of line {lines[episode]} again; {_REMEDY}"
            )


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _number(text: str) -> float:
    return float(text) if text else math.nan
