"""Cost of an action: spikes, synaptic operations and energy; and return against energy."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from homeo_rl.numerics.energy import ACCUMULATE, MULTIPLY_ACCUMULATE, joules
from homeo_rl.report.decimals import fixed, significant
from homeo_rl.report.page import phrasing
from homeo_rl.report.page.blocks import Legend, Section, Table
from homeo_rl.report.page.charts.svg import Chart, Dot, Line
from homeo_rl.report.page.context import PageContext
from homeo_rl.report.page.report_data import Comparison
from homeo_rl.report.statistics import Row, bootstrap, interval

SOURCE = (
    "Arithmetic only, 32-bit floats in 45 nm (Horowitz, ISSCC 2014): a multiply-accumulate "
    f"{1e12 * MULTIPLY_ACCUMULATE:g} pJ, an addition, the cost of a spike at a synapse, {1e12 * ACCUMULATE:g} pJ; "
    "memory and leakage are not counted."
)

_DASH = "\u2013"


@dataclass(frozen=True)
class Cost:
    """An arm's clean episodes: means of a decision (None where unknown), and return and joules of an episode."""

    comparison: Comparison
    arm: str
    spikes: float | None
    synops: float
    joules: float | None
    total: float
    low: float
    high: float
    episode: float | None


def energy(context: PageContext) -> Section | None:
    """Return the section on costs; None without clean episodes."""
    comparisons = context.data.comparisons
    costs = [cost for each in comparisons for arm in each.arms if (cost := _cost(each, arm)) is not None]
    if not costs:
        return None
    rows = [
        [
            cost.comparison.name,
            cost.arm,
            _DASH if cost.spikes is None else fixed(cost.spikes, 1, ","),
            fixed(cost.synops, 0, ","),
            _DASH if cost.joules is None else phrasing.joules(cost.joules),
            _DASH if cost.episode is None else phrasing.joules(cost.episode),
            phrasing.plain(cost.total),
            significant(cost.total / (cost.episode * 1e6), 3) if cost.episode and cost.total > 0 else _DASH,
        ]
        for cost in costs
    ]
    header = [
        "agent", "arm", "spikes per action", "synaptic operations per action", "energy per action",
        "energy per episode", "mean return per episode", "return per \u00b5J",
    ]  # fmt: skip
    charts = [
        _frontier(context, env, [cost for cost in costs if cost.comparison.env == env])
        for env in dict.fromkeys(cost.comparison.env for cost in costs if cost.joules)
    ]
    unknown = list(dict.fromkeys(cost.comparison.name for cost in costs if cost.joules is None))
    data = {
        "table": Table("Clean episodes: costs of an action and of an episode", header, rows, 2),
        "charts": charts,
        "legend": context.legend(cost.arm for cost in costs) if charts else Legend(),
        "note": f"The energy of {', '.join(unknown)} is unknown: these scores do not contain it." if unknown else "",
    }
    how = (
        "Table: costs of an action and of an episode; return per \u00b5J is the mean return of an episode divided by "
        "its mean energy. Chart: left is cheaper, up is better; the dashed line joins the points that no "
        "other point beats in both (the Pareto front). The synaptic operations of a ReLU network are "
        "multiply-accumulates, those of a spiking network additions. " + SOURCE
    )
    return Section("energy", "Energy per action", how, "energy.html.j2", data)


def joules_of(row: Row, comparison: Comparison) -> float | None:
    """Return the joules of a decision: as stored in the scores, else computed from their synaptic operations.

    That is possible where all operations cost the same: for a ReLU network, and for a network whose inputs are spikes.
    """
    stored = _none_if_nan(row.energy)
    controller = comparison.members[0].run.spec.controller
    if stored is not None or controller is None or math.isnan(row.synops):
        return stored
    network = controller.network
    if not network.is_spiking:
        return joules(0.0, row.synops)
    spike_inputs = network.body == "spiking" and network.encoder.kind != "current"
    return joules(row.synops, 0.0) if spike_inputs else None


def pareto(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points (cost, gain) that none beats in both, cheapest first."""
    front: list[tuple[float, float]] = []
    for cost, gain in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or gain > front[-1][1]:
            front.append((cost, gain))
    return front


def _cost(comparison: Comparison, arm: str) -> Cost | None:
    rows = [row for row in comparison.rows if row.arm == arm and row.severity == 0.0]
    if not rows:
        return None
    strata = [np.array([row.total for row in rows if row.run == member.name]) for member in comparison.members]
    low, high = interval(bootstrap([s for s in strata if len(s)], f"energy {arm}").mean(axis=1))
    energies = [joules_of(row, comparison) for row in rows]
    return Cost(
        comparison,
        arm,
        _mean(_none_if_nan(row.spikes) for row in rows),
        float(np.mean([row.synops for row in rows])),
        _mean(energies),
        float(np.mean([row.total for row in rows])),
        low,
        high,
        _mean(None if energy is None else energy * row.length for energy, row in zip(energies, rows, strict=True)),
    )


def _none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else value


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _frontier(context: PageContext, env: str, costs: Sequence[Cost]) -> Chart:
    several = len(context.data.comparisons) > 1
    dots = tuple(
        Dot(
            x=cost.joules * 1e9, y=cost.total, low=cost.low, high=cost.high, colour=context.arm_colour(cost.arm),
            arm=cost.arm,
            name=f"{cost.comparison.name}, {cost.arm}" if several else cost.arm,
            tip=f"{cost.comparison.name}, {cost.arm}: {phrasing.joules(cost.joules)} per action, "
            f"return {phrasing.plain(cost.total)}",
        )
        for cost in costs if cost.joules
    )  # fmt: skip
    front = pareto((dot.x, dot.y) for dot in dots)
    largest = max(dot.x for dot in dots)
    log = largest > 5 * min(dot.x for dot in dots)
    return Chart(
        x_range=None if log else (0.0, 1.15 * largest),
        title=f"Return against energy, {env}", x="nJ per action" + (", logarithmic" if log else ""),
        y="mean clean return", about="; ".join(dot.tip for dot in dots) + ".", dots=dots, x_log=log, size="wide",
        lines=(Line(points=front, colour=0, label="Pareto front", dashed=True),) if len(front) > 1 else (),
    )  # fmt: skip
