"""An ONNX graph as a policy, run by onnxruntime; the weights of its linear layers are known and can be damaged.

The first input is the observation, the first output the action. ``episode_start``, if it is there, is True at the first
decision. Every other input is a part of the state, zeros at first: it is given the output of the same name behind
``next_``, else the output at its place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from homeo_rl.agents.external import ExternalNetwork
from homeo_rl.errors import UsageError
from homeo_rl.imports.optional_import import require
from homeo_rl.snn.state import LayerWeights, Weights
from homeo_rl.spec import NetworkSpec
from homeo_rl.storage.files import printable

START = "episode_start"

_ELEMENTWISE = frozenset(
    ["Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Gelu", "Sigmoid", "HardSigmoid", "Tanh", "Softplus", "Softsign",
     "Clip", "Mish", "HardSwish", "Identity"]
)  # fmt: skip
"""Operations through which every neuron of a layer reaches the next layer alone."""


@dataclass(frozen=True)
class _Layer:
    """A linear layer: names of its initialisers, whether the weights lie as [N_in, N_out], its input and output."""

    weight: str
    bias: str
    transposed: bool
    input: str
    output: str


class OnnxPolicy(ExternalNetwork):
    """A graph of ONNX; its bytes are a part of the policy bundle."""

    graph: Tensor

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__(spec)
        self.register_buffer("graph", torch.zeros(self.external.size, dtype=torch.uint8))
        self._runner: Runner | None = None

    @property
    def runner(self) -> Runner:
        """The graph, read and checked when it is first used. Raises UsageError: it cannot be run."""
        if self._runner is None:
            self._runner = Runner(self.graph.numpy().tobytes(), self.spec.inputs, self.where)
        return self._runner

    def parameters_of_layers(self) -> Weights:
        """Return the weights of its linear layers, in the graph's order."""
        return self.runner.weights

    @property
    def has_neurons(self) -> bool:
        """Whether its layers are a chain, with a bias each, and elementwise operations between them."""
        return self.runner.is_chain

    def begin(self, rng: np.random.Generator) -> Any:
        """Return None: the state begins with zeros."""
        return None

    def decide(self, x: np.ndarray, remembered: Any, weights: Weights | None) -> tuple[np.ndarray, Any]:
        """Run the graph; see `ExternalNetwork.decide`."""
        action, remembered = self.runner.run(x, remembered, weights)
        return self.output_of(action), remembered

    def _shapes(self, count: int) -> tuple[tuple[int, ...], ...]:
        return (1, count), (count,), *(((1,), ()) if count == 1 else ())


class Runner:
    """A graph that was read, and the session of onnxruntime that runs it on one thread."""

    def __init__(self, blob: bytes, size: int, where: str) -> None:
        onnx, runtime = require("onnx", "onnx"), require("onnxruntime", "onnx")
        self.where = where
        try:
            model = onnx.load_model_from_string(blob)
        except Exception:
            raise UsageError(f"{where}: not a readable ONNX graph; export it again") from None
        if any(tensor.external_data for tensor in _tensors(model)):
            raise UsageError(f"{where}: expected one file, but its weights lie in others; export it with them inside")
        arrays = {one.name: one for one in model.graph.initializer}
        self._layers = _find_layers(model.graph, {name: tuple(one.dims) for name, one in arrays.items()})
        self._arrays = {
            name: np.asarray(onnx.numpy_helper.to_array(arrays[name]))
            for layer in self._layers
            for name in (layer.weight, layer.bias)
            if name
        }
        self._layers = [layer for layer in self._layers if self._arrays[layer.weight].dtype.kind == "f"]
        self.weights = tuple(self._weights_of(layer) for layer in self._layers)
        self.is_chain = _is_chain(model.graph, self._layers, self.weights)
        inputs = [one for one in model.graph.input if one.name not in arrays]
        known = {one.name for one in model.graph.input}
        for name in self._arrays:  # an initialiser that is an input too can be replaced when the graph is run
            if name not in known:
                kind, shape = arrays[name].data_type, list(arrays[name].dims)
                model.graph.input.append(onnx.helper.make_tensor_value_info(name, kind, shape))
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session = runtime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise UsageError(f"{where}: onnxruntime refuses it: {_line(error)}; export it again") from None
        self._bind(onnx, inputs, [one.name for one in model.graph.output], size)

    def _bind(self, onnx: Any, inputs: Sequence[Any], outputs: list[str], size: int) -> None:
        """Say which input is the observation and which are a state. Raises UsageError: the graph has others."""
        rest = [one for one in inputs if one.name != START]
        if not rest or not outputs:
            raise UsageError(f"{self.where}: expected an observation as input and an action as output, found none")
        first, *states = rest
        shape = [dim.dim_value or None for dim in first.type.tensor_type.shape.dim]
        if len(shape) not in (1, 2) or shape[-1] not in (None, size) or (len(shape) == 2 and shape[0] not in (None, 1)):
            raise UsageError(
                f"{self.where}: expected observations of shape [N, {size}], as this environment has them, the graph "
                f"takes {printable(first.name)} of {[dim or 'N' for dim in shape]}; check --env"
            )
        self._observation, self._rank = first.name, len(shape)
        self._starts = any(one.name == START for one in inputs)
        self._dtypes = {one.name: onnx.helper.tensor_dtype_to_np_dtype(one.type.tensor_type.elem_type) for one in rest}
        self._zeros = {
            one.name: np.zeros([dim.dim_value or 1 for dim in one.type.tensor_type.shape.dim], self._dtypes[one.name])
            for one in states
        }
        after = [f"next_{one.name}" if f"next_{one.name}" in outputs else "" for one in states]
        if states and not all(after):
            after = outputs[1 : 1 + len(states)]
        if len(after) < len(states):
            raise UsageError(
                f"{self.where}: expected an output for every state, got {len(outputs)} outputs for the inputs "
                f"{printable(', '.join(one.name for one in rest))}; only the observation, {START} and states are given"
            )
        self._wanted = [outputs[0], *after]

    def run(self, x: np.ndarray, state: Any, weights: Weights | None) -> tuple[np.ndarray, Any]:
        """Return the graph's action for x [1, D] and the arrays of its state after; ``state`` None is the start."""
        feed = dict(self._zeros) if state is None else dict(zip(self._zeros, state, strict=True))
        feed[self._observation] = (x if self._rank == 2 else x[0]).astype(self._dtypes[self._observation])
        if self._starts:
            feed[START] = np.array([state is None])
        if weights is not None:
            feed |= self._replace_weights(weights)
        try:
            action, *after = self._session.run(self._wanted, feed)
        except Exception as error:
            raise UsageError(f"{self.where}: onnxruntime fails: {_line(error)}; check --env and the export") from None
        return np.asarray(action), tuple(after)

    def _weights_of(self, layer: _Layer) -> LayerWeights:
        weight = self._arrays[layer.weight].astype(np.float32)
        weight = weight.T if layer.transposed else weight
        bias = self._arrays[layer.bias].reshape(-1) if layer.bias else np.zeros(len(weight))
        return LayerWeights(torch.tensor(np.ascontiguousarray(weight)), torch.tensor(bias.astype(np.float32)))

    def _replace_weights(self, weights: Weights) -> dict[str, np.ndarray]:
        """Return initialisers in place of the graph's: those of layers that differ from the trained ones.

        A neuron that is silent, or stuck at 1, is a change of what the next layer makes of it.
        """
        feed: dict[str, np.ndarray] = {}
        before: LayerWeights | None = None
        for layer, trained, now in zip(self._layers, self.weights, weights, strict=True):
            weight, bias = now.weight, now.bias
            if before is not None and (before.alive is not None or before.stuck is not None):
                stuck = torch.zeros(weight.shape[1]) if before.stuck is None else before.stuck
                alive = torch.ones(weight.shape[1]) if before.alive is None else before.alive
                bias = bias + (weight * stuck).sum(1)
                weight = weight * (alive * (1.0 - stuck))
            before = now
            if weight.data_ptr() != trained.weight.data_ptr():
                array = self._arrays[layer.weight]
                value = (weight.T if layer.transposed else weight).numpy()
                feed[layer.weight] = np.ascontiguousarray(value, array.dtype)
            if layer.bias and bias.data_ptr() != trained.bias.data_ptr():
                array = self._arrays[layer.bias]
                feed[layer.bias] = np.ascontiguousarray(bias.numpy().reshape(array.shape), array.dtype)
        return feed


def _line(error: Exception) -> str:
    return printable(" ".join(str(error).split()), 200)


def _tensors(model: Any) -> Iterator[Any]:
    """Yield every tensor of a model, those of attributes, subgraphs and functions too."""
    graphs: list[Any] = [model.graph, *model.functions]
    while graphs:
        graph = graphs.pop()
        yield from getattr(graph, "initializer", ())
        for attribute in (one for node in graph.node for one in node.attribute):
            yield attribute.t
            yield from attribute.tensors
            graphs += [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def _find_layers(graph: Any, shapes: dict[str, tuple[int, ...]]) -> list[_Layer]:
    """Return the linear layers that reach an output other than a critic's, in the graph's order."""
    needed = _trace_needed(graph)
    added = {name: node for node in graph.node if node.op_type == "Add" for name in node.input}
    layers = []
    for node in graph.node:
        if not needed.intersection(node.output) or node.op_type not in ("Gemm", "MatMul"):
            continue
        weight = node.input[1]
        if len(shapes.get(weight, ())) != 2:
            continue
        flags = {one.name: one.i for one in node.attribute}
        if flags.get("transA"):
            continue
        transposed, output = not flags.get("transB"), node.output[0]
        bias = node.input[2] if len(node.input) > 2 else ""
        size = shapes[weight][1 if transposed else 0]
        if node.op_type == "MatMul" and output in added:
            other = next((name for name in added[output].input if name in shapes), "")
            if shapes.get(other) == (size,):
                bias, output = other, added[output].output[0]
        bias = bias if np.prod(shapes.get(bias, (0,))) == size else ""
        layers.append(_Layer(weight, bias, transposed, node.input[0], output))
    counts = Counter(name for layer in layers for name in (layer.weight, layer.bias))
    return [layer for layer in layers if counts[layer.weight] == 1 and (not layer.bias or counts[layer.bias] == 1)]


def _trace_needed(graph: Any) -> set[str]:
    """Return the values that the action depends on, and a state that goes back in."""
    makers = {name: node for node in graph.node for name in node.output}
    outputs = [one.name for one in graph.output]
    waiting = [outputs[0], *(name for name in outputs[1:] if name.startswith("next_"))] if outputs else []
    needed: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += makers[name].input if name in makers else ()
    return needed


def _is_chain(graph: Any, layers: Sequence[_Layer], weights: Weights) -> bool:
    """Return whether every layer's neurons reach the next layer alone, through elementwise operations."""
    uses = Counter(name for node in graph.node for name in node.input)
    unary = {
        node.input[0]: node.output[0] for node in graph.node if node.op_type in _ELEMENTWISE and len(node.output) == 1
    }
    if len(layers) < 2 or not all(layer.bias for layer in layers):
        return False
    for layer, after, now, then in zip(layers, layers[1:], weights, weights[1:], strict=False):
        value = layer.output
        while value != after.input:
            if uses[value] != 1 or value not in unary:
                return False
            value = unary[value]
        if uses[value] != 1 or now.weight.shape[0] != then.weight.shape[1]:
            return False
    return True
