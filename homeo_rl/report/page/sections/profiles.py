"""Performance profiles: the share of episodes that score more than a threshold, for every threshold.

After Agarwal et al. (NeurIPS 2021); strata of the bands are (run, condition), as everywhere.
"""

from collections.abc import Sequence

import numpy as np

from homeo_rl.report.decimals import significant
from homeo_rl.report.page.blocks import Section, block_section
from homeo_rl.report.page.charts.svg import Chart, Line, Rule
from homeo_rl.report.page.context import PageContext
from homeo_rl.report.page.report_data import Comparison
from homeo_rl.report.statistics import RESAMPLES, interval
from homeo_rl.seeding import generator

_THRESHOLDS = 61


def profile(
    strata: Sequence[np.ndarray], thresholds: np.ndarray, name: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the share of scores above each threshold, and the ends of its 95 % stratified-bootstrap interval.

    Args:
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


def profiles(context: PageContext) -> Section | None:
    """Return the section with a profile of each comparison; None without evaluations."""
    blocks = [
        {"name": each.name, "charts": [_chart(context, each)], "legend": context.legend(each.arms), "note": ""}
        for each in context.data.comparisons
    ]
    how = (
        "For every score on the horizontal axis, the share of damaged episodes that score higher. Where lines do not "
        "cross, the higher line is the better arm at every score. Bands: 95 % stratified bootstrap."
    )
    return block_section("profiles", "Performance profile", how, "blocks.html.j2", blocks)


def _chart(context: PageContext, comparison: Comparison) -> Chart:
    labels = comparison.damaged or comparison.labels
    rows = [row for row in comparison.rows if row.label in labels]
    scores = np.array([row.total for row in rows]) / (comparison.clean or 1.0)
    low, high = float(scores.min()), float(scores.max())
    thresholds = np.linspace(low - 0.02 * (high - low), high, _THRESHOLDS)
    lines, medians = [], []
    for arm in comparison.arms:
        strata: dict[tuple[str, str], list[float]] = {}
        for row, score in zip(rows, scores, strict=True):
            if row.arm == arm:
                strata.setdefault((row.run, row.label), []).append(float(score))
        if not strata:
            continue
        share, below, above = profile([np.array(stratum) for stratum in strata.values()], thresholds, arm)
        half = thresholds[share >= 0.5]
        median = significant(half[-1] if len(half) else low, 3)
        medians.append(f"{arm}: half of the episodes score more than {median}")
        points = list(zip(thresholds.tolist(), share.tolist(), strict=True))
        colour = context.arm_colour(arm)
        lines.append(Line(points=points, colour=colour, arm=arm, low=below.tolist(), high=above.tolist()))
    return Chart(
        title="Damaged episodes" if comparison.damaged else "Episodes",
        x="return / none's mean clean return" if comparison.clean is not None else "return per episode",
        y="share of episodes with a higher score",
        about="; ".join(medians) + ".", lines=tuple(lines), y_range=(0.0, 1.0), percent=True, size="wide",
        rules=(Rule(x=1.0, name="clean"),) if comparison.clean is not None and low < 1.0 < high else (),
    )  # fmt: skip
