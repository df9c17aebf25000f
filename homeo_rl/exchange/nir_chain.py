"""Chains of linear layers and neurons that others wrote as NIR graphs, in our neurons.

Our neurons share one threshold and one set of constants. What a node has of its own goes into the weights before it:
the gain of its current, and, where thresholds differ, the share of its threshold. NIR's neurons spike above a
threshold, our LIF and IF at it, so theirs becomes the next larger float32.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium as gym
import numpy as np

from homeo_rl.agents.controller import Controller, controller_from
from homeo_rl.errors import UsageError
from homeo_rl.exchange.dialects import Clock
from homeo_rl.spec import ControllerSpec, Squash, parse
from homeo_rl.storage import files

_FIRE, _INTEGRATE = ("LIF", "CubaLIF", "IF"), ("LI", "CubaLI", "I")
_KINDS = {"LIF": "lif", "LI": "lif", "CubaLIF": "current-lif", "CubaLI": "current-lif", "IF": "if", "I": "if"}
_CLOSE = 1e-6
"""Constants that differ by less, relatively, are the same: some writers keep float32."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the graph does not say; ``unit`` takes r of LIF and IF neurons for 1."""

    steps: int
    clock: Clock
    unit: bool
    encoder: Literal["current", "bernoulli"]
    squash: Squash
    gain: float


@dataclass(frozen=True)
class _Layer:
    """A linear layer and its neurons, every number one a neuron [N].

    ``left`` and ``current_left`` are what a step leaves, ``gain`` what a unit of current adds, ``threshold`` is None
    where neurons only integrate.
    """

    name: str
    kind: str
    weight: np.ndarray
    bias: np.ndarray
    left: np.ndarray
    current_left: np.ndarray
    gain: np.ndarray
    threshold: np.ndarray | None


def controller_of(graph: dict[str, Any], env: gym.Env[Any, Any], plan: Plan, *, where: str) -> Controller:
    """Return the policy that a graph is, driven by ``env``.

    Raises:
        UsageError: it is no chain of layers that share their constants, or does not fit the environment.
    """
    layers = [_layer(*pair, plan, where=where) for pair in _chain(graph, where)]
    for before, layer in itertools.pairwise(layers):
        if layer.weight.shape[1] != len(before.bias):
            raise UsageError(
                f"{where}: {files.printable(layer.name, 60)!r} has {layer.weight.shape[1]} inputs, the layer before it "
                f"{len(before.bias)} neurons"
            )
    if len({layer.kind for layer in layers}) > 1:
        kinds = ", ".join(f"{layer.name} {layer.kind}" for layer in layers)
        raise UsageError(f"{where}: expected neurons of one kind in all layers, found {kinds}")
    neuron, weights, leaks = _merge(layers, where)
    tensors = {f"network.layers.{i}.{key}": value for i, pair in enumerate(weights) for key, value in pair.items()}
    tensors |= {f"network.leaks.{i}": leak for i, leak in enumerate(leaks)}
    spec = _spec(layers, neuron, env, plan, where)
    size = spec.network.inputs
    tensors |= {
        "normaliser.running_mean": np.zeros(size),
        "normaliser.running_var": np.ones(size),
        "normaliser.running_count": np.zeros(()),
    }
    return controller_from(spec, tensors, where=where)


def _chain(graph: dict[str, Any], where: str) -> list[tuple[str, dict[str, Any], str, dict[str, Any]]]:
    """Return names and nodes of the linear layers, each with its neurons, from the input to the output."""
    nodes, after = graph["nodes"], {}
    for a, b in graph["edges"]:
        if a in after:
            raise UsageError(f"{where}: {files.printable(a, 60)!r} feeds two nodes; expected a chain without branches")
        after[a] = b
    (first, *others) = [name for name, node in nodes.items() if node["type"] == "Input"] or [None]
    if first is None or others:
        raise UsageError(f"{where}: expected one Input, found {len(others) + (first is not None)}")
    chain, name = [], after.pop(first, None)
    while name is not None and nodes[name]["type"] != "Output":
        chain.append(name)
        name = after.pop(name, None)  # a loop ends here too
    if name is None or after or len(chain) + 2 != len(nodes):
        raise UsageError(f"{where}: expected a chain from Input to Output through all nodes, found branches or loops")
    pairs = []
    for linear, neurons in zip(chain[::2], [*chain[1::2], None], strict=False):
        if nodes[linear]["type"] not in ("Linear", "Affine"):
            kind = nodes[linear]["type"]
            raise UsageError(f"{where}: {files.printable(linear, 60)!r} is a {kind}; expected a Linear or Affine there")
        last = neurons == chain[-1]
        if neurons is None or nodes[neurons]["type"] not in (_FIRE + _INTEGRATE if last else _FIRE):
            got = "the Output" if neurons is None else nodes[neurons]["type"]
            expected = ", ".join(_FIRE) + (f" (or at the end {', '.join(_INTEGRATE)})" if last or not neurons else "")
            raise UsageError(f"{where}: after {files.printable(linear, 60)!r} comes {got}; expected one of {expected}")
        pairs.append((linear, nodes[linear], neurons, nodes[neurons]))
    if not pairs:
        raise UsageError(f"{where}: expected at least one layer of neurons, found none")
    return pairs


def _layer(
    linear: str, weights: dict[str, Any], neurons: str, node: dict[str, Any], plan: Plan, *, where: str
) -> _Layer:
    weight = _numbers(weights, "weight", linear, where)
    if weight.ndim != 2 or 0 in weight.shape:
        raise UsageError(f"{where}: {linear}: expected a matrix of weights, got shape {weight.shape}")
    count, kind = len(weight), node["type"]

    def of(key: str, default: float | None = None) -> np.ndarray:
        if key not in node and default is not None:
            return np.full(count, default)
        return _wide(_numbers(node, key, neurons, where), count, f"{where}: {neurons}: {key}")

    bias = np.zeros(count)
    if weights["type"] == "Affine":
        bias = _wide(_numbers(weights, "bias", linear, where), count, f"{where}: {linear}: bias")
    rest = of("v_leak") if "v_leak" in node else np.zeros(count)
    threshold = None
    if kind in _FIRE:
        threshold = of("v_threshold") - rest
        if not (threshold > 0).all() or not np.allclose(of("v_reset", 0.0), rest, rtol=_CLOSE, atol=1e-12):
            raise UsageError(
                f"{where}: {neurons}: expected a reset to the leak potential and a threshold above it, got others; "
                "our neurons begin and rest at 0"
            )
    elif rest.any():
        raise UsageError(f"{where}: {neurons}: expected potentials that rest at 0, got v_leak {rest[0]:g}")
    r = np.ones(count) if plan.unit and kind in ("LIF", "LI", "IF", "I") else of("r")
    none = np.zeros(count)
    if kind in ("IF", "I"):
        gain = r if plan.unit else r * plan.clock.dt
        return _Layer(neurons, _KINDS[kind], weight, bias, none + 1.0, none, gain, threshold)
    cuba = kind.startswith("Cuba")
    left = _lefts(of("tau_mem" if cuba else "tau"), plan.clock, neurons, where)
    current_left = _lefts(of("tau_syn"), plan.clock, neurons, where) if cuba else none
    gain = r * (1.0 - left) * (of("w_in", 1.0) * (1.0 - current_left) if cuba else 1.0)
    return _Layer(neurons, _KINDS[kind], weight, bias, left, current_left, gain, threshold)


def _lefts(taus: np.ndarray, clock: Clock, name: str, where: str) -> np.ndarray:
    if not (taus > 0).all():
        raise UsageError(f"{where}: {name}: expected time constants above 0, got {taus.min():g}")
    factors = np.array([clock.left(float(tau)) for tau in taus])
    if not (factors > -_CLOSE).all():
        raise UsageError(
            f"{where}: {name}: a time constant of {taus.min():g} s is shorter than the step of {clock.dt:g} s; "
            "give the step that it was made for, --nir-options dt:..."
        )
    whole: np.ndarray = np.maximum(factors, 0.0)
    return whole


def _merge(layers: list[_Layer], where: str) -> tuple[dict[str, Any], list[dict[str, np.ndarray]], list[np.ndarray]]:
    """Return the neuron that all layers share, their weights with what is their own, and their leaks if they differ."""
    kind = layers[0].kind
    lefts = [_one(layer.left, f"{where}: {layer.name}: time constant of the membrane") for layer in layers]
    currents = [_one(layer.current_left, f"{where}: {layer.name}: tau_syn") for layer in layers]
    apart = not np.allclose(lefts, lefts[0], rtol=0, atol=_CLOSE)
    if (apart and kind != "lif") or not np.allclose(currents, currents[0], rtol=0, atol=_CLOSE):
        raise UsageError(f"{where}: expected one set of time constants in all layers of {kind} neurons, found several")
    if apart and min(lefts) <= _CLOSE:
        raise UsageError(f"{where}: expected time constants above the step where layers differ, found one equal to it")
    thresholds = [layer.threshold for layer in layers if layer.threshold is not None]
    first = np.float32(thresholds[0][0]) if thresholds else np.float32(1.0)
    neuron: dict[str, Any] = {"kind": kind, "reset": "hard", "threshold": float(first)}
    drive = np.ones(len(layers))
    if kind == "current-lif":
        neuron |= {"current_decay": currents[0], "voltage_decay": lefts[0]}
    else:
        neuron["threshold"] = float(np.nextafter(first, np.float32(np.inf)))
    if kind == "lif":
        # Either a unit of current adds 1 - left, our decay_input, or 1.
        direct = all(np.allclose(layer.gain, 1.0, rtol=_CLOSE) for layer in layers) and max(lefts) > 0
        neuron |= {"kind": "plif" if apart else "lif", "tau": 1.0 / (1.0 - lefts[0]), "decay_input": not direct}
        drive = drive if direct else 1.0 - np.array(lefts)
    weights = []
    for layer, unit in zip(layers, drive, strict=True):
        scale = layer.gain / unit
        if layer.threshold is not None:
            scale = scale * (float(first) / layer.threshold)
        scale = np.where(np.abs(scale - 1.0) < _CLOSE, 1.0, scale)
        weights.append({
            "weight": (layer.weight * scale[:, None]).astype(np.float32),
            "bias": (layer.bias * scale).astype(np.float32),
        })  # fmt: skip
    leaks = [np.array(-math.log(left / (1.0 - left)), dtype=np.float32) for left in lefts] if apart else []
    return neuron, weights, leaks


def _spec(
    layers: list[_Layer], neuron: dict[str, Any], env: gym.Env[Any, Any], plan: Plan, where: str
) -> ControllerSpec:
    seen, acts = env.observation_space, env.action_space
    if not isinstance(seen, gym.spaces.Box) or len(seen.shape) != 1:
        raise UsageError(f"{where}: expected an environment with a one-dimensional Box to see, got {seen}")
    inputs, lines = int(seen.shape[0]), layers[0].weight.shape[1]
    widths = {"current": (inputs,), "bernoulli": (inputs, 2 * inputs)}[plan.encoder]
    if lines not in widths:
        raise UsageError(
            f"{where}: the graph has {lines} inputs, the environment's {inputs} observations make "
            f"{' or '.join(map(str, widths))} with the encoder {plan.encoder}; check --env"
        )
    low: list[float] = []
    high: list[float] = []
    if isinstance(acts, gym.spaces.Discrete):
        outputs = int(acts.n)
    elif isinstance(acts, gym.spaces.Box) and len(acts.shape) == 1 and np.isfinite([acts.low, acts.high]).all():
        outputs, low, high = int(acts.shape[0]), acts.low.tolist(), acts.high.tolist()
    else:
        raise UsageError(f"{where}: expected an environment with a Discrete or a bounded Box to act in, got {acts}")
    ends = len(layers[-1].bias)
    if ends != outputs:
        raise UsageError(
            f"{where}: the graph has {ends} outputs, the environment's actions need {outputs}; check --env"
        )
    fires = layers[-1].threshold is not None
    network = {
        "inputs": inputs,
        "outputs": outputs,
        "hidden": [len(layer.bias) for layer in layers[:-1]],
        "steps": plan.steps,
        "encoder": {"kind": plan.encoder, "span": 1.0, "signed": lines != inputs},
        "neuron": neuron,
        "readout": {"kind": "mean", "gain": plan.gain} if fires else {"kind": "membrane"},
    }
    squash = plan.squash if low else "none"
    document = {"network": network, "squash": squash, "low": low, "high": high, "normalise": False}
    return parse(ControllerSpec, document, where=where)


def _numbers(node: dict[str, Any], key: str, name: str, where: str) -> np.ndarray:
    value = node.get(key)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        raise UsageError(f"{where}: {files.printable(name, 60)!r}: expected numbers for {key}, found none")
    return value.astype(np.float64)


def _wide(values: np.ndarray, count: int, what: str) -> np.ndarray:
    """Return one number a neuron; some writers give one for all."""
    if values.size == 1:
        return np.full(count, float(values.reshape(())))
    if values.shape != (count,):
        raise UsageError(f"{what}: expected one number or {count}, got shape {values.shape}")
    return values


def _one(values: np.ndarray, what: str) -> float:
    if not np.allclose(values, values[0], rtol=0, atol=_CLOSE):
        raise UsageError(f"{what}: expected one for the whole layer, got {values.min():g} to {values.max():g}")
    return float(values[0])
