"""From a network and its state to the compiled decision: addresses are collected once and checked at every call."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from homeo_rl.errors import InputError
from homeo_rl.homeostasis import BDETT, DWAM, Both
from homeo_rl.homeostasis.dwam import is_bcm
from homeo_rl.homeostasis.protocol import RATE, Homeostasis, Modulation, State
from homeo_rl.snn.encoders import PopulationEncoder
from homeo_rl.snn.kernels import abi
from homeo_rl.snn.kernels import decision_kernel as decision
from homeo_rl.snn.kernels.layer import constants_of, kind_of
from homeo_rl.snn.readouts import PopulationReadout

if TYPE_CHECKING:
    from homeo_rl.snn.network import SpikingNetwork
    from homeo_rl.snn.state import NetworkState

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

_SILENCE = {char: np.zeros((0, 0, 0), dtype=char) for char in "fd"}

ROWS_A_THREAD = 8
"""Rows that are worth a thread of their own."""


class Frame(NamedTuple):
    """What surrounds a network in a policy: the normaliser before it and the squashing after it.

    Attributes:
        shift: means of the observations [D], or empty where they are used as they are.
        scale: their deviations and, at the end, what the normalised values are clipped to [D + 1]; or empty.
        squash: what becomes of the outputs (`decision.RAW` ...).
        bounds: middle and half width of every action, or its lowest and highest value for `decision.CLIP` [2, K].
    """

    shift: np.ndarray
    scale: np.ndarray
    squash: int
    bounds: np.ndarray


def bare(dtype: Any = np.float32) -> Frame:
    """Return the frame of a network that stands alone."""
    empty = np.zeros(0, dtype=dtype)
    return Frame(empty, empty, decision.RAW, np.zeros((2, 0), dtype=dtype))


class Decider:
    """Compiled decisions of one network; its parameters are read where they lie, never copied.

    Weights [N_out, N_in] must lie input by input in memory (`homeo_rl.snn.state.by_input`); others are copied at
    every call, which is slow and right.
    """

    def __init__(self, network: SpikingNetwork) -> None:
        spec = self.spec = network.spec
        self._widths = np.array(spec.widths, dtype=np.int64)
        self._sizes = [*spec.widths, spec.outputs]
        self._length = sum(self._sizes)
        self._neuron = np.array([kind_of(spec.neuron), spec.neuron.reset == "hard", spec.steps], dtype=np.int64)
        kind = _ENCODERS[spec.encoder.kind]
        self._encoder = kind
        self._readout = _READOUTS[spec.readout.kind]
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._key: list[Any] = []
        self._frame: Frame | None = None

    def __call__(
        self,
        network: SpikingNetwork,
        x: np.ndarray,
        state: NetworkState,
        *,
        adapt: bool = False,
        noise: Tensor | None = None,
        frame: Frame | None = None,
    ) -> tuple[Tensor, Callable[[], tuple[Tensor, ...]], bool]:
        """Decide for x [B, D], C-contiguous and checked (`homeo_rl.snn.inputs.rows_of`).

        Returns:
            the outputs [B, K], what gives the mean rates of the encoder and of every layer, and whether the plug-in's
            state was advanced, which is done for those that have a compiled rule where ``adapt`` is set.
        """
        (batch, width), dtype = x.shape, x.dtype
        if width != self.spec.inputs or batch != state.batch:
            raise InputError(
                f"observations: expected shape {(state.batch, self.spec.inputs)}, as state and network are, got "
                f"{(batch, width)}; give one row a decision"
            )
        if noise is None:
            draws = _SILENCE[dtype.char]
        else:
            if noise.shape != (batch, self.spec.steps, self._sizes[0]):
                expected = (batch, self.spec.steps, self._sizes[0])
                raise InputError(f"encoder noise: expected shape {expected}, got {tuple(noise.shape)}; draw it anew")
            draws = np.ascontiguousarray(noise.detach().numpy(), dtype=dtype)
        changes = [] if state.plugin is None else [state.plugin.modulation(part) for part in state.adaptation]
        # What the table points to is kept alive, so equal addresses are the same memory; but of a single row nothing
        # tells whether others would share it.
        key = [dtype, adapt, batch, id(state.plugin), id(state.references), id(state.weights)]
        key += [0 if part is None else part.data_ptr() for part in self._tensors(network, state, changes)]
        with self._lock:
            if key != self._key:
                self._key = []  # a table that was not finished is nobody's
                self._prepare(network, state, changes, adapt, dtype)
                self._key = key
            if frame is not self._frame:  # another at every step of an off-policy training: its statistics move
                self._surround(frame)
            for copy, original in self._copies:
                copy.copy_(original)
            out = np.empty((batch, self._length), dtype=self._kind)
            self._run(batch, x, draws, out)
        sizes = self._sizes
        y = torch.from_numpy(out[:, self._length - sizes[-1] :])
        advanced = bool(self._rule & decision.BCM)
        if advanced:
            for energy, initial in self._renewed:
                energy.fill_(initial)
        return y, lambda: torch.split_with_sizes(torch.from_numpy(out), sizes, 1)[:-1], advanced

    def _run(self, batch: int, x: np.ndarray, draws: np.ndarray, out: np.ndarray) -> None:
        if batch < 2 * ROWS_A_THREAD or torch.get_num_threads() < 2:
            abi.decide_packed(0, batch, *self._packs[0], x, draws, out)
            return
        threads = min(torch.get_num_threads(), batch // ROWS_A_THREAD)
        while len(self._packs) < threads:
            self._packs.append(self._packed())
        if self._threads is None:
            self._threads = ThreadPoolExecutor(torch.get_num_threads())
        edges = [batch * i // threads for i in range(threads + 1)]
        jobs = [
            self._threads.submit(abi.decide_packed, first, last, *pack, x, draws, out)
            for first, last, pack in zip(edges, edges[1:], self._packs, strict=False)
        ]
        for job in jobs:
            job.result()

    def _packed(self) -> tuple[np.ndarray, np.ndarray]:
        """Return what a thread decides with: the arrays' addresses and the counts in its own working memory."""
        spec = self.spec
        scratch, events, counts = decision.scratch_for(spec.widths, spec.inputs, spec.steps, self._kind)
        arrays = {
            abi.TABLE: self._table, abi.STRIDES: self._strides, abi.WIDTHS: self._widths,
            abi.NEURON: self._neuron, abi.CONSTANTS: self._constants, abi.NUMBERS: self._numbers,
            abi.SCRATCH: scratch, abi.EVENTS: events, abi.COUNTS: counts,
        }  # fmt: skip
        numbers = {
            abi.LAYERS: len(self._widths) - 1, abi.WIDE: events.shape[2], abi.ENCODER: self._encoder,
            abi.READOUT: self._readout, abi.RULE: self._rule,
        }  # fmt: skip
        pack = np.zeros(abi.SIZE, dtype=np.int64)
        for place, array in arrays.items():
            pack[place] = array.ctypes.data
        for place, number in numbers.items():
            pack[place] = number
        self._working += [scratch, events, counts]  # kept alive, as all arrays are
        if self._packs:
            pack[abi.FRAME] = self._packs[0][0][abi.FRAME]
        return pack, counts

    def _surround(self, frame: Frame | None) -> None:
        """Point to what surrounds the network."""
        edge = bare(self._kind) if frame is None else frame
        shapes = edge.shift.shape, edge.scale.shape, edge.bounds.shape
        most, outputs = self.spec.inputs, self.spec.outputs
        fit = shapes[:2] in (((0,), (0,)), ((most,), (most + 1,))) and shapes[2] in ((2, 0), (2, outputs))
        if not fit or (edge.squash != decision.RAW) != (shapes[2][1] > 0) or any(
            part.dtype != self._kind or not part.flags.c_contiguous for part in (edge.shift, edge.scale, edge.bounds)
        ):  # fmt: skip
            raise InputError(
                f"frame: expected shift [{most}], scale [{most + 1}] and bounds [2, {outputs}] (or empty ones) of "
                f"{self._kind}, got {shapes}; Controller makes one"
            )
        self._frame, self._edge = frame, edge
        values = [
            self._edge.shift.ctypes.data, self._edge.scale.ctypes.data, self._edge.bounds.ctypes.data,
            len(self._edge.shift), self._edge.bounds.shape[1], self._edge.squash,
        ]  # fmt: skip
        for pack, _ in self._packs:
            pack[abi.FRAME] = values

    def _tensors(self, network: SpikingNetwork, state: NetworkState, changes: list[Modulation]) -> list[Tensor | None]:
        """Return everything whose address the compiled code is given."""
        # Modules keep their parts in these dictionaries; asking for them by attribute costs as much as the decision.
        parts = network._modules
        found: list[Tensor | None] = [
            *parts["encoder"]._parameters.values(), *parts["readout"]._parameters.values()  # type: ignore[union-attr]  # modules
        ]  # fmt: skip
        if state.weights is None:
            for layer in parts["layers"]._modules.values():  # type: ignore[union-attr]  # a list of modules
                found += layer._parameters.values()  # type: ignore[union-attr]  # a layer
        else:
            for own in state.weights:
                found += own
        if network.initial is not None:
            found += network.initial.values
        for membrane in state.membranes:
            if membrane is not None:
                found += membrane
        for change, adaptation in zip(changes, state.adaptation, strict=True):
            found += change
            found += adaptation.values()
        return found

    def _prepare(
        self,
        network: SpikingNetwork,
        state: NetworkState,
        changes: list[Modulation],
        adapt: bool,
        kind: np.dtype[Any],
    ) -> None:
        """Write the table of addresses."""
        self._kind = kind
        self._dtype = dtype = torch.float32 if kind == np.float32 else torch.float64
        self._kept: list[Tensor] = []
        self._copies: list[tuple[Tensor, Tensor]] = []
        if network.weights_of(0, state).weight.dtype != dtype:
            expected = network.weights_of(0, state).weight.dtype
            raise InputError(
                f"observations: expected {expected}, as the weights are, got {dtype}; convert them with .to({expected})"
            )
        layers = len(self.spec.widths) - 1
        self._batch = state.batch
        self._weights = state.weights  # kept, as the references: equal identities are the same shapes
        self._table = np.zeros((layers + 1, decision.COLUMNS), dtype=np.int64)
        self._strides = np.zeros((layers + 1, decision.COLUMNS), dtype=np.int64)
        self._numbers = np.zeros((layers, decision.NUMBERS), dtype=kind)
        plugin = self._plugin = state.plugin
        moving, adapting = (plugin.thresholds, plugin.weights) if isinstance(plugin, Both) else (plugin, plugin)
        self._references = state.references  # kept, so that nothing else can come to have its identity
        self._rule = decision.NOTHING
        self._renewed: list[tuple[Tensor, float]] = []  # energies that begin anew with every decision
        if is_bcm(adapting) and adapt and all(_by_input(change.weight) for change in changes):
            self._rule |= decision.BCM
        if type(moving) is BDETT:
            self._rule |= decision.ENERGY
            self._numbers[:, 4] = moving.psi
        for i in range(layers):
            own = network.weights_of(i, state)
            self._point(i, decision.WEIGHT, own.weight, matrix=True)
            self._point(i, decision.BIAS, own.bias)
            self._point(i, decision.ALIVE, own.alive)
            self._point(i, decision.STUCK, own.stuck)
            if network.initial is not None and i < len(network.initial.values):
                self._point(i, decision.INITIAL, network.initial.values[i].expand(self.spec.widths[i + 1]))
            membrane = state.membranes[i]
            if membrane is not None:
                self._point(i, decision.SYNAPSE, membrane.current)
                self._point(i, decision.POTENTIAL, membrane.potential)
                self._point(i, decision.SPIKED, membrane.spikes)
            if changes:
                self._point(i, decision.DELTA, changes[i].weight, matrix=True)
                self._point(i, decision.EXTRA, changes[i].bias)
                self._point(i, decision.GAIN, changes[i].gain)
            if self._rule & decision.BCM:
                assert isinstance(adapting, DWAM)
                layer, adaptation = state.references[i], _entries(plugin, adapting, state.adaptation[i])
                self._point(i, decision.FIRST, adaptation["m"])
                self._point(i, decision.SECOND, adaptation["q"])
                self._point(i, decision.RATE, adaptation.get(RATE))
                self._point(i, decision.NORMAL, adapting.normal_rate(layer).to(dtype))
                zeta = -1.0 if adapting.zeta is None else adapting.zeta
                self._numbers[i, :4] = adapting.rate_of(layer), zeta, adapting.tau, adapting.trust * layer.weight_scale
            if self._rule & decision.ENERGY:
                assert isinstance(moving, BDETT)
                energy = _entries(plugin, moving, state.adaptation[i])["energy"]
                self._point(i, decision.LEVEL, energy)
                if isinstance(plugin, Both) and moving.scope == "decision":
                    self._renewed.append((energy, moving.initial))
        neuron = self.spec.neuron
        self._constants = np.array(
            [*constants_of(neuron, kind), neuron.threshold, self.spec.encoder.span, self.spec.readout.gain], dtype=kind
        )
        encoder, readout = network.encoder, network.readout
        if isinstance(encoder, PopulationEncoder):
            self._point(layers, decision.ENCODER_MEAN, encoder.mean)
            self._point(layers, decision.ENCODER_STD, encoder.std)
        if isinstance(readout, PopulationReadout):
            self._point(layers, decision.READOUT_WEIGHT, readout.weight)
            self._point(layers, decision.READOUT_BIAS, readout.bias)
        self._working: list[np.ndarray] = []
        self._packs: list[tuple[np.ndarray, np.ndarray]] = []
        self._packs.append(self._packed())
        self._surround(None)

    def _point(self, layer: int, column: int, value: Tensor | None, *, matrix: bool = False) -> None:
        """Enter a tensor [N], [B, N] or, for a ``matrix``, [N_out, N_in], [B, N_out, N_in] into the table.

        In the last row of the table, a tensor of any shape that is read as it lies.
        """
        if value is None:
            return
        value = value.detach()
        self._require(layer, column, value, matrix)
        laid = value.transpose(-1, -2) if matrix else value
        single = laid.dim() if layer == len(self._table) - 1 else 2 if matrix else 1
        own = laid.dim() > single and laid.stride(0) != 0
        rows = laid if own or laid.dim() == single else laid[0]
        plain = rows.dtype == self._dtype and (rows[0] if own else rows).is_contiguous()
        if not plain:
            written = column in _WRITTEN or (column == decision.DELTA and self._rule & decision.BCM)
            if written and layer < len(self._table) - 1:
                raise InputError(
                    f"layer {layer}: expected a state of the mechanism in contiguous {self._dtype}, got {rows.dtype} "
                    f"with strides {rows.stride()}; it is written in place"
                )
            copy = torch.empty(rows.shape, dtype=self._dtype)
            self._copies.append((copy, rows))
            rows = copy
        self._kept.append(rows)
        self._table[layer, column] = rows.data_ptr()
        self._strides[layer, column] = rows.stride(0) if own else 0

    def _require(self, layer: int, column: int, value: Tensor, matrix: bool) -> None:
        """Check that the compiled code finds at an address what it will read there.

        Raises:
            InputError: another shape, or memory that is not the processor's.
        """
        shape: tuple[int, ...]
        got: tuple[int, ...]
        if layer == len(self._table) - 1:
            inside = column in (decision.ENCODER_MEAN, decision.ENCODER_STD)
            outputs = (self.spec.outputs,) if column == decision.READOUT_BIAS else (self.spec.widths[-1],)
            shape, got = ((self.spec.widths[0],) if inside else outputs), (value.numel(),)
        else:
            size, got = self.spec.widths[layer + 1], tuple(value.shape)
            shape = (size, self.spec.widths[layer]) if matrix else (1,) if column == decision.RATE else (size,)
        if got not in (shape, (self._batch, *shape)) or not value.is_cpu or value.is_complex():
            raise InputError(
                f"layer {layer}: expected numbers of shape {shape} or {(self._batch, *shape)} on the CPU, got {got} of "
                f"{value.dtype} on {value.device}; weights, membranes and the mechanism's state must be this network's"
            )


_WRITTEN = (
    decision.SYNAPSE, decision.POTENTIAL, decision.SPIKED, decision.FIRST, decision.SECOND, decision.LEVEL
)  # fmt: skip


def _entries(plugin: Homeostasis | None, part: Homeostasis, state: State) -> State:
    """Return a layer's state of one mechanism, which may be a part of two."""
    return plugin.entries_of(part, state) if isinstance(plugin, Both) else state


def _by_input(weight: Tensor | None) -> bool:
    """Whether [B, N_out, N_in] lies input by input in memory, so that it can be changed in place."""
    return weight is not None and weight.dim() == 3 and weight[0].T.is_contiguous()


_deciders: weakref.WeakKeyDictionary[SpikingNetwork, Decider] = weakref.WeakKeyDictionary()


def decider_of(network: SpikingNetwork) -> Decider:
    """Return the compiled decisions of ``network``, made at the first call."""
    found = _deciders.get(network)
    if found is None:
        found = _deciders[network] = Decider(network)
    return found


def can_decide(state: NetworkState) -> bool:
    """Whether the compiled decision covers the plug-in of this state."""
    plugin = state.plugin
    moving = plugin.thresholds if isinstance(plugin, Both) else plugin
    return moving is None or not moving.adapts_threshold or type(moving) is BDETT
