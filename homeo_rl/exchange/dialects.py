"""How time constants are written, and what each reader of NIR makes of them.

NIR's neurons are differential equations. With a step dt, and x_t held during it, all readers compute::

    I_t = a I_{t-1} + (1 - a) w_in x_t         v_t = b v_{t-1} + (1 - b) r I_t         (LIF: r x_t; IF: v + dt r x_t)

and differ in a and b: 1 - dt / tau (forward Euler) or exp(-dt / tau) (the exact solution). The current of a step acts
in the same step, a spike resets the potential in the same step, and an edge that closes a loop is one step late.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from homeo_rl.errors import UsageError, unknown

Decay = Literal["euler", "exponential"]
DECAYS: tuple[Decay, ...] = ("euler", "exponential")


@dataclass(frozen=True)
class Clock:
    """The step and the way in which a reader gets from time constants to decays."""

    dt: float
    decay: Decay = "euler"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.dt) and self.dt > 0):
            raise UsageError(f"dt: expected seconds above 0, got {self.dt!r}")
        if self.decay not in DECAYS:
            raise unknown("decay", self.decay, DECAYS)

    def tau(self, left: float) -> float:
        """Return the time constant at which the share ``left`` in [0, 1) of a potential is left after a step.

        Raises:
            UsageError: no finite one does.
        """
        if left == 0 and self.decay == "exponential":
            raise UsageError("decay exponential: a potential of which nothing is left has no time constant; take euler")
        if not 0 <= left < 1:
            raise UsageError(f"a potential of which {left:g} is left after a step has no finite time constant")
        return self.dt / (1.0 - left) if self.decay == "euler" else -self.dt / math.log(left)

    def left(self, tau: float) -> float:
        """Return what is left after a step; below 0 where forward Euler is no solution any more."""
        return 1.0 - self.dt / tau if self.decay == "euler" else math.exp(-self.dt / tau)


@dataclass(frozen=True)
class Flavour:
    """What a reader wants, so that it computes what the equations say."""

    name: str  # how it is asked for
    dt: float  # the step that it takes when nothing else is said, in seconds
    inclusive: bool  # its neurons spike at v >= threshold; NIR says above
    lif: Literal["free", "per_step", "unit"]  # "free" honours r, "per_step" wants r = tau / dt, "unit" takes r for 1
    # how an IF neuron is written: r = 1 / dt, r = 1, or as a "leaky" one that never leaks
    integrator: Literal["per_second", "unit", "leaky"]
    # it has integrators without spikes, thresholds, delays and scales, so that whatever we can write can be read.
    # Others have Linear, Affine, LIF, CubaLIF and IF.
    everything: bool = False
    fixed: bool = False  # the step cannot be another
    detour: bool = False  # loops of two nodes go through a third, an identity
    comment: str = ""  # what a user has to know


FLAVOURS = {
    flavour.name: flavour
    for flavour in (
        Flavour(
            "standard", 1e-4, inclusive=False, lif="free", integrator="per_second", everything=True,
            comment="the equations as NIR has them",
        ),
        Flavour(
            "snntorch", 1e-4, inclusive=False, lif="per_step", integrator="leaky", fixed=True, detour=True,
            comment="snntorch.import_nir.import_from_nir(graph); its step is 1e-4 s",
        ),
        Flavour(
            "spikingjelly", 1e-4, inclusive=True, lif="free", integrator="per_second",
            comment="spikingjelly.activation_based.nir_exchange.import_from_nir(graph, dt)",
        ),
        Flavour(
            "norse", 1e-3, inclusive=False, lif="unit", integrator="unit",
            comment="norse.torch.from_nir(graph, dt=dt)",
        ),
    )
}  # fmt: skip


def resolve_dialect(flavour: str, dt: float | None = None, decay: str = "euler") -> tuple[Flavour, Clock]:
    """Return a flavour by name, with its step or another.

    Raises:
        UsageError: there is no such flavour or decay, or the reader has another step or decay.
    """
    if flavour not in FLAVOURS:
        raise unknown("--dialect", flavour, FLAVOURS)
    if decay not in DECAYS:
        raise unknown("--decay", decay, DECAYS)
    dialect = FLAVOURS[flavour]
    clock = Clock(dialect.dt if dt is None else dt, "euler" if decay == "euler" else "exponential")
    if dialect.fixed and clock.dt != dialect.dt:
        raise UsageError(
            f"--dt: {flavour} reads every graph with a step of {dialect.dt:g} s, got {clock.dt:g}; leave it"
        )
    if not dialect.everything and clock.decay != "euler":
        raise UsageError(f"--decay: {flavour} takes forward Euler steps, got {decay}; leave it out")
    return dialect, clock
