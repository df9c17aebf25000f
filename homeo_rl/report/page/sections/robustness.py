"""Arms under damage: what was found in plain words, every cell, and paired differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from homeo_rl.report.colours import places
from homeo_rl.report.decimals import fixed
from homeo_rl.report.page import phrasing
from homeo_rl.report.page.blocks import Legend, Section
from homeo_rl.report.page.charts.axes import Scale, labels
from homeo_rl.report.page.inputs import Suites
from homeo_rl.report.page.report_data import REFERENCE, Comparison, ReportData
from homeo_rl.report.statistics import Cell, Difference, differences


@dataclass(frozen=True)
class Bar:
    """A paired difference on a common scale; places are percent of the width."""

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
    """Paired differences of one measure: bars, the place of 0, and ticks (place, text)."""

    title: str
    bars: tuple[Bar, ...]
    zero: float
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Shade:
    """A cell of the heat-map: its figure, smaller ones below it, and how strong its colour is (0 to 1)."""

    text: str
    more: tuple[str, ...]
    share: float


_TITLES = {
    "retention": "Share of none's clean return, percentage points",
    "return": "Return",
    "normalised": "Normalised return, hundredths of the way from random to the best known return",
    "success": "Success, percentage points",
    "collision": "Collisions, percentage points",
}


def primary(one: Comparison) -> str:
    """Return what arms are compared by first: shares of the clean return, or returns where these say nothing."""
    return one.measures[0]


def scales(one: Comparison) -> tuple[str, ...]:
    """Return the scales that returns are compared on."""
    return tuple(what for what in one.measures if what not in ("success", "collision"))


def telling(one: Comparison) -> tuple[str, str] | None:
    """Return the arm and the condition of the largest gain over the reference; None where nothing is compared."""
    gains = {
        (difference.arm, label): difference.mean
        for label in one.damaged
        for difference in differences(one.rows, conditions=[label], measures=(primary(one),))
    }
    return max(gains, key=lambda pair: gains[pair]) if gains else None


def headline(material: ReportData) -> Section | None:
    """Return the section on the best arm of every comparison; None where there is nothing to compare."""
    found, coloured = [], places(material.arms)
    for one in material.comparisons:
        compared = differences(
            one.rows, conditions=one.damaged, measures=(*scales(one), "success"), baseline=one.baseline
        )
        leading = [d for d in compared if d.what == primary(one)]
        if not leading:
            continue
        best = max(leading, key=lambda d: d.mean)
        episodes = sum(row.arm == best.arm and row.label in one.damaged for row in one.rows)
        said = phrasing.sentence(best, arms=len(leading), episodes=episodes, runs=len(one.members))
        apart = [_difference(one, label, best.what, best.arm) for label in one.damaged]
        notes = [phrasing.counted([phrasing.verdict(d) for d in apart if d is not None])]
        success = next((d for d in compared if d.what == "success" and d.arm == best.arm), None)
        if success is not None:
            low, high = phrasing.amount(success, success.ci_low), phrasing.amount(success, success.ci_high)
            notes.append(f"success {phrasing.amount(success, success.mean)} points [{low}, {high}]")
        normalised = next((d for d in compared if d.what == "normalised" and d.arm == best.arm), None)
        if normalised is not None and one.baseline is not None:
            low, high = (phrasing.amount(normalised, end) for end in (normalised.ci_low, normalised.ci_high))
            size = phrasing.amount(normalised, normalised.mean)
            notes.append(f"normalised {size} points [{low}, {high}], where 0 is {one.baseline.stated()}")
        if one.untrained:
            notes.append(f"not trained: {one.untrained}; shares of the clean return would mislead")
        elif one.clean is None:
            notes.append("shares of the clean return are not defined, as it is not positive")
        if len(leading) > 1:
            notes.append(f"the best of {len(leading)} arms was chosen by this figure, which flatters it a little")
        drawn = _drawn([("", best)], lambda arm: coloured[arm], 0)
        found.append({"name": one.name, "suite": one.suite, "said": said, "notes": notes, "forest": drawn})
    if not found:
        return None
    how = (
        "The arm with the best mean over all damaged conditions, against the frozen policy (none), on the same "
        "episodes and the same damage. An interval that contains 0 shows no difference."
    )
    return Section("headline", "What was found", how, "headline.html.j2", {"found": found})


def heatmap(material: ReportData, suites: Suites) -> Section | None:
    """Return the section with a cell for each condition and arm; None without evaluations."""
    blocks = []
    for one in material.comparisons:
        cells = {(cell.arm, cell.label): cell for cell in one.cells}
        told = suites.get(one.suite_hash, {})
        values = [cell.iqm for cell in one.cells]
        rows = [
            {
                "label": label,
                "damage": told[label].text if label in told else "",
                "shades": [_shade(one, cells.get((arm, label)), min(values), max(values)) for arm in one.arms],
            }
            for label in one.labels
        ]
        blocks.append({"name": one.name, "suite": one.suite, "arms": one.arms, "rows": rows, "main": _main(one),
                       "episodes": min(cell.episodes for cell in one.cells)})  # fmt: skip
    if not blocks:
        return None
    how = (
        "One row a condition, one column an arm; darker is better. Below the main figure: the interquartile mean "
        "return with its 95 % stratified-bootstrap interval."
    )
    return Section("robustness", "Robustness", how, "heatmap.html.j2", {"blocks": blocks})


def forest(material: ReportData, place: Callable[[str], int]) -> Section | None:
    """Return the section with paired differences; None where there is one arm only.

    Args:
        material: the comparisons.
        place: colour of an arm, by its name.
    """
    blocks = []
    for one in material.comparisons:
        forests = [drawn for what in one.measures if (drawn := _forest(one, what, place)) is not None]
        if forests:
            legend = Legend(tuple((arm, place(arm)) for arm in one.arms if arm != REFERENCE))
            blocks.append({"name": one.name, "forests": forests, "legend": legend})
    if not blocks:
        return None
    how = (
        "Each arm minus none, paired by episode: right of the line is more. Bars are 95 % stratified-bootstrap "
        "intervals; a hollow dot marks one that contains 0. Intervals of single conditions are not corrected for "
        "their number."
    )
    return Section("differences", "Paired differences", how, "forest.html.j2", {"blocks": blocks})


def _difference(one: Comparison, label: str, what: str, arm: str) -> Difference | None:
    rows = [row for row in one.rows if row.arm in (arm, REFERENCE) and (row.label == label or row.severity == 0.0)]
    return next(iter(differences(rows, conditions=[label], measures=(what,), baseline=one.baseline)), None)


def _forest(one: Comparison, what: str, place: Callable[[str], int]) -> Forest | None:
    arms = [arm for arm in one.arms if arm != REFERENCE]
    found: list[tuple[str, Difference]] = []
    for label in one.damaged:
        several = (_difference(one, label, what, arm) for arm in arms)
        found += [(label, one_) for one_ in several if one_ is not None]
    if not found:
        return None
    total = differences(one.rows, conditions=one.damaged, measures=(what,), baseline=one.baseline)
    count = len(one.damaged)
    found += [(f"all {count} conditions" if count > 1 else "", d) for d in total if count > 1]
    return _drawn(found, place, len(total) if count > 1 else 0)


def _drawn(found: Sequence[tuple[str, Difference]], place: Callable[[str], int], totals: int) -> Forest:
    """Lay differences of one measure out on one scale; the last ``totals`` are over all conditions."""
    what = found[0][1].what
    ends = [end for _, d in found for end in (d.ci_low, d.ci_high)]
    low, high = min(0.0, *ends), max(0.0, *ends)
    room = 0.04 * (high - low or 1.0)
    scale = Scale(low - room, high + room, 0.0, 100.0)
    bars = [
        Bar(
            label, d.arm, place(d.arm), scale(d.ci_low), scale(d.mean), scale(d.ci_high),
            f"{phrasing.amount(d, d.mean)} [{phrasing.amount(d, d.ci_low)}, {phrasing.amount(d, d.ci_high)}]",
            phrasing.verdict(d), index >= len(found) - totals,
        )
        for index, (label, d) in enumerate(found)
    ]  # fmt: skip
    values = scale.ticks(5)
    texts = labels([v if what == "return" else 100 * v for v in values])
    ticks = tuple((scale(v), f"+{t}" if v > 0 else t) for v, t in zip(values, texts, strict=True))
    return Forest(_TITLES[what], tuple(bars), scale(0.0), ticks)


def _main(one: Comparison) -> str:
    """Return what the cells show first."""
    if any(cell.success is not None for cell in one.cells):
        return "success"
    return "mean return / none's clean mean return" if one.clean is not None else "interquartile mean return"


def _shade(one: Comparison, cell: Cell | None, low: float, high: float) -> Shade | None:
    if cell is None:
        return None
    iqm = f"{phrasing.plain(cell.iqm)} [{phrasing.plain(cell.ci_low)}, {phrasing.plain(cell.ci_high)}]"
    kept = None if one.clean is None else cell.mean / one.clean
    if cell.success is not None:
        more = (iqm,) if kept is None else (iqm, f"{phrasing.plain(kept)} of clean")
        return Shade(f"{fixed(100 * cell.success, 0)} %", more, cell.success)
    if kept is not None:
        return Shade(phrasing.plain(kept), (iqm,), min(max(kept, 0.0), 1.0))
    share = (cell.iqm - low) / (high - low) if high > low else 1.0
    scaled = () if cell.normalised is None else (f"normalised {phrasing.plain(cell.normalised)}",)
    return Shade(phrasing.plain(cell.iqm), (iqm.partition(" ")[2], *scaled), share)
