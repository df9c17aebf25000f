"""Everything a run is, as validated frozen data; nothing here imports torch.

A specification round-trips through JSON (`dump`, `parse`), so a run folder can be rebuilt from its own text.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, cast

import pydantic

from homeo_rl.errors import UsageError, unknown
from homeo_rl.numerics.typed_fields import require_fields
from homeo_rl.storage.files import printable

T = TypeVar("T")

Surrogate = Literal["rectangle", "arctan", "sigmoid", "triangle"]
Initial = Literal["rest", "neuron", "layer", "constant"]
Squash = Literal["tanh", "identity", "none"]

EPSILON = 1.1920929e-07
"""Added to the variance of observations before its root (float32's machine epsilon, as in PopSAN)."""

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
        require_fields(self)
        _require(self.size >= 1, "encoder size", ">= 1", self.size)
        _require(self.span > 0, "encoder span", "> 0", self.span)
        _require(self.std > 0, "encoder std", "> 0", self.std)

    def width(self, inputs: int) -> int:
        """Number of encoder lines for ``inputs`` observation entries."""
        if self.kind.startswith("population"):
            return inputs * self.size
        return inputs * (2 if self.kind == "bernoulli" and self.signed else 1)


NEURON_KINDS = ["current-lif", "multiscale-lif", "lif", "plif", "if"]
"""Names of neuron models; `homeo_rl.snn.neurons.register` adds to them."""


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class NeuronSpec:
    """A neuron model and its constants (see `homeo_rl.snn.neurons`)."""

    kind: str = "current-lif"
    threshold: float = 0.5
    current_decay: float = 0.5
    voltage_decay: float = 0.75
    tau: float = 2.0
    decay_input: bool = True
    reset: Literal["soft", "hard"] = "soft"
    surrogate: Surrogate = "rectangle"

    def __post_init__(self) -> None:
        require_fields(self)
        _require(self.kind in NEURON_KINDS, "neuron kind", f"one of {', '.join(NEURON_KINDS)}", repr(self.kind))
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
        require_fields(self)
        _require(self.size >= 1, "read-out size", ">= 1", self.size)
        _require(self.gain > 0, "read-out gain", "> 0", self.gain)

    def width(self, outputs: int) -> int:
        """Number of output neurons for ``outputs`` numbers."""
        return outputs * self.size if self.kind == "population" else outputs


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class ExternalSpec:
    """A policy that is no network of this package: an ONNX graph, or a function of Python.

    ``name`` is that of the file, or ``module:function``. ``sha256`` is the digest of the file; of a function that of
    its source file and its name. ``size`` is the graph's size in bytes. ``choice`` says that its action is an index.
    """

    kind: Literal["onnx", "function"]
    name: str
    sha256: str
    size: int = 0
    choice: bool = False

    def __post_init__(self) -> None:
        require_fields(self)
        _require(0 <= self.size <= 1 << 28, "graph size", "0 to 2^28 bytes", self.size)


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """A feed-forward network from ``inputs`` numbers to ``outputs`` numbers.

    ``body`` "spiking" runs ``steps`` spike steps a decision; "mlp" is the ReLU control arm of the same widths.
    ``activation`` "tanh" is for MLPs that others trained with it; "qcfs" gives the MLP QCFS activations of ``levels``
    (one a hidden layer, or one for all), which become spiking neurons exactly (`homeo_rl.conversion`). ``membrane``
    says how long membrane potentials live: a decision (the default of both host papers) or an episode. ``initial``
    says what they begin with: 0 ("rest"), or a learnable potential of each "neuron" or "layer"
    (`homeo_rl.snn.initial_potentials`); "constant" is the control, 0 and a learnable constant current into each neuron.
    ``body`` "pascal" is a network converted from one with QCFS: ``form`` and ``accumulator`` say how its neurons count
    (`homeo_rl.agents.pascal`). ``body`` "external" is what ``external`` names (`homeo_rl.agents.external`).
    """

    inputs: int
    outputs: int
    body: Literal["spiking", "mlp", "pascal", "external"] = "spiking"
    hidden: tuple[int, ...] = (256, 256)
    steps: int = 5
    encoder: EncoderSpec = EncoderSpec()
    neuron: NeuronSpec = NeuronSpec()
    readout: ReadoutSpec = ReadoutSpec()
    membrane: Literal["decision", "episode"] = "decision"
    initial: Initial = "rest"
    activation: Literal["relu", "tanh", "qcfs"] = "relu"
    levels: tuple[int, ...] = (8,)
    form: Literal["counts", "dyadic", "stepwise", "rate"] = "counts"
    accumulator: Literal["pascal", "gated", "radix"] = "pascal"
    external: ExternalSpec | None = None

    def __post_init__(self) -> None:
        require_fields(self)
        _require(
            len(self.levels) in (1, len(self.hidden)) and all(1 <= level <= 1024 for level in self.levels),
            "levels", f"one number of 1 to 1024, or one for each hidden layer ({len(self.hidden)})", self.levels,
        )  # fmt: skip
        _require(
            self.initial == "rest" or self.body == "spiking", "initial",
            "rest: an MLP has no membranes, and neurons that were converted begin every decision at half a threshold, "
            "which their theorem needs", self.initial,
        )  # fmt: skip
        mlp = self.activation != "tanh" or self.body == "mlp"
        _require(mlp, "activation tanh", "body mlp: spiking neurons have none", self.body)
        plain = self.encoder.kind == "current" and self.readout.kind == "membrane"
        _require(self.body != "pascal" or plain, "body pascal", "encoder current and read-out membrane", self.encoder)
        named = (self.external is not None) == (self.body == "external")
        _require(named, "network external", "with body external, and with no other", self.body)
        _require(self.inputs >= 1, "network inputs", ">= 1", self.inputs)
        _require(self.outputs >= 1, "network outputs", ">= 1", self.outputs)
        _require(1 <= self.steps <= 1024, "spike steps", "1 to 1024", self.steps)
        _require(
            all(1 <= n <= 65536 for n in self.hidden) and len(self.hidden) <= 64,
            "hidden widths", "at most 64 layers of 1 to 65536", self.hidden,
        )  # fmt: skip

    @pydantic.model_serializer(mode="wrap")
    def _serialise(self, write: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave ``external`` out where it is None: specifications of networks of this package are as before it."""
        document: dict[str, Any] = write(self)
        return {name: value for name, value in document.items() if name != "external" or value is not None}

    @property
    def is_spiking(self) -> bool:
        """Whether its neurons spike, over time or as counts."""
        return self.body in ("spiking", "pascal")

    @property
    def levels_of_layers(self) -> tuple[int, ...]:
        """Levels of every hidden layer's QCFS activation."""
        return self.levels * len(self.hidden) if len(self.levels) == 1 else self.levels

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of all layers, inputs of the first weighted layer first."""
        if not self.is_spiking:
            return (self.inputs, *self.hidden, self.outputs)
        return (self.encoder.width(self.inputs), *self.hidden, self.readout.width(self.outputs))


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class EventSpec:
    """A sensor event: at least ``least`` of the observation's ``entries`` lie above, or below, a level.

    Entries are those that the policy is given, before its normaliser; negative ones count from the end.
    """

    entries: tuple[int, ...]
    above: float | None = None
    below: float | None = None
    least: int = 1

    def __post_init__(self) -> None:
        require_fields(self)
        _require(len(self.entries) >= 1, "event entries", "at least one", self.entries)
        _require(
            (self.above is None) != (self.below is None), "event level", "above or below", (self.above, self.below)
        )
        _require(1 <= self.least <= len(self.entries), "event least", f"1 to {len(self.entries)}", self.least)


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class GateSpec:
    """What a reflex does to the action while its output ``when`` spikes.

    "inhibit": ``entries`` go to the lowest value they can have; with ``keep_difference`` they fall by the same amount,
    so that the least of them reaches it (two wheels slow down and still turn). "clamp": they are held between ``low``
    and ``high``. "override": they become ``values``; a discrete action becomes the one value.
    """

    when: str
    kind: Literal["inhibit", "clamp", "override"]
    entries: tuple[int, ...] = ()
    keep_difference: bool = False
    low: float | None = None
    high: float | None = None
    values: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        require_fields(self)
        if self.kind == "clamp":
            _require(self.low is not None or self.high is not None, "clamp", "low, high or both", "neither")
            low, high = (x if x is not None else y for x, y in ((self.low, self.high), (self.high, self.low)))
            assert low is not None
            assert high is not None
            _require(low <= high, "clamp", "low <= high", (self.low, self.high))
        if self.kind == "override":
            _require(len(self.values) == max(len(self.entries), 1), "override", "a value an entry", self.values)
        else:
            _require(len(self.entries) >= 1, f"{self.kind} entries", "at least one", self.entries)


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class RecurrentSpec:
    """A layer of neurons that read input lines, a clock, and each other after delays (`homeo_rl.snn.recurrent`).

    ``taps`` are the (source, delay) pairs that some neuron reads; source -1 is the clock, then come the lines, then the
    neurons. ``layers`` gives each neuron's place in a step. ``outputs`` are the neurons that leave it, ``latency``
    steps late.
    """

    lines: int
    neurons: int
    taps: tuple[tuple[int, int], ...]
    layers: tuple[int, ...]
    outputs: tuple[int, ...]
    beta: float = 0.875
    reset: Literal["soft", "hard", "soft_next"] = "soft"
    latency: int = 0

    def __post_init__(self) -> None:
        require_fields(self)
        sized = 1 <= self.lines <= 64 and 1 <= self.neurons <= 65536
        _require(sized, "recurrent sizes", "1 to 64 lines, 1 to 65536 neurons", (self.lines, self.neurons))
        _require(0 <= self.beta <= 1, "recurrent beta", "in [0, 1]", self.beta)
        sound = all(-1 <= s < self.lines + self.neurons and 0 <= k <= 1024 for s, k in self.taps)
        _require(sound and len(self.taps) >= 1, "recurrent taps", "known sources and delays of 0 to 1024", "others")
        _require(len(self.layers) == self.neurons, "recurrent layers", f"{self.neurons}", len(self.layers))
        inside = all(0 <= n < self.neurons for n in self.outputs)
        _require(inside and len(self.outputs) >= 1, "recurrent outputs", f"0 to {self.neurons - 1}", self.outputs)
        _require(0 <= self.latency <= 1024, "recurrent latency", "0 to 1024", self.latency)


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class ReflexSpec:
    """A compiled network beside a policy: events go in, its outputs gate the action.

    ``document`` is the specification that it was compiled from, and ``certificate`` what was proved about it.
    """

    name: str
    events: tuple[EventSpec, ...]
    outputs: tuple[str, ...]
    gates: tuple[GateSpec, ...]
    network: RecurrentSpec
    document: dict[str, Any] = field(default_factory=dict)
    certificate: str = ""

    def __post_init__(self) -> None:
        require_fields(self)
        _require(len(self.events) == self.network.lines, "reflex events", f"{self.network.lines}", len(self.events))
        _require(len(self.outputs) == len(self.network.outputs), "reflex outputs", "one a network output", self.outputs)
        for gate in self.gates:
            _require(gate.when in self.outputs, "gate when", f"one of {', '.join(self.outputs)}", gate.when)


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class ControllerSpec:
    """A deployable policy: normaliser, network, squashing to the action space.

    ``low``/``high`` are the bounds of a continuous action, both empty for a discrete one (arg max of the outputs).
    ``squash``: "tanh" or "identity" (already in [-1, 1]) are scaled to the bounds; "none" is used as it is.
    Observations become z-scores clipped to ``clip``; ``epsilon`` is added to a variance before its root.
    ``normalise`` False: observations are used as they are. ``bins`` K > 0: every action entry has K outputs, and the
    largest one chooses its value, of K in [-1, 1] that lie apart evenly ("uniform") or closer around 0 ("cubic").
    ``reflex`` is a compiled network that acts on the action last.
    """

    network: NetworkSpec
    squash: Squash = "tanh"
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    clip: float = 3.0
    epsilon: float = EPSILON
    normalise: bool = True
    bins: int = 0
    spacing: Literal["uniform", "cubic"] = "uniform"
    reflex: ReflexSpec | None = None

    def __post_init__(self) -> None:
        require_fields(self)
        if self.reflex is not None:
            self._check_reflex(self.reflex)
        _require(len(self.low) == len(self.high), "action bounds", "equally many", (self.low, self.high))
        _require(self.bins == 0 or self.bins >= 2, "bins", "0 or at least 2", self.bins)
        _require(self.bins == 0 or len(self.low) > 0, "bins", "continuous actions", "a discrete one")
        outputs, left = divmod(self.network.outputs, max(self.bins, 1))
        _require(left == 0, "network outputs", f"a multiple of {self.bins} bins", self.network.outputs)
        _require(len(self.low) in (0, outputs), "action bounds", f"{outputs}", len(self.low))
        _require(self.clip > 0, "normaliser clip", "> 0", self.clip)
        _require(self.epsilon > 0, "normaliser epsilon", "> 0", self.epsilon)

    @pydantic.model_serializer(mode="wrap")
    def _serialise(self, write: pydantic.SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave ``epsilon`` out where it is the default: specifications of policies trained here are as before it."""
        document: dict[str, Any] = write(self)
        return {name: value for name, value in document.items() if name != "epsilon" or value != EPSILON}

    def _check_reflex(self, reflex: ReflexSpec) -> None:
        seen, acts = self.network.inputs, len(self.low)
        for event in reflex.events:
            inside = all(-seen <= entry < seen for entry in event.entries)
            _require(inside, "reflex event", f"entries of an observation of {seen}", event.entries)
        for gate in reflex.gates:
            if not self.low:
                sound = gate.kind == "override" and not gate.entries and float(gate.values[0]).is_integer()
                sound = sound and 0 <= gate.values[0] < self.network.outputs
                _require(sound, "reflex gate", f"override of a discrete action by one of {self.network.outputs}", gate)
                continue
            _require(len(gate.entries) >= 1, "reflex gate", "entries of the action", gate.entries)
            inside = all(-acts <= entry < acts for entry in gate.entries)
            _require(inside, "reflex gate", f"entries of an action of {acts}", gate.entries)

    @property
    def discrete(self) -> bool:
        """Whether the action is the index of the largest output."""
        return not self.low


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """What a run is: where it came from and what it needs to act again.

    ``steps`` environment steps were trained of ``planned``; ``digest`` is that of the parameters at the end of a
    training. ``randomise`` says which faults its episodes drew (`homeo_rl.degradations.randomise`); {} is none.
    """

    origin: Literal["train", "import", "convert", "distill", "compile", "compose"]
    env: str
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    agent: str = ""
    algo: str = ""
    seed: int = 0
    steps: int = 0
    planned: int = 0
    digest: str = ""
    hyperparams: dict[str, Any] = field(default_factory=dict)
    homeostasis_in_training: str = ""
    randomise: dict[str, Any] = field(default_factory=dict)
    controller: ControllerSpec | None = None
    source: str = ""
    command: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    modules: tuple[str, ...] = ()


def parse(kind: type[T], data: object, *, where: str) -> T:
    """Build the frozen dataclass ``kind`` from plain data and check every field.

    Raises:
        UsageError: naming the path of the first bad field, what was expected and what was found.
    """
    try:
        return pydantic.TypeAdapter(kind).validate_python(data)
    except pydantic.ValidationError as error:
        # A misspelt key shows up twice, as missing and as unexpected; the second says what the user wrote.
        problems = sorted(error.errors(), key=lambda one: one["type"] not in _UNEXPECTED)
        first = problems[0]
        # Keys and values may be those of an untrusted file: they are not to control the terminal, nor to fill it.
        path = printable(".".join(str(part) for part in first["loc"]) or "the document")
        if first["type"] in _UNEXPECTED and len(first["loc"]) == 1:
            raise unknown(f"key in {where}", path, [f.name for f in dataclasses.fields(cast(Any, kind))]) from None
        message = printable(first["msg"].removeprefix("Value error, "), 300)
        got = printable(repr(first["input"]), 60)
        raise UsageError(f"{where}: {path}: {message} (got {got}); correct it and run again") from None


def dump(spec: object) -> Any:
    """Return plain JSON data from which `parse` rebuilds ``spec``."""
    return json.loads(pydantic.TypeAdapter(type(spec)).dump_json(spec))
