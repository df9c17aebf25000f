"""Neuron models as pure functions of one spike step, and the scan that runs them over time.

current-lif (SAN, PopSAN; Tang et al. 2020), spike at v > threshold::

    u_t = current_decay u_{t-1} + x_t
    v_t = voltage_decay v_{t-1} (1 - s_{t-1}) + u_t

lif, spike at v >= threshold, reset after the spike::

    v_t = v_{t-1} + (x_t - v_{t-1}) / tau      (decay_input)        v_t = v_{t-1} - v_{t-1} / tau + x_t

multiscale-lif, for policies that have to remember, has no synaptic decay. Every fourth neuron of a layer receives its
input. The others receive the change of their input, which is its distance from a running mean over m spike steps, where
the largest m is 1 / (1 - current_decay)::

    r_t = r_{t-1} + (x_t - r_{t-1}) / m
    v_t = voltage_decay v_{t-1} (1 - s_{t-1}) + 4 (x_t - r_t)

All neurons of a read-out layer that does not fire receive their input: an action is not a change.

plif (Fang et al., ICCV 2021) is lif with a learnable tau a layer, given as ``tau``.

if, spike at v >= threshold, reset after the spike::

    v_t = v_{t-1} + x_t

Soft reset subtracts the threshold, hard reset sets the potential to 0. Shapes: B batch, T steps, N neurons.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from homeo_rl.errors import UsageError
from homeo_rl.snn.surrogates import spike
from homeo_rl.spec import NEURON_KINDS, NeuronSpec


class Membrane(NamedTuple):
    """State of a layer between two spike steps, each [B, N]."""

    current: Tensor
    potential: Tensor
    spikes: Tensor


ThresholdRule = Callable[[Tensor, Tensor], Tensor]
"""(potential before, potential after integration) -> threshold, each [B, N]."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """A neuron model.

    Attributes:
        integrate: (spec, input current [B, N], state before) -> synaptic current and membrane potential before firing,
            each [B, N].
        reset: (spec, potential, spikes, threshold) -> the potential after the spikes; None: soft or hard, as the spec
            says.
        inclusive: whether it fires at v >= threshold, or only above.
        leak: `integrate` with a tau in the place of the spec's, for models whose leak is learnable.
        kernel: the compiled loop that does the same (`homeo_rl.snn.kernels.layer.LOOPS`); None has none.
    """

    integrate: Callable[[NeuronSpec, Tensor, Membrane], tuple[Tensor, Tensor]]
    reset: Callable[[NeuronSpec, Tensor, Tensor, Tensor | float], Tensor] | None = None
    inclusive: bool = True
    leak: Callable[[NeuronSpec, Tensor, Membrane, Tensor | float], tuple[Tensor, Tensor]] | None = None
    kernel: str | None = None


MODELS: dict[str, Model] = {}
"""Registered models by name."""


def register(kind: str, model: Model) -> None:
    """Let ``neuron: {kind: ...}`` name a model. Raises UsageError: the name is taken by another model."""
    if MODELS.get(kind, model) != model:
        raise UsageError(f"neuron kind {kind!r}: expected a new name, there is one already; choose another")
    MODELS[kind] = model
    if kind not in NEURON_KINDS:
        NEURON_KINDS.append(kind)


def _integrate_current(neuron: NeuronSpec, x: Tensor, state: Membrane) -> tuple[Tensor, Tensor]:
    current = neuron.current_decay * state.current + x
    return current, neuron.voltage_decay * state.potential * (1.0 - state.spikes) + current


SCALES = 4
"""Groups of a layer of multiscale-lif neurons; neuron n is in group n modulo this, and group 0 receives its input."""

CHANGE_GAIN = 4.0
"""Factor of the change of an input, which is smaller than the input."""


def spans_of(neuron: NeuronSpec) -> list[float]:
    """Return m of each group of multiscale-lif neurons, in spike steps; 1 for the group that has none."""
    return [(1.0 - neuron.current_decay) ** (-index / (SCALES - 1)) for index in range(SCALES)]


def in_layer(neuron: NeuronSpec, fires: bool) -> NeuronSpec:
    """Return the neurons of a layer; multiscale-lif neurons that do not fire have no groups."""
    grouped = neuron.kind == "multiscale-lif"
    return replace(neuron, kind="current-lif", current_decay=0.0) if grouped and not fires else neuron


def _integrate_change(neuron: NeuronSpec, x: Tensor, state: Membrane) -> tuple[Tensor, Tensor]:
    drive, mean = x.clone(), torch.zeros_like(x)
    for index, span in enumerate(spans_of(neuron)[1:], 1):
        received, before = x[..., index::SCALES], state.current[..., index::SCALES]
        after = before + (received - before) / span
        mean[..., index::SCALES], drive[..., index::SCALES] = after, CHANGE_GAIN * (received - after)
    return mean, neuron.voltage_decay * state.potential * (1.0 - state.spikes) + drive


def _leak(neuron: NeuronSpec, x: Tensor, state: Membrane, tau: Tensor | float) -> tuple[Tensor, Tensor]:
    if neuron.decay_input:
        return x, state.potential + (x - state.potential) / tau
    return x, state.potential - state.potential / tau + x


def _leaky(neuron: NeuronSpec, x: Tensor, state: Membrane) -> tuple[Tensor, Tensor]:
    return _leak(neuron, x, state, neuron.tau)


register(
    "current-lif",
    Model(
        integrate=_integrate_current,
        reset=lambda neuron, potential, spikes, threshold: potential,  # it is gated at the next step
        inclusive=False,
        kernel="current-lif",
    ),
)
register(
    "multiscale-lif",
    Model(integrate=_integrate_change, reset=lambda neuron, potential, spikes, threshold: potential, inclusive=False),
)
register("lif", Model(integrate=_leaky, leak=_leak, kernel="lif"))
register("plif", Model(integrate=_leaky, leak=_leak, kernel="lif"))
register("if", Model(integrate=lambda neuron, x, state: (x, state.potential + x), kernel="if"))


def rest(x: Tensor, initial: Tensor | None = None) -> Membrane:
    """Return the state at rest for input currents ``x`` [B, N]; ``initial`` [N] is a potential other than 0."""
    zero = torch.zeros_like(x)
    return Membrane(zero, zero if initial is None else zero + initial, zero)


def integrate(
    neuron: NeuronSpec, x: Tensor, state: Membrane, tau: Tensor | float | None = None
) -> tuple[Tensor, Tensor]:
    """Return synaptic current and membrane potential after the input ``x`` [B, N], before firing."""
    model = MODELS[neuron.kind]
    if tau is None or model.leak is None:
        return model.integrate(neuron, x, state)
    return model.leak(neuron, x, state, tau)


def fire(neuron: NeuronSpec, potential: Tensor, threshold: Tensor | float) -> Tensor:
    """Return the spikes [B, N] of integrated potentials."""
    return spike(potential - threshold, neuron.surrogate, inclusive=MODELS[neuron.kind].inclusive)


def reset(neuron: NeuronSpec, potential: Tensor, spikes: Tensor, threshold: Tensor | float) -> Tensor:
    """Return the potential after the spikes."""
    model = MODELS[neuron.kind]
    if model.reset is not None:
        return model.reset(neuron, potential, spikes, threshold)
    if neuron.reset == "soft":
        return potential - spikes * threshold
    return potential * (1.0 - spikes)


def step(
    neuron: NeuronSpec,
    x: Tensor,
    state: Membrane,
    *,
    threshold: ThresholdRule | None = None,
    alive: Tensor | None = None,
    stuck: Tensor | None = None,
    fires: bool = True,
    tau: Tensor | float | None = None,
) -> Membrane:
    """Run one spike step.

    Args:
        x: input current [B, N].
        threshold: rule that replaces the constant threshold.
        alive: 0 for neurons that never fire, else 1; [N] or [B, N].
        stuck: 1 for neurons that fire at every step, else 0; [N] or [B, N].
        fires: False for a read-out layer whose potential only integrates.
        tau: takes the place of the neuron's constant.

    Returns:
        the state after; its ``spikes`` are the output.
    """
    current, potential = integrate(in_layer(neuron, fires), x, state, tau)
    if not fires:
        return Membrane(current, potential, state.spikes)
    level = neuron.threshold if threshold is None else threshold(state.potential, potential)
    spikes = fire(neuron, potential, level)
    if alive is not None:
        spikes = spikes * alive
    if stuck is not None:
        spikes = torch.maximum(spikes, stuck)
    return Membrane(current, reset(neuron, potential, spikes, level), spikes)


def scan(
    neuron: NeuronSpec,
    currents: Tensor,
    state: Membrane | None = None,
    *,
    threshold: ThresholdRule | None = None,
    alive: Tensor | None = None,
    stuck: Tensor | None = None,
    fires: bool = True,
    tau: Tensor | float | None = None,
) -> tuple[Tensor, Membrane]:
    """Run `step` over all T steps of ``currents`` [B, T, N].

    Returns:
        the spikes [B, T, N] (of a layer that does not fire: its potentials) and the last state.
    """
    outputs = []
    for x in currents.unbind(1):
        state = step(
            neuron, x, rest(x) if state is None else state,
            threshold=threshold, alive=alive, stuck=stuck, fires=fires, tau=tau,
        )  # fmt: skip
        outputs.append(state.spikes if fires else state.potential)
    assert state is not None, "at least one spike step"
    return torch.stack(outputs, 1), state
