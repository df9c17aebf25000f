"""A converted policy: spiking neurons whose counts are QCFS levels, in the place of the network that was trained.

``form`` of its specification: "counts" is equal to the trained network to the last bit, "dyadic" to the trained network
with rounded weights, in any order of sums; "stepwise" runs every layer at every time step in the trained numbers;
"rate" is the control, plain integrate-and-fire neurons that are driven for ``steps`` steps and averaged.
"""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from homeo_rl.homeostasis.protocol import DecisionRates, Homeostasis, LayerReference, Modulation
from homeo_rl.numerics.arrays import require_finite
from homeo_rl.snn.kernels.compiled_network import OBSERVATIONS
from homeo_rl.snn.layers import modulate_currents
from homeo_rl.snn.network import Rows, SpikingNetwork
from homeo_rl.snn.operation_counts import Operations, operations
from homeo_rl.snn.qcfs import ladder_level, level_of
from homeo_rl.snn.spike_accumulation import INPUT_GRID, fire, integrate_and_fire, levels_sent, on_grid, train_of
from homeo_rl.snn.state import NetworkState
from homeo_rl.spec import NetworkSpec


class PascalNetwork(SpikingNetwork):
    """Linear layers with spike-accumulating neurons between them. Shapes: B batch, T time steps, N neurons.

    Attributes:
        amplitudes: d of every hidden layer, float64. In the dyadic form weights carry the amplitude of the spikes
            before them, and spikes are 1.
        at_once: let a dyadic network add up whole counts instead of running time steps: the rounded network that the
            spiking one is equal to.
    """

    amplitudes: Tensor

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__(spec)
        dtype = torch.float64 if spec.form == "dyadic" else torch.float32
        for layer in self.layers:
            assert isinstance(layer, nn.Linear)
            # As the trained network's lie, down to the strides of a single row: the order of sums decides the last bit.
            layer.weight = nn.Parameter(torch.empty(layer.weight.shape, dtype=dtype).copy_(layer.weight.detach()))
            layer.bias = nn.Parameter(layer.bias.detach().to(dtype))
        self.at_once = False
        self.register_buffer("amplitudes", torch.ones(len(spec.hidden), dtype=torch.float64))

    def admit(self, plugin: Homeostasis, references: tuple[LayerReference, ...]) -> None:
        """Refuse a plug-in that moves thresholds, which these neurons count by. Raises ValueError: it is one."""
        if plugin.adapts_threshold:
            raise ValueError(f"plug-in {plugin.name}: the neurons of a converted network count by their thresholds")
        super().admit(plugin, references)

    def run_layers(
        self, rows: Rows, state: NetworkState | None, adapt: bool = False, generator: Generator | None = None
    ) -> tuple[Tensor, NetworkState]:
        """Make one decision; rates are counts over levels (over steps in the form "rate").

        Raises:
            InputError: a state that was already advanced.
            NonFiniteInput: an observation is not finite.
        """
        if rows.array is not None:
            require_finite(rows.array, OBSERVATIONS)
        x = rows.x
        state = self._ready(x, state, adapt)
        spec = self.spec
        value = x.to(self.weights_of(0, state).weight.dtype)
        if spec.form == "dyadic":
            value = on_grid(value, INPUT_GRID)
        rates, spikes = [value.detach()], value.unsqueeze(1)
        if spec.form == "rate":
            spikes = spikes.expand(-1, spec.steps, -1)
        for index, levels in enumerate(spec.levels_of_layers):
            received = self._input_currents(index, spikes, state)
            step = self.amplitudes[index].to(received.dtype)
            sent = self._emit_spikes(received, step, levels, analogue=index == 0).transpose(0, 1)
            weights = self.weights_of(index, state)
            if weights.alive is not None:
                sent = sent * _rows(weights.alive)
            if weights.stuck is not None:
                sent = torch.maximum(sent, _rows(weights.stuck))
            if spec.form != "rate":
                sent = levels_sent(sent.transpose(0, 1), levels, spec.accumulator).transpose(0, 1)
            rates.append((sent.sum(1) / (spec.steps if spec.form == "rate" else levels)).detach())
            if spec.form == "counts":
                spikes = (sent.sum(1) * step).unsqueeze(1)
            elif spec.form == "dyadic":
                spikes = sent.sum(1, keepdim=True) if self.at_once else sent
            else:
                spikes = sent * step
        last = self._input_currents(len(spec.hidden), spikes, state)
        y = last.mean(1) if spec.form == "rate" else last[:, 0] if spec.form == "counts" else last.sum(1)
        rates.append(torch.zeros_like(y))
        if adapt and state.plugin is not None:
            for index in range(len(spec.hidden)):
                layer = state.references[index]
                decision_rates = DecisionRates(rates[index], rates[index + 1])
                state.adaptation[index] = state.plugin.step(state.adaptation[index], layer, decision_rates)
        state.measured = tuple(rates)
        return y.to(x.dtype), state

    def operations(self, rates: Sequence[Tensor]) -> Operations:
        """Return what a decision cost [B]; the analogue input is multiplied once, where it is not 0."""
        silent = torch.zeros_like(rates[-1])  # the last layer gives numbers
        sent = self.counts(rates)
        if self.spec.accumulator == "radix" and self.spec.form != "rate":
            levels = self.spec.levels_of_layers
            sent = [train_of(count, most, "radix").sum(0) for count, most in zip(sent, levels, strict=True)]
        counts = [(rates[0] != 0).to(rates[0]), *sent, silent]
        return operations(torch.cat([count.double() for count in counts], 1), self.costs)

    def counts(self, rates: Sequence[Tensor]) -> list[Tensor]:
        """Return the level of every hidden neuron [B, N], its spikes or the number that they write, from rates."""
        spec = self.spec
        steps = [spec.steps if spec.form == "rate" else levels for levels in spec.levels_of_layers]
        return [(rate * most).round() for rate, most in zip(rates[1:-1], steps, strict=True)]

    def _input_currents(self, index: int, spikes: Tensor, state: NetworkState) -> Tensor:
        """Return the input currents [B, T, N] of layer ``index``, biases included."""
        weights = self.weights_of(index, state)
        change = Modulation() if state.plugin is None else state.plugin.modulation(state.adaptation[index])
        if self.spec.form in ("counts", "rate"):
            return modulate_currents(spikes, weights, change)
        bias = weights.bias if change.bias is None else weights.bias + change.bias
        unbiased = weights._replace(bias=torch.zeros_like(weights.bias))
        out = modulate_currents(spikes, unbiased, change._replace(bias=None))
        if self.spec.form == "stepwise":
            return out + (bias / spikes.shape[1]).unsqueeze(-2)
        out = out.clone()
        out[:, 0] += bias
        return out

    def _emit_spikes(self, received: Tensor, step: Tensor, levels: int, *, analogue: bool) -> Tensor:
        """Return the spikes [T, B, N] of a layer for its currents [B, T, N]."""
        form = self.spec.form
        if form == "rate":
            return integrate_and_fire(received.transpose(0, 1), step * levels)
        if form == "counts":
            return train_of(level_of(received[:, 0], step, levels), levels, self.spec.accumulator)
        if form == "dyadic" and self.at_once:
            return train_of(ladder_level(received.sum(1), float(step), levels), levels, self.spec.accumulator)
        level = ladder_level if form == "dyadic" else level_of
        train = received.transpose(0, 1)
        return fire(train, step, levels, self.spec.accumulator, analogue=analogue, level=level).sent


def _rows(flags: Tensor) -> Tensor:
    """Return flags [N] or [B, N] ready for trains [B, T, N]."""
    return flags if flags.dim() == 1 else flags.unsqueeze(1)
