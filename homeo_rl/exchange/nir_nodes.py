"""Neurons as nodes of a NIR graph.

NIR's neurons reset hard and spike above the threshold. A soft reset is an integrator, a threshold and a loop: what the
reset would have taken from the next potential comes back as an input one step later. A threshold that may be reached
is the next smaller number of float32, so that exactly the same potentials cross it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from homeo_rl.errors import UsageError
from homeo_rl.exchange.dialects import Clock, Flavour
from homeo_rl.spec import NeuronSpec

NEVER_LEAKS = 2.0**40
"""Steps of a time constant at which float32 has no leak at all."""


@dataclass(frozen=True, kw_only=True)
class Dynamics:
    """A neuron in steps: I_t = current_left I_{t-1} + x_t, v_t = left v_{t-1} + gain I_t, less what a reset takes."""

    left: float  # share of the potential that a step leaves
    gain: float = 1.0  # what a unit of current adds to the potential
    # share of the current that a step leaves; None: there is no current but the input
    current_left: float | None = None
    threshold: float | None = None  # None never spikes
    inclusive: bool = False  # spikes at v >= threshold, not only above
    # "hard" to 0, "soft" by the threshold before the leak, "late" by the threshold after it
    reset: Literal["hard", "soft", "late"] = "hard"


@dataclass(frozen=True)
class Part:
    """Nodes and edges that stand for a layer of neurons: what goes in at ``first`` comes out as spikes of ``last``."""

    nodes: dict[str, Any]
    edges: list[tuple[str, str]]
    first: str
    last: str


def dynamics_of(spec: NeuronSpec, *, fires: bool, tau: float | None = None) -> Dynamics:
    """Return the dynamics of one of our neurons; ``tau`` takes the place of its constant.

    Raises:
        UsageError: it is a neuron of somebody's own.
    """
    threshold = spec.threshold if fires else None
    if spec.kind == "current-lif":
        return Dynamics(left=spec.voltage_decay, current_left=spec.current_decay, threshold=threshold)
    if spec.kind == "if":
        return Dynamics(left=1.0, threshold=threshold, inclusive=True, reset=spec.reset)
    if spec.kind not in ("lif", "plif"):
        raise UsageError(f"--to nir: neurons of kind {spec.kind} are none that NIR has; take --to onnx")
    tau = spec.tau if tau is None else tau
    gain = 1.0 / tau if spec.decay_input else 1.0
    return Dynamics(left=1.0 - 1.0 / tau, gain=gain, threshold=threshold, inclusive=True, reset=spec.reset)


def population(nir: Any, name: str, how: Dynamics, count: int, flavour: Flavour, clock: Clock) -> Part:
    """Write ``count`` neurons; ``name`` is that of the node, or what the names of several begin with.

    Raises:
        UsageError: the reader has no such neurons.
    """
    if how.threshold is None or (how.reset != "hard" and not (how.reset == "soft" and how.left == 0)):
        if not flavour.everything:
            what = "potentials that never spike" if how.threshold is None else f"a {how.reset} reset"
            raise UsageError(
                f"--dialect {flavour.name}: {name} has {what}, which its reader lacks (NIR's neurons reset hard); "
                "take --dialect standard, or train with agent_kwargs:{neuron: {reset: hard}}"
            )
        return _apart(nir, name, how, count, clock)
    scale = _scale(how, flavour)
    threshold = _shift_threshold(how.threshold * scale, how.inclusive, flavour.inclusive)
    rest = {"v_threshold": _all(threshold, count), "v_reset": _all(0.0, count)}
    if how.current_left is not None:
        node = nir.CubaLIF(**_current(name, how, count, clock), **rest)
    elif how.left == 1 and flavour.integrator != "leaky":
        r = how.gain / clock.dt if flavour.integrator == "per_second" else how.gain
        node = nir.IF(r=_all(r, count), **rest)
    else:
        tau = clock.dt * NEVER_LEAKS if how.left == 1 else _tau(name, how.left, clock)
        if flavour.name == "spikingjelly" and how.left == 0:
            raise UsageError(f"--dialect spikingjelly: {name} forgets its potential at every step; it wants tau > dt")
        r = tau / clock.dt if how.left == 1 else how.gain * scale / (1.0 - how.left)
        node = nir.LIF(tau=_all(tau, count), r=_all(r, count), v_leak=_all(0.0, count), **rest)
    return Part({name: node}, [], name, name)


def _apart(nir: Any, name: str, how: Dynamics, count: int, clock: Clock) -> Part:
    """Write integrators and, where they spike, their thresholds and the way back of the reset."""
    if how.current_left is not None:
        if how.threshold is not None:
            raise UsageError(f"{name}: a soft reset of a current-based neuron is not one that we have")
        return Part({name: nir.CubaLI(**_current(name, how, count, clock))}, [], name, name)
    if how.left == 1:
        integrator = nir.I(r=_all(how.gain / clock.dt, count))
    else:
        tau, r = _tau(name, how.left, clock), how.gain / (1.0 - how.left)
        integrator = nir.LI(tau=_all(tau, count), r=_all(r, count), v_leak=_all(0.0, count))
    if how.threshold is None:
        return Part({name: integrator}, [], name, name)
    taken = how.threshold * (how.left if how.reset == "soft" else 1.0) / how.gain
    potential, back = f"{name}_potential", f"{name}_reset"
    nodes = {
        potential: integrator,
        name: nir.Threshold(threshold=_all(_shift_threshold(how.threshold, how.inclusive, False), count)),
        back: nir.Scale(scale=_all(-taken, count)),
    }
    return Part(nodes, [(potential, name), (name, back), (back, potential)], potential, name)


def _current(name: str, how: Dynamics, count: int, clock: Clock) -> dict[str, Any]:
    assert how.current_left is not None
    numbers = {
        "tau_syn": _tau(name, how.current_left, clock),
        "tau_mem": _tau(name, how.left, clock),
        "w_in": 1.0 / (1.0 - how.current_left),
        "r": how.gain / (1.0 - how.left),
        "v_leak": 0.0,
    }
    return {key: _all(value, count) for key, value in numbers.items()}


def _tau(name: str, left: float, clock: Clock) -> float:
    try:
        return clock.tau(left)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from None


def _scale(how: Dynamics, flavour: Flavour) -> float:
    """Return by how much the potential grows so that the current comes in as the reader wants it."""
    if how.current_left is not None or how.left == 1 or flavour.lif == "free":
        return 1.0
    return 1.0 / how.gain if flavour.lif == "per_step" else (1.0 - how.left) / how.gain


def _shift_threshold(threshold: float, ours: bool, theirs: bool) -> float:
    """Return the float32 at which a neuron spikes, for readers that count reaching it (or do not) as we do not."""
    exact = np.float32(threshold)
    if ours and not theirs:
        exact = np.nextafter(exact, np.float32(-np.inf))
    if theirs and not ours:
        exact = np.nextafter(exact, np.float32(np.inf))
    return float(exact)


def _all(value: float, count: int) -> np.ndarray:
    # Double precision: a reader's decay, 1 - dt / tau, is then ours to the last bit of float32.
    return np.full(count, value, dtype=np.float64)
