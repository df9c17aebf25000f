"""From a network and its state to the compiled decision: addresses are collected once and checked at every call."""

import threading
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from homeo_rl.errors import InputError
from homeo_rl.homeostasis.protocol import CompiledRule, Modulation
from homeo_rl.numerics.arrays import require_finite
from homeo_rl.snn.encoders import PopulationEncoder
from homeo_rl.snn.kernels import abi
from homeo_rl.snn.kernels import decision_kernel as decision
from homeo_rl.snn.kernels.layer import constants_of, kind_of
from homeo_rl.snn.readouts import PopulationReadout
from homeo_rl.snn.state import LayerWeights, NetworkState
from homeo_rl.spec import NetworkSpec

_ENCODERS = {
    "population-regular": decision.REGULAR,
    "population-poisson": decision.POISSON,
    "current": decision.CONSTANT,
    "bernoulli": decision.BERNOULLI,
}
_READOUTS = {
    "population": decision.POPULATION,
    "mean": decision.MEAN,
    "last": decision.LAST,
    "membrane": decision.MEMBRANE,
}

OBSERVATIONS = "observations [B, D]"

_NO_NOISE = {char: np.zeros((0, 0, 0), dtype=char) for char in "fd"}

MIN_ROWS_PER_THREAD = 8  # rows that are worth a thread of their own


class IOTransform(NamedTuple):
    """What surrounds a network in a policy: the normaliser before it and the squashing after it."""

    shift: np.ndarray  # means of the observations [D], or empty where they are used as they are
    scale: np.ndarray  # their deviations and, at the end, what the normalised values are clipped to [D + 1]; or empty
    squash: int  # what becomes of the outputs (`decision_kernel.RAW` ...)
    # middle and half width of every action, or its lowest and highest value for `decision_kernel.CLIP` [2, K]
    bounds: np.ndarray


class Network(Protocol):
    """What is read of a spiking network."""

    @property
    def spec(self) -> NetworkSpec:
        """What it is built from."""

    @property
    def initial(self) -> Any:
        """Initial potentials, or None."""

    @property
    def _modules(self) -> Mapping[str, nn.Module | None]: ...

    def weights_of(self, index: int, state: NetworkState) -> LayerWeights:
        """Return what a layer runs with."""


class Decision(NamedTuple):
    """What came of a decision."""

    y: Tensor  # outputs [B, K]
    rates: Callable[[], tuple[Tensor, ...]]  # gives the mean rates of the encoder and of every layer
    adapted: bool  # whether the mechanism's state was advanced


class CompiledNetwork:
    """Compiled decisions of one network; its parameters are read where they lie, never copied.

    Weights [N_out, N_in] must lie input by input in memory (`homeo_rl.snn.state.input_major`); others are copied at
    every call, which is slow and right.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        self.spec = spec
        self._widths = np.array(spec.widths, dtype=np.int64)
        self._sizes = [*spec.widths, spec.outputs]
        self._length = sum(self._sizes)
        self._neuron = np.array([kind_of(spec.neuron), spec.neuron.reset == "hard", spec.steps], dtype=np.int64)
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._key: list[Any] = []
        self._transform: IOTransform | None = None

    def __call__(
        self,
        network: Network,
        x: np.ndarray,
        state: NetworkState,
        *,
        adapt: bool = False,
        noise: Tensor | None = None,
        transform: IOTransform | None = None,
    ) -> Decision:
        """Decide for x [B, D], C-contiguous (`homeo_rl.snn.inputs.rows_of`), whose numbers are looked at here.

        The mechanism's state is advanced where it has a compiled rule and ``adapt`` is set.

        Raises:
            InputError: shapes or types that do not fit.
            NonFiniteInput: a number is not finite; nothing has changed.
        """
        (batch, width), dtype = x.shape, x.dtype
        if width != self.spec.inputs or batch != state.batch:
            raise InputError(
                f"observations: expected shape {(state.batch, self.spec.inputs)}, as state and network are, got "
                f"{(batch, width)}; give one row a decision"
            )
        if noise is None:
            draws = _NO_NOISE[dtype.char]
        else:
            if noise.shape != (batch, self.spec.steps, self._sizes[0]):
                expected = (batch, self.spec.steps, self._sizes[0])
                raise InputError(f"encoder noise: expected shape {expected}, got {tuple(noise.shape)}; draw it anew")
            draws = np.ascontiguousarray(noise.detach().numpy(), dtype=dtype)
        plugin = state.plugin
        changes = [] if plugin is None else [plugin.modulation(part) for part in state.adaptation]
        # What the table points to is kept alive, so equal addresses are the same memory; but of a single row nothing
        # tells whether others would share it.
        key = [dtype, adapt, batch, id(plugin), id(state.references), id(state.weights)]
        key += [0 if part is None else part.data_ptr() for part in self._tensors(network, state, changes)]
        with self._lock:
            if key != self._key:
                self._key = []  # a table that was not finished is nobody's
                self._prepare(network, state, changes, adapt, dtype)
                self._key = key
            if transform is not self._transform:  # another at every step of an off-policy training
                self._set_transform(transform)
            for copy, original in self._copies:
                copy.copy_(original)
            out = np.empty((batch, self._length), dtype=dtype)
            self._run(batch, x, draws, out)
        sizes = self._sizes
        y = torch.from_numpy(out[:, self._length - sizes[-1] :])
        adapted = bool(self._rules & decision.BCM_RULE)
        if adapted:
            for energy, initial in self._renewed:
                energy.fill_(initial)
        return Decision(y, lambda: torch.split_with_sizes(torch.from_numpy(out), sizes, 1)[:-1], adapted)

    def _run(self, batch: int, x: np.ndarray, draws: np.ndarray, out: np.ndarray) -> None:
        if batch < 2 * MIN_ROWS_PER_THREAD or torch.get_num_threads() < 2:
            if not decision.decide(0, batch, *self._packs[0], x, draws, out):
                require_finite(x, OBSERVATIONS)
            return
        require_finite(x, OBSERVATIONS)  # all rows, before a thread writes its own
        threads = min(torch.get_num_threads(), batch // MIN_ROWS_PER_THREAD)
        while len(self._packs) < threads:
            self._packs.append(self._make_pack())
        if self._threads is None:
            self._threads = ThreadPoolExecutor(torch.get_num_threads())
        edges = [batch * i // threads for i in range(threads + 1)]
        jobs = [
            self._threads.submit(decision.decide, first, last, *pack, x, draws, out)
            for first, last, pack in zip(edges, edges[1:], self._packs, strict=False)
        ]
        for job in jobs:
            job.result()

    def _make_pack(self) -> tuple[np.ndarray, np.ndarray]:
        """Return what a thread decides with: the arrays' addresses and the counts in its own working memory."""
        spec = self.spec
        scratch, events, counts = decision.scratch_for(spec.widths, spec.inputs, spec.steps, self._kind)
        arrays = {
            abi.TABLE: self._table, abi.STRIDES: self._strides, abi.WIDTHS: self._widths,
            abi.NEURON: self._neuron, abi.CONSTANTS: self._constants, abi.NUMBERS: self._numbers,
            abi.SCRATCH: scratch, abi.EVENTS: events, abi.COUNTS: counts,
        }  # fmt: skip
        pack = np.zeros(abi.SIZE, dtype=np.int64)
        for index, array in arrays.items():
            pack[index] = array.ctypes.data
        pack[abi.LAYERS], pack[abi.WIDEST], pack[abi.RULES] = len(self._widths) - 1, events.shape[2], self._rules
        pack[abi.ENCODER], pack[abi.READOUT] = _ENCODERS[spec.encoder.kind], _READOUTS[spec.readout.kind]
        self._working += [scratch, events, counts]  # kept alive, as all arrays are
        if self._packs:
            pack[abi.TRANSFORM] = self._packs[0][0][abi.TRANSFORM]
        return pack, counts

    def _set_transform(self, transform: IOTransform | None) -> None:
        inputs, outputs = self.spec.inputs, self.spec.outputs
        empty = np.zeros((2, 0), dtype=self._kind)
        t = IOTransform(empty[0], empty[0], decision.RAW, empty) if transform is None else transform
        shapes = t.shift.shape, t.scale.shape, t.bounds.shape
        fit = shapes[:2] in (((0,), (0,)), ((inputs,), (inputs + 1,))) and shapes[2] in ((2, 0), (2, outputs))
        if not fit or (t.squash != decision.RAW) != (shapes[2][1] > 0) or any(
            part.dtype != self._kind or not part.flags.c_contiguous for part in (t.shift, t.scale, t.bounds)
        ):  # fmt: skip
            raise InputError(
                f"transform: expected shift [{inputs}], scale [{inputs + 1}] and bounds [2, {outputs}] (or empty ones) "
                f"of {self._kind}, got {shapes}; Controller makes one"
            )
        self._transform, self._transform_arrays = transform, t  # kept alive
        parts = t.shift.ctypes.data, t.scale.ctypes.data, t.bounds.ctypes.data, len(t.shift), shapes[2][1], t.squash
        for pack, _ in self._packs:
            pack[abi.TRANSFORM] = parts

    def _tensors(self, network: Network, state: NetworkState, changes: list[Modulation]) -> list[Tensor | None]:
        """Return everything whose address the compiled code is given."""
        # Modules keep their parts in these dictionaries; asking for them by attribute costs as much as the decision.
        parts = network._modules
        tensors: list[Tensor | None] = [
            *parts["encoder"]._parameters.values(), *parts["readout"]._parameters.values()  # type: ignore[union-attr]  # modules
        ]  # fmt: skip
        if state.weights is None:
            for layer in parts["layers"]._modules.values():  # type: ignore[union-attr]  # a list of modules
                tensors += layer._parameters.values()  # type: ignore[union-attr]  # a layer
        else:
            for weights in state.weights:
                tensors += weights
        if network.initial is not None:
            tensors += network.initial.values
        for membrane in state.membranes:
            if membrane is not None:
                tensors += membrane
        for change, adaptation in zip(changes, state.adaptation, strict=True):
            tensors += change
            tensors += adaptation.values()
        return tensors

    def _prepare(
        self, network: Network, state: NetworkState, changes: list[Modulation], adapt: bool, kind: np.dtype[Any]
    ) -> None:
        self._kind = kind
        self._dtype = dtype = torch.float32 if kind == np.float32 else torch.float64
        self._kept: list[Tensor] = []
        self._copies: list[tuple[Tensor, Tensor]] = []
        expected = network.weights_of(0, state).weight.dtype
        if expected != dtype:
            raise InputError(
                f"observations: expected {expected}, as the weights are, got {dtype}; convert them with .to({expected})"
            )
        layers, neuron = len(self.spec.widths) - 1, self.spec.neuron
        self._batch = state.batch
        # Kept, so that nothing else can come to have their identity: equal identities are the same shapes.
        self._identities = state.plugin, state.references, state.weights
        self._table = np.zeros((layers + 1, abi.COLUMNS), dtype=np.int64)
        self._strides = np.zeros((layers + 1, abi.COLUMNS), dtype=np.int64)
        self._numbers = np.zeros((layers, abi.RULE_NUMBERS), dtype=kind)
        rules = _rules_of(state, changes, adapt)
        self._rules = decision.NO_RULE
        if rules and rules[0].weights is not None:
            self._rules |= decision.BCM_RULE
        if rules and rules[0].thresholds is not None:
            self._rules |= decision.ENERGY_RULE
        self._renewed: list[tuple[Tensor, float]] = []  # energies that begin anew with every decision
        for i in range(layers):
            self._point_layer(i, network, state)
            if changes:
                self._point(i, abi.DELTA, changes[i].weight, matrix=True)
                self._point(i, abi.BIAS_DELTA, changes[i].bias)
                self._point(i, abi.GAIN, changes[i].gain)
            if rules:
                self._point_rule(i, rules[i])
        self._constants = np.array(
            [*constants_of(neuron, kind), neuron.threshold, self.spec.encoder.span, self.spec.readout.gain], dtype=kind
        )
        encoder, readout = network._modules["encoder"], network._modules["readout"]
        if isinstance(encoder, PopulationEncoder):
            self._point(layers, abi.ENCODER_MEAN, encoder.mean)
            self._point(layers, abi.ENCODER_STD, encoder.std)
        if isinstance(readout, PopulationReadout):
            self._point(layers, abi.READOUT_WEIGHT, readout.weight)
            self._point(layers, abi.READOUT_BIAS, readout.bias)
        self._working: list[np.ndarray] = []
        self._packs: list[tuple[np.ndarray, np.ndarray]] = []
        self._packs.append(self._make_pack())
        self._set_transform(None)

    def _point_layer(self, i: int, network: Network, state: NetworkState) -> None:
        weights, membrane = network.weights_of(i, state), state.membranes[i]
        self._point(i, abi.WEIGHT, weights.weight, matrix=True)
        self._point(i, abi.BIAS, weights.bias)
        self._point(i, abi.ALIVE, weights.alive)
        self._point(i, abi.STUCK, weights.stuck)
        if network.initial is not None and i < len(network.initial.values):
            self._point(i, abi.INITIAL, network.initial.values[i].expand(self.spec.widths[i + 1]))
        if membrane is not None:
            self._point(i, abi.SYNAPSE, membrane.current)
            self._point(i, abi.POTENTIAL, membrane.potential)
            self._point(i, abi.SPIKES, membrane.spikes)

    def _point_rule(self, i: int, rule: CompiledRule) -> None:
        if rule.weights is not None:
            bcm = rule.weights
            self._point(i, abi.MEAN_RATE, bcm.mean)
            self._point(i, abi.MEAN_SQUARE, bcm.square)
            self._point(i, abi.LEARNING_RATE, bcm.learning_rate)
            self._point(i, abi.REFERENCE_RATE, bcm.reference_rate.to(self._dtype))
            self._numbers[i, :4] = bcm.eta, bcm.zeta, bcm.tau, bcm.bound
        if rule.thresholds is not None:
            self._point(i, abi.ENERGY, rule.thresholds.energy)
            self._numbers[i, 4] = rule.thresholds.psi
            if rule.thresholds.renewed_at is not None:
                self._renewed.append((rule.thresholds.energy, rule.thresholds.renewed_at))

    def _point(self, layer: int, column: int, value: Tensor | None, *, matrix: bool = False) -> None:
        """Enter a tensor [N], [B, N] or, for a ``matrix``, [N_out, N_in], [B, N_out, N_in] into the table.

        In the last row of the table, a tensor of any shape that is read as it lies.
        """
        if value is None:
            return
        value = value.detach()
        self._require(layer, column, value, matrix)
        value = value.transpose(-1, -2) if matrix else value
        last = layer == len(self._table) - 1
        single = value.dim() if last else 2 if matrix else 1
        batched = value.dim() > single and value.stride(0) != 0
        rows = value if batched or value.dim() == single else value[0]
        if rows.dtype != self._dtype or not (rows[0] if batched else rows).is_contiguous():
            written = column in _WRITTEN or (column == abi.DELTA and self._rules & decision.BCM_RULE)
            if written and not last:
                raise InputError(
                    f"layer {layer}: expected a state of the mechanism in contiguous {self._dtype}, got {rows.dtype} "
                    f"with strides {rows.stride()}; it is written in place"
                )
            copy = torch.empty(rows.shape, dtype=self._dtype)
            self._copies.append((copy, rows))
            rows = copy
        self._kept.append(rows)
        self._table[layer, column] = rows.data_ptr()
        self._strides[layer, column] = rows.stride(0) if batched else 0

    def _require(self, layer: int, column: int, value: Tensor, matrix: bool) -> None:
        """Check that the compiled code finds at an address what it will read there.

        Raises InputError: another shape, or memory that is not the processor's.
        """
        shape: tuple[int, ...]
        got: tuple[int, ...]
        if layer == len(self._table) - 1:
            widths = self.spec.widths
            sizes = {abi.READOUT_WEIGHT: widths[-1], abi.READOUT_BIAS: self.spec.outputs}
            shape, got = (sizes.get(column, widths[0]),), (value.numel(),)
        else:
            size, got = self.spec.widths[layer + 1], tuple(value.shape)
            shape = (size, self.spec.widths[layer]) if matrix else (1,) if column == abi.LEARNING_RATE else (size,)
        if got not in (shape, (self._batch, *shape)) or not value.is_cpu or value.is_complex():
            raise InputError(
                f"layer {layer}: expected numbers of shape {shape} or {(self._batch, *shape)} on the CPU, got {got} of "
                f"{value.dtype} on {value.device}; weights, membranes and the mechanism's state must be this network's"
            )


_WRITTEN = (abi.SYNAPSE, abi.POTENTIAL, abi.SPIKES, abi.MEAN_RATE, abi.MEAN_SQUARE, abi.ENERGY)


def _rules_of(state: NetworkState, changes: list[Modulation], adapt: bool) -> list[CompiledRule]:
    """Return the compiled rule of the mechanism in every layer, without what is not at work now; [] for none."""
    if state.plugin is None:
        return []
    layers = zip(state.adaptation, state.references, strict=True)
    rules = [state.plugin.rule_for_kernel(adaptation, layer) or CompiledRule() for adaptation, layer in layers]
    if adapt and all(_is_input_major(change.weight) for change in changes):
        return rules
    return [rule._replace(weights=None) for rule in rules]


def _is_input_major(weight: Tensor | None) -> bool:
    """Whether [B, N_out, N_in] lies input by input in memory, so that it can be changed in place."""
    return weight is not None and weight.dim() == 3 and weight[0].T.is_contiguous()


_compiled: weakref.WeakKeyDictionary[Network, CompiledNetwork] = weakref.WeakKeyDictionary()


def compile_network(network: Network) -> CompiledNetwork:
    """Return the compiled decisions of ``network``, made at the first call."""
    result = _compiled.get(network)
    if result is None:
        result = _compiled[network] = CompiledNetwork(network.spec)
    return result
