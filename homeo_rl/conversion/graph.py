"""A trained network with QCFS activations as a graph of layers that a conversion walks through (torch.fx)."""

import copy
import operator
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, fx, nn

from homeo_rl.conversion.replace import require_exact
from homeo_rl.errors import UsageError
from homeo_rl.snn.qcfs import QCFS

V = TypeVar("V")

_ADDS = (operator.add, operator.iadd, torch.add)
_FLATTENS = (torch.flatten,)


class Rules(Generic[V]):
    """What becomes of a value V on its way through the graph."""

    def read(self, x: Any) -> V:
        """Turn the network's input into a value."""
        raise NotImplementedError

    def layer(self, name: str, module: nn.Module, value: V) -> V:
        """Pass a linear layer."""
        raise NotImplementedError

    def fire(self, name: str, activation: QCFS, value: V) -> V:
        """Pass a QCFS activation."""
        raise NotImplementedError

    def add(self, name: str, first: V, second: V) -> V:
        """Join two branches."""
        raise NotImplementedError

    def finish(self, value: V) -> Any:
        """Turn a value into the network's output."""
        raise NotImplementedError


class Graph:
    """A frozen copy of a network with one input and one output.

    Raises:
        UsageError: a layer or an operation that no conversion is exact for, by name.
    """

    def __init__(self, network: nn.Module) -> None:
        require_exact(network)
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        try:
            traced = _Tracer().trace(self.network)
        except fx.proxy.TraceError as error:
            raise UsageError(
                f"the network decides by its values ({error}); only a fixed order of layers converts"
            ) from None
        self.nodes = list(traced.nodes)
        self.modules = dict(self.network.named_modules())
        for node in self.nodes:
            self._require_known(node)

    @property
    def activations(self) -> dict[str, QCFS]:
        """QCFS activations by the name of their node, in the order of the signal."""
        results = {}
        for node in self.nodes:
            if node.op == "call_module" and isinstance(self.modules[str(node.target)], QCFS):
                results[node.name] = self.modules[str(node.target)]
        return results

    def walk(self, rules: Rules[V], x: Any) -> Any:
        """Send ``x`` through the graph as ``rules`` say."""
        values: dict[fx.Node, V] = {}
        result: Any = None
        for node in self.nodes:
            if node.op == "placeholder":
                values[node] = rules.read(x)
            elif node.op == "output":
                result = rules.finish(values[node.args[0]])
            elif node.op == "call_module":
                module, value = self.modules[str(node.target)], values[node.args[0]]
                passes: Callable[..., V] = rules.fire if isinstance(module, QCFS) else rules.layer
                values[node] = passes(node.name, module, value)
            elif node.target in _ADDS:
                first, second = (values[part] for part in node.args)
                values[node] = rules.add(node.name, first, second)
            else:
                values[node] = rules.layer(node.name, nn.Flatten(1), values[node.args[0]])
        return result

    def _require_known(self, node: fx.Node) -> None:
        if node.op in ("placeholder", "output", "call_module"):
            if node.op == "output" and not isinstance(node.args[0], fx.Node):
                raise UsageError("the network returns more than one tensor; expected one")
            if node.op == "placeholder" and sum(other.op == "placeholder" for other in self.nodes) > 1:
                raise UsageError("the network takes more than one input; expected one")
            return
        if node.op == "call_function" and node.target in _ADDS and all(isinstance(a, fx.Node) for a in node.args):
            return
        flattens = node.target in _FLATTENS or (node.op == "call_method" and node.target == "flatten")
        if flattens and tuple(node.args[1:]) == (1,) and not node.kwargs:
            return
        raise UsageError(
            f"{node.name}: {getattr(node.target, '__name__', node.target)} is called as a function; expected layers "
            "(nn.Flatten instead of view, QCFS instead of relu) and additions of two branches"
        )


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, QCFS) or super().is_leaf_module(m, module_qualified_name)


def constant_free(module: nn.Module, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return a linear layer of ``x`` [N, ...] without what it adds, and what it adds, ready to be broadcast."""
    if isinstance(module, nn.Linear):
        return nn.functional.linear(x, module.weight), module.bias
    if isinstance(module, (nn.Conv1d, nn.Conv2d)):
        rank = 1 if isinstance(module, nn.Conv1d) else 2
        added = None if module.bias is None else module.bias.reshape(-1, *[1] * rank)
        return module._conv_forward(x, module.weight, None), added
    if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
        gain, shift = affine_of(module)
        shape = (-1, *[1] * (x.dim() - 2))
        return x * gain.reshape(shape), shift.reshape(shape)
    return module(x), None


def affine_of(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return gain and shift [C] of a batch-norm in evaluation mode.

    Raises:
        UsageError: it keeps no running statistics.
    """
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise UsageError("batch-norm without running statistics follows the batch; it cannot be converted")
    gain = 1.0 / torch.sqrt(variance + norm.eps)
    if norm.weight is not None:
        gain = gain * norm.weight
    shift = -mean * gain
    return gain, shift if norm.bias is None else shift + norm.bias
