"""Sleep, or rehearsal homeostasis: a damaged network replays what it remembers until its neurons answer as they did.

Online, a rate that differs from the reference rate may be damage, or just another situation. Asleep there is no such
doubt: the observations are the remembered ones, so whatever differs is damage. No return is used, and no gradient
through the network. Layers are repaired one after the other from the input. This file has the mechanism with its
settings, and the local rules of version 0.1; `homeo_rl.snn.offline_repair` has the repairs of whole networks. Shapes: M
remembered observations, T spike steps, N neurons.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from homeo_rl.homeostasis.protocol import Homeostasis
from homeo_rl.homeostasis.rate_search import rehearsing
from homeo_rl.homeostasis.weight_copy import MAX_BITS

if TYPE_CHECKING:  # see `homeo_rl.homeostasis.protocol`
    from torch import Tensor

Form = Literal["best", "delta", "bias", "gain", "none", "copy", "ridge", "finetune"]

LOCAL_FORMS = ("delta", "bias", "gain", "none")
"""Forms that are one rule a layer, with nothing but the memory of version 0.1."""


@dataclass(frozen=True)
class LayerRepair:
    """One layer asleep: what it has, what it hears and what it remembers to have answered.

    Attributes:
        weight: incoming weights [N, N_in] as they are now.
        bias: biases [N] as they are now.
        train: what the layers before send now, [M, T, N_in].
        target: remembered mean outputs [M, N].
        answer: mean outputs [M, N] with other weights and biases.
        bias_response: mean outputs [M, N] for currents [M, T, N], with biases [N] added.
        alive: 0 for neurons that can do nothing about their output, [N].
        intact: 0 for synapses that are gone (a weight of exactly 0), which stay gone, [N, N_in].
        slope: what a mean output gains by a bias of 1, roughly.
    """

    weight: Tensor
    bias: Tensor
    train: Tensor
    target: Tensor
    answer: Callable[[Tensor, Tensor], Tensor]
    bias_response: Callable[[Tensor], Callable[[Tensor], Tensor]]
    alive: Tensor
    intact: Tensor
    slope: float = 1.0

    def error(self, weight: Tensor, bias: Tensor) -> float:
        """Return the mean distance of the outputs from the remembered ones."""
        return float((self.answer(weight, bias) - self.target).abs().mean())

    def offset(self, weight: Tensor, bias: Tensor) -> float:
        """Return the mean distance of the neurons' mean outputs from the remembered means."""
        return float((self.answer(weight, bias).mean(0) - self.target.mean(0)).abs().mean())


@dataclass(frozen=True, kw_only=True)
class SleepHomeostat(Homeostasis):
    """Sleep at the start of an episode, and within it whenever a self-test on the memory says that something changed.

    Form ``best``: candidates compete layer by layer, and the one whose actions come closest is kept
    (`homeo_rl.snn.offline_repair.competition`). Beside observations and spikes, the memory has a copy of the weights
    in ``bits`` bits each; 0 keeps none.

    The other forms are local rules, applied ``passes`` times to each layer, with c the mean outputs on the replay, r
    the remembered ones and x the inputs, all per observation::

        bias     b_i += (mean r_i - mean c_i) / (2 + k/4)           k = 0, 1, ...
        gain     bias, and every other pass W_i *= clip(s.d. r_i / s.d. c_i, 0.8, 1.25)^0.3
        delta    bias, then D_ij = 0.8 D_ij + cov(r_i - c_i, x_j) / 2L and W_ij += D_ij
                                                                    L: largest eigenvalue of the inputs' covariance
        none     leaves everything to what adapts awake, which may rehearse (`homeo_rl.homeostasis.rate_search`)

    ``delta`` is the sleep of version 0.1, the Widrow-Hoff rule on covariances: it needs the remembered spikes, the two
    before it their means only. It multiplies a layer by one factor first where that alone halves the distance, as
    after an error of scale.

    Dead and stuck neurons and deleted synapses stay so; others make up for them. A layer is left as it was where
    nothing brought it closer. Where the self-test passes nothing is touched: a healthy network is bit-identical.

    Attributes:
        form: what repairs.
        observations: how many remembered observations are replayed.
        passes: times that the local rules go through a layer.
        every: decisions between two self-tests in an episode.
        rest: least decisions between two sleeps: a damage that goes on growing is not slept on all the time.
        tolerance: mean absolute change of a layer's rates, driven by what it remembers to have heard, from which on the
            self-test fails. Sums in another order move rates by some 0.000004.
        awake: the mechanism that adapts between sleeps, of an arm such as ``dwam+sleep``; it starts again after each.
        bits: of every copied weight (form ``best``).
        dreams: imagined observations beside the remembered ones (form ``best``).
        write_noise: relative standard deviation of every weight that is written, drawn once a sleep.
        pause: decisions that a sleep takes.
        asleep: what the policy does in these decisions: ``act`` with the damaged weights, or ``hold`` its action.
        ramp: decisions over which weights change from the damaged to the repaired ones; 0 lets them jump.
    """

    name: ClassVar[str] = "sleep"
    described_as: ClassVar[str] = "SleepHomeostat"
    needs: ClassVar[str] = "memory and copy (PopSAN: 85 + 79 kB); 0.5 s a sleep"
    forms: ClassVar[tuple[str, ...]] = ("best", *LOCAL_FORMS)

    form: Form = "best"
    observations: int = 200
    passes: int = 20
    every: int = 10
    rest: int = 50
    tolerance: float = 0.0005
    awake: Homeostasis | None = field(default=None, metadata={"words": False})
    bits: int = 5
    dreams: int = 400
    write_noise: float = 0.0
    pause: int = 0
    asleep: Literal["act", "hold"] = "act"
    ramp: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.form not in self.forms:
            raise ValueError(f"form: expected one of {', '.join(self.forms)}, got {self.form!r}")
        if self.asleep not in ("act", "hold"):
            raise ValueError(f"asleep: expected act or hold, got {self.asleep!r}")
        least = {"observations": 1, "passes": 1, "every": 1, "rest": 1, "bits": 0, "dreams": 0, "pause": 0, "ramp": 0}
        for name, lowest in least.items():
            value = getattr(self, name)
            if value != int(value) or value < lowest:
                raise ValueError(f"{name}: expected a whole number from {lowest} on, got {value!r}")
            object.__setattr__(self, name, int(value))  # words of an arm are read as floats
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"tolerance: expected 0 to 1, got {self.tolerance!r}")
        if not 0 <= self.write_noise < 1:
            raise ValueError(f"write_noise: expected 0 to 1, a share of each weight, got {self.write_noise!r}")
        if self.bits > MAX_BITS:
            raise ValueError(f"bits: expected 0 to {MAX_BITS}, got {self.bits!r}")
        if self.form in LOCAL_FORMS and (self.bits, self.dreams) != (SleepHomeostat.bits, SleepHomeostat.dreams):
            raise ValueError(f"bits, dreams: expected with form=best only, got form={self.form}")
        if self.scope != "episode" or (self.awake is not None and self.awake.scope == "run"):
            raise ValueError("scope: sleep repairs what is broken in an episode, and begins anew with the next")

    def fields_to_describe(self) -> tuple[str, ...]:
        """Leave out settings that version 0.1 lacked, where they change nothing: stored results keep their text."""
        neutral = {"write_noise": 0.0, "pause": 0, "asleep": "act", "ramp": 0}
        omitted = {name for name, value in neutral.items() if getattr(self, name) == value}
        omitted |= {"bits", "dreams"} if self.form in LOCAL_FORMS else set()
        return tuple(name for name in super().fields_to_describe() if name not in omitted)

    def repair_layer(self, layer: LayerRepair) -> tuple[Tensor, Tensor]:
        """Return weights and biases after the form's local rule, or the delta rule; as before where it did not help."""
        weight, bias = _RULES.get(self.form, _delta)(layer, self.passes)
        if not bool(weight.isfinite().all() and bias.isfinite().all()):
            return layer.weight, layer.bias
        distance = layer.offset if self.form in ("bias", "gain") else layer.error  # what the form remembers
        helped = distance(weight, bias) < distance(layer.weight, layer.bias)
        return (weight, bias) if helped else (layer.weight, layer.bias)


def _bias(
    layer: LayerRepair, passes: int, weight: Tensor | None = None, bias: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    weight, bias = layer.weight if weight is None else weight, layer.bias if bias is None else bias
    outputs = layer.bias_response(weight)
    wanted = layer.target.mean(0)
    for k in range(passes):
        bias = bias + (wanted - outputs(bias).mean(0)) * layer.alive / (2.0 + k / 4.0) / layer.slope
    return weight, bias


def _gain(layer: LayerRepair, passes: int) -> tuple[Tensor, Tensor]:
    weight, bias = layer.weight, layer.bias
    spread = layer.target.std(0)
    for k in range(0, passes, 2):
        weight, bias = _bias(layer, 2, weight, bias) if k else _bias(layer, passes, weight, bias)
        now = layer.answer(weight, bias).std(0)
        factor = (spread / now.clamp_min(1e-3)).clamp(0.8, 1.25) ** 0.3
        weight = weight * factor.where((now > 1e-3) & (layer.alive > 0), factor.new_ones(())).unsqueeze(1)
    return _bias(layer, passes, weight, bias)


def _scale(layer: LayerRepair) -> tuple[Tensor, Tensor]:
    """Return weights and biases times the factor, from 1/1024 to 4, that brings the outputs closest.

    Only where that halves their distance: damage that is not a matter of scale is better repaired neuron by neuron.
    """
    errors = {1.0: layer.error(layer.weight, layer.bias)}

    def attempt(factor: float) -> None:
        if factor not in errors:
            errors[factor] = layer.error(layer.weight * factor, layer.bias * factor)

    for power in range(-10, 3):
        attempt(2.0**power)
    for step in (0.5, 0.25, 0.125, 0.0625):
        best = min(errors, key=lambda factor: errors[factor])
        attempt(best * 2.0**step)
        attempt(best * 2.0**-step)
    best = min(errors, key=lambda factor: errors[factor])
    if errors[best] > 0.5 * errors[1.0]:
        return layer.weight, layer.bias
    return layer.weight * best, layer.bias * best


def _delta(layer: LayerRepair, passes: int) -> tuple[Tensor, Tensor]:
    weight, bias = _bias(layer, 25, *_scale(layer))
    inputs = layer.train.mean(1)
    varied = inputs - inputs.mean(0)
    largest = _largest(varied)
    if largest <= 0:
        return weight, bias
    push = weight.new_zeros(())
    for _ in range(passes):
        missing = (layer.target - layer.answer(weight, bias)) * layer.alive / layer.slope
        mean = missing.mean(0)
        push = 0.8 * push + ((missing - mean).T @ varied) * (0.5 / (largest * len(inputs)))
        weight = weight + layer.intact * push
        bias = bias + 0.25 * mean
    return _bias(layer, 10, weight, bias)


def _largest(varied: Tensor) -> float:
    """Return the largest eigenvalue of the covariance of centred inputs [M, N_in], by power iteration."""
    direction = varied.square().sum(0)
    value = 0.0
    for _ in range(30):
        image = varied.T @ (varied @ direction) / len(varied)
        value = float(image.norm())
        if value <= 0.0:
            return 0.0
        direction = image / value
    return value


def needs_memory(plugin: Homeostasis) -> bool:
    """Whether a mechanism replays what is remembered: it sleeps, or it rehearses."""
    return isinstance(plugin, SleepHomeostat) or rehearsing(plugin) is not None


_RULES: dict[str, Callable[[LayerRepair, int], tuple[Tensor, Tensor]]] = {
    "none": lambda layer, _: (layer.weight, layer.bias),
    "bias": _bias,
    "gain": _gain,
    "delta": _delta,
}
