"""What a homeostatic mechanism is: a plug-in that reads firing rates and answers with a modulation.

A mechanism never touches a trained parameter. Everything that it changes lives in a *state*, a dictionary of tensors
whose first dimension is the batch, so every environment of a batch has its own; throwing the state away restores
the network bit for bit. Shapes: B batch, N_in / N_out inputs / neurons of one layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, TypeAlias

from homeo_rl.numerics.typed_fields import require_fields

if TYPE_CHECKING:  # torch takes seconds to load, which a wrong arm should not wait for
    from torch import Tensor

Scope = Literal["decision", "episode", "run"]
"""How long a state lives before it starts again from `Homeostasis.init`."""

SCOPES: tuple[Scope, ...] = ("decision", "episode", "run")

State: TypeAlias = "dict[str, Tensor]"
"""Named tensors [B, ...] of one layer. State dictionaries are owned by the caller; `step` and `threshold` may write
into them, so whoever needs the one passed in clones it first (`homeo_rl.snn.state.NetworkState.clone`)."""

RATE = "eta"
"""Entry [B, 1] of a state whose environments adapt at rates of their own (`homeo_rl.homeostasis.rate_search`)."""


@dataclass(frozen=True)
class LayerReference:
    """What is known of one spiking layer when it is healthy (from `homeo_rl.evaluation.calibrate`).

    Attributes:
        index: 0 for the first spiking layer.
        rate: mean firing rate of each neuron over clean decisions, in [0, 1], shape [N_out].
        square: mean squared rate, shape [N_out].
        weight_scale: root mean square of the trained weights.
        inputs: N_in.
    """

    index: int
    rate: Tensor
    square: Tensor
    weight_scale: float
    inputs: int


class Modulation(NamedTuple):
    """What a mechanism adds to a layer during a decision; None where it adds nothing.

    The input current becomes ``gain * ((W + weight) x) + b + bias``.
    """

    weight: Tensor | None = None  # [B, N_out, N_in]
    bias: Tensor | None = None  # [B, N_out]
    gain: Tensor | None = None  # [B, N_out]


class DecisionRates(NamedTuple):
    """Firing rates of one decision: spikes / T."""

    pre: Tensor  # [B, N_in]
    post: Tensor  # [B, N_out]


class BcmRule(NamedTuple):
    """What compiled code needs for the rule of `homeo_rl.homeostasis.dwam` in one layer.

    Attributes:
        mean: running mean rates [B, N_out], advanced in place, as the delta of the modulation is.
        square: running mean squared rates [B, N_out], advanced in place.
        reference_rate: c0 [N_out].
        learning_rate: of every environment [B, 1], instead of ``eta``; or None.
        eta: learning rate.
        zeta: strength of the gain; -1 is plain BCM.
        tau: decisions over which the moments run.
        bound: of abs(delta).
    """

    mean: Tensor
    square: Tensor
    reference_rate: Tensor
    learning_rate: Tensor | None
    eta: float
    zeta: float
    tau: float
    bound: float


class EnergyRule(NamedTuple):
    """What compiled code needs for the thresholds of `homeo_rl.homeostasis.dynamic_threshold` in one layer.

    Attributes:
        energy: E [B, N_out], advanced in place.
        psi: of the equations.
        renewed_at: what E starts every decision with, where its scope is one; else None.
    """

    energy: Tensor
    psi: float
    renewed_at: float | None = None


class CompiledRule(NamedTuple):
    """The rules by which compiled code stands in for a mechanism, as plain data; None for what has none."""

    weights: BcmRule | None = None
    thresholds: EnergyRule | None = None


@dataclass(frozen=True, kw_only=True)
class Homeostasis:
    """Base of all mechanisms; each overrides the parts it needs and leaves the rest neutral.

    Two clocks are served: `threshold` is asked at every spike step, `step` once after every decision. A third, between
    episodes, is `homeo_rl.homeostasis.sleep`.
    """

    name: ClassVar[str] = ""
    described_as: ClassVar[str]  # the class's name in stored results, where it has changed since
    adapts_threshold: ClassVar[bool] = False
    needs: ClassVar[str] = ""  # what it stores and how long it computes, beside the policy

    scope: Scope = "episode"

    def __post_init__(self) -> None:
        require_fields(self, whole=False)  # words of an arm are read as floats
        if self.scope not in SCOPES:
            raise ValueError(f"scope: expected one of {', '.join(SCOPES)}, got {self.scope!r}")

    def describe(self) -> str:
        """Return the text by which stored results and digests know this mechanism; it outlives renamed classes."""
        name = vars(type(self)).get("described_as")  # a class that inherits from a renamed one has its own name
        if name is None:
            return repr(self)
        values = ((field, getattr(self, field)) for field in self.fields_to_describe())
        texts = (f"{n}={v.describe() if isinstance(v, Homeostasis) else repr(v)}" for n, v in values)
        return f"{name}({', '.join(texts)})"

    def fields_to_describe(self) -> tuple[str, ...]:
        """Return the fields that `describe` names; a later version may leave new ones out where they change nothing."""
        return tuple(field.name for field in fields(self))

    @property
    def compiled(self) -> tuple[str, ...]:
        """Names of the rules that compiled code knows, "bcm" or "energy"; a combination names itself first."""
        return ()

    def rule_for_kernel(self, state: State, layer: LayerReference) -> CompiledRule | None:
        """Return the numbers and tensors of the rules that `compiled` names; None without any."""
        return None

    def postsynaptic_factor(
        self, state: State, layer: LayerReference, rates: DecisionRates
    ) -> tuple[State, Tensor, float] | None:
        """Return what weights grow by, for mechanisms whose change of weights is an outer product with the inputs.

        Returns:
            the entries of the state that change, the factor [B, N_out] and the bound of the delta; None for others.
        """
        return None

    def init(self, layer: LayerReference, batch: int) -> State:
        """Return the state that a scope starts from."""
        return {}

    def modulation(self, state: State) -> Modulation:
        """Return what the layer's current is changed by during the coming decision."""
        return Modulation()

    def threshold(self, state: State, before: Tensor, potential: Tensor) -> tuple[Tensor, State]:
        """Return the thresholds of this spike step, shape [B, N_out]; asked only where ``adapts_threshold``.

        Args:
            state: the layer's state.
            before: membrane potential after the previous spike step.
            potential: membrane potential after integration, before firing.
        """
        raise TypeError(f"{self.name} does not adapt thresholds")

    def step(self, state: State, layer: LayerReference, rates: DecisionRates) -> State:
        """Advance the state, which may be written into, by the rates of one decision; only what is returned goes on."""
        return state

    def sliding_threshold(self, state: State, layer: LayerReference) -> Tensor | None:
        """Return the threshold that the mechanism slides, [B, N_out], for logs; None if it has none."""
        theta: Callable[[State, LayerReference], Tensor] | None = getattr(self, "theta", None)  # its name in 0.1
        return None if theta is None else theta(state, layer)


def restart(state: State, initial: State, ended: Tensor) -> State:
    """Return ``state`` with the rows where ``ended`` [B] is True taken from ``initial``, in place."""
    rows = ended.nonzero().flatten()
    for key, value in state.items():
        value[rows] = initial[key][rows]
    return state


def finite_rows(value: Tensor) -> Tensor:
    """Return ``value`` with NaN and infinities replaced by 0: the guard that keeps a fault out of the weights."""
    return value.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)


Tick = DecisionRates
"""Its name in version 0.1."""
