"""Exact conversion of networks with QCFS activations into spiking ones, in three forms (PASCAL).

counts     every neuron accumulates whole numbers of spikes, and each layer is then the network's own operation on
           them: the output is the network's to the last bit, in its own type and batch.
stepwise   every layer runs at every time step on the spikes of that step, as hardware would, in the network's own
           numbers; sums round, so use float64.
dyadic     weights are rounded to a grid of 2^-p on which every partial sum is exact (`homeo_rl.conversion.dyadic`).

Each network is a real spiking one: after a forward pass `Converted.fired` holds all spikes of all layers.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from homeo_rl.conversion.dyadic import Dyadic
from homeo_rl.conversion.graph import Graph, Rules, constant_free
from homeo_rl.errors import unknown
from homeo_rl.snn.qcfs import QCFS, level_of
from homeo_rl.snn.spike_accumulation import (
    NEURONS,
    Firing,
    Neuron,
    add_spike_trains,
    fire,
    levels_sent,
    require_levels,
    steps_of,
    train_of,
)

Form = Literal["counts", "stepwise", "dyadic"]
FORMS: tuple[Form, ...] = ("counts", "stepwise", "dyadic")


class Converted(nn.Module):
    """A spiking network that computes what ``network`` computes.

    Attributes:
        fired: spikes of the last pass by layer, ``Firing`` with trains [T, B, ...].

    Args:
        network: with QCFS activations (`homeo_rl.conversion.with_qcfs`).
        example: an input of batch 1 or more, for the sizes of pooled maps; needed by ``dyadic`` only.
        most: largest absolute value of an input entry, for ``dyadic``.
        record: keep the spikes; False for networks whose spikes would not fit into memory.

    Raises UsageError: a layer that cannot be converted exactly, levels that the neuron does not have, or a form or
        neuron that is not known.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        form: Form = "counts",
        neuron: Neuron = "pascal",
        example: Tensor | None = None,
        most: float = 16.0,
        record: bool = True,
    ) -> None:
        super().__init__()
        if form not in FORMS:
            raise unknown("form", form, FORMS)
        if neuron not in NEURONS:
            raise unknown("neuron", neuron, NEURONS)
        self.form, self.neuron = form, neuron
        self.graph = Graph(network)
        require_levels(self.levels, neuron)
        self.network = self.graph.network
        self.fired: dict[str, Firing] = {}
        self._rules: Rules[Any]
        if form == "counts":
            self._rules = Counts(self.fired, neuron, record=record)
        elif form == "stepwise":
            self._rules = Stepwise(self.fired, neuron, record=record)
        else:
            self._rules = Dyadic(self.graph, self.fired, neuron, example=example, most=most, record=record)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs for ``x`` [B, ...]."""
        self.fired.clear()
        result: Tensor = self.graph.walk(self._rules, x)
        return result

    @torch.no_grad()
    def equal(self, x: Tensor) -> Tensor:
        """Return what the network that this one is equal to gives for ``x``: for ``dyadic``, the rounded one."""
        rounded = getattr(self._rules, "rounded", None)
        result: Tensor = self.network(x) if rounded is None else self.graph.walk(rounded, x)
        return result

    def constants(self) -> list[dict[str, Tensor]]:
        """Return the rounded constants of every layer and activation of a ``dyadic`` network, in order."""
        plans = getattr(self._rules, "plans", {})
        return [plans[node.name].constants for node in self.graph.nodes if node.name in plans and node.op != "output"]

    @property
    def levels(self) -> list[int]:
        """Levels of the activations, in the order of the signal."""
        return [activation.levels for activation in self.graph.activations.values()]

    @property
    def steps(self) -> int:
        """Time steps of a decision: the latency of a chain of layers."""
        return sum(steps_of(self.levels, self.neuron))


class Counts(Rules[Tensor]):
    """Layers on whole numbers of spikes."""

    def __init__(self, fired: dict[str, Firing], neuron: Neuron, *, record: bool = True) -> None:
        self.fired, self.neuron, self.record = fired, neuron, record

    def read(self, x: Tensor) -> Tensor:
        """The input as it is."""
        return x

    def layer(self, name: str, module: nn.Module, value: Tensor) -> Tensor:
        """The network's own operation."""
        result: Tensor = module(value)
        return result

    def add(self, name: str, first: Tensor, second: Tensor) -> Tensor:
        """The network's own sum."""
        return first + second

    def fire(self, name: str, activation: QCFS, value: Tensor) -> Tensor:
        """Send as many spikes as the potential has thresholds, and add them up where they arrive."""
        step = activation.step(value)
        count = level_of(value, step, activation.levels)
        if self.record:
            sent = train_of(count, activation.levels, self.neuron)
            nothing = sent[:0]
            self.fired[name] = Firing(nothing, nothing, sent)
            count = levels_sent(sent, activation.levels, self.neuron).sum(0)
        return count * step

    def finish(self, value: Tensor) -> Tensor:
        """The output as it is."""
        return value


class Stepwise(Rules[tuple[Tensor, bool]]):
    """Layers at every time step; a value is currents [T, B, ...] and whether they are the analogue input's."""

    def __init__(self, fired: dict[str, Firing], neuron: Neuron, *, record: bool = True) -> None:
        self.fired, self.neuron, self.record = fired, neuron, record

    def read(self, x: Tensor) -> tuple[Tensor, bool]:
        """The input is seen once."""
        return x.unsqueeze(0), True

    def layer(self, name: str, module: nn.Module, value: tuple[Tensor, bool]) -> tuple[Tensor, bool]:
        """One step after the other; what the layer adds is shared between them."""
        train, analogue = value
        steps, batch = train.shape[:2]
        out, added = constant_free(module, train.flatten(0, 1))
        if added is not None:
            out = out + added / steps
        return out.reshape(steps, batch, *out.shape[1:]), analogue

    def add(self, name: str, first: tuple[Tensor, bool], second: tuple[Tensor, bool]) -> tuple[Tensor, bool]:
        """Trains of unequal length: the shorter one's sum joins the longer one's first step."""
        (x, early), (y, late) = first, second
        return add_spike_trains(x, y), early and late

    def fire(self, name: str, activation: QCFS, value: tuple[Tensor, bool]) -> tuple[Tensor, bool]:
        """Run the neurons."""
        train, analogue = value
        step = activation.step(train)
        fired = fire(train, step, activation.levels, self.neuron, analogue=analogue, level=level_of)
        if self.record:
            self.fired[name] = fired
        return levels_sent(fired.sent, activation.levels, self.neuron) * step, False

    def finish(self, value: tuple[Tensor, bool]) -> Tensor:
        """The output is the sum over the steps."""
        return value[0].sum(0)
