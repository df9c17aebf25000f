"""Trajectories of navigation episodes: a map for each arm and condition, every path coloured by its outcome."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Polygon

from homeo_rl.report.colours import OUTCOMES, outcome_name
from homeo_rl.report.decimals import fixed

_PANELS = 4  # side by side


def draw_paths(document: dict[str, Any], path: Path, *, title: str) -> None:
    """Draw paths.json of an evaluation: arms side by side, conditions one below the other, and write a PNG.

    Args:
        document: {"cells": [{"arm", "condition", "world", "episodes": [{"outcome", "goal", "path"}]}]}; metres.
    """
    cells = {(cell["arm"], cell["condition"]): cell for cell in document["cells"]}
    arms = list(dict.fromkeys(arm for arm, _ in cells))
    conditions = list(dict.fromkeys(condition for _, condition in cells))
    blocks = max(1, min(_PANELS // len(arms), len(conditions)))
    rows, columns = -(-len(conditions) // blocks), blocks * len(arms)
    figure = Figure(figsize=(3.1 * columns, 3.5 * rows + 0.7), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for index, condition in enumerate(conditions):
        for column, arm in enumerate(arms):
            if (arm, condition) in cells:
                _draw_panel(panels[index // blocks][index % blocks * len(arms) + column], cells[arm, condition])
    keys = [
        Line2D([], [], color=colour, linewidth=2, label=outcome_name(outcome)) for outcome, colour in OUTCOMES.items()
    ]
    keys.append(Line2D([], [], color="k", marker="x", linestyle="", label="collision or timeout"))
    figure.legend(handles=keys, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    figure.savefig(path, dpi=110)


def _draw_panel(axes: Axes, cell: dict[str, Any]) -> None:
    episodes, world = cell["episodes"], cell["world"]
    ended = [episode["outcome"] for episode in episodes]
    success = fixed(100 * ended.count("success") / len(ended), 0)
    axes.set_title(f"{cell['condition']}\n{cell['arm']}: {success} % of {len(ended)}", fontsize=9)
    if world is not None:
        axes.add_patch(Polygon(world["outer"], facecolor="#f7f7f7", edgecolor="0.25", linewidth=1.2))
        for polygon in world["obstacles"]:
            axes.add_patch(Polygon(polygon, facecolor="0.72", edgecolor="none"))
        for disc in world["discs"]:
            axes.add_patch(Circle(disc["center"], disc["radius"], facecolor="0.72", edgecolor="none"))
        for mover in world["movers"]:
            start, velocity = np.array(mover["start"]), np.array(mover["velocity"])
            end = start + velocity * mover["out_s"]
            axes.plot(*zip(start, end, strict=True), color="0.45", linewidth=1.0, linestyle=":")
            axes.add_patch(Circle(mover["start"], mover["radius"], facecolor="0.45", edgecolor="none"))
    # Failures last: they are few and must not lie below the others.
    for outcome, colour in OUTCOMES.items():
        paths = [episode["path"] for episode in episodes if episode["outcome"] == outcome]
        axes.add_collection(LineCollection(paths, colors=colour, linewidths=0.7, alpha=0.6))
        if outcome != "success" and paths:
            axes.plot(*zip(*(path[-1] for path in paths), strict=True), "x", color=colour, markersize=5, mew=1.5)
    axes.set_aspect("equal")
    axes.autoscale_view()
