"""What homeostasis does inside an episode, and how policies recover from damage that begins there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from homeo_rl.report.decimals import significant
from homeo_rl.report.page.blocks import Legend, Section
from homeo_rl.report.page.charts.svg import Chart, Line, Rule, thinned
from homeo_rl.report.page.inputs import Damage, RecordedEpisode, Suites
from homeo_rl.report.page.report_data import Comparison, ReportData
from homeo_rl.report.page.sections.traces import FIGURES, Traces

_PANELS = 6  # conditions that are drawn
_SMOOTH = 25  # decisions that a reward is averaged over


def homeostasis(material: ReportData, traces: Traces, suites: Suites, place: Callable[[str], int]) -> Section | None:
    """Return the section on weight drift and firing rates over an episode; None where nothing adapted.

    Args:
        material: the comparisons.
        traces: reader.
        suites: where conditions begin; those that begin late are in the section on recovery.
        place: colour of an arm, by its name.
    """
    blocks = []
    for one in material.comparisons:
        late = _late(one, suites)
        drifts = {label: _largest(one, traces, label) for label in one.labels if label not in late}
        strongest = sorted((label for label, drift in drifts.items() if drift), key=lambda label: -drifts[label])
        labels = [label for label in drifts if label in strongest[:_PANELS]]
        parts = [_part(one, traces, tag, dict.fromkeys(labels), place) for tag in list(FIGURES)[:2]]
        if labels:
            left = len(drifts) - len(labels)
            said = f"{left} conditions with less drift are not drawn." if left > 0 else ""
            blocks.append({"name": one.name, "parts": parts, "legend": _legend(one, place), "said": said})
    if not blocks:
        return None
    how = (
        "What homeostasis did to the weights, and how far the neurons stayed from the rates of the healthy policy "
        "(lower is nearer). Means over the episodes that lasted so long; every panel has a scale of its own."
    )
    return Section("homeostasis", "Homeostasis over an episode", how, "parts_of_blocks.html.j2", {"blocks": blocks})


def recovery(
    material: ReportData, traces: Traces, suites: Suites, specimens: Sequence[RecordedEpisode], place: Callable[[str], int]
) -> Section | None:
    """Return the section on damage that begins inside an episode; None where no suite has such a condition.

    Args:
        material: the comparisons.
        traces: reader.
        suites: where conditions begin.
        specimens: single episodes, whose rewards stand in where an evaluation of an earlier version stored none.
        place: colour of an arm, by its name.
    """
    blocks = []
    for one in material.comparisons:
        late = _late(one, suites)
        parts = [_part(one, traces, tag, late, place) for tag in reversed(FIGURES)]
        rewarded = bool(parts[0]["charts"])
        alone = [] if rewarded else [_rewards(one, late, specimens, place)]
        parts = [part for part in [*alone, *parts] if part["charts"]]
        if late:
            said = ""
            if not parts:
                said = "Traces of this evaluation were not found in the run's TensorBoard folder."
            elif not rewarded:
                said = (
                    "This evaluation did not store rewards by decision: they are those of one episode, and recovery "
                    "is shown in firing rates and weights; what it did to all returns is under Robustness."
                )
            blocks.append({"name": one.name, "parts": parts, "legend": _legend(one, place), "said": said})
    if not blocks:
        return None
    how = (
        "Damage begins at the vertical line. A policy that recovers goes back towards where its line was before. "
        "Means over the episodes that lasted so long; every panel has a scale of its own."
    )
    return Section(
        "recovery", "Recovery after damage in mid-episode", how, "parts_of_blocks.html.j2", {"blocks": blocks}
    )


def _late(one: Comparison, suites: Suites) -> dict[str, Damage]:
    """Return the conditions whose damage begins inside an episode."""
    told = suites.get(one.suite_hash, {})
    return {label: told[label] for label in one.labels if label in told and told[label].onset > 0}


def _rewards(
    one: Comparison, late: Mapping[str, Damage], specimens: Sequence[RecordedEpisode], place: Callable[[str], int]
) -> dict[str, Any]:
    """Return the rewards of the single episodes that were played under late damage."""
    charts = []
    for label, damage in late.items():
        mine = [
            s for s in specimens if s.run == one.members[0].name and s.condition == label and len(s.rewards) > _SMOOTH
        ]
        lines = [
            Line(points=thinned(list(enumerate(_smooth(s.rewards), _SMOOTH)), 200), colour=place(s.arm), label=s.arm)
            for s in mine
        ]
        if lines:
            said = "; ".join(f"{s.arm} returned {s.total:,.1f}" for s in mine)
            rules = (Rule(x=float(damage.onset), name="damage"),)
            charts.append(
                Chart(title=label, x="decisions", y="reward", about=f"Reward: {said}.", lines=tuple(lines), rules=rules)
            )
    measured = f"the evaluation's first episode alone, mean of the last {_SMOOTH} decisions"
    return {"title": "Reward in one episode", "measured": measured, "charts": charts}


def _smooth(values: np.ndarray) -> list[float]:
    # Divided once, at the end: whole rewards add up exactly, in whatever order this machine adds them.
    found: list[float] = (np.convolve(values, np.ones(_SMOOTH), "valid") / _SMOOTH).tolist()
    return found


def _largest(one: Comparison, traces: Traces, label: str) -> float:
    """Return the largest drift of any arm under a condition."""
    found = [traces.of(one, label, arm) for arm in one.arms]
    values = [v for trace in found if trace for v in trace.series.get("homeo/drift", {}).values()]
    return max(values, default=0.0)


def _part(
    one: Comparison, traces: Traces, tag: str, damages: Mapping[str, Damage | None], place: Callable[[str], int]
) -> dict[str, Any]:
    """Return one figure under several conditions."""
    charts = [
        chart
        for label, damage in damages.items()
        if (chart := _chart(one, traces, label, tag, place, damage)) is not None
    ]
    return {"title": FIGURES[tag][0], "measured": FIGURES[tag][1], "charts": charts}


def _chart(
    one: Comparison, traces: Traces, label: str, tag: str, place: Callable[[str], int], damage: Damage | None
) -> Chart | None:
    title, _, unit = FIGURES[tag]
    scale = 100.0 if unit == "%" else 1.0
    lines = []
    for arm in one.arms:
        trace = traces.of(one, label, arm)
        series = trace.series.get(tag, {}) if trace is not None else {}
        if len(series) > 1 and (tag != "homeo/drift" or any(series.values())):
            points = [(float(step), scale * value) for step, value in sorted(series.items())]
            lines.append(Line(points=points, colour=place(arm), label=arm))
    if not lines:
        return None
    rules = (Rule(x=float(damage.onset), name="damage"),) if damage is not None else ()
    ends = ", ".join(f"{line.label} {significant(line.points[-1][1], 3)} {unit}" for line in lines)
    return Chart(
        title=label, x="decisions", y=unit, about=f"{title}; at the end: {ends}.", lines=tuple(lines), rules=rules,
        size="small",
    )  # fmt: skip


def _legend(one: Comparison, place: Callable[[str], int]) -> Legend:
    return Legend(tuple((arm, place(arm)) for arm in one.arms))
