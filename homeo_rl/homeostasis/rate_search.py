"""Rehearsal: how fast a mechanism may adapt is found out on the memory, before it matters.

No learning rate suits every network, and nothing that is seen while acting tells which one does: a rate that differs
from the reference may be damage, or just another situation. On remembered observations there is no such doubt. When
the self-test says that the network is damaged, the mechanism runs over them once for each of a few rates, exactly as it
does while acting; the rate after which the network acts most as it used to is kept, with what it learned. Where none
brings the actions much closer the mechanism stays shut, and where the self-test passes it is never opened, so a healthy
network acts as if there were no mechanism, to the last bit. No return, label or gradient is used.

The observations come in random order, so that successive ones are different situations: the rule's moments then run
over what the robot meets in general, and not over the curve that it is in.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

from homeo_rl.homeostasis.combined import CombinedMechanism
from homeo_rl.homeostasis.dwam import PaperDWAM
from homeo_rl.homeostasis.linear import LinearHomeostat
from homeo_rl.homeostasis.protocol import RATE, Homeostasis, LayerReference, State

if TYPE_CHECKING:  # see `homeo_rl.homeostasis.protocol`
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Rehearsing(Homeostasis):
    """Base of mechanisms that rehearse.

    State: what the mechanism has, and ``eta`` [B, 1], which starts at 0: shut.

    Attributes:
        eta: the rate at which they go on awake, once rehearsal opened them.
        rates: learning rates that are tried.
        passes: times that the memory is gone through with each.
        least: share by which the actions must come closer for a rate to be kept.
    """

    eta: float = 1e-5
    rates: tuple[float, ...] | float = (1e-4, 3e-4, 1e-3)
    passes: int = 5
    least: float = 0.2

    def __post_init__(self) -> None:
        if not isinstance(self.eta, int | float):
            raise ValueError("eta: expected one rate for all layers; rehearsal finds one")
        super().__post_init__()
        if min(self.tried, default=0.0) <= 0:
            raise ValueError(f"rates: expected numbers above 0, got {self.rates!r}")
        if self.passes != int(self.passes) or self.passes < 1:
            raise ValueError(f"passes: expected a whole number from 1 on, got {self.passes!r}")
        object.__setattr__(self, "passes", int(self.passes))  # words of an arm are read as floats
        if not 0 <= self.least < 1:
            raise ValueError(f"least: expected 0 to 1, got {self.least!r}")
        if self.scope != "episode":
            raise ValueError(f"{self.name}: a rehearsal is for what is broken in an episode; scope episode only")

    @property
    def tried(self) -> tuple[float, ...]:
        """The rates, also where only one was given."""
        return self.rates if isinstance(self.rates, tuple) else (self.rates,)

    def init(self, layer: LayerReference, batch: int) -> State:
        """Start shut."""
        return {**super().init(layer, batch), RATE: layer.rate.new_zeros(batch, 1)}


@dataclass(frozen=True, kw_only=True)
class DWAM(Rehearsing, PaperDWAM):
    """DWAM whose learning rate is found by rehearsal; it needs no numbers.

    ``DWAM()`` is the arm ``dwam``. In version 0.1 this name was the rule at explicit rates: a call with nothing but
    fields of `PaperDWAM` still makes one, with a warning; ``make_homeostasis("dwam:trust=0.3")`` makes this class.
    """

    name: ClassVar[str] = "dwam"
    described_as: ClassVar[str] = "RehearsedDWAM"

    def __new__(cls, **values: Any) -> Any:
        """Return a `PaperDWAM` where only its fields are given."""
        if cls is not DWAM or not values or not values.keys() <= {field.name for field in fields(PaperDWAM)}:
            return super().__new__(cls)
        warnings.warn(
            "DWAM(...) at explicit rates is now PaperDWAM(...), the arm dwam-paper; DWAM finds its rate, and takes "
            "rates=... beside other fields. The old meaning goes with version 0.3",
            DeprecationWarning, stacklevel=2,
        )  # fmt: skip
        return PaperDWAM(**values)


RehearsedDWAM = DWAM
"""Its name in version 0.1."""


@dataclass(frozen=True, kw_only=True)
class RehearsedLinear(Rehearsing, LinearHomeostat):
    """The linear homeostat whose learning rate is found by rehearsal: what BCM's form is worth beside a plainer one."""

    name: ClassVar[str] = "linear-rehearsed"


def rehearsing(plugin: Homeostasis | None) -> Rehearsing | None:
    """Return the part of a mechanism that rehearses, or None."""
    part = plugin.weights if isinstance(plugin, CombinedMechanism) else plugin
    return part if isinstance(part, Rehearsing) else None


def open_at(plugin: Homeostasis, state: State, rates: Tensor | float) -> None:
    """Let what rehearses adapt at ``rates`` [B] from now on; the state is changed in place."""
    entries = plugin.sub_state(plugin.weights, state) if isinstance(plugin, CombinedMechanism) else state
    entries[RATE][:, 0] = rates
