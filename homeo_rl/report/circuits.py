"""Compiled networks as graphs: neurons in columns by depth, synapses between them."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch, Polygon
from matplotlib.path import Path as Curve

from homeo_rl.compiler.circuit import CLOCK
from homeo_rl.compiler.lowering import SpikingCircuit
from homeo_rl.report.circuit_layout import Edge, Layout, lay_out
from homeo_rl.report.graph_style import (
    EXCITES,
    GREY,
    INHIBITS,
    MARGIN,
    OUT,
    SMALL,
    about,
    check_suffix,
    save,
    sheet,
    write,
)

_BELOW = 0.5  # inches


def draw_graph(circuit: SpikingCircuit, path: Path, *, title: str) -> Path:
    """Draw the neurons in columns by depth, with inputs at the left and outputs at the right.

    Synapses of one pair share an edge. Arrow heads excite, bars inhibit; an edge with both signs has both, the stronger
    at its tip. Up to 40 neurons and 150 edges, labels state weights and delays: "+2 @0, -1.75 @1" is a weight of 2
    without delay and one of -1.75 a step later. Larger networks have thin edges of the stronger sign without labels,
    and short names.

    ``path``: the picture; its suffix is one of `graph_style.SUFFIXES`. Raises UsageError: another suffix; nothing is
    written.
    """
    check_suffix(path)
    layout = lay_out(circuit)
    strengths = [abs(float(s.weight)) for s in circuit.synapses] or [0.0]
    how = f"width of a line: weight, {min(strengths):.4g} to {max(strengths):.4g}"
    if layout.detailed:
        how += "; label: weight @delay; both signs: the stronger at the tip"
    figure, axes = sheet([title, about(circuit), how], layout.right[-1] + 0.12 + MARGIN, layout.bottom + _BELOW)
    _draw_edges(axes, layout)
    _draw_nodes(axes, layout, len(circuit.lines), {len(circuit.lines) + neuron for _, neuron in circuit.outputs})
    keys = [
        Line2D([], [], color=EXCITES, marker=">", markersize=5, label="excites"),
        Line2D([], [], color=INHIBITS, marker="|", markersize=8, markeredgewidth=2, label="inhibits"),
        Line2D([], [], color=OUT, linewidth=1.6, label="its spikes leave"),
    ]
    return save(figure, path, keys)


def _draw_edges(axes: Axes, layout: Layout) -> None:
    size, thick = (0.085, 1.0) if layout.detailed else (0.007 * layout.font, 0.35)
    most = max((abs(s.weight) for wire in layout.wires.values() for s in wire), default=1)
    curves, colours, widths = list[Curve](), list[str](), list[float]()
    heads, fills = list[np.ndarray](), list[str]()
    for (pre, post), way in layout.ways.items():
        wire = layout.wires.get((pre, post), [])
        strongest = max(wire, key=lambda s: (abs(s.weight), -s.delay), default=None)
        colour = OUT if strongest is None else EXCITES if strongest.weight > 0 else INHIBITS
        signs = sorted({s.weight > 0 for s in wire}, reverse=colour == EXCITES)  # the stronger first
        tip, along = _tip(layout, pre, post)
        end = tip
        for excites in signs if layout.detailed else signs[:1]:
            deep, wide = (size, 0.45 * size) if excites else (size / 3, 0.62 * size)
            back, side = end - deep * along, wide * along[::-1]
            front = [end] if excites else [end - side, end + side]
            heads.append(np.array([*front, back + side, back - side]))
            fills.append(EXCITES if excites else INHIBITS)
            end = back - size / 8 * along * (len(signs) > 1)
        curves.append(_loop(tip, end, along) if pre == post else _line(layout, (pre, post), way, end))
        colours.append(colour)
        widths.append(thick * (0.6 + 2.0 * float(abs(strongest.weight) / most)) if strongest else 1.6 * thick)
        look: dict[str, Any] = {"fontsize": SMALL, "color": colour, "linespacing": 1.25, "zorder": 4}
        look["bbox"] = {"facecolor": "w", "edgecolor": "none", "pad": 0.3}  # the line passes behind
        if layout.detailed and pre == post:
            write(axes, tip[0] + 0.1, tip[1] - 0.31, layout.labels[pre, post], ha="center", va="bottom", **look)
        elif layout.detailed and wire:
            write(axes, end[0] - 0.06, end[1], layout.labels[pre, post], ha="right", **look)
    alpha = (0.9, 1.0) if layout.detailed else (0.35, 0.6)
    lines = PathCollection(curves, facecolors="none", edgecolors=colours, linewidths=widths, alpha=alpha[0], zorder=1)
    axes.add_collection(lines)
    axes.add_collection(PolyCollection(heads, facecolors=fills, linewidths=0, alpha=alpha[1], zorder=3))


def _tip(layout: Layout, pre: int, post: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the end of an edge and its direction there: to the right; loops downwards, in large networks leftwards."""
    left, right, y = layout.left[layout.rank[post]], layout.right[layout.rank[post]], layout.y[post]
    if pre != post:
        return np.array([left, layout.ports[pre, post]]), np.array([1.0, 0.0])
    if layout.detailed:
        return np.array([(left + right) / 2 - 0.1, y - layout.height[post] / 2]), np.array([0.0, 1.0])
    return np.array([right, y + 0.025]), np.array([-1.0, 0.0])


def _loop(tip: np.ndarray, end: np.ndarray, along: np.ndarray) -> Curve:
    """Return the line of an edge from a neuron to itself; its head lies between ``end`` and ``tip``."""
    over, out = (np.array([0.2, 0.0]), 0.36) if along[1] else (np.array([0.0, -0.05]), 0.11)
    return Curve([tip + over, tip + 1.4 * over - out * along, tip - 0.4 * over - out * along, end], [1, 4, 4, 4])


def _line(layout: Layout, edge: Edge, way: list[int], end: np.ndarray) -> Curve:
    """Return an edge's line to ``end``, horizontal wherever it leaves, passes or enters a column."""
    (pre, post), y = edge, layout.y
    a, b = layout.rank[pre], layout.rank[post]
    points, codes = list[tuple[float, float]](), [int(Curve.MOVETO)]
    label = [x - stub + 0.1 for x, stub in zip(layout.left, layout.stub, strict=True)]  # where labels begin

    def bend(x: float, to: float) -> None:
        (x0, y0), half = points[-1], (x - points[-1][0]) / 2
        points.extend([(x0 + half, y0), (x - half, to), (x, to)])
        codes.extend([int(Curve.CURVE4)] * 3)

    def turn(out: float, to: float) -> None:
        x, y0 = points[-1]
        points.extend([(x - out, y0), (x - out, to), (x, to)])
        codes.extend([int(Curve.CURVE4)] * 3)

    def straight(x: float) -> None:
        points.append((x, points[-1][1]))
        codes.append(int(Curve.LINETO))

    if a < b:
        points.append((layout.right[a], y[pre]))
        for node in way:
            bend(label[layout.rank[node]], y[node])
            straight(layout.right[layout.rank[node]])
        bend(label[b], end[1])
    else:  # out at a corner, past the labels of the neuron's own edges
        side = 1 if y[post] > y[pre] else -1
        points.append((layout.left[a] + 0.1 * layout.height[pre], y[pre] + side * layout.height[pre] / 2))
        straight(label[a])
        if a == b:
            gap = layout.left[b] - layout.stub[b] - layout.right[b - 1]
            turn(gap * min(0.2 + 0.12 * abs(y[post] - y[pre]), 1.15), end[1])
        else:  # under the other neuron and around into its left side
            for node in way:
                bend(layout.right[layout.rank[node]], y[node])
                straight(label[layout.rank[node]])
            low = y[post] + layout.height[post] / 2
            bend(layout.right[b], low + 0.07 + 0.3 * (low - end[1]))
            straight(label[b])
            turn(0.2 + 0.3 * (low - end[1]), end[1])
    straight(float(end[0]))
    return Curve(points, codes)


def _draw_nodes(axes: Axes, layout: Layout, d: int, leaving: set[int]) -> None:
    thick = 0.9 if layout.detailed else 0.4
    for node, name in layout.names.items():
        c, y, h = layout.rank[node], layout.y[node], layout.height[node]
        x, w = layout.left[c], layout.right[c] - layout.left[c]
        look: dict[str, Any] = {"facecolor": "w", "edgecolor": GREY, "linewidth": thick, "zorder": 2}
        if c == len(layout.left) - 1:
            look |= {"facecolor": "#d9f0e8", "edgecolor": OUT}
            point = x + w + min(h / 2, 0.12)
            corners = [(x, y - h / 2), (x + w, y - h / 2), (point, y), (x + w, y + h / 2), (x, y + h / 2)]
            axes.add_patch(Polygon(corners, **look))
        else:
            if node in leaving:
                look |= {"edgecolor": OUT, "linewidth": 2 * thick}
            elif node < d:
                look |= {"facecolor": "0.95", "linestyle": "--"} if node == CLOCK else {"facecolor": "0.9"}
            round_ = min(h / 2, 0.15) if node >= d else 0.02
            axes.add_patch(FancyBboxPatch((x, y - h / 2), w, h, boxstyle=f"round,pad=0,rounding_size={round_}", **look))
        weight = "bold" if 0 <= node < d or c == len(layout.left) - 1 else "normal"
        write(axes, x + w / 2, y, name, fontsize=layout.font, weight=weight, ha="center", zorder=5)
