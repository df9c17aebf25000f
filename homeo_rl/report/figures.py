"""Robustness as a picture: one panel of returns, one line an arm and condition, intervals drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from homeo_rl.report.colours import COLOURS, colours
from homeo_rl.report.statistics import Cell

DISTANCE = "distance: |rate - remembered rate| of single observations, mean over observations and neurons"
"""What `homeo_rl.snn.replay.Replay.errors` measures, in the words of every table and picture that shows it."""


def draw_returns(cells: Sequence[Cell], path: Path, *, title: str) -> None:
    """Draw interquartile mean returns with 95 % intervals, conditions from top to bottom, and write a PNG.

    Args:
        cells: the cells of an evaluation.
        path: where the picture goes.
        title: a line above it.
    """
    arms = list(dict.fromkeys(cell.arm for cell in cells))
    labels = list(dict.fromkeys(cell.label for cell in cells))
    step = 0.8 / max(len(arms), 1)
    coloured = colours(arms)
    figure = Figure(figsize=(8.0, 1.6 + len(labels) * (0.22 + 0.13 * len(arms))), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for place, arm in enumerate(arms):
        colour = coloured[arm]
        mine = [cell for cell in cells if cell.arm == arm]
        height = [labels.index(cell.label) + (place - (len(arms) - 1) / 2) * step for cell in mine]
        middle = [cell.iqm for cell in mine]
        axes.hlines(
            height,
            [c.ci_low for c in mine],
            [c.ci_high for c in mine],
            color=colour,
            linewidth=2.2,
            alpha=0.55,
        )
        axes.plot(middle, height, "o", color=colour, markersize=5.5, label=arm)
        clean = next((cell.iqm for cell in mine if cell.severity == 0.0), None)
        if clean is not None and place == 0:
            axes.axvline(clean, color=colour, linewidth=0.8, linestyle=":", zorder=0)
    for row in range(1, len(labels)):
        axes.axhline(row - 0.5, color="0.92", linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlabel("return per episode: interquartile mean, 95 % bootstrap interval")
    axes.set_title(title, loc="left", fontsize=10)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
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
    """Draw every neuron's mean rate against the remembered one, a panel a layer, and write a picture.

    Args:
        remembered: rates [N] of each layer when it was healthy.
        now: the same of later times, by name; the last is drawn on top.
        distances: of each later time, what `homeo_rl.snn.replay.Replay.errors` says of each layer. The points are means
            over all observations and may lie nearer to the line than this.
        path: where the picture goes.
        title: a line above it.
    """
    figure = Figure(figsize=(2.9 * len(remembered), 3.5), layout="constrained")
    FigureCanvasAgg(figure)
    for index, (axes, wanted) in enumerate(
        zip(np.atleast_1d(figure.subplots(1, len(remembered))), remembered, strict=True)
    ):
        every = np.concatenate([wanted, *(rates[index] for rates in now.values())])
        low, high = min(0.0, float(every.min())), max(1.0, float(every.max()))
        axes.plot([low, high], [low, high], color="0.75", linewidth=0.8, zorder=0)
        said = " to ".join(f"{layers[index]:.4f}" for layers in distances)
        for place, (name, rates) in enumerate(now.items()):
            style = {"markersize": 3.0, "alpha": 0.45 if place == 0 else 0.75, "markeredgewidth": 0}
            axes.plot(
                wanted,
                rates[index],
                "o",
                color=(COLOURS[0], colours(["sleep"])["sleep"])[place % 2],  # as it is, and what sleep made of it
                label=name if index == 0 else None,
                **style,
            )
        axes.set_title(f"layer {index}: distance {said}", loc="left", fontsize=8)
        axes.set_xlabel("remembered rate")
        axes.set_aspect("equal")
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    figure.axes[0].set_ylabel("rate now")
    figure.suptitle(title, x=0.01, ha="left", fontsize=9)
    figure.supxlabel(DISTANCE, fontsize=8)
    figure.legend(loc="outside upper right", ncols=len(now), frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)
    return path


def draw_anytime(cells: Mapping[int | None, Sequence[Cell]], path: Path, title: str) -> Path:
    """Draw interquartile mean returns with 95 % intervals against the spike steps of a decision, and write a PNG.

    Args:
        cells: those of one evaluation for every number of steps.
        path: where the picture goes.
        title: a line above it.
    """
    steps = sorted(step for step in cells if step is not None)
    lines = list(dict.fromkeys((cell.arm, cell.label) for found in cells.values() for cell in found))
    figure = Figure(figsize=(7.0, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for place, (arm, label) in enumerate(lines):
        mine = [next(c for c in cells[step] if (c.arm, c.label) == (arm, label)) for step in steps]
        colour = COLOURS[place % len(COLOURS)]
        axes.fill_between(steps, [c.ci_low for c in mine], [c.ci_high for c in mine], color=colour, alpha=0.2, lw=0)
        axes.plot(steps, [c.iqm for c in mine], "o-", color=colour, label=f"{arm}, {label}")
    axes.set_xticks(steps)
    axes.set_xlabel("spike steps of a decision")
    axes.set_ylabel("return per episode: IQM, 95 % interval")
    axes.set_title(title, loc="left", fontsize=9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)
    return path
