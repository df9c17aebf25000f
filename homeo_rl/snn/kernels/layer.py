"""The scan of one layer as a differentiable operation: `homeo_rl.snn.neurons.scan`, compiled.

Derivatives reach the currents, the thresholds and the state before. Nothing is kept for them but potentials and spikes.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from homeo_rl.errors import InputError
from homeo_rl.homeostasis.protocol import EnergyRule
from homeo_rl.numerics.arrays import describe_value, instance_of
from homeo_rl.snn import neurons
from homeo_rl.snn.kernels import scans, serving
from homeo_rl.snn.neurons import Membrane
from homeo_rl.snn.surrogates import DERIVATIVES
from homeo_rl.spec import NeuronSpec

LOOPS = {"current-lif": scans.CURRENT, "if": scans.IF}
"""Compiled loops by what `homeo_rl.snn.neurons.Model.kernel` says; "lif" is one of two."""
SURROGATES = {"rectangle": scans.RECTANGLE, "arctan": scans.ARCTAN, "triangle": scans.TRIANGLE}


def kind_of(neuron: NeuronSpec) -> int:
    """Return the number by which the compiled loops know ``neuron``."""
    leaky = scans.LIF if neuron.decay_input else scans.LIF_PLAIN
    return LOOPS.get(neurons.MODELS[neuron.kind].kernel or "", leaky)


def constants_of(neuron: NeuronSpec, dtype: Any) -> np.ndarray:
    """Return current decay, voltage decay and tau."""
    return np.array([neuron.current_decay, neuron.voltage_decay, neuron.tau], dtype=dtype)


def scan(
    neuron: NeuronSpec,
    currents: Tensor,
    state: Membrane | None = None,
    *,
    threshold: Tensor | None = None,
    fires: bool = True,
) -> tuple[Tensor, Membrane]:
    """Do what `homeo_rl.snn.neurons.scan` does; ``threshold`` [N] takes the place of the neuron's constant.

    ``currents`` [B, T, N] are used up: their memory becomes that of the potentials. Second derivatives are the
    reference's.

    Raises InputError: shapes or types that do not fit.
    """
    _require(currents, state, threshold)
    before = _at_rest(currents) if state is None else state
    neuron = neurons.in_layer(neuron, fires)
    if neuron.kind == "multiscale-lif":
        return _scan_scales(neuron, currents, before, threshold)
    level = torch.full_like(currents[0, 0], neuron.threshold) if threshold is None else threshold
    out, *after = _Scan.apply(neuron, fires, currents, level, *before)  # type: ignore[no-untyped-call]  # torch ships apply untyped
    return out, Membrane(*after)


def _scan_scales(
    neuron: NeuronSpec, currents: Tensor, before: Membrane, threshold: Tensor | None
) -> tuple[Tensor, Membrane]:
    """Scan multiscale-lif neurons: the running mean of a group is a leaky integrator that does not fire."""
    inputs, means = [], []
    integrators, direct = _parts_of(neuron)
    for index, integrator in enumerate(integrators):
        members = slice(index, None, neurons.SCALES)
        x, rest = currents[..., members], torch.zeros_like(before.current[:, members])
        if index:
            mean, _ = scan(integrator, x.clone(), Membrane(rest, before.current[:, members], rest), fires=False)
            inputs.append(neurons.CHANGE_GAIN * (x - mean))
            means.append(mean[:, -1])
        else:
            inputs.append(x)
            means.append(rest)
    at_rest = before._replace(current=torch.zeros_like(before.current))
    out, after = scan(direct, _interleave(inputs), at_rest, threshold=threshold)
    return out, after._replace(current=_interleave(means))


@cache
def _parts_of(neuron: NeuronSpec) -> tuple[tuple[NeuronSpec, ...], NeuronSpec]:
    """Return the integrator of each group of multiscale-lif neurons, and what receives inputs and changes alike."""
    spans = neurons.spans_of(neuron)
    integrators = tuple(replace(neuron, kind="lif", tau=span, decay_input=True) for span in spans)
    return integrators, replace(neuron, kind="current-lif", current_decay=0.0)


def _interleave(groups: list[Tensor]) -> Tensor:
    """Return [..., N] of which every group holds the columns from its place on, one in as many as there are groups."""
    size, count = sum(group.shape[-1] for group in groups), len(groups)
    if size % count == 0:  # one copy, where the gather below is slow
        return torch.stack(groups, -1).flatten(-2)
    order = torch.argsort(torch.cat([torch.arange(size)[index::count] for index in range(count)]))
    return torch.cat(groups, -1)[..., order]


def scan_energetic(
    neuron: NeuronSpec,
    currents: Tensor,
    state: Membrane | None,
    rule: EnergyRule,
    alive: Tensor | None,
    stuck: Tensor | None,
) -> tuple[Tensor, Membrane]:
    """Run a layer under an energy rule on a GPU, without gradients; its E [B, N] advances in place.

    ``currents`` [B, T, N] are used up: their memory becomes that of the spikes.

    Raises InputError: shapes or types that do not fit.
    """
    _require(currents, state, None)
    from homeo_rl.snn.kernels import triton_scans

    x = currents.contiguous()
    size = (x.shape[0], x.shape[2])
    after = Membrane(*(_copy(part) for part in (_at_rest(x) if state is None else state)))
    live, held = (
        x.new_full(size, idle) if part is None else part.to(x).expand(size).contiguous()
        for part, idle in ((alive, 1.0), (stuck, 0.0))
    )
    kind, hard = kind_of(neuron), neuron.reset == "hard"
    triton_scans.scan_energetic(kind, hard, _constants_on(x, neuron, rule.psi), x, after, rule.energy, live, held)
    return x, after


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, neuron: NeuronSpec, fires: bool, currents: Tensor, threshold: Tensor, *state: Tensor) -> Any:
        x = currents.detach().contiguous()
        spikes = torch.empty_like(x) if fires else x
        after = Membrane(*(_copy(part) for part in state))
        level = threshold.detach().contiguous()
        ctx.on_cpu = serving(x) == "numba"
        if ctx.on_cpu:
            model = model_of(neuron, fires, x.numpy().dtype)
            scans.scan(model, level.numpy(), x.numpy(), spikes.numpy(), _arrays(after), _empty(x))
        else:
            from homeo_rl.snn.kernels import triton_scans

            kind, hard = kind_of(neuron), neuron.reset == "hard"
            triton_scans.scan(kind, hard, fires, _constants_on(x, neuron), level, x, spikes, after)
        ctx.neuron, ctx.fires = neuron, fires
        ctx.save_for_backward(x, spikes, level, state[1], state[2], currents, threshold, state[0])
        return spikes if fires else x.clone(), *after

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        potentials, spikes, threshold, potential, spiked, *inputs = ctx.saved_tensors
        neuron: NeuronSpec = ctx.neuron
        if torch.is_grad_enabled():  # with create_graph=True: a derivative of this derivative is wanted
            currents, level, current = inputs
            before = Membrane(current, potential, spiked)
            return None, None, *_twice(neuron, ctx.fires, potentials, spikes, currents, level, before, grads)
        coming = torch.zeros_like(potentials) if grads[0] is None else grads[0].contiguous()
        grad = torch.empty_like(potentials)
        surrogate = SURROGATES.get(neuron.surrogate, scans.GIVEN)
        derivative = DERIVATIVES[neuron.surrogate](potentials - threshold) if surrogate == scans.GIVEN else coming
        of_state = Membrane(
            *(
                torch.zeros_like(potential, memory_format=torch.contiguous_format) if part is None else _copy(part)
                for part in grads[1:]
            )
        )
        first = Membrane(potential, potential.detach().contiguous(), spiked.detach().contiguous())
        if ctx.on_cpu:
            of_threshold = torch.zeros_like(threshold)
            scans.scan_backward(
                model_of(neuron, ctx.fires, grad.numpy().dtype), surrogate, threshold.numpy(), derivative.numpy(),
                scans.Pass(potentials.numpy(), spikes.numpy(), _arrays(first)), coming.numpy(), grad.numpy(),
                scans.Gradients(_arrays(of_state), of_threshold.numpy(), _empty(grad)),
            )  # fmt: skip
        else:
            from homeo_rl.snn.kernels import triton_scans

            of_threshold = triton_scans.scan_backward(
                (kind_of(neuron), neuron.reset == "hard", ctx.fires, surrogate), _constants_on(grad, neuron), threshold,
                derivative, potentials, spikes, coming, grad, of_state, first,
            )  # fmt: skip
        return None, None, grad, of_threshold, *of_state


def _twice(
    neuron: NeuronSpec,
    fires: bool,
    potentials: Tensor,
    spikes: Tensor,
    currents: Tensor,
    threshold: Tensor,
    before: Membrane,
    grads: Sequence[Tensor | None],
) -> tuple[Tensor | None, ...]:
    """Return the derivatives of a scan through the reference's operations, which have derivatives themselves.

    The currents' memory holds potentials by now, so what they were is calculated back from these.
    """
    with torch.no_grad():
        received = _recover_currents(neuron, fires, potentials, spikes, threshold, before)
    # Views: derivatives are with respect to this scan's arguments, also where one depends on another.
    wanted = [part.view_as(part) for part in (currents, threshold, *before)]
    x, level, *state = wanted
    out, after = neurons.scan(
        neuron, received + (x - x.detach()), Membrane(*state), threshold=lambda *_: level, fires=fires
    )
    return derivatives([out, *after], grads, wanted)


def derivatives(
    outputs: Sequence[Tensor], grads: Sequence[Tensor | None], wanted: Sequence[Tensor | None]
) -> tuple[Tensor | None, ...]:
    """Return what ``grads`` of ``outputs`` are with respect to each tensor, in a graph; None where there is none."""
    pairs = [(out, grad) for out, grad in zip(outputs, grads, strict=True) if grad is not None and out.requires_grad]
    asked = [part for part in wanted if part is not None and part.requires_grad]
    if not pairs or not asked:
        return (None,) * len(wanted)
    reached, coming = zip(*pairs, strict=True)
    results = iter(torch.autograd.grad(reached, asked, coming, create_graph=True, allow_unused=True))
    return tuple(next(results) if part is not None and part.requires_grad else None for part in wanted)


def _recover_currents(
    neuron: NeuronSpec, fires: bool, potentials: Tensor, spikes: Tensor, threshold: Tensor, before: Membrane
) -> Tensor:
    kind = kind_of(neuron)
    first, last_spikes = before.potential.unsqueeze(1), before.spikes.unsqueeze(1)
    if not fires or kind == scans.CURRENT:  # the current-based one is gated at the next step
        carried = potentials
    elif neuron.reset == "hard":
        carried = potentials * (1.0 - spikes)
    else:
        carried = potentials - spikes * threshold
    v = torch.cat([first, carried[:, :-1]], 1)
    if kind == scans.CURRENT:
        held = torch.cat([last_spikes, spikes[:, :-1]], 1) if fires else last_spikes.expand_as(potentials)
        u = potentials - neuron.voltage_decay * v * (1.0 - held)
        return u - neuron.current_decay * torch.cat([before.current.unsqueeze(1), u[:, :-1]], 1)
    if kind == scans.IF:
        return potentials - v
    if kind == scans.LIF:
        return (potentials - v) * neuron.tau + v
    return potentials - v + v / neuron.tau


def _require(currents: Any, state: Any, threshold: Any) -> None:
    instance_of(currents, Tensor, what="currents [B, T, N]", advice="torch.as_tensor makes one")
    if currents.dim() != 3 or currents.shape[1] < 1 or currents.dtype not in (torch.float32, torch.float64):
        raise InputError(
            f"currents [B, T, N]: expected float32 or float64 of at least one step, got {currents.dtype} of shape "
            f"{list(currents.shape)}; convert them"
        )
    batch, _, size = currents.shape
    parts: list[tuple[str, Any, tuple[int, ...]]] = []
    if threshold is not None:
        parts.append(("threshold [N]", threshold, (size,)))
    if state is not None:
        instance_of(state, Membrane, what="state", advice="homeo_rl.snn.neurons.rest makes one")
        parts += [(f"{name} [B, N]", part, (batch, size)) for name, part in zip(Membrane._fields, state, strict=True)]
    for what, part, shape in parts:
        if not isinstance(part, Tensor) or part.shape != shape or part.dtype != currents.dtype:
            got = f"{part.dtype} of shape {list(part.shape)}" if isinstance(part, Tensor) else describe_value(part)
            raise InputError(f"{what}: expected {currents.dtype} of shape {list(shape)}, as currents are, got {got}; "
                             "give one of the currents' type")  # fmt: skip


def _constants_on(x: Tensor, neuron: NeuronSpec, psi: float = 1.0) -> Tensor:
    """Return what the kernels of a GPU read: current decay, voltage decay, tau, slope of the arctan surrogate, psi."""
    return x.new_tensor([neuron.current_decay, neuron.voltage_decay, neuron.tau, math.pi, psi])


def model_of(neuron: NeuronSpec, fires: bool, dtype: Any) -> scans.Model:
    """Return what the compiled loops know of the neurons of a layer."""
    return scans.Model(kind_of(neuron), neuron.reset == "hard", fires, constants_of(neuron, dtype))


def _arrays(state: Membrane) -> scans.State:
    return scans.State(state.current.numpy(), state.potential.numpy(), state.spikes.numpy())


def _empty(like: Tensor) -> np.ndarray:
    return np.empty(0, dtype=like.numpy().dtype)


def _at_rest(currents: Tensor) -> Membrane:
    size = (currents.shape[0], currents.shape[2])
    return Membrane(*(currents.new_zeros(size) for _ in range(3)))


def _copy(value: Tensor) -> Tensor:
    return value.detach().clone(memory_format=torch.contiguous_format)
