"""Weight drift and firing rates over an episode."""

from collections.abc import Mapping
from typing import Any

from homeo_rl.report.decimals import significant
from homeo_rl.report.page.blocks import Section, block_section
from homeo_rl.report.page.charts.svg import Chart, Line, Rule
from homeo_rl.report.page.context import PageContext
from homeo_rl.report.page.report_data import Comparison, Damage
from homeo_rl.report.page.traces import FIGURES

_MAX_CONDITIONS = 6


def homeostasis(context: PageContext) -> Section | None:
    """Return the section on weight drift and distances from calibrated rates; None where no weight changed.

    Conditions whose damage begins inside an episode are in the section on recovery.
    """
    blocks = []
    for comparison in context.data.comparisons:
        delayed = context.late_damages(comparison)
        drifts = {
            label: _largest_drift(context, comparison, label) for label in comparison.labels if label not in delayed
        }
        strongest = sorted((label for label, drift in drifts.items() if drift), key=lambda label: -drifts[label])
        labels = [label for label in drifts if label in strongest[:_MAX_CONDITIONS]]
        if labels:
            parts = [trace_charts(context, comparison, tag, dict.fromkeys(labels)) for tag in list(FIGURES)[:2]]
            rest = len(drifts) - len(labels)
            note = f"{rest} conditions with less drift are not drawn." if rest > 0 else ""
            legend = context.legend(comparison.arms)
            blocks.append({"name": comparison.name, "parts": parts, "legend": legend, "note": note})
    how = (
        "Change of the weights, and distance of the firing rates from those of the undamaged policy (lower is nearer). "
        "Means over the episodes that are still running; every panel has its own scale."
    )
    return block_section("homeostasis", "Homeostasis over an episode", how, "traces.html.j2", blocks)


def _largest_drift(context: PageContext, comparison: Comparison, label: str) -> float:
    traces = [context.traces.of(comparison, label, arm) for arm in comparison.arms]
    values = [value for trace in traces if trace for value in trace.series.get("homeo/drift", {}).values()]
    return max(values, default=0.0)


def trace_charts(
    context: PageContext, comparison: Comparison, tag: str, damages: Mapping[str, Damage | None]
) -> dict[str, Any]:
    """Return the charts of one figure, one for each condition; a vertical line marks where its damage begins."""
    charts = [_chart(context, comparison, tag, label, damage) for label, damage in damages.items()]
    title, measured, _ = FIGURES[tag]
    return {"title": title, "measured": measured, "charts": [chart for chart in charts if chart is not None]}


def _chart(context: PageContext, comparison: Comparison, tag: str, label: str, damage: Damage | None) -> Chart | None:
    title, _, unit = FIGURES[tag]
    scale = 100.0 if unit == "%" else 1.0
    lines = []
    for arm in comparison.arms:
        trace = context.traces.of(comparison, label, arm)
        series = trace.series.get(tag, {}) if trace is not None else {}
        if len(series) > 1 and (tag != "homeo/drift" or any(series.values())):
            points = [(float(step), scale * value) for step, value in sorted(series.items())]
            lines.append(Line(points=points, colour=context.arm_colour(arm), arm=arm))
    if not lines:
        return None
    ends = ", ".join(f"{line.arm} {significant(line.points[-1][1], 3)} {unit}" for line in lines)
    return Chart(
        title=label, x="decisions", y=unit, about=f"{title}; at the end: {ends}.", lines=tuple(lines), size="small",
        condition=label, rules=() if damage is None else (Rule(x=float(damage.onset), name="damage"),),
    )  # fmt: skip
