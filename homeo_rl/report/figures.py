"""Pictures of returns with intervals, and of neurons' rates."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Polygon

from homeo_rl.report.colours import COLOURS, OUTCOMES, colours, outcome_name
from homeo_rl.report.decimals import fixed
from homeo_rl.report.statistics import Cell

DISTANCE = "distance: |rate - remembered rate| of single observations, mean over observations and neurons"
"""The definition of `homeo_rl.snn.replay.Replay.errors` for all tables and pictures."""


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """Return a figure without a window and its panels without their upper and right frames; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels


def draw_returns(cells: Sequence[Cell], path: Path, *, title: str) -> None:
    """Draw interquartile mean returns with 95 % intervals, conditions from top to bottom, and write a PNG.

    ``cells``: the cells of an evaluation.
    """
    arms = list(dict.fromkeys(cell.arm for cell in cells))
    labels = list(dict.fromkeys(cell.label for cell in cells))
    step = 0.8 / max(len(arms), 1)
    figure, (axes,) = new_figure(8.0, 1.6 + len(labels) * (0.22 + 0.13 * len(arms)))
    for index, (arm, colour) in enumerate(colours(arms).items()):
        row = [cell for cell in cells if cell.arm == arm]
        height = [labels.index(cell.label) + (index - (len(arms) - 1) / 2) * step for cell in row]
        low, high = [cell.ci_low for cell in row], [cell.ci_high for cell in row]
        axes.hlines(height, low, high, color=colour, linewidth=2.2, alpha=0.55)
        axes.plot([cell.iqm for cell in row], height, "o", color=colour, markersize=5.5, label=arm)
        clean = next((cell.iqm for cell in row if cell.severity == 0.0), None)
        if clean is not None and index == 0:
            axes.axvline(clean, color=colour, linewidth=0.8, linestyle=":", zorder=0)
    for boundary in range(1, len(labels)):
        axes.axhline(boundary - 0.5, color="0.92", linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlabel("return per episode: interquartile mean, 95 % bootstrap interval")
    axes.set_title(title, loc="left", fontsize=10)
    figure.legend(loc="outside lower center", ncols=min(len(arms), 4), frameon=False)
    figure.savefig(path, dpi=130)


def draw_neurons(
    remembered: Sequence[np.ndarray],
    now: Mapping[str, Sequence[np.ndarray]],
    distances: Sequence[Sequence[float]],
    path: Path,
    *,
    title: str,
) -> Path:
    """Draw every neuron's mean rate against the recorded one, a panel for each layer, and write a picture.

    Args:
        remembered: reference rates [N] of each layer, of the undamaged network.
        now: the same of later times, by name; the last is drawn on top.
        distances: `homeo_rl.snn.replay.Replay.errors` of each layer, at each later time. The points are means over all
            observations and may lie nearer to the line.
    """
    styles = ((COLOURS[0], 0.45), (colours(["sleep"])["sleep"], 0.75))  # before and after sleep
    figure, panels = new_figure(2.9 * len(remembered), 3.5, columns=len(remembered))
    for layer, (axes, reference) in enumerate(zip(panels, remembered, strict=True)):
        every = np.concatenate([reference, *(rates[layer] for rates in now.values())])
        low, high = min(0.0, float(every.min())), max(1.0, float(every.max()))
        axes.plot([low, high], [low, high], color="0.75", linewidth=0.8, zorder=0)
        for index, (name, rates) in enumerate(now.items()):
            label = name if layer == 0 else None
            colour, alpha = styles[index % 2][0], styles[min(index, 1)][1]
            axes.plot(reference, rates[layer], "o", label=label, color=colour, alpha=alpha, markersize=3.0, mew=0)
        errors = " to ".join(f"{layers[layer]:.4f}" for layers in distances)
        axes.set_title(f"layer {layer}: distance {errors}", loc="left", fontsize=8)
        axes.set_xlabel("remembered rate")
        axes.set_aspect("equal")
    panels[0].set_ylabel("rate now")
    figure.suptitle(title, x=0.01, ha="left", fontsize=9)
    figure.supxlabel(DISTANCE, fontsize=8)
    figure.legend(loc="outside upper right", ncols=len(now), frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)
    return path


def draw_anytime(cells: Mapping[int | None, Sequence[Cell]], path: Path, title: str) -> Path:
    """Draw interquartile mean returns with 95 % intervals against the spike steps of a decision, and write a PNG.

    ``cells``: those of one evaluation for every number of steps.
    """
    steps = sorted(step for step in cells if step is not None)
    lines = dict.fromkeys((cell.arm, cell.label) for of_step in cells.values() for cell in of_step)
    figure, (axes,) = new_figure(7.0, 3.6)
    for index, (arm, label) in enumerate(lines):
        line = [next(c for c in cells[step] if (c.arm, c.label) == (arm, label)) for step in steps]
        colour = COLOURS[index % len(COLOURS)]
        axes.fill_between(steps, [c.ci_low for c in line], [c.ci_high for c in line], color=colour, alpha=0.2, lw=0)
        axes.plot(steps, [c.iqm for c in line], "o-", color=colour, label=f"{arm}, {label}")
    axes.set_xticks(steps)
    axes.set_xlabel("spike steps of a decision")
    axes.set_ylabel("return per episode: IQM, 95 % interval")
    axes.set_title(title, loc="left", fontsize=9)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)
    return path


_PANELS = 4  # side by side


def draw_paths(document: dict[str, Any], path: Path, *, title: str) -> None:
    """Draw paths.json of an evaluation: arms side by side, conditions one below the other, and write a PNG.

    ``document``: {"cells": [{"arm", "condition", "world", "episodes": [{"outcome", "goal", "path"}]}]}; metres.
    """
    cells = {(cell["arm"], cell["condition"]): cell for cell in document["cells"]}
    arms = list(dict.fromkeys(arm for arm, _ in cells))
    conditions = list(dict.fromkeys(condition for _, condition in cells))
    blocks = max(1, min(_PANELS // len(arms), len(conditions)))
    rows, columns = -(-len(conditions) // blocks), blocks * len(arms)
    figure, panels = new_figure(3.1 * columns, 3.5 * rows + 0.7, rows, columns)
    for axes in panels:
        axes.set_axis_off()
    for index, condition in enumerate(conditions):
        for column, arm in enumerate(arms):
            if (arm, condition) in cells:
                place = index // blocks * columns + index % blocks * len(arms) + column
                _draw_panel(panels[place], cells[arm, condition])
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
