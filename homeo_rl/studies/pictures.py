"""Pictures of a study."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from homeo_rl.report.colours import ARMS, COLOURS
from homeo_rl.report.figures import new_figure
from homeo_rl.studies.group_contrasts import GroupContrast
from homeo_rl.studies.results import DAMAGED, Recovery, Results, difference_of, mean_of, profile_of

MAIN = ARMS[:6]  # arms that have the same colour in every picture
COLOURED_ARMS = {
    "observer": "#56b4e9",
    "dwam+sleep+observer": "#332288",
    "kalman": "#882255",
    "oracle": "#999933",
    "mask": "0.6",
    "weight-copy": "#117733",
    "ridge": "#aa4499",
}
"""Colours of the arms of one study: those that restore observations, and other repairs of a network."""
MARKERS = "osD^vP"  # markers by arm, which distinguish arms that share the grey


def colour_of(arm: str) -> str:
    """Return the colour of an arm; ``bdett+dwam`` has that of the mechanism added to the one of the training."""
    if arm in COLOURED_ARMS:
        return COLOURED_ARMS[arm]
    added = next((name for name in sorted(MAIN, key=len, reverse=True) if f"+{arm}".endswith(f"+{name}")), None)
    return "0.6" if added is None else COLOURS[MAIN.index(added)]


def dashes_of(arm: str) -> Any:
    """Return the line style of an arm: combined arms are dashed, as they often lie on one of their parts."""
    return (0, (4, 2)) if "+" in arm else "-"


def choose_arms(arms: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Return the arms of a group to draw: those wanted and those with a colour of their own, else the first ones."""
    return [arm for arm in (*wanted, *COLOURED_ARMS) if arm in arms] or list(arms[: len(wanted)])


def draw_arms(results: Results, path: Path) -> None:
    """Draw the mean of every arm over all damaged cells with its interval, a panel for each group."""
    groups = groups_to_compare(results)
    counts = [len(results.arms(group)) for group in groups]
    figure, panels = _panels(groups, 3.6, 0.9 + 0.24 * max(counts))
    for axes, group in zip(panels, groups, strict=True):
        arms = results.arms(group)
        for row, arm in enumerate(arms):
            cells = results.of(group, arm, kinds=DAMAGED)
            if not cells:
                continue
            mean = mean_of(cells)
            axes.hlines(row, mean.low, mean.high, color=colour_of(arm), linewidth=2.5, alpha=0.55)
            axes.plot(mean.mean, row, "o", color=colour_of(arm), markersize=5.5)
            if row == 0:
                axes.axvline(mean.mean, color="0.3", linewidth=0.8, linestyle=":", zorder=0)
        axes.set_yticks(range(len(arms)), arms, fontsize=8)
        axes.set_ylim(len(arms) - 0.4, -0.6)
        axes.set_xlabel(measure_of(results, group), fontsize=8)
    figure.savefig(path, dpi=120)


def draw_conditions(results: Results, path: Path, arms: Sequence[str] = MAIN[1:4]) -> None:
    """Draw the paired difference to the reference under each condition, averaged over hosts, by group."""
    groups = groups_to_compare(results)
    labels = {g: list(dict.fromkeys(c.condition for c in results.of(g))) for g in groups}
    order = list(dict.fromkeys(arm for group in groups for arm in choose_arms(results.arms(group)[1:], arms)))
    figure, panels = _panels(groups, 3.6, 1.0 + 0.3 * max(map(len, labels.values())))
    for axes, group in zip(panels, groups, strict=True):
        shown = choose_arms(results.arms(group)[1:], arms)
        for index, arm in enumerate(shown):
            for row, label in enumerate(labels[group]):
                pairs = results.pairs(results.of(group, arm, condition=label))
                if not pairs:
                    continue
                gain, y = difference_of(pairs), row + 0.22 * (index - (len(shown) - 1) / 2)
                axes.hlines(y, gain.low, gain.high, color=colour_of(arm), linewidth=2.0, alpha=0.55)
                name, mark = arm if row == 0 else None, MARKERS[order.index(arm) % len(MARKERS)]
                axes.plot(gain.mean, y, mark, color=colour_of(arm), markersize=4.5, label=name)
        axes.axvline(0.0, color="0.3", linewidth=0.8, zorder=0)
        axes.set_yticks(range(len(labels[group])), labels[group], fontsize=8)
        axes.set_ylim(len(labels[group]) - 0.4, -0.6)
        axes.set_xlabel(f"{measure_of(results, group)}, minus {results.reference(group)}", fontsize=8)
    _legend(figure, panels)
    figure.savefig(path, dpi=120)


def draw_profiles(results: Results, path: Path, arms: Sequence[str] = MAIN) -> None:
    """Draw performance profiles: the share of damaged episodes above each retention."""
    groups = [group for group in groups_to_compare(results) if measure_of(results, group) == "retention"]
    levels = np.linspace(0.0, 1.1, 111)
    figure, panels = _panels(groups, 3.6, 3.0)
    for axes, group in zip(panels, groups, strict=True):
        for arm in choose_arms(results.arms(group), arms):
            cells = results.of(group, arm, kinds=DAMAGED)
            if cells:
                look = {"color": colour_of(arm), "linestyle": dashes_of(arm)}
                axes.plot(levels, profile_of(cells, levels), linewidth=1.6, label=arm, **look)
        axes.set_xlabel("retention of at least", fontsize=8)
        axes.set_ylim(0, 1)
    panels[0].set_ylabel("share of damaged episodes", fontsize=8)
    _legend(figure, panels)
    figure.savefig(path, dpi=120)


def draw_recovery(recoveries: Sequence[Recovery], path: Path, arms: Sequence[str] = MAIN) -> None:
    """Draw the reward around damage in mid-episode relative to clean episodes, by group and condition."""
    arms_at = Counter((r.group, r.condition) for r in recoveries)
    keys = [key for key, count in arms_at.items() if count > 1] or list(arms_at)
    figure, panels = _panels([f"{group}: {label}" for group, label in keys], 3.6, 2.8)
    for axes, key in zip(panels, keys, strict=True):
        by_arm = {r.arm: r for r in recoveries if (r.group, r.condition) == key}
        for arm in choose_arms(list(by_arm), arms):
            steps = np.arange(len(by_arm[arm].course)) * by_arm[arm].every
            axes.plot(steps, by_arm[arm].course, color=colour_of(arm), ls=dashes_of(arm), lw=1.4, label=arm)
        first = next(iter(by_arm.values()))
        steps = np.arange(len(first.usual)) * first.every
        axes.plot(steps, first.usual, color="0.6", lw=1.0, ls=":", zorder=0, label="reference, clean")
        axes.axvline(first.onset, color="0.3", linewidth=0.8, linestyle=":", zorder=0)
        axes.set_xlabel("decision", fontsize=8)
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    panels[0].set_ylabel("reward, 1 is clean", fontsize=8)
    _legend(figure, panels)
    figure.savefig(path, dpi=120)


def draw_group_contrasts(tables: Mapping[tuple[str, ...], Sequence[GroupContrast]], path: Path) -> None:
    """Draw the difference of retention between two groups, over all damage and under each condition, pair by pair."""
    labels = list(dict.fromkeys(contrast.what for contrasts in tables.values() for contrast in contrasts))
    figure, panels = _panels([f"{first} minus {second}" for first, second in tables], 3.6, 1.0 + 0.2 * len(labels))
    for axes, contrasts in zip(panels, tables.values(), strict=True):
        for contrast in contrasts:
            row, gap = labels.index(contrast.what), contrast.difference
            colour = "0.6" if gap.low <= 0 <= gap.high else COLOURS[1] if gap.mean > 0 else COLOURS[2]
            axes.hlines(row, gap.low, gap.high, color=colour, linewidth=2.0, alpha=0.55)
            axes.plot(gap.mean, row, "o", color=colour, markersize=4.0)
        axes.axvline(0.0, color="0.3", linewidth=0.8, zorder=0)
        axes.set_yticks(range(len(labels)), labels, fontsize=7)
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.set_xlabel("difference of retention", fontsize=8)
    figure.savefig(path, dpi=120)


def groups_to_compare(results: Results) -> list[str]:
    """Return the groups in which arms are compared under damage, or all where none are."""
    compared = [group for group in results.groups if len(results.arms(group)) > 1 and results.of(group, kinds=DAMAGED)]
    return compared or results.groups


def measure_of(results: Results, group: str) -> str:
    """Return the measure of a group's values."""
    first = results.of(group)[0]
    return "retention" if np.isnan(first.figures["success"]).any() else "success"


def _panels(titles: Sequence[str], width: float, height: float) -> tuple[Figure, list[Axes]]:
    columns = min(3, len(titles))
    rows = -(-len(titles) // columns)
    figure, panels = new_figure(width * columns, (height + 0.3) * rows + 0.3, rows, columns)
    for axes in panels[len(titles) :]:
        axes.set_axis_off()
    for axes, title in zip(panels, titles, strict=False):
        axes.set_title(title, loc="left", fontsize=9)
        axes.tick_params(labelsize=8)
    return figure, panels[: len(titles)]


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    keys = {name: handle for axes in panels for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(list(keys.values()), list(keys), loc="outside lower center", ncols=6, frameon=False, fontsize=8)
