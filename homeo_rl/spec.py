"""Everything a run is, as validated frozen data; nothing here imports torch.

A specification round-trips through JSON (`dump`, `parse`), so a run folder can be rebuilt from its own text.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, cast

import pydantic

from homeo_rl.errors import UsageError, unknown

T = TypeVar("T")

Surrogate = Literal["rectangle", "arctan", "sigmoid", "triangle"]
Initial = Literal["rest", "neuron", "layer", "constant"]
Squash = Literal["tanh", "identity", "none"]

_UNEXPECTED = ("unexpected_keyword_argument", "extra_forbidden")

_STRICT = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)


def _require(true: bool, what: str, expected: str, got: object) -> None:
    if not true:
        raise ValueError(f"{what}: expected {expected}, got {got!r}")


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """How an observation entry becomes spikes or current (see `homeo_rl.snn.encoders`).

    ``size``, ``span`` and ``std`` are the Gaussian units per entry, the interval their means start in and their
    initial width (population kinds). ``span`` is also the input that the Bernoulli encoder maps to rate 1; with
    ``signed`` it gives positive and negative parts a line each.
    """

    kind: Literal["population-regular", "population-poisson", "current", "bernoulli"] = "population-regular"
    size: int = 10
    span: float = 3.0
    std: float = 0.15**0.5
    signed: bool = True

    def __post_init__(self) -> None:
        _require(self.size >= 1, "encoder size", ">= 1", self.size)
        _require(self.span > 0, "encoder span", "> 0", self.span)
        _require(self.std > 0, "encoder std", "> 0", self.std)

    def width(self, inputs: int) -> int:
        """Number of encoder lines for ``inputs`` observation entries."""
        if self.kind.startswith("population"):
            return inputs * self.size
        return inputs * (2 if self.kind == "bernoulli" and self.signed else 1)


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class NeuronSpec:
    """A neuron model and its constants (see `homeo_rl.snn.neurons`)."""

    kind: Literal["current-lif", "lif", "plif", "if"] = "current-lif"
    threshold: float = 0.5
    current_decay: float = 0.5
    voltage_decay: float = 0.75
    tau: float = 2.0
    decay_input: bool = True
    reset: Literal["soft", "hard"] = "soft"
    surrogate: Surrogate = "rectangle"

    def __post_init__(self) -> None:
        _require(self.threshold > 0, "neuron threshold", "> 0", self.threshold)
        _require(0 <= self.current_decay < 1, "neuron current_decay", "in [0, 1)", self.current_decay)
        _require(0 <= self.voltage_decay <= 1, "neuron voltage_decay", "in [0, 1]", self.voltage_decay)
        _require(self.tau >= 1, "neuron tau", ">= 1", self.tau)


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class ReadoutSpec:
    """How output spikes become numbers (see `homeo_rl.snn.readouts`).

    ``size`` is the number of output neurons per number (population); ``gain`` multiplies the centred rate (mean, last).
    """

    kind: Literal["population", "mean", "last", "membrane"] = "population"
    size: int = 10
    gain: float = 1.0

    def __post_init__(self) -> None:
        _require(self.size >= 1, "read-out size", ">= 1", self.size)
        _require(self.gain > 0, "read-out gain", "> 0", self.gain)

    def width(self, outputs: int) -> int:
        """Number of output neurons for ``outputs`` numbers."""
        return outputs * self.size if self.kind == "population" else outputs


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """A feed-forward network from ``inputs`` numbers to ``outputs`` numbers.

    ``body`` "spiking" runs ``steps`` spike steps a decision; "mlp" is the ReLU control arm of the same widths.
    ``activation`` "qcfs" gives the MLP QCFS activations of ``levels`` (one a hidden layer, or one for all), which
    become spiking neurons exactly (`homeo_rl.conversion`). ``membrane`` says how long membrane potentials live: a
    decision (the default of both host papers) or an episode. ``initial`` says what they begin with: 0 ("rest"), or a
    learnable potential of each "neuron" or "layer" (`homeo_rl.snn.potentials`); "constant" is the control, 0 and a
    learnable constant current into each neuron. ``body`` "pascal" is a network converted from one with
    QCFS: ``form`` and ``accumulator`` say how its neurons count (`homeo_rl.agents.pascal`).
    """

    inputs: int
    outputs: int
    body: Literal["spiking", "mlp", "pascal"] = "spiking"
    hidden: tuple[int, ...] = (256, 256)
    steps: int = 5
    encoder: EncoderSpec = EncoderSpec()
    neuron: NeuronSpec = NeuronSpec()
    readout: ReadoutSpec = ReadoutSpec()
    membrane: Literal["decision", "episode"] = "decision"
    initial: Initial = "rest"
    activation: Literal["relu", "qcfs"] = "relu"
    levels: tuple[int, ...] = (8,)
    form: Literal["counts", "dyadic", "stepwise", "rate"] = "counts"
    accumulator: Literal["pascal", "gated"] = "pascal"

    def __post_init__(self) -> None:
        _require(
            len(self.levels) in (1, len(self.hidden)) and all(1 <= level <= 1024 for level in self.levels),
            "levels", f"one number of 1 to 1024, or one for each hidden layer ({len(self.hidden)})", self.levels,
        )  # fmt: skip
        _require(
            self.initial == "rest" or self.body == "spiking", "initial",
            "rest: an MLP has no membranes, and neurons that were converted begin every decision at half a threshold, "
            "which their theorem needs", self.initial,
        )  # fmt: skip
        plain = self.encoder.kind == "current" and self.readout.kind == "membrane"
        _require(self.body != "pascal" or plain, "body pascal", "encoder current and read-out membrane", self.encoder)
        _require(self.inputs >= 1, "network inputs", ">= 1", self.inputs)
        _require(self.outputs >= 1, "network outputs", ">= 1", self.outputs)
        _require(1 <= self.steps <= 1024, "spike steps", "1 to 1024", self.steps)
        _require(
            all(1 <= n <= 65536 for n in self.hidden) and len(self.hidden) <= 64,
            "hidden widths", "at most 64 layers of 1 to 65536", self.hidden,
        )  # fmt: skip

    @property
    def levels_of_layers(self) -> tuple[int, ...]:
        """Levels of every hidden layer's QCFS activation."""
        return self.levels * len(self.hidden) if len(self.levels) == 1 else self.levels

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of all layers, inputs of the first weighted layer first."""
        if self.body == "mlp":
            return (self.inputs, *self.hidden, self.outputs)
        return (self.encoder.width(self.inputs), *self.hidden, self.readout.width(self.outputs))


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class ControllerSpec:
    """A deployable policy: normaliser, network, squashing to the action space.

    ``low``/``high`` are the bounds of a continuous action, both empty for a discrete one (arg max of the outputs).
    ``squash``: "tanh" or "identity" (already in [-1, 1]) are scaled to the bounds; "none" is used as it is.
    ``normalise`` False: observations are used as they are. ``bins`` K > 0: every action entry has K outputs, and the
    largest one chooses its value, of K in [-1, 1] that lie apart evenly ("uniform") or closer around 0 ("cubic").
    """

    network: NetworkSpec
    squash: Squash = "tanh"
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    clip: float = 3.0
    normalise: bool = True
    bins: int = 0
    spacing: Literal["uniform", "cubic"] = "uniform"

    def __post_init__(self) -> None:
        _require(len(self.low) == len(self.high), "action bounds", "equally many", (self.low, self.high))
        _require(self.bins == 0 or self.bins >= 2, "bins", "0 or at least 2", self.bins)
        _require(self.bins == 0 or len(self.low) > 0, "bins", "continuous actions", "a discrete one")
        outputs, left = divmod(self.network.outputs, max(self.bins, 1))
        _require(left == 0, "network outputs", f"a multiple of {self.bins} bins", self.network.outputs)
        _require(len(self.low) in (0, outputs), "action bounds", f"{outputs}", len(self.low))
        _require(self.clip > 0, "normaliser clip", "> 0", self.clip)

    @property
    def discrete(self) -> bool:
        """Whether the action is the index of the largest output."""
        return not self.low


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """What a run is: where it came from and what it needs to act again."""

    origin: Literal["train", "import", "convert", "distill"]
    env: str
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    agent: str = ""
    algo: str = ""
    seed: int = 0
    steps: int = 0
    hyperparams: dict[str, Any] = field(default_factory=dict)
    homeostasis_in_training: str = ""
    controller: ControllerSpec | None = None
    source: str = ""
    command: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    modules: tuple[str, ...] = ()


def parse(kind: type[T], data: object, *, where: str) -> T:
    """Build the frozen dataclass ``kind`` from plain data and check every field.

    Args:
        kind: the dataclass to build.
        data: plain data, as JSON or YAML gives it.
        where: what is being read, for the error message.

    Raises:
        UsageError: naming the path of the first bad field, what was expected and what was found.
    """
    try:
        return pydantic.TypeAdapter(kind).validate_python(data)
    except pydantic.ValidationError as error:
        # A misspelt key shows up twice, as missing and as unexpected; the second says what the user wrote.
        found = sorted(error.errors(), key=lambda one: one["type"] not in _UNEXPECTED)
        first = found[0]
        path = ".".join(str(part) for part in first["loc"]) or "the document"
        if first["type"] in _UNEXPECTED and len(first["loc"]) == 1:
            raise unknown(f"key in {where}", path, [f.name for f in dataclasses.fields(cast(Any, kind))]) from None
        message = first["msg"].removeprefix("Value error, ")
        got = repr(first["input"])
        got = got if len(got) <= 60 else got[:57] + "..."
        raise UsageError(f"{where}: {path}: {message} (got {got}); correct it and run again") from None


def dump(spec: object) -> Any:
    """Return plain JSON data from which `parse` rebuilds ``spec``."""
    return json.loads(pydantic.TypeAdapter(type(spec)).dump_json(spec))
