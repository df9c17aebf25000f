"""A compiled network as a NIR graph, and back.

Line 0 of the input is the clock, 1 at every step; the others are the network's lines. ``neuron_g`` are the neurons of
layer g. A linear node stands between every two groups that are joined, one for each delay. The order of a step is that
of the layers: an edge to the same or an earlier layer closes a loop and takes a step, and `nir.Delay` nodes hold what
is left of a delay. `--target unit --delays relays --reset hard` needs neither delays nor a second layer, and most
readers can run it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from homeo_rl.errors import StorageFault, UsageError
from homeo_rl.exchange.dialects import Clock, Flavour
from homeo_rl.exchange.exported_file import ExportedFile
from homeo_rl.exchange.nir_graph import FORMAT, KEY, write_file
from homeo_rl.exchange.nir_import import clock_of, read_graph, read_metadata, same
from homeo_rl.exchange.nir_nodes import Dynamics, Part, population
from homeo_rl.imports.optional_import import require
from homeo_rl.run import versions
from homeo_rl.snn.recurrent import RecurrentNetwork
from homeo_rl.spec import RecurrentSpec, dump, parse

_RESETS = {"hard": "hard", "soft": "soft", "soft_next": "late"}


@dataclass(frozen=True)
class Names:
    """What lines and outputs are called."""

    lines: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class _Bundle:
    """Synapses of one delay from a group of sources (-1: the input) to a layer, as taps and the columns they fill."""

    source: int
    layer: int
    delay: int
    taps: tuple[int, ...]
    columns: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"weights_{'input' if self.source < 0 else self.source}_{self.layer}_{self.delay}"

    @property
    def waits(self) -> int:
        """Steps beyond the one that a loop takes by itself."""
        return self.delay - (1 if self.source >= self.layer else 0)


def export_compiled(network: RecurrentNetwork, names: Names, flavour: Flavour, clock: Clock) -> ExportedFile:
    """Return the file of a compiled network's graph.

    Raises:
        UsageError: the reader that the flavour is for cannot express it.
    """
    nir = require("nir", "nir")
    return write_file(nir, build_graph(nir, network, names, flavour, clock))


def build_graph(nir: Any, network: RecurrentNetwork, names: Names, flavour: Flavour, clock: Clock) -> Any:
    """Return the graph itself; ``nir`` is the package, the rest as for `export_compiled`."""
    spec, weight = network.spec, network.weight.detach().numpy()
    groups, bundles = _groups(spec), _bundles(spec, weight)
    if not flavour.everything and (len(groups) > 1 or any(bundle.waits for bundle in bundles)):
        raise UsageError(
            f"--dialect {flavour.name}: expected neurons of one layer and delays of one step, got {len(groups)} layers "
            f"and delays of up to {max(bundle.delay for bundle in bundles)}; compile with "
            "--target unit --delays relays --reset hard"
        )
    how = Dynamics(left=spec.beta, threshold=1.0, reset=_RESETS[spec.reset])  # type: ignore[arg-type]  # one of three
    parts = [population(nir, f"neuron_{g}", how, len(group), flavour, clock) for g, group in enumerate(groups)]
    nodes: dict[str, Any] = {"input": nir.Input({"input": np.array([1 + spec.lines])})}
    edges: list[tuple[str, str]] = []
    for part in parts:
        nodes |= part.nodes
        edges += part.edges
    for bundle in bundles:
        before = "input" if bundle.source < 0 else parts[bundle.source].last
        if bundle.waits:
            count = 1 + spec.lines if bundle.source < 0 else len(groups[bundle.source])
            held = f"delay_{'input' if bundle.source < 0 else bundle.source}_{bundle.waits}"
            if held not in nodes:
                nodes[held] = nir.Delay(np.full(count, bundle.waits * clock.dt))
                edges.append((before, held))
            before = held
        count = 1 + spec.lines if bundle.source < 0 else len(groups[bundle.source])
        matrix = np.zeros((len(groups[bundle.layer]), count), dtype=np.float32)
        matrix[:, list(bundle.columns)] = weight[np.ix_(groups[bundle.layer], np.array(bundle.taps))]
        nodes[bundle.name] = nir.Linear(matrix)
        edges.append((before, bundle.name))
        after = bundle.name
        if flavour.detour and bundle.source >= 0:
            after = f"{bundle.name}_on"
            nodes[after] = nir.Linear(np.eye(len(matrix), dtype=np.float32))
            edges.append((bundle.name, after))
        edges.append((after, parts[bundle.layer].first))
    _ends(nir, spec, groups, parts, nodes, edges)
    return nir.NIRGraph(nodes, edges, metadata=_metadata(spec, names, flavour, clock))


def read_compiled(path: Path) -> tuple[RecurrentNetwork, Names]:
    """Read a compiled network from a graph that was written here.

    Raises:
        UsageError: it is another graph, or its nodes are not what its metadata asks for.
        StorageFault: it is damaged or hostile.
    """
    graph = read_graph(path)
    document, _ = read_metadata(graph, path)
    if document is None or document.get("kind") != "compiled":
        raise UsageError(
            f"{path}: expected a compiled network that was written by homeo-rl export, found another graph"
        )
    where = f"{path}: metadata {KEY!r}"
    spec = parse(RecurrentSpec, document.get("network"), where=where)
    names = parse(Names, document.get("names"), where=where)
    held = sum(np.asarray(node["weight"]).size for node in graph["nodes"].values() if "weight" in node)
    if spec.neurons * len(spec.taps) > max(64 * held, 1 << 20):
        raise StorageFault(f"{path}: expected the weights of {spec.neurons} neurons, found {held}")
    network = RecurrentNetwork(spec)
    weight, groups = np.zeros((spec.neurons, len(spec.taps)), dtype=np.float32), _groups(spec)
    for bundle in _bundles(spec, None):
        node = graph["nodes"].get(bundle.name)
        if node is None:  # all of its weights are 0
            continue
        matrix = node.get("weight")
        rows, least = len(groups[bundle.layer]), max(bundle.columns) + 1
        if not isinstance(matrix, np.ndarray) or matrix.ndim != 2 or len(matrix) != rows or matrix.shape[1] < least:
            raise UsageError(f"{path}: {bundle.name}: expected a matrix of {rows} rows, found another")
        weight[np.ix_(groups[bundle.layer], np.array(bundle.taps))] = matrix[:, list(bundle.columns)]
    with torch.no_grad():
        network.weight.copy_(torch.from_numpy(weight))
    nir = require("nir", "nir")
    same(build_graph(nir, network, names, *clock_of(document, path)).to_dict(), graph, path)
    return network.eval().requires_grad_(False), names


def _groups(spec: RecurrentSpec) -> list[np.ndarray]:
    """Return the neurons of each layer; layers without neurons are left out."""
    layers = np.array(spec.layers)
    return [np.flatnonzero(layers == layer) for layer in np.unique(layers)]


def _bundles(spec: RecurrentSpec, weight: np.ndarray | None) -> list[_Bundle]:
    """Return the synapses by source, layer and delay; those without a weight are left out where weights are given."""
    groups = _groups(spec)
    place = {int(neuron): (g, column) for g, group in enumerate(groups) for column, neuron in enumerate(group)}
    synapses: dict[tuple[int, int, int], list[tuple[int, int]]] = {}
    for tap, (source, delay) in enumerate(spec.taps):
        inner = source >= spec.lines
        group, column = place[source - spec.lines] if inner else (-1, source + 1)
        for layer in range(len(groups)):
            at_once = inner and delay == 0
            if at_once and group >= layer:  # nothing reads a neuron before it has spiked
                continue
            synapses.setdefault((group, layer, delay), []).append((tap, column))
    bundles = [
        _Bundle(group, layer, delay, *(tuple(column) for column in zip(*pairs, strict=True)))
        for (group, layer, delay), pairs in sorted(synapses.items())
    ]
    if weight is None:
        return bundles
    return [bundle for bundle in bundles if weight[np.ix_(groups[bundle.layer], np.array(bundle.taps))].any()]


def _ends(
    nir: Any,
    spec: RecurrentSpec,
    groups: list[np.ndarray],
    parts: list[Part],
    nodes: dict[str, Any],
    edges: list[tuple[str, str]],
) -> None:
    """Lead the output neurons' spikes to the output, in the order of the network's outputs."""
    for g, (group, part) in enumerate(zip(groups, parts, strict=True)):
        chosen = (np.array(spec.outputs)[:, None] == group[None]).astype(np.float32)
        if chosen.any():
            nodes[f"outputs_{g}"] = nir.Linear(chosen)
            edges += [(part.last, f"outputs_{g}"), (f"outputs_{g}", "output")]
    nodes["output"] = nir.Output({"output": np.array([len(spec.outputs)])})


def _metadata(spec: RecurrentSpec, names: Names, flavour: Flavour, clock: Clock) -> dict[str, Any]:
    notes = [
        f"flavour {flavour.name}: {flavour.comment}; a step of {clock.dt:g} s",
        f"input line 0 is a clock, 1 at every step; then {', '.join(names.lines)}",
        f"output {', '.join(names.outputs)}, {spec.latency} steps late",
        "an edge to the same or an earlier layer takes a step; Delay nodes hold the rest of a delay",
    ]
    document = {
        "format": FORMAT, "kind": "compiled", "flavour": flavour.name, "dt": clock.dt, "decay": clock.decay,
        "network": dump(spec), "names": dump(names), "versions": versions(), "notes": notes,
    }  # fmt: skip
    return {KEY: json.dumps(document, sort_keys=True)}
