"""Where everything of a network's graph lies: neurons in columns by depth, few crossings, room for labels.

All of it is in inches, y downwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from homeo_rl.compiler.circuit import CLOCK
from homeo_rl.compiler.lowering import SpikingCircuit, Synapse
from homeo_rl.report.graph_style import ABOVE, MARGIN, SMALL, TEXT, names_of, width_of

Edge = tuple[int, int]
"""A pair of nodes with synapses from the first to the second, or a neuron and the output that it is."""

_NEURONS, _PAIRS = 40, 150  # up to these, every edge has a label and a way of its own
_LEGIBLE = 60  # neurons up to which names without labels are not the smallest


@dataclass(frozen=True)
class Layout:
    """Where everything of a graph lies. Nodes are sources of synapses, then outputs, then bends of long edges."""

    detailed: bool
    font: float
    wires: dict[Edge, list[Synapse]]  # the synapses of each pair of nodes, by delay
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


def laid_out(circuit: SpikingCircuit) -> Layout:
    """Return where everything lies: labels only up to 40 neurons and 150 edges, smaller letters above that."""
    d, n = len(circuit.lines), circuit.neurons
    wires: dict[Edge, list[Synapse]] = {}
    for s in sorted(circuit.synapses, key=lambda s: (s.post, s.pre, s.delay)):
        wires.setdefault((s.pre, d + s.post), []).append(s)
    detailed = n <= _NEURONS and len(wires) <= _PAIRS
    font = TEXT if detailed else 6.0 if n <= _LEGIBLE else 4.5
    names: dict[int, str] = dict(enumerate((*circuit.lines, *names_of(circuit.notes, 32 if detailed else 18))))
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
    port = {
        edge: 0.01 + 0.12 * (1 + label.count("\n")) if detailed else 0.0022 * font for edge, label in labels.items()
    }
    incoming: dict[int, list[Edge]] = {node: [edge for edge in wires if edge[1] == node != edge[0]] for node in names}
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
    top = min(y[node] - room[node][0] for node in y) - ABOVE
    y = {node: at - top for node, at in y.items()}
    ports: dict[Edge, float] = {(pre, post): y[post] for pre, post in ends}
    for node, edges in incoming.items():  # from above to below, and those that come back from later columns last
        edges.sort(key=lambda edge: (rank[edge[0]] > rank[edge[1]], y[ways[edge][-1] if ways[edge] else edge[0]]))
        at = y[node] - sum(port[edge] for edge in edges) / 2
        for edge in edges:
            ports[edge] = at + port[edge] / 2
            at += port[edge]

    bottom = max(y[node] + room[node][1] for node in y)
    left, right, stub = [MARGIN], list[float](), list[float]()
    for c, column in enumerate(columns):
        inwards = [edge for node in column if node in names for edge in incoming[node]]
        stub.append(max((width_of(labels[edge], SMALL) for edge in inwards), default=0.0) + 0.3 if detailed else 0.06)
        if c:
            across = len(column) + 2 * sum(rank[pre] == c for pre, _ in inwards)
            left.append(right[-1] + stub[c] + (min(0.5 + 0.04 * across, 2.0) if detailed else min(0.25 * bottom, 4.0)))
        widest = max(width_of(names[node], font, "bold") for node in column if node in names)
        right.append(left[c] + widest + 0.04 * font)
    return Layout(detailed, font, wires, labels, names, rank, ways, ports, y, height, left, right, stub, bottom)


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
    columns: list[list[int]], links: Sequence[Edge], room: dict[int, tuple[float, float]]
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
