"""The pictures of a study."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from homeo_rl.report.colours import ARMS, COLOURS
from homeo_rl.studies.results import DAMAGED, Recovery, Results, difference_of, mean_of, profile_of

MAIN = ARMS[:6]
"""Arms with colours of their own in every picture."""

MARKERS = "osD^v"
"""Arm by arm: what tells those apart that have no colour of their own."""


def colour_of(arm: str) -> str:
    """Return the colour of an arm; ``bdett+dwam`` has that of what was added to what the host was trained with."""
    added = next((name for name in sorted(MAIN, key=len, reverse=True) if f"+{arm}".endswith(f"+{name}")), None)
    return "0.6" if added is None else COLOURS[MAIN.index(added)]


def dashes_of(arm: str) -> Any:
    """Return how the line of an arm is drawn: joined arms in dashes, as one of the two often does it all."""
    return (0, (4, 2)) if "+" in arm else "-"


def shown_of(arms: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Return which arms of a group are drawn: those wanted, or the first ones where none of them is there."""
    return [arm for arm in wanted if arm in arms] or list(arms[: len(wanted)])


def draw_arms(results: Results, path: Path) -> Path:
    """Draw what every arm keeps, a panel a group: mean over all damaged cells with its interval."""
    groups = compared_in(results)
    counts = [len(results.arms(group)) for group in groups]
    figure, panels = _panels(groups, 3.6, 0.9 + 0.24 * max(counts))
    for axes, group in zip(panels, groups, strict=True):
        arms = results.arms(group)
        for row, arm in enumerate(arms):
            cells = results.of(group, arm, kinds=DAMAGED)
            if not cells:
                continue
            found = mean_of(cells)
            axes.hlines(row, found.low, found.high, color=colour_of(arm), linewidth=2.5, alpha=0.55)
            axes.plot(found.mean, row, "o", color=colour_of(arm), markersize=5.5)
            if row == 0:
                axes.axvline(found.mean, color="0.3", linewidth=0.8, linestyle=":", zorder=0)
        axes.set_yticks(range(len(arms)), arms, fontsize=8)
        axes.set_ylim(len(arms) - 0.4, -0.6)
        axes.set_xlabel(measure_of(results, group), fontsize=8)
    return _saved(figure, path)


def draw_conditions(results: Results, path: Path, arms: Sequence[str] = MAIN[1:4]) -> Path:
    """Draw the paired difference to the reference under each condition, averaged over hosts, a panel a group."""
    groups = compared_in(results)
    labels = {g: list(dict.fromkeys(c.condition for c in results.of(g))) for g in groups}
    figure, panels = _panels(groups, 3.6, 1.0 + 0.3 * max(len(found) for found in labels.values()))
    for axes, group in zip(panels, groups, strict=True):
        shown = shown_of(results.arms(group)[1:], arms)
        for place, arm in enumerate(shown):
            for row, label in enumerate(labels[group]):
                pairs = results.pairs(results.of(group, arm, condition=label))
                if not pairs:
                    continue
                found, at = difference_of(pairs), row + 0.22 * (place - (len(shown) - 1) / 2)
                axes.hlines(at, found.low, found.high, color=colour_of(arm), linewidth=2.0, alpha=0.55)
                told, mark = arm if row == 0 else None, MARKERS[place % len(MARKERS)]
                axes.plot(found.mean, at, mark, color=colour_of(arm), markersize=4.5, label=told)
        axes.axvline(0.0, color="0.3", linewidth=0.8, zorder=0)
        axes.set_yticks(range(len(labels[group])), labels[group], fontsize=8)
        axes.set_ylim(len(labels[group]) - 0.4, -0.6)
        axes.set_xlabel(f"{measure_of(results, group)}, minus {results.reference(group)}", fontsize=8)
    _legend(figure, panels)
    return _saved(figure, path)


def draw_profiles(results: Results, path: Path, arms: Sequence[str] = MAIN) -> Path:
    """Draw performance profiles: the share of damaged episodes that keep at least so much."""
    groups = [group for group in compared_in(results) if measure_of(results, group) == "retention"]
    levels = np.linspace(0.0, 1.1, 111)
    figure, panels = _panels(groups, 3.6, 3.0)
    for axes, group in zip(panels, groups, strict=True):
        for arm in shown_of(results.arms(group), arms):
            cells = results.of(group, arm, kinds=DAMAGED)
            if cells:
                look = {"color": colour_of(arm), "linestyle": dashes_of(arm)}
                axes.plot(levels, profile_of(cells, levels), linewidth=1.6, label=arm, **look)
        axes.set_xlabel("retention of at least", fontsize=8)
        axes.set_ylim(0, 1)
    panels[0].set_ylabel("share of damaged episodes", fontsize=8)
    _legend(figure, panels)
    return _saved(figure, path)


def draw_recovery(recoveries: Sequence[Recovery], path: Path, arms: Sequence[str] = MAIN) -> Path:
    """Draw reward around a damage in mid-episode, relative to clean episodes, a panel a group and condition."""
    arms_at = Counter((r.group, r.condition) for r in recoveries)
    places = [place for place, count in arms_at.items() if count > 1] or list(arms_at)
    figure, panels = _panels([f"{group}: {label}" for group, label in places], 3.6, 2.8)
    for axes, place in zip(panels, places, strict=True):
        here = {r.arm: r for r in recoveries if (r.group, r.condition) == place}
        for arm in shown_of(list(here), arms):
            steps = np.arange(len(here[arm].course)) * here[arm].every
            axes.plot(steps, here[arm].course, color=colour_of(arm), ls=dashes_of(arm), lw=1.4, label=arm)
        one = next(iter(here.values()))
        steps = np.arange(len(one.usual)) * one.every
        axes.plot(steps, one.usual, color="0.6", lw=1.0, ls=":", zorder=0, label="reference, clean")
        axes.axvline(one.onset, color="0.3", linewidth=0.8, linestyle=":", zorder=0)
        axes.set_xlabel("decision", fontsize=8)
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    panels[0].set_ylabel("reward, 1 is clean", fontsize=8)
    _legend(figure, panels)
    return _saved(figure, path)


def compared_in(results: Results) -> list[str]:
    """Return the groups in which arms are compared, or all where none are."""
    return [group for group in results.groups if len(results.arms(group)) > 1] or results.groups


def measure_of(results: Results, group: str) -> str:
    """Return what a group's values are."""
    first = results.of(group)[0]
    return "retention" if np.isnan(first.figures["success"]).any() else "success"


def _panels(titles: Sequence[str], width: float, height: float) -> tuple[Figure, list[Axes]]:
    columns = min(3, len(titles))
    rows = -(-len(titles) // columns)
    figure = Figure(figsize=(width * columns, (height + 0.3) * rows + 0.3), layout="constrained")
    FigureCanvasAgg(figure)
    panels = list(np.atleast_1d(figure.subplots(rows, columns)).flat)
    for axes in panels[len(titles) :]:
        axes.set_axis_off()
    for axes, title in zip(panels, titles, strict=False):
        axes.set_title(title, loc="left", fontsize=9)
        axes.tick_params(labelsize=8)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    return figure, panels[: len(titles)]


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    found = {name: handle for axes in panels for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(list(found.values()), list(found), loc="outside lower center", ncols=6, frameon=False, fontsize=8)


def _saved(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=120)
    return path
