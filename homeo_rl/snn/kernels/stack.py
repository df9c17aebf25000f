"""Encoder spikes and all layers of a network as one differentiable operation that keeps to the processor's cache.

Products of whole batches stream every intermediate result through main memory. Here a block of samples goes through
all layers before the next begins, forward and backward, so what a layer leaves is still in the cache when the next
one, or the product for the weights' derivative, reads it. The derivative with respect to the encoder's activity is
linear in time, so it is summed over the steps before its product, which then has B rows instead of B * T. For shared
weights and membranes that begin every decision afresh; `homeo_rl.snn.kernels.layer` serves the rest.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from homeo_rl.errors import InputError
from homeo_rl.snn import neurons
from homeo_rl.snn.kernels import encoding, events, integer, scans
from homeo_rl.snn.kernels.layer import SURROGATES, derivatives, model_of
from homeo_rl.snn.kernels.workspace import multiply, working
from homeo_rl.snn.surrogates import DERIVATIVES
from homeo_rl.spec import NeuronSpec

BLOCK = 1280  # rows (samples times steps) of a block: 256 samples of five steps are one, without a second bookkeeping


class Input(NamedTuple):
    """What enters the first layer."""

    activity: Tensor  # of the encoder [B, N_enc], with its gradient
    train: Tensor  # spikes or currents [B, T, N_enc], without
    step_gradients: list[float]  # derivative of the train with respect to the activity at each step [T]


class Layer(NamedTuple):
    """What a layer runs with; derivatives reach all of it."""

    weight: Tensor  # [N_out, N_in]
    bias: Tensor  # [N_out]
    threshold: Tensor | None = None  # [N_out], or None for the neuron's constant
    initial: Tensor | None = None  # membrane potential [N_out] that a decision begins with, or None for 0


class _Plan(NamedTuple):
    neuron: NeuronSpec
    fires: bool
    entering: Input
    hidden: list[Tensor]
    recording: bool  # whether a derivative may be wanted
    lists: dict[tuple[int, int], events.Lists]  # of the events that enter a layer, by its index and a block's first row


class _Product:
    """The product of one layer: events are followed where they are few, or else in the type that suits the CPU."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.weight, self.bias = weight, bias
        self._tiles: Tensor | None = None
        self._digits: tuple[Tensor, Tensor] | None = None

    def write(self, x: Tensor, out: Tensor) -> events.Lists | None:
        """Write x [B, T, K] @ weight^T + bias into ``out`` [B, T, N]; return the events if they were followed."""
        if x.stride(1) == 0:  # a constant current is multiplied once
            out.copy_(multiply(x[:, 0], self.weight, self.bias).unsqueeze(1))
            return None
        rows, to = x.flatten(0, 1), out.flatten(0, 1)
        lists = events.follow(rows) if x.dtype == torch.int8 else None
        if lists is not None:
            if self._tiles is None:
                self._tiles = events.split(self.weight.T)
            events.multiply(lists, self._tiles, self.bias, to)
        elif x.dtype == torch.int8 and x.shape[2] <= integer.MOST and integer.available():
            if self._digits is None:
                self._digits = integer.split(self.weight.T)
            integer.multiply(rows, self._digits, to, self.bias)
        else:
            to.copy_(multiply(rows.to(out.dtype), self.weight, self.bias))
        return lists


def _multiply_active(rows: Tensor, active: Tensor | None, weight: Tensor) -> Tensor:
    """Return rows [R, N] @ weight^T [K, N] of which only the ``active`` rows are not 0."""
    if active is None:
        return multiply(rows, weight)
    out = rows.new_zeros((len(rows), len(weight)))
    return out.index_copy_(0, active, multiply(rows.index_select(0, active), weight))


def _add_outer(
    x: Tensor, active: Tensor | None, lists: events.Lists | None, rows: Tensor, out: Tensor, sums: Tensor
) -> None:
    """Add x^T @ rows to ``out`` [K, N] and the sum of rows to ``sums`` [N], for spikes x [R, K] and perhaps lists."""
    if lists is not None:
        events.add_product(lists, rows, out, sums)
        return
    if active is not None:
        x, rows = x.index_select(0, active), rows.index_select(0, active)
    sums += rows.sum(0)
    if x.dtype == torch.int8 and integer.available():
        integer.multiply(x.T, integer.split(rows), out)
    else:
        out += multiply(x.T.to(rows.dtype), rows.T)


def event_type(dtype: torch.dtype) -> torch.dtype:
    """Return how spikes are stored: in 8 bits where products follow events or are in integers."""
    return torch.int8 if dtype == torch.float32 and events.products() != "float" else dtype


def run(
    neuron: NeuronSpec, entering: Input, layers: Sequence[Layer], *, fires: bool = True
) -> tuple[Tensor, list[Tensor]]:
    """Run an input through layers.

    Returns the last layer's output [B, T, N] (potentials if it does not fire), and the spikes of the layers before it,
    without gradient, as `event_type` says. Second derivatives are the reference's. Raises InputError: shapes or types
    that do not fit.
    """
    _require(entering, layers)
    flat = [part for layer in layers for part in layer]
    plan = _Plan(neuron, fires, entering, [], torch.is_grad_enabled(), {})
    out: Tensor = _Stack.apply(plan, entering.activity, *flat)  # type: ignore[no-untyped-call]  # torch ships apply untyped
    return out, plan.hidden


class _Stack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plan: _Plan, activity: Tensor, *flat: Tensor | None) -> Tensor:
        neuron, train = plan.neuron, plan.entering.train
        batch, steps = train.shape[:2]
        layers = _layers(flat)
        weights = [layer.weight.detach() for layer in layers]
        products = [_Product(layer.weight.detach(), layer.bias.detach().contiguous()) for layer in layers]
        levels = [_level(neuron, layer) for layer in layers]
        starts = [_values(layer.initial, layer) for layer in layers]
        widths = [weight.shape[0] for weight in weights]
        last_layer = len(weights) - 1
        event = event_type(activity.dtype)
        potentials = [weights[0].new_empty((batch, steps, width)) for width in widths]
        spikes = [torch.empty(p.shape, dtype=event) for p in potentials]
        if not plan.fires:
            spikes[-1] = potentials[-1]
        # What each layer's product reads.
        entering = [train if train.is_floating_point() else train.contiguous(), *spikes[:-1]]
        kind = potentials[0].numpy().dtype
        models = [model_of(neuron, plan.fires or i < last_layer, kind) for i in range(len(weights))]
        for first, last in _blocks(batch, steps):
            for i, product in enumerate(products):
                p = potentials[i][first:last]
                lists = product.write(entering[i][first:last], p)
                if lists is not None and plan.recording:
                    plan.lists[i, first] = lists
                scans.scan(models[i], levels[i], p.numpy(), spikes[i][first:last].numpy(), _no_state(p), starts[i])
        ctx.plan, ctx.layers = plan, len(weights)
        ctx.save_for_backward(
            *entering, *weights, *potentials, *spikes, *(layer.threshold for layer in layers), activity, *flat
        )
        plan.hidden.extend(spikes[:-1])
        return spikes[-1].to(activity.dtype) if plan.fires else spikes[-1].clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        plan: _Plan = ctx.plan
        neuron = plan.neuron
        layers: int = ctx.layers
        saved = ctx.saved_tensors
        if torch.is_grad_enabled():  # with create_graph=True: a derivative of this derivative is wanted
            return _twice(plan, saved[0], saved[5 * layers], saved[5 * layers + 1 :], grads)
        entering, weights, potentials, spikes, thresholds = (saved[i * layers : (i + 1) * layers] for i in range(5))
        coming = grads[0].contiguous()
        batch, steps = coming.shape[:2]
        # Transposed, as the parameters lie in memory, so that torch need not turn them.
        of_weights = [torch.zeros_like(weight.T, memory_format=torch.contiguous_format) for weight in weights]
        of_biases = [weight.new_zeros(weight.shape[0]) for weight in weights]
        # Thresholds and initial potentials that are given, and want a derivative.
        wanted = ctx.needs_input_grad[2:]
        of_thresholds, of_starts = (
            [w.new_zeros(w.shape[0] if wanted[len(Layer._fields) * i + part] else 0) for i, w in enumerate(weights)]
            for part in (2, 3)
        )
        levels = [_level(neuron, Layer(w, w, t)) for w, t in zip(weights, thresholds, strict=True)]
        of_activity = weights[0].new_empty((batch, weights[0].shape[1])) if ctx.needs_input_grad[1] else None
        step_gradients = np.array(plan.entering.step_gradients, dtype=coming.numpy().dtype)
        surrogate = SURROGATES.get(neuron.surrogate, scans.GIVEN)
        kind = coming.numpy().dtype
        models = [model_of(neuron, plan.fires or i < layers - 1, kind) for i in range(layers)]
        for first, last in _blocks(batch, steps):
            count = last - first
            g = coming[first:last]
            for i in reversed(range(layers)):
                p, s, x = (part[i][first:last] for part in (potentials, spikes, entering))
                fall = working(f"fall {i}", p.shape, p.dtype)
                custom = surrogate == scans.GIVEN
                derivative = DERIVATIVES[neuron.surrogate](p - torch.from_numpy(levels[i])) if custom else p
                forgotten = _no_state(p)
                scans.scan_backward(
                    models[i], surrogate, levels[i], derivative.numpy(),
                    scans.Pass(p.numpy(), s.numpy(), forgotten), g.numpy(), fall.numpy(),
                    scans.Gradients(forgotten, of_thresholds[i].numpy(), of_starts[i].numpy()),
                )  # fmt: skip
                rows = fall.flatten(0, 1)
                summed = None
                if i == 0 and (of_activity is not None or x.stride(1) == 0):
                    summed = p.new_empty((count, p.shape[2]))
                    encoding.total(fall.numpy(), step_gradients, summed.numpy())
                # Where a neuron's window is left for good, nothing comes back: whole rows are 0.
                active = events.active_rows(rows)
                if summed is not None and x.stride(1) == 0:
                    of_weights[i] += multiply(x[:, 0].T, summed.T)
                    of_biases[i] += rows.sum(0)
                else:
                    lists = plan.lists.get((i, first))
                    _add_outer(x.flatten(0, 1), active, lists, rows, of_weights[i], of_biases[i])
                if i > 0:
                    g = _multiply_active(rows, active, weights[i].T).view_as(potentials[i - 1][first:last])
                elif summed is not None and of_activity is not None:
                    of_activity[first:last] = multiply(summed, weights[i].T)
        gradients = zip((w.T for w in of_weights), of_biases, of_thresholds, of_starts, strict=True)
        return (None, of_activity, *(part if len(part) > 0 else None for layer in gradients for part in layer))


def _twice(
    plan: _Plan, train: Tensor, activity: Tensor, flat: Sequence[Tensor | None], grads: Sequence[Tensor]
) -> tuple[Tensor | None, ...]:
    """Return the derivatives of a stack through the reference's operations, which have derivatives themselves."""
    # Views: derivatives are with respect to this stack's arguments, also where one depends on another.
    wanted = [None if part is None else part.view_as(part) for part in (activity, *flat)]
    smooth, layers = wanted[0], _layers(wanted[1:])
    assert smooth is not None
    step_gradients = smooth.new_tensor(plan.entering.step_gradients)
    out = train.to(smooth.dtype) + (smooth - smooth.detach()).unsqueeze(1) * step_gradients.unsqueeze(-1)
    for index, layer in enumerate(layers):
        received = torch.nn.functional.linear(out, layer.weight, layer.bias)
        level = layer.threshold
        out, _ = neurons.scan(
            plan.neuron, received, neurons.rest(received[:, 0], layer.initial),
            threshold=None if level is None else lambda *_, level=level: level,
            fires=plan.fires or index < len(layers) - 1,
        )  # fmt: skip
    return None, *derivatives([out], grads, wanted)


def _require(entering: Input, layers: Sequence[Layer]) -> None:
    """Check that an input and layers fit each other. Raises InputError: naming the first that does not."""
    if not layers:
        raise InputError("layers: expected at least one, got none; give a Layer")
    dtype, train = layers[0].weight.dtype, entering.train
    events = (dtype, torch.int8) if dtype == torch.float32 else (dtype,)
    shapes = train.dim() == 3 and train.shape[1] >= 1 and entering.activity.shape == (train.shape[0], train.shape[2])
    types = train.dtype in events and entering.activity.dtype == dtype and dtype in (torch.float32, torch.float64)
    if not shapes or not types or len(entering.step_gradients) != train.shape[1]:
        raise InputError(
            f"input: expected a train [B, T, N], an activity [B, N] and T derivatives in {dtype}, as the weights are, "
            f"got {list(train.shape)} of {train.dtype}, {list(entering.activity.shape)} of {entering.activity.dtype} "
            f"and {len(entering.step_gradients)}; SpikingNetwork makes one"
        )
    width = train.shape[2]
    for index, layer in enumerate(layers):
        size = layer.bias.shape[0] if layer.bias.dim() == 1 else -1
        expected = ((size, width), (size,), (size,), (size,))
        for name, part, shape in zip(Layer._fields, layer, expected, strict=True):
            if part is not None and (tuple(part.shape) != shape or part.dtype != dtype or not part.is_cpu):
                raise InputError(
                    f"layer {index}: expected a {name} of {dtype} and shape {shape} on the CPU, got {part.dtype} of "
                    f"{tuple(part.shape)} on {part.device}; layers follow each other, [N_out, N_in]"
                )
        width = size


def _layers(flat: Sequence[Tensor | None]) -> list[Layer]:
    width = len(Layer._fields)
    return [Layer(*flat[i : i + width]) for i in range(0, len(flat), width)]  # type: ignore[arg-type]  # first two are never None


def _blocks(batch: int, steps: int) -> list[tuple[int, int]]:
    size = max(BLOCK // steps, 1)
    return [(first, min(first + size, batch)) for first in range(0, batch, size)]


def _no_state(like: Tensor) -> scans.State:
    nothing = np.empty((0, like.shape[2]), dtype=like.numpy().dtype)
    return scans.State(nothing, nothing, nothing)


def _level(neuron: NeuronSpec, layer: Layer) -> np.ndarray:
    if layer.threshold is not None:
        return _values(layer.threshold, layer)
    return np.full(layer.weight.shape[0], neuron.threshold, dtype=layer.weight.detach().numpy().dtype)


def _values(value: Tensor | None, layer: Layer) -> np.ndarray:
    """Return ``value`` [N] for compiled code, or nothing."""
    return (layer.weight.new_empty(0) if value is None else value.detach().contiguous()).numpy()
