"""The dyadic form: weights on a grid of 2^-p, so that no sum rounds, in any order, batch size or device.

A double holds 53 bits. A layer's inputs are multiples of 2^-g (observations 2^-16, spikes whole numbers), its weights,
with the amplitude of the spikes that they carry folded in, are rounded to the finest grid 2^-p (p <= 40) for which
no partial sum can need more than 53 bits; thresholds are rounded to a grid on which half of them lies too, biases are
added whole at the first step, averages are sums whose divisor is folded into the next weights. Networks and their
spiking forms then agree to the last bit, and differ from the network before rounding by what rounding costs.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from homeo_rl.conversion.graph import Graph, Rules, affine_of
from homeo_rl.errors import UsageError
from homeo_rl.snn.qcfs import QCFS, ladder_level
from homeo_rl.snn.spike_accumulation import INPUT_GRID, Firing, Neuron, add_spike_trains, fire, levels_sent, on_grid

FINEST = 40  # finest grid of weights, 2^-40
BITS = 51  # of a double's 53, one is kept for the membrane's own swing and one for half a threshold
ROOM = 16.0  # sums are planned to be at least so large: a membrane also swings by its thresholds
COARSEST = 10  # weights on a coarser grid than 2^-10 would not be the network's any more


class Range(NamedTuple):
    """What is known of a value before it is there: a multiple of 2^-grid, at most ``most``; times ``scale`` to come."""

    grid: int
    most: float
    scale: float
    analogue: bool


class Plan(NamedTuple):
    """How a layer is done: its rounded constants by name, and what becomes of the value's range."""

    constants: dict[str, Tensor]
    after: Range


class Dyadic(Rules[Tensor]):
    """Layers at every time step on exact numbers; a value is a train [T, B, ...] in float64."""

    def __init__(
        self, graph: Graph, fired: dict[str, Firing] | None, neuron: Neuron, *, example: Tensor | None, most: float,
        plans: dict[str, Plan] | None = None, record: bool = True,
    ) -> None:  # fmt: skip
        if example is None:
            raise UsageError("the dyadic form needs an example input, for the sizes of pooled maps")
        self.fired, self.neuron, self.most, self.record = fired, neuron, most, record
        self.plans: dict[str, Plan] = {} if plans is None else plans
        if plans is None:
            graph.walk(_Planner(graph, self.plans, most), example[:1].double())
        self.rounded: Rules[Tensor] | None = None
        if fired is not None:
            self.rounded = Dyadic(graph, None, neuron, example=example, most=most, plans=self.plans)

    def read(self, x: Tensor) -> Tensor:
        """Round the input to its grid. Raises UsageError: an entry is larger than the sums were planned for."""
        largest = float(x.abs().max()) if x.numel() else 0.0
        if not largest <= self.most:
            raise UsageError(
                f"input: expected entries of at most {self.most} in absolute value, got {largest}; convert with most="
            )
        return on_grid(x, INPUT_GRID).unsqueeze(0)

    def layer(self, name: str, module: nn.Module, value: Tensor) -> Tensor:
        """Do it with rounded constants."""
        steps, batch = value.shape[:2]
        out, added = _linear(module, value.flatten(0, 1), self.plans[name].constants)
        out = out.reshape(steps, batch, *out.shape[1:])
        if added is not None:
            out[0] += added
        return out

    def add(self, name: str, first: Tensor, second: Tensor) -> Tensor:
        """Scale both branches, and join them."""
        constants = self.plans[name].constants
        return add_spike_trains(first * constants["first"], second * constants["second"])

    def fire(self, name: str, activation: QCFS, value: Tensor) -> Tensor:
        """Run the neurons; spikes are 1, their amplitude is in the next weights. The rounded network counts at once."""
        constants, after = self.plans[name]
        value = value * constants["scale"]
        step, levels = float(constants["step"]), activation.levels
        if self.fired is None:  # the rounded network
            return ladder_level(value.sum(0), step, levels).unsqueeze(0)
        fired = fire(value, step, levels, self.neuron, analogue=after.analogue, level=ladder_level)
        if self.record:
            self.fired[name] = fired
        return levels_sent(fired.sent, levels, self.neuron)

    def finish(self, value: Tensor) -> Tensor:
        """The output is the sum over the steps."""
        total: Tensor = value.sum(0) * self.plans["output"].constants["scale"]
        return total


def _linear(module: nn.Module, x: Tensor, constants: dict[str, Tensor]) -> tuple[Tensor, Tensor | None]:
    """Return a linear layer of ``x`` [N, ...] and what it adds."""
    weight, bias = constants.get("weight"), constants.get("bias")
    if isinstance(module, nn.Linear) and weight is not None:
        return nn.functional.linear(x, weight), bias
    if isinstance(module, (nn.Conv1d, nn.Conv2d)) and weight is not None:
        return module._conv_forward(x, weight, None), bias
    if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
        return (x, None) if weight is None else (x * weight, bias)
    if isinstance(module, (nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)):
        return _sum_pool(module, x)[0], None
    result: Tensor = module(x)
    return result, None


def _sum_pool(module: nn.Module, x: Tensor) -> tuple[Tensor, int]:
    """Return sums over the windows of an average pooling, exact, and how many entries a window has.

    Raises UsageError: windows of different sizes.
    """
    flat = isinstance(module, (nn.AvgPool1d, nn.AdaptiveAvgPool1d))
    maps = x.unsqueeze(2) if flat else x
    if isinstance(module, (nn.AvgPool1d, nn.AvgPool2d)):
        kernel, stride, padding = (_pair(part, flat) for part in (module.kernel_size, module.stride, module.padding))
        if module.ceil_mode or (padding != (0, 0) and not module.count_include_pad):
            raise UsageError(
                f"{type(module).__name__}: windows of different sizes at the edge cannot be converted exactly"
            )
    else:
        size = _pair(module.output_size, flat)
        high, wide = maps.shape[2:]
        if high % size[0] or wide % size[1]:
            raise UsageError(
                f"{type(module).__name__}: {high} x {wide} does not divide into {size[0]} x {size[1]} equal windows"
            )
        kernel = stride = (high // size[0], wide // size[1])
        padding = (0, 0)
    out = nn.functional.avg_pool2d(maps, kernel, stride, padding, divisor_override=1)
    return out.squeeze(2) if flat else out, kernel[0] * kernel[1]


def _pair(value: Any, flat: bool) -> tuple[int, int]:
    """Return sizes of both dimensions; of one-dimensional layers the first is 1 (for paddings, 0)."""
    parts = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if flat:
        return (0 if parts[-1] == 0 else 1, parts[-1])
    return (parts[0], parts[-1])


class _Planner(Rules[tuple[Range, Tensor]]):
    """Walks the graph once with ranges and an example, and writes the plans."""

    def __init__(self, graph: Graph, plans: dict[str, Plan], most: float) -> None:
        self.graph, self.plans, self.most = graph, plans, most
        self.folded: dict[str, nn.BatchNorm1d | nn.BatchNorm2d] = {}
        for node in graph.nodes:
            norm = _norm_after(graph, node)
            if norm is not None:
                self.folded[node.name] = norm

    def read(self, x: Tensor) -> tuple[Range, Tensor]:
        return Range(INPUT_GRID, self.most, 1.0, True), x

    def layer(self, name: str, module: nn.Module, value: tuple[Range, Tensor]) -> tuple[Range, Tensor]:
        """Round what a layer multiplies and adds."""
        before, x = value
        constants: dict[str, Tensor] = {}
        after = before
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d)):
            constants, after = self._product(name, module, before)
        elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and not self._folded_before(name):
            gain, shift = affine_of(module)
            shape = (-1, *[1] * (x.dim() - 2))
            constants, after = _fit(name, gain.double() * before.scale, shift.double(), before, float(gain.abs().max()))
            constants = {key: part.reshape(shape) for key, part in constants.items()}
        elif isinstance(module, (nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)):
            count = _sum_pool(module, x)[1]
            after = before._replace(most=before.most * count, scale=before.scale / count)
        self.plans[name] = Plan(constants, after)
        return after, _linear(module, x, constants)[0]

    def add(self, name: str, first: tuple[Range, Tensor], second: tuple[Range, Tensor]) -> tuple[Range, Tensor]:
        """Bring both branches to amplitude 1."""
        (a, x), (b, y) = first, second
        one, a = _scale(name, a)
        two, b = _scale(name, b)
        after = Range(max(a.grid, b.grid), a.most + b.most, 1.0, a.analogue and b.analogue)
        _require_bits(name, after)
        self.plans[name] = Plan({"first": one, "second": two}, after)
        return after, x + y

    def fire(self, name: str, activation: QCFS, value: tuple[Range, Tensor]) -> tuple[Range, Tensor]:
        """Round the threshold, so that half of it lies on the grid of the currents."""
        before, x = value
        scale, before = _scale(name, before)
        step = on_grid(activation.step(x), before.grid - 1)
        if not float(step) > 0:
            raise UsageError(
                f"{name}: the threshold {float(activation.step(x))} is below the grid of 2^-{before.grid - 1}"
            )
        _require_bits(name, before._replace(most=before.most + 2.0 * activation.levels * float(step)))
        after = Range(0, float(activation.levels), float(step), before.analogue)
        self.plans[name] = Plan({"scale": scale, "step": step}, after)
        return after._replace(analogue=False), x

    def finish(self, value: tuple[Range, Tensor]) -> None:
        """Bring the output to amplitude 1."""
        scale, after = _scale("output", value[0])
        self.plans["output"] = Plan({"scale": scale}, after)

    def _folded_before(self, name: str) -> bool:
        node = next(node for node in self.graph.nodes if node.name == name)
        source = node.args[0]
        return isinstance(source, fx.Node) and source.name in self.folded

    def _product(
        self, name: str, module: nn.Linear | nn.Conv1d | nn.Conv2d, before: Range
    ) -> tuple[dict[str, Tensor], Range]:
        weight = module.weight.double()
        bias = torch.zeros(len(weight), dtype=torch.float64) if module.bias is None else module.bias.double()
        norm = self.folded.get(name)
        if norm is not None:
            gain, shift = (part.double() for part in affine_of(norm))
            weight, bias = weight * gain.reshape(-1, *[1] * (weight.dim() - 1)), bias * gain + shift
        weight = weight * before.scale
        constants, after = _fit(name, weight, bias, before, float(weight.abs().flatten(1).sum(1).max()))
        if weight.dim() > 2:
            constants["bias"] = constants["bias"].reshape(-1, *[1] * (weight.dim() - 2))
        return constants, after


def _norm_after(graph: Graph, node: fx.Node) -> nn.BatchNorm1d | nn.BatchNorm2d | None:
    if node.op != "call_module" or len(node.users) != 1:
        return None
    after = next(iter(node.users))
    if after.op != "call_module":
        return None
    module, norm = graph.modules[str(node.target)], graph.modules[str(after.target)]
    if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d)) and isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d)):
        return norm
    return None


def _fit(name: str, weight: Tensor, bias: Tensor, before: Range, gain: float) -> tuple[dict[str, Tensor], Range]:
    """Round weights and biases to the finest grids on which a sum of at most ``gain`` times the input fits."""
    most = gain * before.most + float(bias.abs().max()) + 1e-300
    grid = min(FINEST, BITS - math.ceil(math.log2(max(most, ROOM))) - before.grid)
    if grid < COARSEST:
        raise UsageError(
            f"{name}: sums of up to {most:.3g} on a grid of 2^-{before.grid} leave 2^-{grid} for the weights; expected "
            f"2^-{COARSEST} or finer (two products without an activation between them, or very large inputs?)"
        )
    constants = {"weight": on_grid(weight, grid), "bias": on_grid(bias, grid + before.grid)}
    return constants, Range(grid + before.grid, most * (1 + 2.0**-COARSEST), 1.0, before.analogue)


def _scale(name: str, before: Range) -> tuple[Tensor, Range]:
    """Return what a value is multiplied by to have amplitude 1, rounded, and its range then."""
    one = torch.ones((), dtype=torch.float64)
    if before.scale == 1.0:
        return one, before
    most = before.most * before.scale
    grid = min(FINEST, BITS - math.ceil(math.log2(max(most, ROOM))) - before.grid)
    if grid < COARSEST:
        raise UsageError(f"{name}: no grid is fine enough for {most:.3g} on 2^-{before.grid}")
    return on_grid(one * before.scale, grid), before._replace(grid=before.grid + grid, most=most * 1.01, scale=1.0)


def _require_bits(name: str, after: Range) -> None:
    if after.most * 2.0**after.grid >= 2.0 ** (BITS + 2):
        raise UsageError(f"{name}: sums of up to {after.most:.3g} on a grid of 2^-{after.grid} need more than 53 bits")
