"""The arm ``observer``: estimates in the place of broken sensors, beside a mechanism that adapts the network or alone.

The mechanism is what an arm says; `homeo_rl.observer` has the forward model, the filter and the rehearsal.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from homeo_rl.homeostasis.protocol import Homeostasis


@dataclass(frozen=True, kw_only=True)
class ObserverMechanism(Homeostasis):
    """Estimate observations by a learned forward model where sensors are noisy, stuck, dropped, shifted or late.

    A gate opens where measurements are not what the model expects. The estimate takes their place where a rehearsal on
    remembered sequences brings the policy's actions closer to the remembered ones; else observations pass to the bit.
    """

    name: ClassVar[str] = "observer"
    needs: ClassVar[str] = "forward model (160 kB); 1 min to fit"

    margin: float = 0.8  # the distance of actions with the estimate is less than this share of the distance without it
    # the mechanism that adapts the network, of an arm such as ``dwam+sleep+observer``
    awake: Homeostasis | None = field(default=None, metadata={"words": False})

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 < self.margin <= 1.0:
            raise ValueError(f"margin: expected a share above 0 and up to 1, got {self.margin!r}")
        if self.scope != "episode":
            raise ValueError("scope: an observer begins anew with every episode")


class Parts(NamedTuple):
    """An arm's observer, and the mechanism that adapts the network; None where there is none."""

    observer: ObserverMechanism | None
    network: Homeostasis | None


def split_observer(plugin: Homeostasis | None) -> Parts:
    """Return the parts of a mechanism."""
    if isinstance(plugin, ObserverMechanism):
        return Parts(plugin, plugin.awake)
    return Parts(None, plugin)


def join_observer(observer: ObserverMechanism, network: Homeostasis | None) -> ObserverMechanism:
    """Return the mechanism of both."""
    return dataclasses.replace(observer, awake=network)
