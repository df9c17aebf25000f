"""NIR graphs run by others, and by an interpreter that knows nothing of our package."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

Spikes = dict[str, np.ndarray]
"""Spikes [B, T, N] of every node of spiking neurons, and the graph's output under "output"."""

MODULES = {
    "snntorch": "snntorch.import_nir",
    "spikingjelly": "spikingjelly.activation_based.nir_exchange",
    "norse": "norse",
}


@contextmanager
def quietly() -> Iterator[None]:
    """Let libraries warn of their own code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def import_reader(name: str) -> Any:
    """Return a reader's module; skip, saying so, where the package is absent."""
    with quietly():
        pytest.importorskip("nirtorch", reason="nirtorch: not installed; pip install --no-deps nirtorch")
        return pytest.importorskip(MODULES[name], reason=f"{name}: not installed; pip install --no-deps {name}")


def run(name: str, path: Path, x: np.ndarray, dt: float) -> Spikes:
    """Run the graph of ``path`` on ``x`` [B, T, N_in] with the reader ``name``, which takes steps of ``dt``."""
    import nir

    module = import_reader(name)
    with quietly():
        if name == "norse":
            import norse.torch

            graph = nir.read(path)
            return _record(norse.torch.from_nir(graph, dt=dt), list(graph.nodes), x)
        graph = nir.read(path)
        if name == "snntorch":
            return _record(module.import_from_nir(graph), list(graph.nodes), x)
        return _record(module.import_from_nir(graph, dt=dt), list(graph.nodes), x)


@torch.no_grad()
def _record(model: Any, names: list[str], x: np.ndarray) -> Spikes:
    """Run step by step; without the state that it returned, a reader forgets what loops carry."""
    modules = dict(model.named_modules())
    spikes: dict[str, list[np.ndarray]] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(module: Any, arguments: Any, out: Any) -> None:
            spikes[name].append((out[0] if isinstance(out, tuple) else out).numpy().copy())

        return hook

    for name in names:
        if re.fullmatch(r"neuron_\d+", name):
            spikes[name] = []
            modules[name].register_forward_hook(keep(name))
    spikes["output"], state = [], None
    for now in torch.from_numpy(x).unbind(1):
        out, state = model(now, state)
        spikes["output"].append(out.numpy().copy())
    return {name: np.stack(values, 1) for name, values in spikes.items()}


def interpret(path: Path, x: np.ndarray, dt: float, decay: str = "euler") -> Spikes:
    """Run a graph as its metadata say: ``neuron_g`` in order, an edge to the same or an earlier one a step late."""
    import nir

    graph = nir.read(path)
    before: dict[str, list[str]] = {}
    for a, b in graph.edges:
        before.setdefault(b, []).append(a)
    names = sorted((n for n in graph.nodes if re.fullmatch(r"neuron_\d+", n)), key=lambda n: int(n[7:]))
    order = {name: place for place, name in enumerate(names)}
    batch, steps, _ = x.shape
    spikes: dict[str, list[np.ndarray]] = {name: [] for name in names}
    state: dict[str, np.ndarray] = {}

    def left(tau: np.ndarray) -> np.ndarray:
        return (1 - dt / tau if decay == "euler" else np.exp(-dt / tau)).astype(np.float32)

    def value(name: str, t: int, reader: int) -> np.ndarray | float:
        """Return what ``name`` sends at step t to the neurons ``reader``; 0 before the first step."""
        node = graph.nodes[name]
        if isinstance(node, nir.Input):
            return x[:, t] if t >= 0 else 0.0
        if name in order:
            t = t if order[name] < reader else t - 1
            return spikes[name][t] if t >= 0 else 0.0
        if isinstance(node, nir.Delay):
            t -= round(float(node.delay[0]) / dt)
        got = sum(value(source, t, reader) for source in before[name])
        if isinstance(node, nir.Delay):
            return got
        if isinstance(node, nir.Scale):
            return got * node.scale.astype(np.float32)
        flat = np.zeros((batch, node.weight.shape[1]), dtype=np.float32) + got
        return flat @ node.weight.T + (node.bias if isinstance(node, nir.Affine) else 0)

    def potential(name: str, current: np.ndarray | float) -> np.ndarray:
        """Integrate a step of the neurons or the integrator ``name``."""
        node = graph.nodes[name]
        v = state.get(name, np.float32(0))
        if isinstance(node, nir.IF | nir.I):
            return v + (dt * node.r).astype(np.float32) * current
        if isinstance(node, nir.CubaLIF | nir.CubaLI):
            a, b = left(node.tau_syn), left(node.tau_mem)
            current = (
                a * state.get(f"{name} current", np.float32(0)) + ((1 - a) * node.w_in).astype(np.float32) * current
            )
            state[f"{name} current"] = current
            return b * v + ((1 - b) * node.r).astype(np.float32) * current
        b = left(node.tau)
        return b * v + ((1 - b) * node.r).astype(np.float32) * current

    out = []
    for t in range(steps):
        for name in names:
            node = graph.nodes[name]
            inner = before[name][0] if isinstance(node, nir.Threshold) else name
            v = potential(inner, sum(value(source, t, order[name]) for source in before[inner]))
            if isinstance(node, nir.Threshold):
                fired = v > node.threshold.astype(np.float32)
                state[inner] = v
            elif hasattr(node, "v_threshold"):
                fired = v > node.v_threshold.astype(np.float32)
                state[inner] = np.where(fired, np.float32(0), v)
            else:
                fired, state[inner] = v, v
            spikes[name].append(np.broadcast_to(fired, (batch, fired.shape[-1])).astype(np.float32))
        out.append(sum(value(source, t, len(names)) for source in before["output"]))
    return {name: np.stack(train, 1) for name, train in spikes.items()} | {"output": np.stack(out, 1)}
