"""Performance profiles: the share of episodes that score more than a threshold, for every threshold.

After Agarwal et al. (NeurIPS 2021); strata of the bands are (run, condition), as everywhere.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from homeo_rl.report.decimals import significant
from homeo_rl.report.page.blocks import Legend, Section
from homeo_rl.report.page.charts.svg import Chart, Line, Rule
from homeo_rl.report.page.report_data import Comparison, ReportData
from homeo_rl.report.statistics import RESAMPLES, interval
from homeo_rl.seeding import generator

_THRESHOLDS = 61


def profile(strata: list[np.ndarray], thresholds: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the share of scores above each threshold, and the ends of its 95 % stratified-bootstrap interval.

    Args:
        strata: scores of each stratum.
        thresholds: [K].
        name: of the draws; equal names give equal ones.
    """
    total = sum(len(stratum) for stratum in strata)
    above = np.array([(stratum[:, None] > thresholds).sum(axis=0) for stratum in strata])
    rng = generator(0, "bootstrap", f"profile {name}")
    # Drawing n scores with replacement and counting those above is a binomial draw: the same band without the draws.
    drawn = np.zeros((RESAMPLES, len(thresholds)))
    for stratum, count in zip(strata, above, strict=True):
        drawn += rng.binomial(len(stratum), count / len(stratum), size=drawn.shape)
    ends = [interval(drawn[:, k] / total) for k in range(len(thresholds))]
    return above.sum(axis=0) / total, np.array([low for low, _ in ends]), np.array([high for _, high in ends])


def profiles(material: ReportData, place: Callable[[str], int]) -> Section | None:
    """Return the section with a profile of each comparison; None without evaluations.

    Args:
        material: the comparisons.
        place: colour of an arm, by its name.
    """
    blocks = []
    for one in material.comparisons:
        legend = Legend(tuple((arm, place(arm)) for arm in one.arms))
        blocks.append({"name": one.name, "charts": [_chart(one, place)], "legend": legend, "said": ""})
    if not blocks:
        return None
    how = (
        "At every score on the horizontal axis, the share of damaged episodes that did better. A line that lies "
        "higher is the better arm at that score; lines that cross are better at different things. Bands: 95 % "
        "stratified bootstrap."
    )
    return Section("profiles", "Performance profile", how, "blocks.html.j2", {"blocks": blocks})


def _chart(one: Comparison, place: Callable[[str], int]) -> Chart:
    labels = one.damaged or one.labels
    scale = one.clean or 1.0
    mine = [row for row in one.rows if row.label in labels]
    scores = np.array([row.total for row in mine]) / scale
    low, high = float(scores.min()), float(scores.max())
    thresholds = np.linspace(low - 0.02 * (high - low), high, _THRESHOLDS)
    lines, said = [], []
    for arm in one.arms:
        strata: dict[tuple[str, str], list[float]] = {}
        for row, score in zip(mine, scores, strict=True):
            if row.arm == arm:
                strata.setdefault((row.run, row.label), []).append(float(score))
        if not strata:
            continue
        share, below, above = profile([np.array(s) for s in strata.values()], thresholds, arm)
        half = thresholds[share >= 0.5]
        said.append(f"{arm}: half of the episodes score more than {significant(half[-1] if len(half) else low, 3)}")
        lines.append(
            Line(
                points=list(zip(thresholds.tolist(), share.tolist(), strict=True)), colour=place(arm), label=arm,
                low=below.tolist(), high=above.tolist(),
            )
        )  # fmt: skip
    what = "return / none's mean clean return" if one.clean is not None else "return per episode"
    return Chart(
        title="Damaged episodes" if one.damaged else "Episodes", x=what, y="share of episodes with a higher score",
        about="; ".join(said) + ".", lines=tuple(lines), y_range=(0.0, 1.0), percent=True, size="wide",
        rules=(Rule(x=1.0, name="clean"),) if one.clean is not None and low < 1.0 < high else (),
    )  # fmt: skip
