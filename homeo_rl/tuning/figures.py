"""How a tuning went, as a picture: values of the trials, and what mattered."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from homeo_rl.report.colours import COLOURS
from homeo_rl.tuning.trials import Row


def draw_history(rows: Sequence[Row], shares: Mapping[str, float], path: Path, *, title: str) -> None:
    """Draw the value of every trial with the best one so far, and any importances beside it; write a PNG."""
    figure = Figure(figsize=(10.0 if shares else 6.5, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(1, 2 if shares else 1, 1)
    complete = [(row.slot, row.value) for row in rows if row.state == "complete" and row.value is not None]
    others = [(row.slot, row.value) for row in rows if row.state != "complete" and row.value is not None]
    axes.plot(*_columns(complete), "o", color=COLOURS[1], markersize=5, label="completed")
    if others:
        axes.plot(*_columns(others), "x", color=COLOURS[0], markersize=5, label="pruned (last evaluation)")
    best = [(slot, max(value for other, value in complete if other <= slot)) for slot, _ in complete]
    if best:
        best.append((max(row.slot for row in rows), best[-1][1]))
        axes.step(*_columns(best), where="post", color=COLOURS[2], linewidth=1.5, label="best so far", zorder=1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("trial")
    axes.set_ylabel("return: IQM over seeds")
    axes.set_title(title, loc="left", fontsize=9)
    panels = [axes]
    if shares:
        bars = figure.add_subplot(1, 2, 2)
        names = list(shares)
        bars.barh(range(len(names)), [shares[name] for name in names], color=COLOURS[1], height=0.6)
        bars.set_yticks(range(len(names)), names, fontsize=8)
        bars.invert_yaxis()
        bars.set_xlabel("importance (PED-ANOVA, shares of 1)")
        panels.append(bars)
    for panel in panels:
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=3, frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)


def _columns(points: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [slot for slot, _ in points], [value for _, value in points]
