"""An arm of an evaluation: a mechanism or the frozen policy, its reflex, and a layer between policy and robot."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from homeo_rl.degradations.protocol import Condition, Env, wrap_sensors
from homeo_rl.errors import UsageError
from homeo_rl.evaluation.controls import CONTROLS, ControlledCondition
from homeo_rl.homeostasis import Homeostasis, describe, make, split_observer

if TYPE_CHECKING:  # torch takes seconds to load, which somebody with a typing error should not wait for
    from homeo_rl.agents.controller import Controller
    from homeo_rl.observer.memory import ObserverMemory

_NO_REFLEX = "no-reflex"
_AVOID = "avoid"


@dataclass(frozen=True, kw_only=True)
class AvoidingCondition(Condition):
    """A condition in which a navigation robot avoids what moves, by the damaged observations that its policy sees."""

    def wrap(self, env: Env, observation_std: np.ndarray | None = None) -> Env:
        """Return the damaged environment inside the layer.

        Raises:
            UsageError: it is no navigation environment.
        """
        from homeo_rl.envs.navigation.avoidance import AvoidMovers

        return wrap_sensors(super().wrap(env, observation_std), AvoidMovers)


@dataclass(frozen=True)
class Arm:
    """What a policy is evaluated with."""

    text: str  # as a user writes it, and as scores.csv has it
    plugin: Homeostasis | None = None  # the mechanism; None is the frozen policy
    reflex: bool = True  # whether a composed policy acts with its reflex; the arm ``no-reflex`` does without
    # whether a navigation robot avoids what moves (`homeo_rl.envs.navigation.avoidance`): the arm ``avoid``, or another
    # one with ``+avoid`` behind it
    avoid: bool = False
    # what a simulator tells the policy of a fault (`homeo_rl.evaluation.controls`): the arms ``oracle``, ``mask`` and
    # ``kalman``, alone or joined to another one by a plus; "" is nothing
    control: str = ""

    @classmethod
    def parse(cls, text: str) -> Arm:
        """Return the arm that a text names.

        Raises:
            UsageError: there is no such mechanism or parameter, or a control stands where it makes no sense.
        """
        parts = re.split(r"\+(?=[a-z])", text)
        control = next((part for part in parts if part.split(":")[0] in CONTROLS), "")
        if control:
            parts.remove(control)
            return cls._parse_control(text, control, parts)
        rest = "none" if text == _AVOID else text.removesuffix(f"+{_AVOID}")
        if rest == _NO_REFLEX:
            return cls(text, reflex=False, avoid=rest != text)
        return cls(text, make(rest), avoid=rest != text)

    @classmethod
    def _parse_control(cls, text: str, control: str, others: list[str]) -> Arm:
        if control not in CONTROLS:
            name = control.split(":")[0]
            raise UsageError(f"arm {text!r}: {name} takes no parameters; write {name}")
        clash = next((part for part in others if part.split(":")[0] in ("none", "observer", _AVOID, *CONTROLS)), "")
        if clash:
            raise UsageError(
                f"arm {text!r}: {control} is given the fault, and goes with mechanisms of the network only; leave out "
                f"{clash.split(':')[0]}"
            )
        rest = cls.parse("+".join(others) or "none")
        return cls(text, rest.plugin, rest.reflex, control=control)

    @property
    def needs_observer_memory(self) -> bool:
        """Whether it needs the forward model of a run."""
        return split_observer(self.plugin).observer is not None or (
            self.control != "" and CONTROLS[self.control].needs_memory
        )

    def describe(self) -> str:
        """Return the text by which stored results know this arm."""
        if self.control:
            return f"{None if self.plugin is None else self.plugin.describe()} + informed by {self.control}"
        if not self.avoid:
            return describe(self.text)
        from homeo_rl.envs.navigation.avoidance import Planning
        from homeo_rl.envs.navigation.tracking import Tracking

        mechanism = "None" if self.plugin is None else self.plugin.describe()
        return f"{mechanism} + {Tracking()} + {Planning()}"

    def add_layer(self, condition: Condition, memory: ObserverMemory | None = None) -> Condition:
        """Return a condition in which the robot has this arm's layer between policy and environment, if any.

        ``memory`` has the forward model, for the arms that need one.
        """
        if self.control:
            return ControlledCondition(**vars(condition), control=self.control, memory=memory)
        return AvoidingCondition(**vars(condition)) if self.avoid else condition

    def require_fitting(self, controller: Controller) -> None:
        """Check that a policy can be evaluated with this arm.

        Raises:
            UsageError: a mechanism for a policy without spikes, ``no-reflex`` for one without a reflex, or ``avoid``
                for one that does not drive a navigation robot.
        """
        from homeo_rl.agents.controller import require_spiking

        observer, network = split_observer(self.plugin)
        if network is not None:
            require_spiking(controller, f"arm {self.text!r}")
        if (observer is not None or self.needs_observer_memory) and controller.spec.discrete:
            raise UsageError(f"arm {self.text!r}: expected a policy with continuous actions, got one that chooses")
        if not self.reflex and controller.reflex is None:
            raise UsageError(
                f"arm {self.text!r}: expected a policy with a reflex (homeo-rl compose), this one has none"
            )
        spec = controller.spec
        if self.avoid and (spec.network.inputs not in (22, 24) or (spec.low, spec.high) != ((0.0, 0.0), (1.0, 1.0))):
            raise UsageError(
                f"arm {self.text!r}: expected a policy of a navigation robot (22 or 24 inputs, wheels from 0 to 1), "
                f"got {spec.network.inputs} inputs and actions from {spec.low} to {spec.high}"
            )
