"""NIR graphs of other tools become policies.

A graph that was written here is rebuilt from its specification; its nodes must be what that specification writes. Of
other graphs, chains of linear layers and neurons are read (`homeo_rl.exchange.nir_chain`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import pydantic

from homeo_rl.agents.controller import Controller, controller_from
from homeo_rl.errors import StorageFault, UsageError
from homeo_rl.exchange import hdf5, nir_chain
from homeo_rl.exchange.dialects import FLAVOURS, Decay, resolve_dialect
from homeo_rl.exchange.nir_graph import FORMAT, KEY, policy_graph
from homeo_rl.imports.optional_import import require
from homeo_rl.spec import ControllerSpec, Squash, parse
from homeo_rl.storage import files, strict_json

KNOWN = (
    "Input", "Output", "Affine", "Linear", "LIF", "CubaLIF", "IF", "LI", "CubaLI", "I", "Threshold", "Scale", "Delay",
)  # fmt: skip
"""Nodes that are read; the last three in graphs that were written here only."""

_MAX_NODES = 2000


@pydantic.with_config(pydantic.ConfigDict(extra="forbid", allow_inf_nan=False))
@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a graph of others does not say."""

    steps: int = 16  # spike steps of a decision
    dt: float = 1e-4  # the step in seconds
    decay: Decay = "euler"  # how time constants become decays, "euler" or "exponential"
    # "norse" takes r of LIF and IF neurons for 1, as norse itself does
    flavour: Literal["standard", "snntorch", "spikingjelly", "norse"] = "standard"
    # what becomes of an observation: the current of every step, or Bernoulli spikes
    encoder: Literal["current", "bernoulli"] = "current"
    # what becomes of the outputs: "identity" (clipped to [-1, 1]) and "tanh" are scaled to the action's bounds, "none"
    # is clipped to them
    squash: Squash = "identity"
    gain: float = 1.0  # multiplies the centred rate of spiking outputs


def import_nir(path: Path, env: gym.Env[Any, Any], reading: dict[str, Any] | None = None) -> Controller:
    """Read a policy from a graph; ``reading`` has fields of `Reading`, for a graph that was not written here.

    Raises:
        UsageError: it holds something else, or does not fit the environment.
        StorageFault: it is damaged or hostile.
    """
    graph = read_graph(path)
    document, tensors = read_metadata(graph, path)
    if document is None:
        how = parse(Reading, dict(reading or {}), where="--nir-options")
        _, clock = resolve_dialect("standard", how.dt, how.decay)
        plan = nir_chain.Plan(
            steps=how.steps, clock=clock, unit=FLAVOURS[how.flavour].lif == "unit", encoder=how.encoder,
            squash=how.squash, gain=how.gain,
        )  # fmt: skip
        return nir_chain.controller_of(graph, env, plan, where=str(path))
    if reading:
        raise UsageError(f"--nir-options: {path} says itself how it is to be read; leave it out")
    if document.get("kind") != "policy":
        raise UsageError(
            f"{path}: expected a policy, found a compiled network; read it with "
            "homeo_rl.exchange.nir_compiled.read_compiled"
        )
    controller = _rebuilt(graph, document, tensors, path)
    _fits(controller.spec, env, path)
    return controller


def read_graph(path: Path) -> dict[str, Any]:
    """Return the graph of a file as NIR's own plain dictionaries: ``nodes``, ``edges``, ``metadata``.

    Raises:
        UsageError: it is no graph of nodes that are read; the node is named.
        StorageFault: it is damaged or hostile.
    """
    graph = hdf5.read(path).get("node")
    if not isinstance(graph, dict) or graph.get("type") != "NIRGraph":
        raise UsageError(f"{path}: expected a NIR graph, found an HDF5 file without one; was it written by nir.write?")
    nodes, edges = graph.get("nodes"), graph.get("edges")
    if not isinstance(nodes, dict) or not 2 <= len(nodes) <= _MAX_NODES:
        raise UsageError(f"{path}: expected 2 to {_MAX_NODES} nodes, found others; was it written by nir.write?")
    for name, node in nodes.items():
        kind = node.get("type") if isinstance(node, dict) else None
        if kind not in KNOWN:
            shown, found_there = files.printable(name, 60), files.printable(kind, 40)
            raise UsageError(
                f"{path}: node {shown!r} is of type {found_there}, which is not read; expected {', '.join(KNOWN)}"
            )
    if not isinstance(edges, np.ndarray) or edges.ndim != 2 or edges.shape[1] != 2 or edges.dtype != object:
        raise UsageError(f"{path}: expected edges as pairs of names; was it written by nir.write?")
    pairs = [(str(a), str(b)) for a, b in edges]
    for name in (name for pair in pairs for name in pair):
        if name not in nodes:
            raise UsageError(f"{path}: an edge names {files.printable(name, 60)!r}, which is no node of the graph")
    if len(set(pairs)) != len(pairs):
        raise UsageError(f"{path}: an edge is there twice; remove one")
    metadata = graph.get("metadata", {})
    return {"nodes": nodes, "edges": pairs, "metadata": metadata if isinstance(metadata, dict) else {}}


def read_metadata(graph: dict[str, Any], path: Path) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Return what the metadata of a graph that was written here say, or None, and the tensors beside it.

    Raises:
        StorageFault: it is no JSON of ours.
    """
    text, tensors = graph["metadata"].get(KEY), graph["metadata"].get("tensors", {})
    if text is None:
        return None, {}
    if not isinstance(text, str) or not isinstance(tensors, dict):
        raise StorageFault(f"{path}: metadata {KEY!r}: expected a JSON text and tensors beside it, found others")
    document = strict_json.decode(text.encode(), f"{path}: metadata {KEY!r}")
    if document.get("format") != FORMAT:
        raise UsageError(f"{path}: expected the format {FORMAT!r}, got {files.printable(document.get('format'), 40)!r}")
    return document, tensors


def clock_of(document: dict[str, Any], path: Path) -> Any:
    """Return flavour and step that a graph was written with."""
    flavour, dt, decay = (document.get(key) for key in ("flavour", "dt", "decay"))
    if not isinstance(flavour, str) or not isinstance(dt, float) or not isinstance(decay, str):
        raise StorageFault(f"{path}: metadata {KEY!r}: expected flavour, dt and decay, found others")
    return resolve_dialect(flavour, dt, decay)


def same(expected: dict[str, Any], graph: dict[str, Any], path: Path) -> None:
    """Compare a graph with what its specification writes.

    Raises:
        UsageError: naming the first node that differs.
    """
    hint = "remove the metadata 'homeo_rl' to read the graph as one of others"
    if set(expected["nodes"]) != set(graph["nodes"]) or set(map(tuple, expected["edges"])) != set(graph["edges"]):
        raise UsageError(f"{path}: expected the nodes and edges that its metadata asks for, found others; {hint}")
    for name, node in expected["nodes"].items():
        got = graph["nodes"][name]
        for key, value in node.items():
            if key == "metadata":
                continue
            if key not in got or not np.array_equal(np.asarray(got[key]), np.asarray(value)):
                raise UsageError(f"{path}: node {name!r}: {key} is not what its metadata asks for; {hint}")


def _rebuilt(graph: dict[str, Any], document: dict[str, Any], tensors: dict[str, Any], path: Path) -> Controller:
    spec = parse(ControllerSpec, document.get("controller"), where=f"{path}: metadata {KEY!r}")
    if spec.network.body != "spiking" or spec.network.initial == "constant":
        raise StorageFault(f"{path}: metadata {KEY!r}: expected a spiking policy, found another")
    state = {name: np.asarray(value) for name, value in tensors.items()}
    for index in range(len(spec.network.hidden) + 1):
        node = graph["nodes"].get(f"affine_{index}", {})
        for key in ("weight", "bias"):
            if not isinstance(node.get(key), np.ndarray):
                raise UsageError(f"{path}: expected a node affine_{index} with a {key}, found none")
            state[f"network.layers.{index}.{key}"] = node[key].astype(np.float32)
    controller = controller_from(spec, state, where=str(path))
    flavour, clock = clock_of(document, path)
    nir = require("nir", "nir")
    same(policy_graph(nir, controller, flavour, clock).to_dict(), graph, path)
    return controller


def _fits(spec: ControllerSpec, env: gym.Env[Any, Any], path: Path) -> None:
    """Refuse an environment of other spaces than the policy's."""
    seen, acts = env.observation_space, env.action_space
    if seen.shape != (spec.network.inputs,):
        raise UsageError(
            f"{path}: a policy for observations of {spec.network.inputs} entries, the environment gives {seen.shape}; "
            "check --env and --env-kwargs"
        )
    if spec.discrete:
        fits = isinstance(acts, gym.spaces.Discrete) and int(acts.n) == spec.network.outputs
    else:
        fits = isinstance(acts, gym.spaces.Box) and np.array_equal(
            np.stack([acts.low, acts.high]).astype(np.float32), np.array([spec.low, spec.high], dtype=np.float32)
        )
    if not fits:
        bounds = f"{spec.network.outputs} choices" if spec.discrete else f"bounds {spec.low} to {spec.high}"
        raise UsageError(f"{path}: a policy for {bounds}, the environment takes {acts}; check --env and --env-kwargs")
