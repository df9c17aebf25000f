"""Statistics of robustness tables: interquartile means, stratified bootstrap intervals, paired differences.

After Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (NeurIPS 2021). Strata are
(run, condition): resampling keeps the number of episodes of each. Episodes of two arms with the same run,
condition, severity and index share their seed and their damage, so differences are taken episode by episode.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import binomtest, trim_mean

from homeo_rl.errors import UsageError
from homeo_rl.seeding import generator

RESAMPLES = 2000

_OLDER = (23, 22, 20, 18, 16)
"""Numbers of columns of tables from before there were these figures: rate_spread, sleeps, spikes and energy,
unstable and rolled_back, reflexes."""

COLUMNS = (
    "run", "arm", "condition", "severity", "episode", "seed", "return", "length", "success",
    "firing_rate", "rate_deviation", "weight_drift", "synops", "outcome", "path_length", "time", "reflex", "violations",
    "unstable", "rolled_back", "spikes", "energy", "sleeps",
    "rate_spread",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One episode, as scores.csv has it; figures that do not exist are NaN."""

    run: str
    arm: str
    condition: str
    severity: float
    episode: int
    total: float
    length: int
    success: float
    firing_rate: float
    rate_deviation: float
    weight_drift: float
    synops: float
    outcome: str
    path_length: float
    time: float
    reflex: float
    violations: float
    unstable: float
    rolled_back: float
    spikes: float
    energy: float
    sleeps: float
    rate_spread: float

    @property
    def label(self) -> str:
        """Name of the condition with its severity, where that is neither 0 nor 1."""
        return self.condition if self.severity in (0.0, 1.0) else f"{self.condition}@{self.severity:g}"


@dataclass(frozen=True)
class Cell:
    """One arm under one condition, condensed. Retention is None where the clean return is not positive.

    ``success``, ``collision`` and ``overtime`` are shares of the episodes; ``path_length`` (m) and ``time`` (s) are
    means over the successful ones; ``collision_interval`` is the Wilson score interval (95 %). ``reflex`` is the share
    of the decisions that a reflex acted on, ``violations`` those against its specification, of ``decisions`` in all.
    ``unstable`` counts episodes that ended with the simulation, ``rolled_back`` adaptations that were started again.
    """

    arm: str
    condition: str
    severity: float
    label: str
    episodes: int
    mean: float
    iqm: float
    ci_low: float
    ci_high: float
    retention: float | None
    success: float | None
    firing_rate: float | None
    rate_deviation: float | None
    weight_drift: float | None
    collision: float | None
    overtime: float | None
    path_length: float | None
    time: float | None
    reflex: float | None
    violations: int | None
    unstable: int | None
    rolled_back: int | None
    decisions: int
    collision_interval: tuple[float, float] | None


@dataclass(frozen=True)
class Difference:
    """An arm minus the reference arm, paired by episode, with a 95 % interval.

    ``what`` is "retention" (both returns are divided by the reference arm's own clean mean return, so harm done to the
    healthy policy counts), "success" or "collision" (share of episodes), or "return" as it is.
    """

    what: str
    arm: str
    conditions: tuple[str, ...]
    mean: float
    ci_low: float
    ci_high: float


def read_scores(path: Path) -> list[Row]:
    """Read a scores.csv.

    Raises:
        UsageError: the file is missing, or not such a table; the message names the line.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) not in (COLUMNS, *(COLUMNS[:count] for count in _OLDER)):
                raise UsageError(
                    f"{path}: expected the columns {', '.join(COLUMNS)}; was it written by homeo-rl evaluate?"
                )
            rows = []
            for number, entry in enumerate(reader, start=2):
                try:
                    rows.append(_row(entry))
                except (TypeError, ValueError) as error:
                    raise UsageError(f"{path}: line {number}: {error}; run homeo-rl evaluate again") from None
            if not rows:
                raise UsageError(f"{path}: expected episodes, found none; run homeo-rl evaluate again")
            return rows
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: cannot be read ({error}); give a scores.csv of homeo-rl evaluate") from None


def iqm(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return the interquartile mean: the mean of the middle half."""
    return np.asarray(trim_mean(values, 0.25, axis=axis))


def bootstrap(strata: Sequence[np.ndarray], name: str) -> np.ndarray:
    """Return resampled strata, joined, [RESAMPLES, total]; the draws depend on ``name`` only."""
    rng = generator(0, "bootstrap", name)
    drawn = [stratum[rng.integers(len(stratum), size=(RESAMPLES, len(stratum)))] for stratum in strata]
    return np.concatenate(drawn, axis=1)


def interval(samples: np.ndarray) -> tuple[float, float]:
    """Return the 2.5 and 97.5 percentiles of bootstrap samples."""
    low, high = np.percentile(samples, [2.5, 97.5])
    return float(low), float(high)


def cells(rows: Sequence[Row]) -> list[Cell]:
    """Condense episodes to one cell an arm and condition, in the order of their first appearance."""
    result = []
    arms, labels = _ordered(row.arm for row in rows), _ordered(row.label for row in rows)
    for arm in arms:
        clean = _mean([row.total for row in rows if row.arm == arm and row.severity == 0.0])
        for label in labels:
            mine = [row for row in rows if row.arm == arm and row.label == label]
            if not mine:
                continue
            strata = [np.array([r.total for r in mine if r.run == run]) for run in _ordered(r.run for r in mine)]
            low, high = interval(iqm(bootstrap(strata, f"{label}"), axis=1))
            mean = float(np.mean(np.concatenate(strata)))
            result.append(
                Cell(
                    arm=arm,
                    condition=mine[0].condition,
                    severity=mine[0].severity,
                    label=label,
                    episodes=len(mine),
                    mean=mean,
                    iqm=float(iqm(np.concatenate(strata))),
                    ci_low=low,
                    ci_high=high,
                    retention=mean / clean if clean is not None and clean > 0 else None,
                    success=_mean([row.success for row in mine]),
                    firing_rate=_mean([row.firing_rate for row in mine]),
                    rate_deviation=_mean([row.rate_deviation for row in mine]),
                    weight_drift=_mean([row.weight_drift for row in mine]),
                    collision=_share(mine, "collision"),
                    overtime=_share(mine, "overtime"),
                    path_length=_mean([row.path_length for row in mine if row.success == 1.0]),
                    time=_mean([row.time for row in mine if row.success == 1.0]),
                    reflex=_mean([row.reflex for row in mine]),
                    violations=_total([row.violations for row in mine]),
                    unstable=_total([row.unstable for row in mine]),
                    rolled_back=_total([row.rolled_back for row in mine]),
                    decisions=sum(row.length for row in mine),
                    collision_interval=_share_interval(mine, "collision"),
                )
            )
    return result


def differences(
    rows: Sequence[Row],
    *,
    reference: str = "none",
    conditions: Sequence[str] | None = None,
    measures: Sequence[str] = ("retention", "success", "collision"),
) -> list[Difference]:
    """Compare every arm with ``reference`` over damaged conditions, episode by episode.

    Args:
        rows: episodes of the arms.
        reference: the arm that the others are compared with; without it there is nothing to compare.
        conditions: labels to average over, each with the same weight; None is all but the clean one.
        measures: what is compared (`Difference.what`).

    Returns:
        one difference of retention an arm (none where the reference's clean return is not positive), and one of
        success and one of collisions where the environment tells of them.
    """
    found = _ordered(row.label for row in rows if row.severity > 0)
    chosen = found if conditions is None else [label for label in found if label in conditions]
    clean = _mean([row.total for row in rows if row.arm == reference and row.severity == 0.0])
    result = []
    for what in measures:
        if what == "retention" and (clean is None or clean <= 0):
            continue
        scale = clean if what == "retention" and clean is not None else 1.0
        value = {(r.run, r.arm, r.label, r.episode): _value(r, what) / scale for r in rows}
        for arm in _ordered(row.arm for row in rows if row.arm != reference):
            difference = _paired(what, rows, value, arm, reference, chosen)
            if difference is not None:
                result.append(difference)
    return result


def _value(row: Row, what: str) -> float:
    if what == "collision":
        return float(row.outcome == "collision") if row.outcome else math.nan
    return row.success if what == "success" else row.total


def _paired(
    what: str,
    rows: Sequence[Row],
    value: dict[tuple[str, str, str, int], float],
    arm: str,
    reference: str,
    chosen: Sequence[str],
) -> Difference | None:
    samples, means = np.zeros(RESAMPLES), []
    for label in chosen:
        mine = [r for r in rows if r.arm == arm and r.label == label and (r.run, reference, label, r.episode) in value]
        pairs = [value[r.run, arm, label, r.episode] - value[r.run, reference, label, r.episode] for r in mine]
        strata = [
            np.array([pair for pair, r in zip(pairs, mine, strict=True) if r.run == run])
            for run in _ordered(r.run for r in mine)
        ]
        if not mine or any(np.isnan(stratum).any() for stratum in strata):
            return None
        samples += bootstrap(strata, f"paired {label}").mean(axis=1) / len(chosen)
        means.append(float(np.concatenate(strata).mean()))
    if not chosen:
        return None
    low, high = interval(samples)
    return Difference(what, arm, tuple(chosen), float(np.mean(means)), low, high)


def _row(entry: dict[str, str]) -> Row:
    def number(name: str) -> float:
        return float(entry[name]) if entry.get(name, "") != "" else math.nan

    return Row(
        run=entry["run"],
        arm=entry["arm"],
        condition=entry["condition"],
        severity=float(entry["severity"]),
        episode=int(entry["episode"]),
        total=float(entry["return"]),
        length=int(entry["length"]),
        success=number("success"),
        firing_rate=number("firing_rate"),
        rate_deviation=number("rate_deviation"),
        weight_drift=number("weight_drift"),
        synops=number("synops"),
        outcome=entry["outcome"],
        path_length=number("path_length"),
        time=number("time"),
        reflex=number("reflex"),
        violations=number("violations"),
        unstable=number("unstable"),
        rolled_back=number("rolled_back"),
        spikes=number("spikes"),
        energy=number("energy"),
        sleeps=number("sleeps"),
        rate_spread=number("rate_spread"),
    )


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else None


def _share(rows: Sequence[Row], outcome: str) -> float | None:
    """Return the share of episodes that ended so; None where the environment tells of no outcomes."""
    known = [row.outcome for row in rows if row.outcome]
    return known.count(outcome) / len(known) if known else None


def _total(values: Sequence[float]) -> int | None:
    known = [value for value in values if not math.isnan(value)]
    return int(sum(known)) if known else None


def _share_interval(rows: Sequence[Row], outcome: str) -> tuple[float, float] | None:
    """Return Wilson's interval (95 %) of the share of episodes that ended so; None where nothing tells of outcomes."""
    known = [row.outcome for row in rows if row.outcome]
    if not known:
        return None
    found = binomtest(known.count(outcome), len(known)).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def _ordered(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
