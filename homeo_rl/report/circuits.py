"""Compiled networks as pictures: neurons and synapses as a graph, and every neuron's spikes over time.

A circuit is a `homeo_rl.compiler.lowering.SpikingCircuit`; that package lies above this one, so it is not imported.
Both pictures are laid out in inches, y downwards: text has a width in inches, which decides how far apart things are.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch, Polygon
from matplotlib.path import Path as Curve
from matplotlib.textpath import text_to_path
from matplotlib.ticker import MaxNLocator
from scipy.optimize import isotonic_regression
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from homeo_rl.errors import UsageError
from homeo_rl.report.figures import COLOURS

SUFFIXES: dict[str, dict[str, None]] = {".svg": {"Date": None}, ".png": {}, ".pdf": {"CreationDate": None}}
"""Formats that circuits are drawn in, and what is left out of each so that equal calls give equal bytes."""

Edge = tuple[int, int]

_CLOCK = -1  # as the source of a synapse
_GREY, _EXCITES, _INHIBITS, _OUT = COLOURS[:4]
_NEURONS, _PAIRS = 40, 300  # up to these, every edge has a label and a way of its own
_SMALL = 6.2  # points, of labels
_MARGIN, _ABOVE, _BELOW = 0.3, 0.8, 0.6  # inches around a graph


@dataclass(frozen=True)
class _Plan:
    """Where everything of a graph lies. Nodes are sources of synapses, then outputs, then bends of long edges."""

    detailed: bool
    wires: dict[Edge, list[Any]]  # the synapses of each pair of nodes, by delay
    labels: dict[Edge, str]
    names: dict[int, str]
    rank: dict[int, int]  # each node's column
    ways: dict[Edge, list[int]]  # bends
    ports: dict[Edge, float]  # y where an edge ends
    y: dict[int, float]
    height: dict[int, float]
    left: list[float]  # of columns
    right: list[float]
    stub: list[float]  # room for labels left of each column
    bottom: float


def draw_graph(circuit: Any, path: Path, *, title: str) -> Path:
    """Draw the neurons in columns by depth, with inputs at the left and outputs at the right.

    Synapses of one pair share an edge. Arrow heads excite, bars inhibit; an edge that does both has both, the stronger
    at its tip. In networks of up to 40 neurons every edge tells its weights and delays: "+2 @0, -1.75 @1" is a weight
    of 2 without delay and one of -1.75 a step later. Larger ones have thin edges without labels, and short names.

    Args:
        circuit: a `homeo_rl.compiler.lowering.SpikingCircuit`.
        path: where the picture goes; its suffix is one of `SUFFIXES`.
        title: a line above it.

    Raises:
        UsageError: another suffix; nothing is written.
    """
    _check(path)
    plan = _planned(circuit)
    figure, axes = _sheet(circuit, title, max(plan.right[-1] + _MARGIN, 7.6), plan.bottom + _BELOW)
    _draw_edges(axes, plan)
    _draw_nodes(axes, plan, len(circuit.lines), {len(circuit.lines) + neuron for _, neuron in circuit.outputs})
    strengths = [abs(float(s.weight)) for s in circuit.synapses]
    span = f"width: weight, {min(strengths):.4g} to {max(strengths):.4g}" if strengths else "no synapses"
    keys = [
        Line2D([], [], color=_EXCITES, marker=">", markersize=5, label="excites"),
        Line2D([], [], color=_INHIBITS, marker="|", markersize=8, markeredgewidth=2, label="inhibits"),
        Line2D([], [], color=_OUT, marker="o", markerfacecolor="w", linestyle="", label="its spikes leave"),
        Line2D([], [], linestyle="", label=span + ("; label: weight @delay in steps" if plan.detailed else "")),
    ]
    figure.legend(handles=keys, loc="lower left", ncols=4, frameon=False, fontsize=7.5, columnspacing=1.4)
    return _save(figure, path)


def _planned(circuit: Any) -> _Plan:
    d, n = len(circuit.lines), circuit.neurons
    wires: dict[Edge, list[Any]] = {}
    for s in sorted(circuit.synapses, key=lambda s: (s.post, s.pre, s.delay)):
        wires.setdefault((s.pre, d + s.post), []).append(s)
    detailed = n <= _NEURONS and len(wires) <= _PAIRS
    names = dict(enumerate((*circuit.lines, *_names(circuit.notes, 32 if detailed else 18))))
    names |= {d + n + j: name for j, (name, _) in enumerate(circuit.outputs)}
    depth = _depths(circuit)
    columns: list[list[int]] = [[] for _ in range(max(depth) + 2)]
    columns[0] = list(range(d))
    if any(pre == _CLOCK for pre, _ in wires):
        names[_CLOCK] = "clock"
        columns[0].append(_CLOCK)
    for i, c in enumerate(depth):
        columns[c].append(d + i)
    columns[-1] = [d + n + j for j in range(len(circuit.outputs))]
    rank = {node: c for c, column in enumerate(columns) for node in column}

    # An edge over several columns bends through a gap of its own in each of them.
    ways: dict[Edge, list[int]] = {}
    ends = [(d + neuron, d + n + j) for j, (_, neuron) in enumerate(circuit.outputs)]
    fresh = d + n + len(circuit.outputs)
    for edge in (*wires, *ends):
        a, b = rank[edge[0]], rank[edge[1]]
        between = (range(a + 1, b) if a < b else range(a - 1, b, -1)) if detailed else range(0)
        ways[edge] = list(range(fresh, fresh + len(between)))
        fresh += len(between)
        for node, c in zip(ways[edge], between, strict=True):
            rank[node] = c
            columns[c].append(node)
    links = [link for (pre, post), way in ways.items() for link in zip((pre, *way), (*way, post), strict=True)]

    # Every edge enters its neuron at a port of its own, behind a label that is no higher than the port.
    labels = {edge: _label(them) if detailed else "" for edge, them in wires.items()}
    port = {edge: 0.03 + 0.1 * (1 + label.count("\n")) if detailed else 0.01 for edge, label in labels.items()}
    incoming: dict[int, list[Edge]] = {node: [edge for edge in wires if edge[1] == node != edge[0]] for node in names}
    least = 0.3 if detailed else 0.11
    height = {node: max(least, sum(port[edge] for edge in incoming[node]) + 0.06) for node in names}
    room = dict.fromkeys(rank, (0.065, 0.065))
    for node in names:
        loop = 0.3 + port[node, node] if (node, node) in wires else 0.0
        back = 0.15 + 0.3 * height[node] if any(rank[pre] > rank[node] for pre, _ in incoming[node]) else 0.0
        sparse = min(0.2, 0.02 + 3 / len(columns[rank[node]]) ** 2)
        above, below = (0.12 + loop, 0.12 + back) if detailed else (sparse, sparse)
        room[node] = (height[node] / 2 + above, height[node] / 2 + below)
    y = _arranged(columns, links, room)
    top = min(y[node] - room[node][0] for node in y) - _ABOVE
    y = {node: at - top for node, at in y.items()}
    ports: dict[Edge, float] = {(pre, post): y[post] for pre, post in ends}
    for node, edges in incoming.items():  # from above to below, and those that come back from later columns last
        edges.sort(key=lambda edge: (rank[edge[0]] > rank[edge[1]], y[ways[edge][-1] if ways[edge] else edge[0]]))
        at = y[node] - sum(port[edge] for edge in edges) / 2
        for edge in edges:
            ports[edge] = at + port[edge] / 2
            at += port[edge]

    bottom = max(y[node] + room[node][1] for node in y)
    font = 7.5 if detailed else 4.5
    left, right, stub = [_MARGIN], list[float](), list[float]()
    for c, column in enumerate(columns):
        inwards = [edge for node in column if node in names for edge in incoming[node]]
        stub.append(max((_width(labels[edge], _SMALL) for edge in inwards), default=0.0) + 0.3 if detailed else 0.06)
        if c:
            across = len(column) + 2 * sum(rank[pre] == c for pre, _ in inwards)
            left.append(right[-1] + stub[c] + (min(0.5 + 0.04 * across, 2.0) if detailed else min(0.25 * bottom, 4.0)))
        right.append(left[c] + max(_width(names[node], font) for node in column if node in names) + 0.04 * font)
    return _Plan(detailed, wires, labels, names, rank, ways, ports, y, height, left, right, stub, bottom)


def _depths(circuit: Any) -> list[int]:
    """Return each neuron's column: its layer, or the longest way to it; neurons that form a loop share a column."""
    if circuit.target == "layered":
        return [layer + 1 for layer in circuit.layers]
    d, n = len(circuit.lines), circuit.neurons
    inner = np.array([(s.pre - d, s.post) for s in circuit.synapses if s.pre >= d], dtype=np.int64).reshape(-1, 2)
    _, loop = connected_components(csr_array((np.ones(len(inner)), inner.T), shape=(n, n)), connection="strong")
    pre, post = loop[inner].T
    pre, post = pre[pre != post], post[pre != post]
    depth = np.ones(n, dtype=np.int64)
    for _ in range(n):
        np.maximum.at(depth, post, depth[pre] + 1)
    return [int(c) for c in depth[loop]]


def _arranged(
    columns: list[list[int]], links: Sequence[Edge], room: dict[int, tuple[float, float]]
) -> dict[int, float]:
    """Order every column but the first so that few links cross, and return the nodes' y: close to what they are linked to.

    ``room`` is what a node takes above and below its y.
    """
    rank = {node: c for c, column in enumerate(columns) for node in column}
    beside: dict[int, tuple[list[int], ...]] = {node: ([], [], []) for node in rank}  # before, in its column, after
    for a, b in links:
        beside[a][1 + np.sign(rank[b] - rank[a])].append(b)
        beside[b][1 + np.sign(rank[a] - rank[b])].append(a)
    y: dict[int, float] = {}
    for sweep in range(-1, 24):  # first one after another, then by what comes before or after, in the end by both
        for c in range(len(columns))[:: 1 if sweep % 2 else -1]:
            column = columns[c]
            wish = dict.fromkeys(column, 0.0)
            for node in column if sweep >= 0 else ():
                before, within, after = beside[node]
                near = (before if sweep % 2 else after) if sweep < 16 else before + after
                near = near or before + after or within or [node]
                wish[node] = float(np.mean([y[other] for other in near]))
            if c and 0 <= sweep < 16:
                column.sort(key=lambda node: wish[node])
            above, below = np.array([room[node] for node in column]).T
            at = np.cumsum(above + below) - below
            y.update(zip(column, (isotonic_regression([wish[v] for v in column] - at).x + at).tolist(), strict=True))
    return y


def _draw_edges(axes: Axes, plan: _Plan) -> None:
    size, thick = (0.085, 1.0) if plan.detailed else (0.035, 0.35)
    most = max((abs(s.weight) for them in plan.wires.values() for s in them), default=1)
    curves, colours, widths = list[Curve](), list[str](), list[float]()
    heads, fills = list[np.ndarray](), list[str]()
    for (pre, post), way in plan.ways.items():
        them = plan.wires.get((pre, post), [])
        strongest = max(them, key=lambda s: (abs(s.weight), -s.delay), default=None)
        colour = _OUT if strongest is None else _EXCITES if strongest.weight > 0 else _INHIBITS
        signs = sorted({s.weight > 0 for s in them}, reverse=colour == _EXCITES)  # the stronger first
        end, along = np.array([plan.left[plan.rank[post]], plan.ports.get((pre, post), 0.0)]), np.array([1.0, 0.0])
        if pre == post:
            end, along = _loop_end(plan, post)
        tip = end
        for excites in signs if plan.detailed else signs[:1]:
            deep, wide = (size, 0.45 * size) if excites else (size / 3, 0.62 * size)
            back, side = end - deep * along, wide * along[::-1]
            heads.append(np.array([end, back - side, back + side] if excites else [end - side, end + side, back + side, back - side]))
            fills.append(_EXCITES if excites else _INHIBITS)
            end = back - size / 8 * along * (len(signs) > 1)
        curves.append(_loop(tip, end, along) if pre == post else _line(plan, (pre, post), way, end))
        colours.append(colour)
        widths.append(thick * (0.6 + 2.0 * float(abs(strongest.weight) / most)) if strongest else 1.6 * thick)
        if plan.detailed and them:
            where = {"ha": "right", "va": "center"} if pre != post else {"ha": "center", "va": "bottom"}
            x, y = end - (0.06, 0.0) if pre != post else tip + (0.1, -0.3)
            axes.text(x, y, plan.labels[pre, post], fontsize=_SMALL, color=colour, linespacing=1.0, parse_math=False, zorder=4,
                      bbox={"facecolor": "w", "edgecolor": "none", "pad": 0.3}, **where)
    alpha = 0.9 if plan.detailed else 0.35
    axes.add_collection(PathCollection(curves, facecolors="none", edgecolors=colours, linewidths=widths, alpha=alpha, zorder=1))
    axes.add_collection(PolyCollection(heads, facecolors=fills, linewidths=0, alpha=None if plan.detailed else 0.6, zorder=3))


def _loop_end(plan: _Plan, node: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where a neuron's edge to itself ends, and its direction there: from above, or where there is no room from the right."""
    c = plan.rank[node]
    if plan.detailed:
        return np.array([(plan.left[c] + plan.right[c]) / 2 - 0.1, plan.y[node] - plan.height[node] / 2]), np.array([0.0, 1.0])
    return np.array([plan.right[c], plan.y[node] + 0.025]), np.array([-1.0, 0.0])


def _loop(tip: np.ndarray, end: np.ndarray, along: np.ndarray) -> Curve:
    """Return the line from a neuron to itself whose head lies between ``end`` and ``tip``."""
    over, out = (np.array([0.2, 0.0]), 0.36) if along[1] else (np.array([0.0, -0.05]), 0.11)
    return Curve([tip + over, tip + 1.4 * over - out * along, tip - 0.4 * over - out * along, end], [1, 4, 4, 4])


def _line(plan: _Plan, edge: Edge, way: list[int], end: np.ndarray) -> Curve:
    """Return an edge's line to ``end``: level wherever it leaves, passes or enters a column."""
    (pre, post), y = edge, plan.y
    a, b = plan.rank[pre], plan.rank[post]
    points = list[tuple[float, float]]()

    def bend(x: float, to: float) -> None:
        (x0, y0), half = points[-1], (x - points[-1][0]) / 2
        points.extend([(x0 + half, y0), (x - half, to), (x, to)])
        codes.extend([Curve.CURVE4] * 3)

    def turn(out: float, to: float) -> None:
        x, y0 = points[-1]
        points.extend([(x - out, y0), (x - out, to), (x, to)])
        codes.extend([Curve.CURVE4] * 3)

    def straight(x: float) -> None:
        points.append((x, points[-1][1]))
        codes.append(Curve.LINETO)

    label, codes = plan.left[b] - plan.stub[b] + 0.1, [int(Curve.MOVETO)]
    if a < b:
        points.append((plan.right[a], y[pre]))
        for node in way:
            bend(plan.left[plan.rank[node]], y[node])
            straight(plan.right[plan.rank[node]])
        bend(label, end[1])
    else:  # out at a corner, past the labels of the neuron's own edges
        side = 1 if y[post] > y[pre] else -1
        points.append((plan.left[a] + 0.1 * plan.height[pre], y[pre] + side * plan.height[pre] / 2))
        straight(plan.left[a] - plan.stub[a] + 0.1)
        if a == b:
            gap = plan.left[b] - plan.stub[b] - plan.right[b - 1]
            turn(gap * min(0.2 + 0.12 * abs(y[post] - y[pre]), 1.15), end[1])
        else:  # under the other neuron and around into its left side
            for node in way:
                bend(plan.right[plan.rank[node]], y[node])
                straight(plan.left[plan.rank[node]])
            low = y[post] + plan.height[post] / 2
            bend(plan.right[b], low + 0.07 + 0.3 * (low - end[1]))
            straight(label)
            turn(0.2 + 0.3 * (low - end[1]), end[1])
    straight(float(end[0]))
    return Curve(points, codes)


def _draw_nodes(axes: Axes, plan: _Plan, d: int, leaving: set[int]) -> None:
    font = 7.5 if plan.detailed else 4.5
    for node, name in plan.names.items():
        c, y, h = plan.rank[node], plan.y[node], plan.height[node]
        x, w = plan.left[c], plan.right[c] - plan.left[c]
        look: dict[str, Any] = {"facecolor": "w", "edgecolor": _GREY, "linewidth": 0.9 if plan.detailed else 0.4, "zorder": 2}
        weight = "normal"
        if c == len(plan.left) - 1:
            tip = min(h / 2, 0.12)
            axes.add_patch(Polygon([(x, y - h / 2), (x + w, y - h / 2), (x + w + tip, y), (x + w, y + h / 2), (x, y + h / 2)], **(look | {"facecolor": "#d9f0e8", "edgecolor": _OUT})))
            weight = "bold"
        else:
            if node in leaving:
                look |= {"edgecolor": _OUT, "linewidth": 2 * look["linewidth"]}
            elif node == _CLOCK:
                look |= {"linestyle": "--", "facecolor": "0.95"}
            elif node < d:
                look |= {"facecolor": "0.9"}
                weight = "bold"
            rounding = min(h / 2, 0.15) if node >= d else 0.02
            axes.add_patch(FancyBboxPatch((x, y - h / 2), w, h, boxstyle=f"round,pad=0,rounding_size={rounding}", **look))
        axes.text(x + w / 2, y, name, fontsize=font, weight=weight, ha="center", va="center_baseline" if False else "center", parse_math=False, zorder=5)


def _sheet(circuit: Any, title: str, width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure of this size with the title and what the network is, and axes in inches over all of it."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    lines = textwrap.wrap(title, int(13 * width)) or [""]
    axes.text(_MARGIN, 0.3, lines[0], fontsize=10, va="center", parse_math=False)
    about = f"{circuit.neurons} neurons, {len(circuit.synapses)} synapses; leak {circuit.beta}, {circuit.reset} reset, {circuit.target} target; latency {circuit.latency}"
    axes.text(_MARGIN, 0.52, about, fontsize=7.5, va="center", color="0.4")
    return figure, axes


def draw_raster(circuit: Any, trains: np.ndarray, path: Path, *, title: str, expected: np.ndarray | None = None) -> Path:
    """x"""
    return path


def _names(notes: Sequence[str], longest: int) -> list[str]:
    """Return a short name for each neuron; those of equal notes are numbered."""
    times, seen, names = Counter(notes), Counter[str](), list[str]()
    for note in notes:
        seen[note] += 1
        note = note or f"neuron"
        number = f" #{seen[note]}" if times[note] > 1 else ""
        space = longest - len(number)
        names.append((note if len(note) <= space else note[: space - 1] + "\u2026") + number)
    return names


def _label(them: list[Any]) -> str:
    """Return "+2 @0..2, -1.75 @3" for synapses by delay, three to a line."""
    parts, runs = list[str](), list[list[Any]]()
    for s in them:
        if runs and runs[-1][-1].weight == s.weight and runs[-1][-1].delay == s.delay - 1:
            runs[-1].append(s)
        else:
            runs.append([s])
    for run in runs:
        first, last = run[0].delay, run[-1].delay
        parts.append(f"{float(run[0].weight):+.4g} @{first}" + (f"..{last}" if last > first else ""))
    if len(parts) > 12:
        parts[11:] = [f"... ({len(them)} in all)"]
    each = -(-len(parts) // -(-len(parts) // 3))
    return ",\n".join(", ".join(parts[k : k + each]) for k in range(0, len(parts), each))


def _width(text: str, size: float) -> float:
    font = FontProperties(size=size)
    return max(text_to_path.get_text_width_height_descent(line, font, ismath=False)[0] for line in text.split("\n")) / 72


def _check(path: Path) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: expected a picture's name that ends in {', '.join(SUFFIXES)}, got {path.suffix!r}")


def _save(figure: Figure, path: Path) -> Path:
    kind = path.suffix.lower()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "homeo-rl"}):
        figure.savefig(path, format=kind[1:], dpi=130, metadata=SUFFIXES[kind])
    return path
