"""An arm of an evaluation: a mechanism, or the frozen policy, with its reflex or without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from homeo_rl.errors import UsageError
from homeo_rl.homeostasis import Homeostasis, make, split_observer

if TYPE_CHECKING:  # torch takes seconds to load, which somebody with a typing error should not wait for
    from homeo_rl.agents.controller import Controller

_NO_REFLEX = "no-reflex"


@dataclass(frozen=True)
class Arm:
    """What a policy is evaluated with.

    Attributes:
        text: as a user writes it, and as scores.csv has it.
        plugin: the mechanism; None is the frozen policy.
        reflex: whether a composed policy acts with its reflex; the arm ``no-reflex`` does without.
    """

    text: str
    plugin: Homeostasis | None = None
    reflex: bool = True

    @classmethod
    def parse(cls, text: str) -> Arm:
        """Return the arm that a text names.

        Raises:
            UsageError: there is no such mechanism or parameter.
        """
        return cls(text, reflex=False) if text == _NO_REFLEX else cls(text, make(text))

    def require_fitting(self, controller: Controller) -> None:
        """Check that a policy can be evaluated with this arm.

        Raises:
            UsageError: a mechanism for a policy without spikes, or ``no-reflex`` for one without a reflex.
        """
        from homeo_rl.agents.controller import require_spiking

        observer, network = split_observer(self.plugin)
        if network is not None:
            require_spiking(controller, "homeostasis")
        if observer is not None and controller.spec.discrete:
            raise UsageError(f"arm {self.text!r}: expected a policy with continuous actions, got one that chooses")
        if not self.reflex and controller.reflex is None:
            raise UsageError(
                f"arm {self.text!r}: expected a policy with a reflex (homeo-rl compose), this one has none"
            )
