"""Paired differences of every arm to the reference, as forest plots."""

from collections.abc import Sequence
from dataclasses import dataclass

from homeo_rl.report.page import phrasing
from homeo_rl.report.page.blocks import Section, block_section
from homeo_rl.report.page.charts.axes import Scale, labels
from homeo_rl.report.page.context import PageContext
from homeo_rl.report.page.report_data import REFERENCE, Comparison
from homeo_rl.report.statistics import Difference, differences


@dataclass(frozen=True)
class Bar:
    """A paired difference on a common scale; positions are percentages of the width."""

    label: str
    arm: str
    colour: int
    low: float
    middle: float
    high: float
    text: str
    verdict: str
    total: bool


@dataclass(frozen=True)
class Forest:
    """Paired differences of one measure: bars, the position of 0, and ticks (position, text)."""

    title: str
    bars: tuple[Bar, ...]
    zero: float
    ticks: tuple[tuple[float, str], ...]


_TITLES = {
    "retention": "Share of none's clean return, percentage points",
    "return": "Return",
    "normalised": "Normalised return, hundredths of the way from random to the best known return",
    "success": "Success, percentage points",
    "collision": "Collisions, percentage points",
}


def forest(context: PageContext) -> Section | None:
    """Return the section with paired differences; None where there is one arm only."""
    blocks = []
    for comparison in context.data.comparisons:
        plots = [_forest(context, comparison, measure) for measure in comparison.measures]
        forests = [plot for plot in plots if plot is not None]
        if forests:
            legend = context.legend(arm for arm in comparison.arms if arm != REFERENCE)
            blocks.append({"name": comparison.name, "forests": forests, "legend": legend})
    how = (
        "Each arm minus none, paired by episode; right of the line, the arm is higher. Bars are 95 % "
        "stratified-bootstrap intervals; a hollow dot marks one that contains 0. Intervals of single conditions are "
        "not corrected for multiple comparisons."
    )
    return block_section("differences", "Paired differences", how, "forest.html.j2", blocks)


def _forest(context: PageContext, comparison: Comparison, measure: str) -> Forest | None:
    arms = [arm for arm in comparison.arms if arm != REFERENCE]
    pairs = [
        (label, difference)
        for label in comparison.damaged
        for arm in arms
        if (difference := comparison.difference(label, measure, arm)) is not None
    ]
    count = len(comparison.damaged)
    if not pairs or count == 1:
        return draw_forest(context, pairs, 0) if pairs else None
    totals = differences(
        comparison.rows, conditions=comparison.damaged, measures=(measure,), baseline=comparison.baseline
    )
    return draw_forest(context, [*pairs, *((f"all {count} conditions", total) for total in totals)], len(totals))


def draw_forest(context: PageContext, pairs: Sequence[tuple[str, Difference]], totals: int) -> Forest:
    """Draw labelled differences of one measure on one scale; the last ``totals`` are over all conditions."""
    measure = pairs[0][1].what
    ends = [end for _, difference in pairs for end in (difference.ci_low, difference.ci_high)]
    low, high = min(0.0, *ends), max(0.0, *ends)
    margin = 0.04 * (high - low or 1.0)
    scale = Scale(low - margin, high + margin, 0.0, 100.0)
    bars = [
        Bar(
            label, d.arm, context.arm_colour(d.arm), scale(d.ci_low), scale(d.mean), scale(d.ci_high),
            phrasing.format_difference(d), phrasing.verdict(d), index >= len(pairs) - totals,
        )
        for index, (label, d) in enumerate(pairs)
    ]  # fmt: skip
    values = scale.ticks(5)
    texts = labels([value if measure == "return" else 100 * value for value in values])
    ticks = tuple((scale(v), f"+{text}" if v > 0 else text) for v, text in zip(values, texts, strict=True))
    return Forest(_TITLES[measure], tuple(bars), scale(0.0), ticks)
