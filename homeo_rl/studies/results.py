"""The episodes of a study as arrays, and their statistics: means, differences, chances, harm, recovery.

Statistics after Agarwal et al. (NeurIPS 2021): every (host, condition) is a stratum, resampled with its number of
episodes; arms are paired by episode, whose seed and damage they share. Retention is a return divided by the mean clean
return of the same host's reference (the group's first arm), so harm to the undamaged policy counts. E episodes.
"""

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
from homeo_rl.report.contrasts import Contrast, Estimate, contrast_policies
from homeo_rl.report.statistics import HARM, bootstrap, interval, iqm
from homeo_rl.seeding import generator
from homeo_rl.storage.files import printable
from homeo_rl.studies.study import Group
from homeo_rl.studies.tables import TABLE, read_tables, unreadable

_REMEDY = "run homeo-rl study again, with another --out"

FLIPS = 20_000  # sign flips of a permutation test: the least p-value is 1 / FLIPS

CLEAN, NETWORK, ENVIRONMENT = ("",), ("network",), ("surroundings",)
DAMAGED = (*NETWORK, *ENVIRONMENT)
EVERY = (*CLEAN, *DAMAGED)  # kinds of cells, as study.json has them


@dataclass(frozen=True)
class Cell:
    """One arm of one host under one condition, episode by episode."""

    group: str
    role: str
    host: str
    arm: str
    condition: str
    kind: str  # one of `EVERY`
    value: np.ndarray  # retention of each episode, or success [E]
    figures: dict[str, np.ndarray]  # other columns of the table by name, [E], NaN where they are empty


@dataclass(frozen=True)
class Harm:
    """A cell that is worse than the reference's: mean paired difference, one-sided p-value, and Holm's correction."""

    cell: Cell
    difference: float
    p: float
    corrected: float


@dataclass(frozen=True)
class Recovery:
    """The course of the reward after damage in mid-episode. Episodes that have ended count as 0."""

    group: str
    arm: str
    condition: str
    onset: int
    every: int
    regained: float  # reward over the last fifth of the episode, as a share of that of the reference's clean episodes
    lost: float  # share of the reference's clean reward that is missing from the damage to the end
    decisions: int | None  # until the reward stays above nine tenths of the reference's clean one; None: never
    # reward over time, one value per ``every`` decisions, relative to the mean of the reference's clean one
    course: np.ndarray
    usual: np.ndarray  # that of the reference's clean episodes


@dataclass(frozen=True)
class Results:
    """The results of a study."""

    document: dict[str, Any]
    cells: tuple[Cell, ...]
    courses: tuple[dict[str, Any], ...]
    # cells of hosts without a clean return above 0, whose values are returns, as retention is not defined
    raw: tuple[Cell, ...] = ()

    @cached_property
    def _of_group(self) -> dict[str, list[Cell]]:
        groups: dict[str, list[Cell]] = {}
        for cell in self.cells:
            groups.setdefault(cell.group, []).append(cell)
        return groups

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
        group: str,
        arm: str | None = None,
        *,
        host: str | None = None,
        condition: str | None = None,
        kinds: Sequence[str] = EVERY,
        among: Sequence[str] = (),
    ) -> list[Cell]:
        """Return the cells of a group, an arm, a host, some kinds of damage, some conditions; None or () is all."""
        return [
            cell
            for cell in self._of_group.get(group, ())
            if cell.kind in kinds and (not among or cell.condition in among)
            and arm in (None, cell.arm) and host in (None, cell.host) and condition in (None, cell.condition)
        ]  # fmt: skip

    def pairs(self, cells: Iterable[Cell], against: str = "") -> list[tuple[Cell, np.ndarray]]:
        """Return the cells that the other arm, by default the reference, has too, each with the differences [E]."""
        others = (
            (cell, self._at.get((cell.group, cell.host, cell.condition, against or self.reference(cell.group))))
            for cell in cells
        )
        return [(cell, cell.value - other.value) for cell, other in others if other is not None]


def read_results(folder: Path) -> Results:
    """Read what `homeo_rl.studies.run_study` wrote.

    Raises:
        UsageError: the files are missing, or are of another kind.
        StorageFault: a number is not finite, or an episode is repeated; the message names the line.
    """
    document, (header, *rows), courses = read_tables(folder)
    try:
        episodes = [dict(zip(header, row, strict=True)) for row in rows]
        _check(episodes, folder)
        cells, raw = _cells(document, episodes)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise unreadable(folder, error) from None
    return Results(document, tuple(cells), tuple(courses), tuple(raw))


def beside_retention(results: Results) -> Results:
    """Return the results of the hosts without retention; the values of their cells are returns."""
    return Results(results.document, results.raw, ())


def find_untrained(results: Results) -> dict[str, str]:
    """Return the hosts whose clean policy does not count as trained, and why."""
    groups = results.document["study"]["groups"]
    reasons = {}
    for cell in (*results.cells, *results.raw):
        reference = next(group["arms"][0] for group in groups if group["name"] == cell.group)
        if cell.kind or cell.arm != reference or not np.isnan(cell.figures["success"]).any():
            continue
        totals = cell.figures["return"]
        ends = interval(iqm(bootstrap([totals], "study"), axis=1))
        reason = doubt(float(totals.mean()), *ends, baseline_of(results.document["envs"].get(cell.host, "")))
        if reason:
            reasons[cell.host] = reason
    return reasons


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


def contrast_hosts(results: Results, pair: tuple[str, str]) -> list[tuple[str, list[Contrast]]]:
    """Compare two hosts in every group that has both, for every arm that both have; see `Contrast`.

    Returns the name of each group with the contrasts of its conditions, and of all together.
    """
    cells = (*results.cells, *results.raw)
    contrasts = []
    for group in dict.fromkeys(cell.group for cell in cells):
        of_hosts = [[cell for cell in cells if cell.group == group and cell.host == host] for host in pair]
        arms = [arm for arm in dict.fromkeys(c.arm for c in of_hosts[0]) if arm in {c.arm for c in of_hosts[1]}]
        for arm in arms:
            both = [[cell for cell in of_host if cell.arm == arm] for of_host in of_hosts]
            clean = next((cell.condition for cell in both[0] if cell.kind in CLEAN), "")
            drives = all(not np.isnan(cell.figures["success"]).any() for of_host in both for cell in of_host)
            what = "success" if drives else "return"
            first, second = ({cell.condition: cell.figures[what] for cell in of_host} for of_host in both)
            if each := contrast_policies(pair, arm, what, (first, second), clean):
                contrasts.append((group, each))
    return contrasts


def mean_of_figure(cells: Sequence[Cell], figure: str) -> Estimate:
    """Return the mean of a column over all episodes of the cells that have a value."""
    values = [(cell, cell.figures[figure][np.isfinite(cell.figures[figure])]) for cell in cells]
    samples = bootstrap([value for _, value in values if len(value)], f"study {figure}").mean(1)
    return Estimate(float(np.concatenate([value for _, value in values]).mean()), *interval(samples))


def share_of_gain(pairs: Sequence[tuple[Cell, np.ndarray]], results: Results, other: str) -> Estimate | None:
    """Return the gain of an arm over the reference as a share of another arm's, over all cells that both have.

    ``pairs`` has the arm's paired differences to the reference. Both arms are resampled together. None where the other
    arm has no gain.
    """
    others = results.pairs(results.of(pairs[0][0].group, other)) if pairs else []
    gaps = {(cell.host, cell.condition): gap for cell, gap in others}
    both = [(cell, gap, gaps[cell.host, cell.condition]) for cell, gap in pairs if (cell.host, cell.condition) in gaps]
    whole = float(sum(gap.mean() for *_, gap in both))
    if whole <= 0:
        return None
    parts, wholes = [], []
    for cell, gap, other_gap in both:
        rows = bootstrap([np.arange(len(gap))], f"{cell.host} {cell.condition}")
        parts.append(gap[rows].mean(1))
        wholes.append(other_gap[rows].mean(1))
    samples = np.sum(parts, axis=0) / np.sum(wholes, axis=0)
    return Estimate(float(sum(gap.mean() for _, gap, _ in both)) / whole, *interval(samples))


def possible_gain(results: Results, group: str) -> float:
    """Return the gain of the mean over a group's damaged cells if no damage of a network cost anything.

    This is no upper bound: a repaired network may exceed the undamaged one. NaN without clean cells.
    """
    reference = results.reference(group)
    damaged = results.of(group, reference, kinds=DAMAGED)
    clean = {cell.host: cell.value.mean() for cell in results.of(group, reference, kinds=CLEAN)}
    lost = [clean.get(cell.host, math.nan) - cell.value.mean() for cell in damaged if cell.kind in NETWORK]
    return float(sum(lost) / len(damaged)) if damaged else math.nan


def find_harmed(pairs: Sequence[tuple[Cell, np.ndarray]]) -> tuple[float, float]:
    """Return the share of paired episodes that are worse by `HARM` or more, and the difference of the worst."""
    gaps = np.concatenate([gap for _, gap in pairs])
    return float((gaps <= -HARM).mean()), float(gaps.min())


def chance_of(pairs: Sequence[tuple[Cell, np.ndarray]]) -> float:
    """Return the share of paired episodes in which the arm did better; ties count half."""
    gaps = np.concatenate([gap for _, gap in pairs])
    return float((gaps > 0).mean() + 0.5 * (gaps == 0).mean())


def harms_of(pairs: Sequence[tuple[Cell, np.ndarray]]) -> list[Harm]:
    """Test every cell for harm (paired sign flips, one-sided) and correct by Holm for all cells together."""
    p = [_p_of_harm(gap, cell) for cell, gap in pairs]
    return [
        Harm(cell, float(gap.mean()), p, corrected) for (cell, gap), p, corrected in zip(pairs, p, holm(p), strict=True)
    ]


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values after Holm's step-down correction (Scandinavian Journal of Statistics, 1979)."""
    corrected, largest = [1.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=lambda index: p[index])):
        corrected[index] = largest = max(largest, min(1.0, (len(p) - rank) * p[index]))
    return corrected


def profile_of(cells: Sequence[Cell], levels: np.ndarray) -> np.ndarray:
    """Return the share of episodes that reach each level, cells with equal weight."""
    return np.asarray(np.mean([(cell.value[:, None] >= levels).mean(0) for cell in cells], axis=0))


Courses = dict[str, dict[str, Any]]  # courses of one arm under one condition, by host


def recoveries_of(results: Results) -> list[Recovery]:
    """Return the recovery of every arm of every group from each damage in mid-episode, averaged over hosts.

    Hosts whose clean episodes end before the damage begins, or earn nothing after it, are left out.
    """
    entries = [Group(**entry) for entry in results.document["study"]["groups"]]
    references = {entry.name: entry.arms[0] for entry in entries}
    courses: dict[tuple[str, str, str], Courses] = {}
    for course in results.courses:
        key = (entries[course["entry"]].name, course["arm"], course["condition"])
        courses.setdefault(key, {})[course["host"]] = course
    onsets = {key: next(iter(of_hosts.values()))["onset"] for key, of_hosts in courses.items()}
    clean = {
        group: of_hosts
        for (group, arm, label), of_hosts in courses.items()
        if arm == references[group] and not onsets[group, arm, label]
    }
    recoveries = (
        _recovery(key, of_hosts, clean[key[0]]) for key, of_hosts in courses.items() if onsets[key] and key[0] in clean
    )
    return [recovery for recovery in recoveries if recovery is not None]


def _recovery(key: tuple[str, str, str], damaged: Courses, clean: Courses) -> Recovery | None:
    group, arm, label = key
    first = next(iter(damaged.values()))
    onset, every = int(first["onset"]), int(first["every"])
    begin = -(-onset // every)
    usual_of = {host: _rewards(clean[host], len(clean[host]["trace"])) for host in damaged if host in clean}
    hosts = [host for host, rewards in usual_of.items() if rewards[begin:].sum() > 0]
    if not hosts:
        return None
    length = max(int(np.flatnonzero(usual_of[host])[-1]) + 1 for host in hosts)
    usual = np.stack([_rewards(clean[host], length) for host in hosts])
    scale = usual[:, begin:].mean(1, keepdims=True)
    usual, mean = (usual / scale).mean(0), (np.stack([_rewards(damaged[h], length) for h in hosts]) / scale).mean(0)
    last = max(1, length // 5)
    back = mean[begin:] >= 0.9 * usual[begin:]
    steady = next((index for index in range(len(back)) if back[index:].all()), None)
    return Recovery(
        group, arm, label, onset, every, float(mean[-last:].mean() / usual[-last:].mean()),
        float(1.0 - mean[begin:].sum() / usual[begin:].sum()), None if steady is None else steady * every, mean, usual,
    )  # fmt: skip


def _rewards(course: dict[str, Any], length: int) -> np.ndarray:
    """Return the mean reward per decision over all episodes [length]; a trace averages over those still running."""
    rates = np.array([entry["reward"][0] * entry["episodes"][0] for entry in course["trace"]]) / course["episodes"]
    return np.pad(rates, (0, max(0, length - len(rates))))[:length]


def _p_of_harm(gap: np.ndarray, cell: Cell) -> float:
    if not gap.any():
        return 1.0
    return p_of_sign_flips(gap, generator(0, "sign flips", cell.host, cell.arm, cell.condition))


def p_of_sign_flips(gap: np.ndarray, rng: np.random.Generator) -> float:
    """Return the one-sided p-value of a mean below 0 under random signs.

    The draws and the result are those of `scipy.stats.permutation_test`, in a sixth of its time; a test compares them.

    Args:
        gap: paired differences [episodes].
        rng: randomness of the signs; not used for few episodes, of which all signs are tried.
    """
    if 2 ** len(gap) <= FLIPS - 1:
        tested = permutation_test(
            (gap,), lambda x, axis: x.mean(axis), permutation_type="samples", alternative="less",
            n_resamples=FLIPS - 1, vectorized=True, rng=rng,
        )  # fmt: skip
        return float(tested.pvalue)
    kept = rng.integers(0, 2**32, (FLIPS - 1, len(gap)), dtype=np.uint32) & 1
    means = np.where(kept, gap, -gap).mean(1)
    observed = gap.mean()
    tolerance = abs(100 * np.finfo(gap.dtype).eps * observed)  # scipy's: sums of other orders are equal
    return (int(np.count_nonzero(means <= observed + tolerance)) + 1) / FLIPS


def _cells(document: dict[str, Any], episodes: Sequence[dict[str, str]]) -> tuple[list[Cell], list[Cell]]:
    groups = [Group(**entry) for entry in document["study"]["groups"]]
    by_cell: dict[tuple[int, str, str, str], list[dict[str, str]]] = {}
    for episode in episodes:
        label = label_of(episode["condition"], float(episode["severity"]))
        by_cell.setdefault((int(episode["entry"]), episode["host"], episode["arm"], label), []).append(episode)
    clean: dict[tuple[str, str], float] = {}
    cells: dict[tuple[str, str, str, str], Cell] = {}
    raw: dict[tuple[str, str, str, str], Cell] = {}
    for (entry, host, arm, label), rows in by_cell.items():
        group = groups[entry]
        key = (group.name, host, arm, label)
        if key in cells or key in raw:  # a host may be in a second entry with other arms and the same reference
            continue
        rows.sort(key=lambda row: int(row["episode"]))
        figures = {figure: np.array([float(row.get(figure) or "nan") for row in rows]) for figure in numbers()}
        kinds = document["suites"][group.suite]["conditions"]
        if arm == group.arms[0] and label not in kinds:
            clean[group.name, host] = float(figures["return"].mean())
        scale = clean.get((group.name, host), 0.0)
        has_success = not np.isnan(figures["success"]).any()
        table = cells if has_success or scale > 0 else raw
        value = figures["success"] if has_success else figures["return"] / (scale if scale > 0 else 1.0)
        table[key] = Cell(group.name, group.role, host, arm, label, kinds.get(label, ""), value, figures)
    return list(cells.values()), list(raw.values())


def _check(episodes: Sequence[dict[str, str]], folder: Path) -> None:
    """Check that every episode occurs once, with finite numbers. Raises StorageFault: naming the host and the line."""
    lines: dict[tuple[str, ...], int] = {}
    for line, row in enumerate(episodes, start=2):
        where = f"{folder / TABLE}: line {line}, host {printable(row['host'])}"
        for figure in numbers():
            text = row.get(figure, "")
            if (text or figure == "return") and not _is_finite(text):
                raise StorageFault(f"{where}: {figure}: expected a finite number, got {printable(text)!r}; {_REMEDY}")
        episode = tuple(row[name] for name in ("entry", "host", "arm", "condition", "severity", "episode"))
        if (first := lines.setdefault(episode, line)) != line:
            raise StorageFault(f"{where}: expected each episode once, got that of line {first} again; {_REMEDY}")


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
