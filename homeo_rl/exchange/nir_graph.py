"""A spiking policy as a NIR graph: linear layers and neurons as nodes, everything else in the graph's metadata.

Nodes are ``input``, then ``affine_k`` and ``neuron_k`` for each layer, then ``output``; a step of the graph is a spike
step of the policy. NIR has no node for Gaussian receptive fields, for draws, for a normaliser that clips, for rates and
for actions, so the graph begins at the encoder's spikes (or current) and ends at the spikes (or potentials) of the last
layer. The metadata has ``homeo_rl``, a JSON text, and ``tensors``, the parameters that are no node's.
"""

import io
import json
from dataclasses import replace
from typing import Any

import numpy as np

from homeo_rl.agents.controller import Controller
from homeo_rl.agents.pascal import PascalNetwork
from homeo_rl.errors import UsageError
from homeo_rl.exchange.dialects import Clock, Flavour
from homeo_rl.exchange.exported_file import ExportedFile, fingerprint
from homeo_rl.exchange.nir_nodes import dynamics_of, population
from homeo_rl.imports.optional_import import require
from homeo_rl.run import versions
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.snn.state import NetworkState
from homeo_rl.spec import ControllerSpec, dump

FORMAT = "homeo-rl nir 1"
KEY = "homeo_rl"
"""The metadata's name of our JSON text."""


def export_nir(controller: Controller, flavour: Flavour, clock: Clock) -> ExportedFile:
    """Return the file of a policy's graph.

    Raises:
        UsageError: NIR, or the reader that the flavour is for, cannot express the policy.
    """
    nir = require("nir", "nir")
    return write_file(nir, policy_graph(nir, controller, flavour, clock))


def write_file(nir: Any, graph: Any) -> ExportedFile:
    """Return a graph's file, and what its metadata says in words."""
    file = io.BytesIO()
    nir.write(file, graph)
    return ExportedFile(file.getvalue(), tuple(json.loads(graph.metadata[KEY])["notes"]))


def policy_graph(nir: Any, controller: Controller, flavour: Flavour, clock: Clock) -> Any:
    """Return the graph itself; ``nir`` is the package, the rest as for `export_nir`."""
    network, spec = _expressible(controller), controller.spec.network
    if flavour.name != "standard" and _starts(network):
        raise UsageError(
            f"--dialect {flavour.name}: the policy learnt the potentials that its membranes begin with, and the "
            "reader begins at 0; take --dialect standard, or train with --imp rest"
        )
    nodes: dict[str, Any] = {"input": nir.Input({"input": np.array([spec.widths[0]])})}
    edges: list[tuple[str, str]] = []
    before, ends = "input", spec.widths[-1]
    at_rest = NetworkState(0)
    for index, count in enumerate(spec.widths[1:]):
        layer_weights = network.weights_of(index, at_rest)
        affine, name = f"affine_{index}", f"neuron_{index}"
        nodes[affine] = nir.Affine(
            np.ascontiguousarray(layer_weights.weight.detach().numpy()),
            np.ascontiguousarray(layer_weights.bias.detach().numpy()),
        )
        edges.append((before, affine))
        before = affine
        fires = network.readout.spiking or index < len(spec.hidden)
        if fires or flavour.everything:
            leak = network.leak_of(index)
            how = dynamics_of(spec.neuron, fires=fires, tau=None if leak is None else float(leak))
            part = population(nir, name, how, count, flavour, clock)
            nodes |= part.nodes
            edges += [(before, part.first), *part.edges]
            before = part.last
    nodes["output"] = nir.Output({"output": np.array([ends])})
    edges.append((before, "output"))
    return nir.NIRGraph(nodes, edges, metadata=_metadata(controller, network, flavour, clock))


def beside(controller: Controller) -> dict[str, np.ndarray]:
    """Return the parameters that no node holds: all but the layers' weights and biases."""
    state = controller.state_dict()
    names = [name for name in state if not name.startswith(("network.layers.", "network.constants."))]
    return {name: state[name].detach().cpu().numpy() for name in names}


def as_stored(spec: ControllerSpec) -> ControllerSpec:
    """Return the specification of what a graph holds: constant currents are part of its biases."""
    network = spec.network
    return replace(spec, network=replace(network, initial="rest")) if network.initial == "constant" else spec


def _expressible(controller: Controller) -> SpikingNetwork:
    network = controller.network
    if not isinstance(network, SpikingNetwork):
        raise UsageError(
            "--to nir: expected spiking neurons, this policy is an MLP, of which NIR has no nodes; --to onnx"
        )
    if isinstance(network, PascalNetwork):
        raise UsageError(
            "--to nir: a converted policy's neurons listen, settle and then spike (docs/pascal.md), which no node of "
            "NIR does; take --to onnx"
        )
    return network


def _starts(network: SpikingNetwork) -> bool:
    """Whether some membrane begins elsewhere than at 0."""
    initial = network.initial
    return initial is not None and any(bool(value.detach().any()) for value in initial.values)


def _metadata(controller: Controller, network: SpikingNetwork, flavour: Flavour, clock: Clock) -> dict[str, Any]:
    spec = as_stored(controller.spec)
    document = {
        "format": FORMAT,
        "kind": "policy",
        "flavour": flavour.name,
        "dt": clock.dt,
        "decay": clock.decay,
        "controller": dump(spec),
        "spec_sha256": fingerprint(spec),
        "versions": versions(),
        "notes": _notes(controller, network, flavour, clock),
    }
    tensors = {
        name: float(value) if value.ndim == 0 else np.ascontiguousarray(value)
        for name, value in beside(controller).items()
    }
    return {KEY: json.dumps(document, sort_keys=True), "tensors": tensors}


def _notes(controller: Controller, network: SpikingNetwork, flavour: Flavour, clock: Clock) -> list[str]:
    """Say what the graph is, and what of the policy is not in its nodes."""
    spec = controller.spec.network
    encoder, readout = spec.encoder, spec.readout
    how = "forward Euler" if clock.decay == "euler" else "exact exponential decay"
    lasts = "a decision" if spec.membrane == "decision" else "an episode"
    notes = [
        f"flavour {flavour.name}: {flavour.comment}; {how}, a step of {clock.dt:g} s",
        f"{spec.steps} steps a decision; membranes begin again with every {lasts.split()[1]}",
        f"before the input: {'normaliser, ' if controller.spec.normalise else ''}encoder {encoder.kind} "
        f"({spec.inputs} entries -> {spec.widths[0]} lines)",
        f"after the output: read-out {readout.kind} ({spec.widths[-1]} neurons -> {spec.outputs} numbers), "
        f"squashing {controller.spec.squash}",
    ]
    if not network.readout.spiking and not flavour.everything:
        notes.append(
            "the last layer's neurons only integrate, which the reader lacks: the graph ends at their currents"
        )
    if _starts(network):
        notes.append("membranes begin at learnt potentials (metadata: tensors/network.initial.values.*), not at 0")
    if spec.neuron.kind != "current-lif" and spec.neuron.reset == "soft":
        notes.append("soft resets are loops (neuron_k -> neuron_k_reset -> neuron_k_potential), one step late")
    if controller.reflex is not None:
        notes.append("the reflex acts on the action and is not in the graph")
    return notes
