"""What an action costs: spikes, synaptic operations, joules; and what return is had for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from homeo_rl.numerics.energy import ACCUMULATE, MULTIPLY_ACCUMULATE, joules
from homeo_rl.report.decimals import fixed, significant
from homeo_rl.report.page import phrasing
from homeo_rl.report.page.blocks import Legend, Section, Table
from homeo_rl.report.page.charts.svg import Chart, Dot, Line
from homeo_rl.report.page.report_data import Comparison, ReportData
from homeo_rl.report.statistics import Row, bootstrap, interval

SOURCE = (
    "Arithmetic only, 32-bit floats in 45 nm (Horowitz, ISSCC 2014): a multiply-accumulate "
    f"{1e12 * MULTIPLY_ACCUMULATE:g} pJ, an addition {1e12 * ACCUMULATE:g} pJ, which is what a spike costs at each "
    "synapse; memory and leakage are not counted."
)


@dataclass(frozen=True)
class Cost:
    """An arm's clean episodes: means of a decision (None where not known), and return and joules of an episode."""

    one: Comparison
    arm: str
    spikes: float | None
    synops: float
    joules: float | None
    total: float
    low: float
    high: float
    episode: float | None


def energy(material: ReportData, place: Callable[[str], int]) -> Section | None:
    """Return the section on costs; None without evaluations.

    Args:
        material: the comparisons.
        place: colour of an arm, by its name.
    """
    costs = [cost for one in material.comparisons for arm in one.arms if (cost := _cost(one, arm)) is not None]
    if not costs:
        return None
    several = len(material.comparisons) > 1
    rows = [
        [
            cost.one.name,
            cost.arm,
            "\u2013" if cost.spikes is None else fixed(cost.spikes, 1, ","),
            fixed(cost.synops, 0, ","),
            "\u2013" if cost.joules is None else phrasing.joules(cost.joules),
            "\u2013" if cost.episode is None else phrasing.joules(cost.episode),
            phrasing.plain(cost.total),
            _per_joule(cost),
        ]
        for cost in costs
    ]
    header = [
        "agent", "arm", "spikes per action", "synaptic operations per action", "energy per action",
        "energy per episode", "mean return per episode", "return per \u00b5J",
    ]  # fmt: skip
    table = Table("Clean episodes: costs of an action and of an episode", header, rows, 2)
    charts = [
        _frontier(environment, [c for c in costs if _environment(c.one) == environment], several, place)
        for environment in dict.fromkeys(_environment(cost.one) for cost in costs if cost.joules)
    ]
    unknown = list(dict.fromkeys(cost.one.name for cost in costs if cost.joules is None))
    said = f"Energy is not known of {', '.join(unknown)}: these scores do not hold it." if unknown else ""
    how = (
        "Table: what an action costs, and what an episode does; return per \u00b5J is the mean return of an episode "
        "divided by the mean energy of an episode. Chart: left is cheaper, up is better; the dashed line joins "
        "what no other point beats in both. A ReLU network's synaptic operations are multiply-accumulates, a spiking "
        "one's additions. " + SOURCE
    )
    legend = Legend(tuple((arm, place(arm)) for arm in dict.fromkeys(c.arm for c in costs)) if charts else ())
    data = {"table": table, "charts": charts, "legend": legend, "said": said}
    return Section("energy", "Energy per action", how, "energy.html.j2", data)


def joules_of(row: Row, one: Comparison) -> float | None:
    """Return the joules of a decision: what the scores hold, else what follows from their synaptic operations.

    It follows where all of them cost the same: of a ReLU network, and of spikes that are fed with spikes.
    """
    stored = _known(row.energy)
    controller = one.members[0].run.spec.controller
    if stored is not None or controller is None or math.isnan(row.synops):
        return stored
    network = controller.network
    if network.body == "mlp":
        return joules(0.0, row.synops)
    fed = network.body == "spiking" and network.encoder.kind != "current"
    return joules(row.synops, 0.0) if fed else None


def pareto(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points (cost, gain) that none beats in both, cheapest first."""
    found: list[tuple[float, float]] = []
    for cost, gain in sorted(points, key=lambda point: (point[0], -point[1])):
        if not found or gain > found[-1][1]:
            found.append((cost, gain))
    return found


def _cost(one: Comparison, arm: str) -> Cost | None:
    rows = [row for row in one.rows if row.arm == arm and row.severity == 0.0]
    if not rows:
        return None
    strata = [np.array([row.total for row in rows if row.run == member.name]) for member in one.members]
    low, high = interval(bootstrap([s for s in strata if len(s)], f"energy {arm}").mean(axis=1))
    return Cost(
        one, arm, _mean(_known(row.spikes) for row in rows), float(np.mean([row.synops for row in rows])),
        _mean(joules_of(row, one) for row in rows), float(np.mean([row.total for row in rows])), low, high,
        _mean(None if (price := joules_of(row, one)) is None else price * row.length for row in rows),
    )  # fmt: skip


def _known(value: float) -> float | None:
    """Return a figure, or None where the table does not have it."""
    return None if math.isnan(value) else value


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _per_joule(cost: Cost) -> str:
    if not cost.episode or cost.total <= 0:
        return "\u2013"
    return significant(cost.total / (cost.episode * 1e6), 3)


def _environment(one: Comparison) -> str:
    return one.members[0].run.spec.env


def _frontier(environment: str, costs: Sequence[Cost], several: bool, place: Callable[[str], int]) -> Chart:
    known = [(cost, cost.joules) for cost in costs if cost.joules]
    scale = 1e9
    dots = tuple(
        Dot(
            x=price * scale, y=cost.total, low=cost.low, high=cost.high, colour=place(cost.arm),
            name=f"{cost.one.name}, {cost.arm}" if several else cost.arm,
            tip=f"{cost.one.name}, {cost.arm}: {phrasing.joules(price)} an action, return {phrasing.plain(cost.total)}",
        )
        for cost, price in known
    )  # fmt: skip
    best = pareto((dot.x, dot.y) for dot in dots)
    most = max(dot.x for dot in dots)
    wide = most > 5 * min(dot.x for dot in dots)
    return Chart(
        x_range=None if wide else (0.0, 1.15 * most),
        title=f"Return against energy, {environment}", x="nJ per action" + (", logarithmic" if wide else ""),
        y="mean clean return", about="; ".join(dot.tip for dot in dots) + ".", dots=dots, x_log=wide, size="wide",
        lines=(Line(points=best, colour=0, label="frontier", dashed=True),) if len(best) > 1 else (),
    )  # fmt: skip
