"""The main result of every comparison as a sentence: the best arm against the reference."""

from typing import Any

from homeo_rl.report.page import phrasing
from homeo_rl.report.page.blocks import Section
from homeo_rl.report.page.context import PageContext
from homeo_rl.report.page.report_data import Comparison
from homeo_rl.report.page.sections.forest import draw_forest
from homeo_rl.report.statistics import Difference, differences


def headline(context: PageContext) -> Section | None:
    """Return the section on the best arm of every comparison; None where nothing is compared."""
    results = [result for each in context.data.comparisons if (result := _result(context, each)) is not None]
    how = (
        "The arm with the best mean over all damaged conditions, against the frozen policy (none), on the same "
        "episodes and the same damage. An interval that contains 0 shows no difference."
    )
    return Section("headline", "Main result", how, "headline.html.j2", {"results": results}) if results else None


def _result(context: PageContext, comparison: Comparison) -> dict[str, Any] | None:
    scales = [measure for measure in comparison.measures if measure not in ("success", "collision")]
    compared = differences(
        comparison.rows, conditions=comparison.damaged, measures=(*scales, "success"), baseline=comparison.baseline
    )
    primary = [difference for difference in compared if difference.what == comparison.measures[0]]
    if not primary:
        return None
    best = max(primary, key=lambda difference: difference.mean)
    episodes = sum(row.arm == best.arm and row.label in comparison.damaged for row in comparison.rows)
    return {
        "name": comparison.name,
        "suite": comparison.suite,
        "sentence": phrasing.sentence(best, arms=len(primary), episodes=episodes, runs=len(comparison.members)),
        "notes": _notes(comparison, best, compared, len(primary)),
        "forest": draw_forest(context, [("", best)], 0),
    }


def _notes(comparison: Comparison, best: Difference, compared: list[Difference], arms: int) -> list[str]:
    by_condition = [comparison.difference(label, best.what, best.arm) for label in comparison.damaged]
    verdicts = [phrasing.verdict(d) for d in by_condition if d is not None]
    better, worse, undecided = (verdicts.count(name) for name in ("more", "less", "undecided"))
    notes = [f"By condition: better in {better}, worse in {worse}, undecided in {undecided}"]
    others = {difference.what: difference for difference in compared if difference.arm == best.arm}
    if "success" in others:
        notes.append(f"success {phrasing.format_difference(others['success'], ' points')}")
    if "normalised" in others and comparison.baseline is not None:
        size = phrasing.format_difference(others["normalised"], " points")
        notes.append(f"normalised {size}, where 0 is {comparison.baseline.describe()}")
    if comparison.untrained:
        notes.append(f"not trained: {comparison.untrained}; retention would be misleading")
    elif comparison.clean is None:
        notes.append("retention is not defined, as the clean return is not positive")
    if arms > 1:
        notes.append(f"the best of {arms} arms was selected by this figure, which biases it slightly upwards")
    return notes
