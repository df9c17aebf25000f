"""Layout of a network's graph: neurons in columns by depth, few crossings, room for labels. Inches, y downwards."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

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
    """Positions of a graph. Nodes are sources of synapses, then outputs, then bends of long edges."""

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


@dataclass(frozen=True)
class _Graph:
    """Nodes by column, and edges: ``wires`` between neurons, ``ends`` from neurons to the outputs that they are."""

    detailed: bool
    font: float
    wires: dict[Edge, list[Synapse]]
    ends: list[Edge]
    names: dict[int, str]
    columns: list[list[int]]
    rank: dict[int, int]
    ways: dict[Edge, list[int]]

    @cached_property
    def labels(self) -> dict[Edge, str]:
        return {edge: _label(synapses) if self.detailed else "" for edge, synapses in self.wires.items()}

    @cached_property
    def port_height(self) -> dict[Edge, float]:
        """Every edge enters its neuron at its own port, behind a label that is no higher than the port."""
        if not self.detailed:
            return dict.fromkeys(self.wires, 0.0022 * self.font)
        return {edge: 0.01 + 0.12 * (1 + label.count("\n")) for edge, label in self.labels.items()}

    @cached_property
    def incoming(self) -> dict[int, list[Edge]]:
        return {node: [edge for edge in self.wires if edge[1] == node != edge[0]] for node in self.names}

    @cached_property
    def height(self) -> dict[int, float]:
        """Heights of the boxes of neurons, inputs and outputs."""
        least = 0.3 if self.detailed else 0.025 * self.font
        ports = {node: sum(self.port_height[edge] for edge in self.incoming[node]) for node in self.names}
        return {node: max(least, total + 0.06) for node, total in ports.items()}


def lay_out(circuit: SpikingCircuit) -> Layout:
    """Return the layout of a network: with labels up to 40 neurons and 150 edges, in smaller letters above that."""
    graph = _graph(circuit)
    links = [link for (pre, post), way in graph.ways.items() for link in zip((pre, *way), (*way, post), strict=True)]
    room = _room(graph)
    y = _arrange(graph.columns, links, room)
    top = min(y[node] - room[node][0] for node in y) - ABOVE
    y = {node: height - top for node, height in y.items()}
    bottom = max(y[node] + room[node][1] for node in y)
    return Layout(
        graph.detailed, graph.font, graph.wires, graph.labels, graph.names, graph.rank, graph.ways, _ports(graph, y),
        y, graph.height, *_column_sides(graph, bottom), bottom,
    )  # fmt: skip


def _graph(circuit: SpikingCircuit) -> _Graph:
    d, n = len(circuit.lines), circuit.neurons
    wires: dict[Edge, list[Synapse]] = {}
    for s in sorted(circuit.synapses, key=lambda s: (s.post, s.pre, s.delay)):
        wires.setdefault((s.pre, d + s.post), []).append(s)
    detailed = n <= _NEURONS and len(wires) <= _PAIRS
    font = TEXT if detailed else 6.0 if n <= _LEGIBLE else 4.5
    names = dict(enumerate((*circuit.lines, *names_of(circuit.notes, 32 if detailed else 18))))
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
    ends = [(d + neuron, d + n + j) for j, (_, neuron) in enumerate(circuit.outputs)]
    # An edge over several columns bends through its own gap in each of them.
    ways: dict[Edge, list[int]] = {}
    fresh = d + n + len(circuit.outputs)
    for edge in (*wires, *ends):
        a, b = rank[edge[0]], rank[edge[1]]
        between = (range(a + 1, b) if a < b else range(a - 1, b, -1)) if detailed else range(0)
        ways[edge] = list(range(fresh, fresh + len(between)))
        fresh += len(between)
        for node, c in zip(ways[edge], between, strict=True):
            rank[node] = c
            columns[c].append(node)
    return _Graph(detailed, font, wires, ends, names, columns, rank, ways)


def _room(graph: _Graph) -> dict[int, tuple[float, float]]:
    """Return the space that each node needs above and below its y."""
    columns, rank, height = graph.columns, graph.rank, graph.height
    filled = [sum(height[node] for node in column if node in graph.names) for column in columns]
    room = dict.fromkeys(rank, (0.065, 0.065))
    for node in graph.names:
        loop = 0.3 + graph.port_height[node, node] if (node, node) in graph.wires else 0.0
        is_target = any(rank[pre] > rank[node] for pre, _ in graph.incoming[node])  # of an edge that leads back
        back = 0.15 + 0.3 * height[node] if is_target else 0.0
        spare = 0.7 * max(filled) - filled[rank[node]]
        sparse = float(np.clip(spare / len(columns[rank[node]]) / 2, 0.03, 0.3))
        above, below = (0.12 + loop, 0.12 + back) if graph.detailed else (sparse, sparse)
        room[node] = (height[node] / 2 + above, height[node] / 2 + below)
    return room


def _ports(graph: _Graph, y: dict[int, float]) -> dict[Edge, float]:
    """Return the y at which each edge ends: edges in the order of their sources, those from later columns last."""
    rank, ways = graph.rank, graph.ways
    ports: dict[Edge, float] = {(pre, post): y[post] for pre, post in graph.ends}
    for node, incoming in graph.incoming.items():
        edges = sorted(
            incoming, key=lambda edge: (rank[edge[0]] > rank[edge[1]], y[ways[edge][-1] if ways[edge] else edge[0]])
        )
        top = y[node] - sum(graph.port_height[edge] for edge in edges) / 2
        for edge in edges:
            ports[edge] = top + graph.port_height[edge] / 2
            top += graph.port_height[edge]
    return ports


def _column_sides(graph: _Graph, bottom: float) -> tuple[list[float], list[float], list[float]]:
    """Return the left and the right side of each column, and the room for labels to its left."""
    left, right, stub = [MARGIN], list[float](), list[float]()
    for c, column in enumerate(graph.columns):
        boxes = [node for node in column if node in graph.names]
        incoming = [edge for node in boxes for edge in graph.incoming[node]]
        widest_label = max((width_of(graph.labels[edge], SMALL) for edge in incoming), default=0.0)
        stub.append(widest_label + 0.3 if graph.detailed else 0.06)
        if c:
            across = len(column) + 2 * sum(graph.rank[pre] == c for pre, _ in incoming)
            gap = min(0.5 + 0.04 * across, 2.0) if graph.detailed else min(0.25 * bottom, 4.0)
            left.append(right[-1] + stub[c] + gap)
        right.append(
            left[c] + max(width_of(graph.names[node], graph.font, "bold") for node in boxes) + 0.04 * graph.font
        )
    return left, right, stub


def _depths(circuit: SpikingCircuit) -> list[int]:
    """Return each neuron's column: its layer, or its longest path; neurons of a loop share a column."""
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


def _arrange(columns: list[list[int]], links: Sequence[Edge], room: dict[int, tuple[float, float]]) -> dict[int, float]:
    """Order every column but the first so that few links cross, and return the nodes' y, near those of their links.

    ``room`` is the space of a node above and below its y.
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
            target = dict.fromkeys(column, 0.0)
            for node in column if sweep >= 0 else ():
                before, within, after = beside[node]
                near = (before if sweep % 2 else after) if sweep < 16 else before + after
                near = near or before + after or within or [node]
                target[node] = float(np.mean([y[other] for other in near]))
            if c and 0 <= sweep < 16:
                column.sort(key=lambda node: target[node])
            above, below = np.array([room[node] for node in column]).T
            at = np.cumsum(above + below) - below
            y.update(zip(column, (isotonic_regression([target[v] for v in column] - at).x + at).tolist(), strict=True))
    return y


def _label(synapses: Sequence[Synapse]) -> str:
    """Return "+2 @0..2, -1.75 @3" for synapses by delay, three to a line."""
    parts, runs = list[str](), list[list[Synapse]]()
    for s in synapses:
        if runs and runs[-1][-1].weight == s.weight and runs[-1][-1].delay == s.delay - 1:
            runs[-1].append(s)
        else:
            runs.append([s])
    for run in runs:
        first, last = run[0].delay, run[-1].delay
        parts.append(f"{float(run[0].weight):+.4g} @{first}" + (f"..{last}" if last > first else ""))
    if len(parts) > 12:
        parts[11:] = [f"... ({len(synapses)} in all)"]
    each = -(-len(parts) // -(-len(parts) // 3))
    return ",\n".join(", ".join(parts[k : k + each]) for k in range(0, len(parts), each))
