"""Statistics of robustness tables: interquartile means, stratified bootstrap intervals, paired differences.

After Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (NeurIPS 2021). Strata are
(run, condition): resampling keeps the number of episodes of each. Episodes of two arms with the same run,
condition, severity and index share their seed and their damage, so differences are taken episode by episode.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from scipy.stats import binomtest, trim_mean

from homeo_rl.evaluation.metrics import METRICS, existing, mean
from homeo_rl.report.baselines import Baseline, doubt
from homeo_rl.report.episodes import Row as Row
from homeo_rl.report.episodes import read_scores as read_scores
from homeo_rl.seeding import generator

RESAMPLES = 2000

REFERENCE = "none"  # the arm that the others are compared with


@dataclass(frozen=True)
class Cell:
    """One arm under one condition, condensed.

    ``retention`` is the mean return divided by the same arm's own clean mean return, None where that is not positive;
    where the clean policy is ``untrained``, for the ``reason`` that stands beside it, it says little. ``normalised`` is
    0 for acting at random and 1 for the best known return, None where the two are not known.
    ``figures`` are those of `homeo_rl.evaluation.metrics`, attributes of the cell too: ``success``, ``collision`` and
    ``overtime`` are shares of the episodes; ``path_length`` (m) and ``time`` (s) are means over the successful ones;
    ``reflex`` is the share of the decisions that a reflex acted on, ``violations`` those against its specification, of
    ``decisions`` in all; ``unstable`` counts episodes that ended with the simulation, ``rolled_back`` adaptations that
    were started again. ``collision_interval`` is the Wilson score interval (95 %).
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
    figures: dict[str, float | int | None]
    decisions: int
    collision_interval: tuple[float, float] | None
    normalised: float | None = None
    untrained: bool = False
    reason: str = ""

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["figures"][name]
        except KeyError:
            raise AttributeError(f"{name}: expected a figure of a cell") from None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data, the figures among the rest."""
        result: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            result |= value if field.name == "figures" else {field.name: value}
        return result


@dataclass(frozen=True)
class Difference:
    """An arm minus the reference arm, paired by episode, with a 95 % interval.

    ``what`` is "retention" (both returns are divided by the reference arm's own clean mean return, so harm done to the
    healthy policy counts), "success" or "collision" (share of episodes), "return" as it is, or "normalised" (return
    divided by what lies between acting at random and the best known return).

    ``harmed`` is the share of episodes that are worse than the reference's by `HARM` or more (of its clean return, for
    returns), ``worst`` the difference of the worst one.
    """

    what: str
    arm: str
    conditions: tuple[str, ...]
    mean: float
    ci_low: float
    ci_high: float
    harmed: float = 0.0
    worst: float = 0.0


HARM = 0.1
"""Difference from which on an episode counts as harmed: a tenth of the clean return, or any lost success."""


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


def cells(rows: Sequence[Row], baseline: Baseline | None = None) -> list[Cell]:
    """Condense episodes to one cell an arm and condition, in the order of their first appearance.

    ``baseline``: acting at random and the best known return in their environment, where they are known.
    """
    result = []
    arms, labels = unique(row.arm for row in rows), unique(row.label for row in rows)
    for arm in arms:
        clean = mean([row for row in rows if row.arm == arm and row.severity == 0.0], "total")
        for label in labels:
            episodes = [row for row in rows if row.arm == arm and row.label == label]
            if not episodes:
                continue
            strata = [np.array([r.total for r in episodes if r.run == run]) for run in unique(r.run for r in episodes)]
            low, high = interval(iqm(bootstrap(strata, f"{label}"), axis=1))
            average = float(np.mean(np.concatenate(strata)))
            result.append(
                Cell(
                    arm=arm,
                    condition=episodes[0].condition,
                    severity=episodes[0].severity,
                    label=label,
                    episodes=len(episodes),
                    mean=average,
                    iqm=float(iqm(np.concatenate(strata))),
                    ci_low=low,
                    ci_high=high,
                    retention=average / clean if clean is not None and clean > 0 else None,
                    figures={
                        figure.name: figure.aggregate(episodes, metric.key)
                        for metric in METRICS.values()
                        for figure in metric.figures
                    },
                    decisions=sum(row.length for row in episodes),
                    collision_interval=_share_interval(episodes, "collision"),
                    normalised=None if baseline is None else baseline.normalise(average),
                )
            )
    reason = doubt_of(result, baseline)
    return [replace(cell, untrained=True, reason=reason) for cell in result] if reason else result


def doubt_of(cells: Sequence[Cell], baseline: Baseline | None) -> str:
    """Return why the clean policy does not count as trained; "" where it does, or nothing is known against it.

    The policy is judged without homeostasis where there is such an arm: what a mechanism does to it is no matter of its
    training.
    """
    clean = [cell for cell in cells if cell.severity == 0.0]
    policy = next((cell for cell in clean if cell.arm == REFERENCE), clean[0] if clean else None)
    if policy is None or policy.success is not None:  # a share of successes needs nothing to be divided by
        return ""
    return doubt(policy.mean, policy.ci_low, policy.ci_high, baseline)


def measures_of(cells: Sequence[Cell], baseline: Baseline | None) -> tuple[str, ...]:
    """Return what arms are compared by: shares of the clean return where there is one to divide by.

    Where there is none (it is not positive, or the policy is untrained), returns as they are and, where the ends of the
    scale are known, normalised ones beside them.
    """
    clean = next((cell for cell in cells if cell.arm == REFERENCE and cell.severity == 0.0), None)
    if clean is not None and clean.mean > 0.0 and not clean.untrained:
        return ("retention", "success", "collision")
    return ("return", *(("normalised",) if baseline is not None else ()), "success", "collision")


def differences(
    rows: Sequence[Row],
    *,
    conditions: Sequence[str] | None = None,
    measures: Sequence[str] = ("retention", "success", "collision"),
    baseline: Baseline | None = None,
) -> list[Difference]:
    """Compare every arm with the reference over damaged conditions, episode by episode.

    Args:
        conditions: labels to average over, each with the same weight; None is all but the clean one.
        measures: what is compared (`Difference.what`).
        baseline: ends of the scale of normalised returns.

    Returns one difference of retention an arm (none where the reference's clean return is not positive), and one of
    success and one of collisions where the environment reports them.
    """
    labels = unique(row.label for row in rows if row.severity > 0)
    chosen = labels if conditions is None else [label for label in labels if label in conditions]
    clean = mean([row for row in rows if row.arm == REFERENCE and row.severity == 0.0], "total")
    result = []
    for what in measures:
        scale = 1.0
        if what == "retention":
            if clean is None or clean <= 0:
                continue
            scale = clean
        elif what == "normalised":
            if baseline is None:
                continue
            scale = baseline.best - baseline.random
        value = {(r.run, r.arm, r.label, r.episode): _value(r, what) / scale for r in rows}
        for arm in unique(row.arm for row in rows if row.arm != REFERENCE):
            limit = HARM * abs(clean or 0.0) if what == "return" else HARM
            difference = _difference(what, rows, value, arm, chosen, limit)
            if difference is not None:
                result.append(difference)
    return result


def _value(row: Row, what: str) -> float:
    if what == "collision":
        return float(row.outcome == "collision") if row.outcome else math.nan
    return float(row.success if what == "success" else row.total)


def _difference(
    what: str,
    rows: Sequence[Row],
    value: dict[tuple[str, str, str, int], float],
    arm: str,
    chosen: Sequence[str],
    limit: float,
) -> Difference | None:
    samples, means, gaps = np.zeros(RESAMPLES), [], []
    for label in chosen:
        episodes = [
            r for r in rows if r.arm == arm and r.label == label and (r.run, REFERENCE, label, r.episode) in value
        ]
        pairs = [value[r.run, arm, label, r.episode] - value[r.run, REFERENCE, label, r.episode] for r in episodes]
        strata = [
            np.array([pair for pair, r in zip(pairs, episodes, strict=True) if r.run == run])
            for run in unique(r.run for r in episodes)
        ]
        if not episodes or any(np.isnan(stratum).any() for stratum in strata):
            return None
        samples += bootstrap(strata, f"paired {label}").mean(axis=1) / len(chosen)
        means.append(float(np.concatenate(strata).mean()))
        gaps += pairs
    if not chosen:
        return None
    low, high = interval(samples)
    losses = np.array(gaps) * (1.0 if what == "collision" else -1.0)
    harmed, worst = float((losses >= limit).mean()), float(gaps[int(losses.argmax())])
    return Difference(what, arm, tuple(chosen), float(np.mean(means)), low, high, harmed, worst)


def _share_interval(rows: Sequence[Row], outcome: str) -> tuple[float, float] | None:
    """Return Wilson's interval (95 %) of the share of episodes that ended so; None where there are no outcomes."""
    outcomes = existing(rows, "outcome")
    if not outcomes:
        return None
    interval = binomtest(outcomes.count(outcome), len(outcomes)).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def unique(names: Iterable[str]) -> list[str]:
    """Return names in the order of their first appearance."""
    return list(dict.fromkeys(names))
