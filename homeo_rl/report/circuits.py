"""Compiled networks as pictures: neurons and synapses as a graph, and every neuron's spikes over time.

Both are laid out in inches, y downwards: text has a width in inches, which decides how far apart things are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
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
from scipy.optimize import isotonic_regression
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from homeo_rl.compiler.circuit import CLOCK
from homeo_rl.compiler.lowering import SpikingCircuit, Synapse
from homeo_rl.compiler.simulate import simulate
from homeo_rl.errors import UsageError
from homeo_rl.report.figures import COLOURS

SUFFIXES: dict[str, dict[str, None]] = {".svg": {"Date": None}, ".png": {}, ".pdf": {"CreationDate": None}}
"""Formats that circuits are drawn in, and what is left out of each so that equal calls give equal bytes."""

_Edge = tuple[int, int]
_GREY, _EXCITES, _INHIBITS, _OUT = COLOURS[:4]
_NEURONS, _PAIRS = 40, 150  # up to these, every edge has a label and a way of its own
_ROWS = 60  # neurons up to which a raster names them
_TITLE, _TEXT, _SMALL = 10.0, 7.5, 6.2  # points
_MARGIN, _ABOVE, _BELOW = 0.3, 0.8, 0.5  # inches around a picture
_ROW, _APART = 0.19, 0.26  # inches a row of a raster, and above a group of rows
_SPAN = {"arrowstyle": "<->", "color": "0.4", "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 7}


@dataclass(frozen=True)
class _Plan:
    """Where everything of a graph lies. Nodes are sources of synapses, then outputs, then bends of long edges."""

    detailed: bool
    font: float
    wires: dict[_Edge, list[Synapse]]  # the synapses of each pair of nodes, by delay
    labels: dict[_Edge, str]
    names: dict[int, str]
    rank: dict[int, int]  # each node's column
    ways: dict[_Edge, list[int]]  # bends
    ports: dict[_Edge, float]  # y where an edge ends
    y: dict[int, float]
    height: dict[int, float]
    left: list[float]  # of columns
    right: list[float]
    stub: list[float]  # room for labels left of each column
    bottom: float


def draw_graph(circuit: SpikingCircuit, path: Path, *, title: str) -> Path:
    """Draw the neurons in columns by depth, with inputs at the left and outputs at the right.

    Synapses of one pair share an edge. Arrow heads excite, bars inhibit; an edge that does both has both, the stronger
    at its tip. Up to 40 neurons and 150 edges, each edge tells its weights and delays: "+2 @0, -1.75 @1" is a weight of
    2 without delay and one of -1.75 a step later. Larger networks have thin edges without labels, which show the
    stronger sign only, and short names.

    Args:
        circuit: the network.
        path: where the picture goes; its suffix is one of `SUFFIXES`.
        title: a line above it.

    Raises:
        UsageError: another suffix; nothing is written.
    """
    _check(path)
    plan = _planned(circuit)
    strengths = [abs(float(s.weight)) for s in circuit.synapses] or [0.0]
    how = f"width of a line: weight, {min(strengths):.4g} to {max(strengths):.4g}"
    if plan.detailed:
        how += "; label: weight @delay; both signs: the stronger at the tip"
    figure, axes = _sheet([title, _about(circuit), how], plan.right[-1] + 0.12 + _MARGIN, plan.bottom + _BELOW)
    _draw_edges(axes, plan)
    _draw_nodes(axes, plan, len(circuit.lines), {len(circuit.lines) + neuron for _, neuron in circuit.outputs})
    keys = [
        Line2D([], [], color=_EXCITES, marker=">", markersize=5, label="excites"),
        Line2D([], [], color=_INHIBITS, marker="|", markersize=8, markeredgewidth=2, label="inhibits"),
        Line2D([], [], color=_OUT, linewidth=1.6, label="its spikes leave"),
    ]
    return _save(figure, path, keys)


def _planned(circuit: SpikingCircuit) -> _Plan:
    d, n = len(circuit.lines), circuit.neurons
    wires: dict[_Edge, list[Synapse]] = {}
    for s in sorted(circuit.synapses, key=lambda s: (s.post, s.pre, s.delay)):
        wires.setdefault((s.pre, d + s.post), []).append(s)
    detailed = n <= _NEURONS and len(wires) <= _PAIRS
    font = _TEXT if detailed else 6.0 if n <= _ROWS else 4.5
    names: dict[int, str] = dict(enumerate((*circuit.lines, *_names(circuit.notes, 32 if detailed else 18))))
    names |= {d + n + j: name for j, (name, _) in enumerate(circuit.outputs)}
    depth = _depths(circuit)
    columns: list[list[int]] = [[] for _ in range(max(depth) + 2)]
    columns[0] = list(range(d))
    if any(pre == CLOCK for pre, _ in wires):
        names[CLOCK] = "clock"
        columns[0].append(CLOCK)
    for i, c in enumerate(depth):
        columns[c].append(d + i)
    columns[-1] = [d + n + j for j in range(len(circuit.outputs))]
    rank = {node: c for c, column in enumerate(columns) for node in column}

    # An edge over several columns bends through a gap of its own in each of them.
    ways: dict[_Edge, list[int]] = {}
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
    port = {
        edge: 0.01 + 0.12 * (1 + label.count("\n")) if detailed else 0.0022 * font for edge, label in labels.items()
    }
    incoming: dict[int, list[_Edge]] = {node: [edge for edge in wires if edge[1] == node != edge[0]] for node in names}
    least = 0.3 if detailed else 0.025 * font
    height = {node: max(least, sum(port[edge] for edge in incoming[node]) + 0.06) for node in names}
    filled = [sum(height[node] for node in column if node in names) for column in columns]
    room = dict.fromkeys(rank, (0.065, 0.065))
    for node in names:
        loop = 0.3 + port[node, node] if (node, node) in wires else 0.0
        back = 0.15 + 0.3 * height[node] if any(rank[pre] > rank[node] for pre, _ in incoming[node]) else 0.0
        spare = 0.7 * max(filled) - filled[rank[node]]
        sparse = float(np.clip(spare / len(columns[rank[node]]) / 2, 0.03, 0.3))
        above, below = (0.12 + loop, 0.12 + back) if detailed else (sparse, sparse)
        room[node] = (height[node] / 2 + above, height[node] / 2 + below)
    y = _arranged(columns, links, room)
    top = min(y[node] - room[node][0] for node in y) - _ABOVE
    y = {node: at - top for node, at in y.items()}
    ports: dict[_Edge, float] = {(pre, post): y[post] for pre, post in ends}
    for node, edges in incoming.items():  # from above to below, and those that come back from later columns last
        edges.sort(key=lambda edge: (rank[edge[0]] > rank[edge[1]], y[ways[edge][-1] if ways[edge] else edge[0]]))
        at = y[node] - sum(port[edge] for edge in edges) / 2
        for edge in edges:
            ports[edge] = at + port[edge] / 2
            at += port[edge]

    bottom = max(y[node] + room[node][1] for node in y)
    left, right, stub = [_MARGIN], list[float](), list[float]()
    for c, column in enumerate(columns):
        inwards = [edge for node in column if node in names for edge in incoming[node]]
        stub.append(max((_width(labels[edge], _SMALL) for edge in inwards), default=0.0) + 0.3 if detailed else 0.06)
        if c:
            across = len(column) + 2 * sum(rank[pre] == c for pre, _ in inwards)
            left.append(right[-1] + stub[c] + (min(0.5 + 0.04 * across, 2.0) if detailed else min(0.25 * bottom, 4.0)))
        right.append(left[c] + max(_width(names[node], font, "bold") for node in column if node in names) + 0.04 * font)
    return _Plan(detailed, font, wires, labels, names, rank, ways, ports, y, height, left, right, stub, bottom)


def _depths(circuit: SpikingCircuit) -> list[int]:
    """Return each neuron's column: its layer, or the longest way to it; neurons that form a loop share a column."""
    if circuit.target == "layered":
        return [int(c) + 1 for c in np.unique(circuit.layers, return_inverse=True)[1]]
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
    columns: list[list[int]], links: Sequence[_Edge], room: dict[int, tuple[float, float]]
) -> dict[int, float]:
    """Order every column but the first so that few links cross, and return the nodes' y, near those of their links.

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
    """Draw lines, heads and labels."""
    size, thick = (0.085, 1.0) if plan.detailed else (0.007 * plan.font, 0.35)
    most = max((abs(s.weight) for them in plan.wires.values() for s in them), default=1)
    curves, colours, widths = list[Curve](), list[str](), list[float]()
    heads, fills = list[np.ndarray](), list[str]()
    for (pre, post), way in plan.ways.items():
        them = plan.wires.get((pre, post), [])
        strongest = max(them, key=lambda s: (abs(s.weight), -s.delay), default=None)
        colour = _OUT if strongest is None else _EXCITES if strongest.weight > 0 else _INHIBITS
        signs = sorted({s.weight > 0 for s in them}, reverse=colour == _EXCITES)  # the stronger first
        tip, along = _tip(plan, pre, post)
        end = tip
        for excites in signs if plan.detailed else signs[:1]:
            deep, wide = (size, 0.45 * size) if excites else (size / 3, 0.62 * size)
            back, side = end - deep * along, wide * along[::-1]
            front = [end] if excites else [end - side, end + side]
            heads.append(np.array([*front, back + side, back - side]))
            fills.append(_EXCITES if excites else _INHIBITS)
            end = back - size / 8 * along * (len(signs) > 1)
        curves.append(_loop(tip, end, along) if pre == post else _line(plan, (pre, post), way, end))
        colours.append(colour)
        widths.append(thick * (0.6 + 2.0 * float(abs(strongest.weight) / most)) if strongest else 1.6 * thick)
        look: dict[str, Any] = {"fontsize": _SMALL, "color": colour, "linespacing": 1.25, "zorder": 4}
        look["bbox"] = {"facecolor": "w", "edgecolor": "none", "pad": 0.3}  # the line passes behind
        if plan.detailed and pre == post:
            _write(axes, tip[0] + 0.1, tip[1] - 0.31, plan.labels[pre, post], ha="center", va="bottom", **look)
        elif plan.detailed and them:
            _write(axes, end[0] - 0.06, end[1], plan.labels[pre, post], ha="right", **look)
    alpha = (0.9, 1.0) if plan.detailed else (0.35, 0.6)
    lines = PathCollection(curves, facecolors="none", edgecolors=colours, linewidths=widths, alpha=alpha[0], zorder=1)
    axes.add_collection(lines)
    axes.add_collection(PolyCollection(heads, facecolors=fills, linewidths=0, alpha=alpha[1], zorder=3))


def _tip(plan: _Plan, pre: int, post: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where an edge ends and its direction there: to the right; loops come down, or leftwards in crowds."""
    left, right, y = plan.left[plan.rank[post]], plan.right[plan.rank[post]], plan.y[post]
    if pre != post:
        return np.array([left, plan.ports[pre, post]]), np.array([1.0, 0.0])
    if plan.detailed:
        return np.array([(left + right) / 2 - 0.1, y - plan.height[post] / 2]), np.array([0.0, 1.0])
    return np.array([right, y + 0.025]), np.array([-1.0, 0.0])


def _loop(tip: np.ndarray, end: np.ndarray, along: np.ndarray) -> Curve:
    """Return the line of an edge from a neuron to itself; its head lies between ``end`` and ``tip``."""
    over, out = (np.array([0.2, 0.0]), 0.36) if along[1] else (np.array([0.0, -0.05]), 0.11)
    return Curve([tip + over, tip + 1.4 * over - out * along, tip - 0.4 * over - out * along, end], [1, 4, 4, 4])


def _line(plan: _Plan, edge: _Edge, way: list[int], end: np.ndarray) -> Curve:
    """Return an edge's line to ``end``: level wherever it leaves, passes or enters a column."""
    (pre, post), y = edge, plan.y
    a, b = plan.rank[pre], plan.rank[post]
    points, codes = list[tuple[float, float]](), [int(Curve.MOVETO)]
    label = [x - stub + 0.1 for x, stub in zip(plan.left, plan.stub, strict=True)]  # where labels begin

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
        points.append((plan.right[a], y[pre]))
        for node in way:
            bend(label[plan.rank[node]], y[node])
            straight(plan.right[plan.rank[node]])
        bend(label[b], end[1])
    else:  # out at a corner, past the labels of the neuron's own edges
        side = 1 if y[post] > y[pre] else -1
        points.append((plan.left[a] + 0.1 * plan.height[pre], y[pre] + side * plan.height[pre] / 2))
        straight(label[a])
        if a == b:
            gap = plan.left[b] - plan.stub[b] - plan.right[b - 1]
            turn(gap * min(0.2 + 0.12 * abs(y[post] - y[pre]), 1.15), end[1])
        else:  # under the other neuron and around into its left side
            for node in way:
                bend(plan.right[plan.rank[node]], y[node])
                straight(label[plan.rank[node]])
            low = y[post] + plan.height[post] / 2
            bend(plan.right[b], low + 0.07 + 0.3 * (low - end[1]))
            straight(label[b])
            turn(0.2 + 0.3 * (low - end[1]), end[1])
    straight(float(end[0]))
    return Curve(points, codes)


def _draw_nodes(axes: Axes, plan: _Plan, d: int, leaving: set[int]) -> None:
    """Draw boxes for ``d`` lines and the clock, rounded ones for neurons, flags for outputs."""
    thick = 0.9 if plan.detailed else 0.4
    for node, name in plan.names.items():
        c, y, h = plan.rank[node], plan.y[node], plan.height[node]
        x, w = plan.left[c], plan.right[c] - plan.left[c]
        look: dict[str, Any] = {"facecolor": "w", "edgecolor": _GREY, "linewidth": thick, "zorder": 2}
        if c == len(plan.left) - 1:
            look |= {"facecolor": "#d9f0e8", "edgecolor": _OUT}
            point = x + w + min(h / 2, 0.12)
            corners = [(x, y - h / 2), (x + w, y - h / 2), (point, y), (x + w, y + h / 2), (x, y + h / 2)]
            axes.add_patch(Polygon(corners, **look))
        else:
            if node in leaving:
                look |= {"edgecolor": _OUT, "linewidth": 2 * thick}
            elif node < d:
                look |= {"facecolor": "0.95", "linestyle": "--"} if node == CLOCK else {"facecolor": "0.9"}
            round_ = min(h / 2, 0.15) if node >= d else 0.02
            axes.add_patch(FancyBboxPatch((x, y - h / 2), w, h, boxstyle=f"round,pad=0,rounding_size={round_}", **look))
        weight = "bold" if 0 <= node < d or c == len(plan.left) - 1 else "normal"
        _write(axes, x + w / 2, y, name, fontsize=plan.font, weight=weight, ha="center", zorder=5)


def _write(axes: Axes, x: float, y: float, text: str, **look: Any) -> None:
    """Write names that users chose: a dollar sign in them is no formula."""
    axes.text(x, y, text, parse_math=False, **{"fontsize": 7.0, "va": "center", **look})


def _sheet(texts: Sequence[str], width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure, wider where its title and the grey lines below it need that, and axes in inches over it."""
    sizes = [_TITLE, *[_TEXT] * (len(texts) - 1)]
    width = max(width, *(_width(text, size) + 2 * _MARGIN for text, size in zip(texts, sizes, strict=True)))
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    _write(axes, _MARGIN, 0.25, texts[0], fontsize=_TITLE)
    for i, text in enumerate(texts[1:]):
        _write(axes, _MARGIN, 0.47 + 0.16 * i, text, fontsize=_TEXT, color="0.4")
    return figure, axes


def _about(circuit: SpikingCircuit) -> str:
    n = circuit.neurons
    return (
        f"{n} neuron{'s' * (n != 1)}, {len(circuit.synapses)} synapses; leak {circuit.beta}, {circuit.reset} reset, "
        f"{circuit.target} target; latency {circuit.latency}"
    )


def draw_raster(
    circuit: SpikingCircuit, trains: np.ndarray, path: Path, *, title: str, expected: np.ndarray | None = None
) -> Path:
    """Draw every spike over time: the input lines, all neurons, and the outputs at the steps at which they spike.

    The network runs on for its latency after the train, without input, so that the last outputs are seen. Up to 60
    neurons have their names beside them.

    Args:
        circuit: the network.
        trains: the inputs' spikes [T, d] of one train.
        path: where the picture goes; its suffix is one of `SUFFIXES`.
        title: a line above it.
        expected: what the outputs [T, outputs] should be for each step of the train; drawn as hollow marks, later by
            the latency, and compared with what the network does.

    Raises:
        UsageError: another suffix, or spikes of another shape; nothing is written.
    """
    _check(path)
    d, n, ends, late, steps = len(circuit.lines), circuit.neurons, circuit.outputs, circuit.latency, len(trains)
    for what, got, many in (("trains", trains, d), ("expected outputs", expected, len(ends))):
        if got is not None and (got.shape != (steps, many) or steps == 0):
            raise UsageError(f"{what}: expected spikes [{steps or 'at least 1'}, {many}], got {list(got.shape)}")
    inputs = np.concatenate([trains, np.zeros((late, d))]).astype(bool)
    spikes = simulate(circuit, inputs[None])[0]
    out = spikes[:, [neuron for _, neuron in ends]]
    fine = _ROW if n <= _ROWS else float(np.clip(9 / n, 0.04, 0.1))
    groups = (
        ("inputs", circuit.lines, _ROW, inputs, _GREY),
        ("neurons", _names(circuit.notes, 32) if n <= _ROWS else [""] * n, fine, spikes, _EXCITES),
        ("outputs", [name for name, _ in ends], _ROW, out, _OUT),
    )
    texts = [title, _about(circuit)]
    wrong = np.zeros_like(out)
    if expected is not None:
        wrong[late:] = out[late:] != expected.astype(bool)
        texts.append(f"outputs that differ from what is expected: {wrong.sum()} of {expected.size}")
    first = _MARGIN + 0.1 + max(0.5, *(_width(name, 7.0) for _, names, *_ in groups for name in names))
    step = float(np.clip(9 / len(inputs), 0.015, 0.15))
    last = first + step * len(inputs)
    bottom = _ABOVE + sum(_APART + high * len(names) for _, names, high, *_ in groups)
    figure, axes = _sheet(texts, last + _MARGIN, bottom + 0.9)

    # Marks lie in the middle of their steps.
    stride = next(m * 10**e for e in range(9) for m in (1, 2, 5) if len(inputs) <= 12 * m * 10**e)
    for tick in range(0, len(inputs), stride):
        axes.vlines(first + step * (tick + 0.5), _ABOVE, bottom, color="0.88", linewidth=0.6, zorder=0)
        _write(axes, first + step * (tick + 0.5), bottom + 0.12, str(tick), ha="center")
    axes.hlines(bottom, first, last, color="0.3", linewidth=0.8)
    _write(axes, (first + last) / 2, bottom + 0.3, "step", ha="center")
    top = _ABOVE
    middle: np.ndarray = np.zeros(0)
    for kind, names, high, found, colour in groups:
        _write(axes, first - 0.1, top + 0.14, kind, color="0.4", style="italic", ha="right")
        middle = top + _APART + high * (np.arange(len(names)) + 0.5)
        axes.hlines(middle, first, last, color="0.93", linewidth=0.5, zorder=0)
        for y, name in zip(middle, names, strict=True):
            _write(axes, first - 0.1, y, name, ha="right")
        t, k = np.nonzero(found)
        reach, wide = 0.3 * high, min(0.4 * step * 72, 4.0)
        axes.vlines(first + step * (t + 0.5), middle[k] - reach, middle[k] + reach, color=colour, linewidth=wide)
        top += _APART + high * len(names)
    keys = [Line2D([], [], color=_OUT, marker="|", markersize=8, markeredgewidth=2, linestyle="", label="spike")]
    begin, end, y = first + step / 2, first + step * (late + 0.5), middle[0] - _ROW / 2 - 0.12
    _write(axes, end + 0.06, y, f"latency {late}", fontsize=6.5, color="0.4")
    if late:  # an input at step 0 is answered where the arrow ends
        axes.annotate("", (end, y), (begin, y), arrowprops=_SPAN)
        axes.vlines([begin, end], y - 0.06, bottom, color="0.4", linewidth=0.6, linestyle=":", zorder=0)
        axes.fill_between([last - step * late, last], _ABOVE, bottom, color="0.95", linewidth=0, zorder=-1)
        _write(axes, last, _ABOVE + 0.12, "after the train", fontsize=6.5, color="0.4", ha="right")
    if expected is not None:
        t, k = np.nonzero(expected)
        corner = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [0.42 * step, 0.42 * _ROW]
        boxes = np.stack([first + step * (t + late + 0.5), middle[k]], 1)[:, None] + corner
        axes.add_collection(PolyCollection(boxes, facecolors="none", edgecolors="k", linewidths=0.7, zorder=3))
        t, k = np.nonzero(wrong)
        axes.plot(first + step * (t + 0.5), middle[k], "x", color=_INHIBITS, markersize=5, zorder=4)
        keys.append(Line2D([], [], color="k", marker="s", markerfacecolor="none", linestyle="", label="expected spike"))
        if wrong.any():
            keys.append(Line2D([], [], color=_INHIBITS, marker="x", linestyle="", label="differs"))
    return _save(figure, path, keys)


def _names(notes: Sequence[str], longest: int) -> list[str]:
    """Return a name of at most ``longest`` characters for each neuron; those of equal notes are numbered."""
    notes = [note or "neuron" for note in notes]
    times, seen, names = Counter(notes), Counter[str](), list[str]()
    for note in notes:
        seen[note] += 1
        number = f" #{seen[note]}" if times[note] > 1 else ""
        space = longest - len(number)
        names.append((note if len(note) <= space else note[: space - 1] + "\u2026") + number)
    return names


def _label(them: Sequence[Synapse]) -> str:
    """Return "+2 @0..2, -1.75 @3" for synapses by delay, three to a line."""
    parts, runs = list[str](), list[list[Synapse]]()
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


def _width(text: str, size: float, weight: str = "normal") -> float:
    """Return the width in inches of a text's longest line; ``size`` in points."""
    font = FontProperties(size=size, weight=weight)
    lines = text.split("\n")
    return max(text_to_path.get_text_width_height_descent(line, font, ismath=False)[0] for line in lines) / 72


def _check(path: Path) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: expected a picture's name that ends in {', '.join(SUFFIXES)}, got {path.suffix!r}")


def _save(figure: Figure, path: Path, keys: Sequence[Line2D]) -> Path:
    """Put the legend below everything, where texts begin, and write the picture."""
    at = (_MARGIN / figure.get_figwidth(), 0.12 / figure.get_figheight())
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": at, "borderaxespad": 0, "borderpad": 0}
    figure.legend(handles=keys, ncols=4, frameon=False, fontsize=_TEXT, **place)
    kind = path.suffix.lower()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "homeo-rl"}):
        figure.savefig(path, format=kind[1:], dpi=140, metadata=SUFFIXES[kind])
    return path
