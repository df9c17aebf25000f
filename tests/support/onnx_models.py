"""ONNX graphs for tests, written node by node."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx: Any = pytest.importorskip("onnx", reason="needs the extra onnx")
pytest.importorskip("onnxruntime", reason="needs the extra onnx")


def value(name: str, shape: Sequence[int | str], kind: int = 1) -> Any:
    return onnx.helper.make_tensor_value_info(name, kind, list(shape))


def write(
    path: Path, nodes: Sequence[Any], arrays: dict[str, np.ndarray], inputs: Sequence[Any], outputs: Sequence[Any]
) -> Path:
    inits = [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = onnx.helper.make_graph(list(nodes), "policy", list(inputs), list(outputs), inits)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def write_mlp(
    path: Path, layers: Sequence[tuple[np.ndarray, np.ndarray]], *, activation: str = "Tanh", gemm: bool = True,
    end: str = "",
) -> Path:  # fmt: skip
    """Write linear layers with an activation between them, weights [N_out, N_in] and biases [N_out], and ``end``."""
    node = onnx.helper.make_node
    nodes, arrays, name = [], {}, "observation"
    for index, (weight, bias) in enumerate(layers):
        arrays |= {f"w{index}": weight if gemm else np.ascontiguousarray(weight.T), f"b{index}": bias}
        last = index == len(layers) - 1
        out = "action" if last and not end else f"y{index}"
        if gemm:
            nodes.append(node("Gemm", [name, f"w{index}", f"b{index}"], [out], transB=1))
        else:
            nodes += [
                node("MatMul", [name, f"w{index}"], [f"p{index}"]),
                node("Add", [f"p{index}", f"b{index}"], [out]),
            ]
        name = out
        if last and end:
            limits = ["low", "high"] if end == "Clip" else []
            arrays |= {limit: np.array(value, np.float32) for limit, value in zip(limits, (-1.0, 1.0), strict=False)}
            nodes.append(node(end, [out, *limits], ["action"]))
        elif not last:
            nodes.append(node(activation, [out], [f"h{index}"]))
            name = f"h{index}"
    inputs, outputs = layers[0][0].shape[1], layers[-1][0].shape[0]
    return write(path, nodes, arrays, [value("observation", ["N", inputs])], [value("action", ["N", outputs])])
