"""A feed-forward spiking network with explicit state, run layer by layer.

In a feed-forward net every layer can run all T steps before the next one starts, so a layer costs one product of
T * B rows and one scan over T. `homeo_rl.snn.reference` runs the same network step by step, and the tests hold the
two together. Shapes: B batch, T spike steps, N neurons.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor, nn

from homeo_rl.errors import InputError, NonFiniteInput
from homeo_rl.homeostasis.protocol import DecisionRates, Homeostasis, LayerReference, Scope, restart
from homeo_rl.numerics.arrays import instance_of, require_finite, whole_number
from homeo_rl.snn import kernels, layers, neurons
from homeo_rl.snn.encoders import REGULAR_THRESHOLD, CurrentEncoder, Encoder, build_encoder, uniform
from homeo_rl.snn.initial_potentials import InitialPotentials, initial_potential
from homeo_rl.snn.inputs import (
    like_weights,
    noise_of,
    require_batch,
    require_ended,
    require_references,
    require_weights,
    rows_of,
)  # fmt: skip
from homeo_rl.snn.kernels import dispatch, encoding, stack
from homeo_rl.snn.kernels.compiled_network import OBSERVATIONS, IOTransform, compile_network
from homeo_rl.snn.kernels.counting import add_costs
from homeo_rl.snn.neurons import Membrane
from homeo_rl.snn.operation_counts import Operations, costs_of, operations
from homeo_rl.snn.readouts import build_readout
from homeo_rl.snn.state import LayerWeights, NetworkState, RatesOrThunk, Weights, input_major, map_weights
from homeo_rl.spec import NetworkSpec, NeuronSpec


class Rows(NamedTuple):
    """What a decision is made for, checked: observations as a tensor, in memory as an array, and noise."""

    x: Tensor
    array: np.ndarray | None
    noise: Tensor | None


class SpikingNetwork(nn.Module):
    """Encoder, fully connected spiking layers and read-out.

    ``network(x, state=None, adapt=False)`` maps x [B, inputs] to y [B, outputs] and returns the state after; the one
    before is spent then (`NetworkState.clone` keeps a copy). Weights change only where ``adapt=True`` is written, and
    only inside the state: the parameters are never touched.
    """

    costs: Tensor

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        instance_of(spec, NetworkSpec, what="spec", advice="NetworkSpec(inputs=..., outputs=...) makes one")
        if spec.body == "mlp":
            raise InputError(f"SpikingNetwork: expected a spiking body, got {spec.body!r}; MLPNetwork makes that one")
        self.spec = spec
        self.encoder = build_encoder(spec.inputs, spec.encoder)
        self._stochastic = self.encoder.stochastic  # asked at every decision, and modules look their parts up
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in zip(spec.widths, spec.widths[1:], strict=False))
        for part in self.layers:
            assert isinstance(part, nn.Linear)
            part.weight = nn.Parameter(input_major(part.weight.detach()))
        self.readout = build_readout(spec.outputs, spec.readout)
        firing = spec.widths[1:] if self.readout.spiking else spec.hidden
        self.initial: InitialPotentials | None = None
        if spec.initial in ("neuron", "layer"):
            self.initial = InitialPotentials(firing, spec.neuron.threshold, single=spec.initial == "layer")
        self.constants: nn.ParameterList | None = None
        if spec.initial == "constant":
            self.constants = nn.ParameterList(initial_potential(n, threshold=spec.neuron.threshold) for n in firing)
        self.leaks: nn.ParameterList | None = None
        if spec.neuron.kind == "plif":
            start = -math.log(max(spec.neuron.tau - 1.0, 1e-3))
            self.leaks = nn.ParameterList(nn.Parameter(torch.tensor(start)) for _ in spec.widths[1:])
        self.register_buffer("costs", costs_of(spec, output_fires=self.readout.spiking), persistent=False)
        places = np.cumsum([0, *spec.widths[:-1]])
        self._costs = tuple(self.costs.cpu().numpy()[places])  # of a spike of each layer [3]
        if spec.readout.kind == "mean":
            # An output neuron that is silent or saturated at the start has no surrogate gradient to leave by.
            last = self.layers[-1]
            assert isinstance(last, nn.Linear)
            nn.init.constant_(last.bias, half_rate_current(spec.neuron, spec.steps))

    def parameters_of_layers(self) -> Weights:
        """Return the trained weights, without gradients."""
        at_rest = NetworkState(0)
        return tuple(map_weights(self.weights_of(index, at_rest), Tensor.detach) for index in range(len(self.layers)))

    def references(self, rates: Sequence[Tensor], squares: Sequence[Tensor]) -> tuple[LayerReference, ...]:
        """Join calibrated rates [N] and squared rates [N], one a layer, with the trained weights' scale."""
        return tuple(
            LayerReference(
                index=index,
                rate=rate.to(layer.weight),
                square=square.to(layer.weight),
                weight_scale=float(layer.weight.square().mean().sqrt()),
                inputs=layer.weight.shape[1],
            )
            for index, (layer, rate, square) in enumerate(zip(self.parameters_of_layers(), rates, squares, strict=True))
        )

    def initial_state(
        self,
        batch: int,
        *,
        plugin: Homeostasis | None = None,
        references: tuple[LayerReference, ...] = (),
        weights: Weights | None = None,
    ) -> NetworkState:
        """Return the state that a batch of episodes starts from.

        Raises:
            InputError: a plug-in without one reference a layer, or weights that are not this network's.
        """
        batch = whole_number(batch, what="batch", least=0)
        if plugin is not None:
            self.admit(plugin, references)
        if weights is not None:
            require_weights(weights, self.parameters_of_layers(), batch=batch)
        return NetworkState(
            batch=batch,
            weights=weights,
            plugin=plugin,
            references=references,
            adaptation=[] if plugin is None else [plugin.init(layer, batch) for layer in references],
            membranes=[None] * len(self.layers),
        )

    def admit(self, plugin: Homeostasis, references: tuple[LayerReference, ...]) -> None:
        """Check a plug-in for `initial_state`. Raises InputError: it has not one reference a layer."""
        require_references(plugin, references, self.spec.widths)

    def forget(self, state: NetworkState, ended: Tensor, scope: Scope) -> NetworkState:
        """Start again the rows where ``ended`` [B] is True, as far as what ends with ``scope`` is concerned.

        Membranes of scope "episode" go to rest; the mechanism's state restarts if its own scope is ``scope``. The state
        that is returned takes the place of ``state``.

        Raises:
            InputError: ``state`` was already advanced, or ``ended`` is not [B] booleans.
        """
        require_ended(ended, state)
        state = state.successor()
        if scope != "decision":
            for index, membrane in enumerate(state.membranes):
                if membrane is not None:
                    for value, start in zip(membrane, self.rest_of(index, membrane.potential), strict=True):
                        value[ended] = start[ended]
        if state.plugin is not None and state.plugin.scope == scope:
            for index, layer in enumerate(state.references):
                initial = state.plugin.init(layer, state.batch)
                state.adaptation[index] = restart(state.adaptation[index], initial, ended)
        return state

    def forward(
        self,
        x: Tensor,
        state: NetworkState | None = None,
        *,
        adapt: bool = False,
        generator: Generator | None = None,
        noise: Tensor | None = None,
    ) -> tuple[Tensor, NetworkState]:
        """Make one decision.

        Args:
            x: observations [B, inputs].
            state: the state before; None starts from the trained network at rest.
            adapt: let the state's plug-in advance its state after the decision.
            generator: randomness of a stochastic encoder; None is torch's global generator.
            noise: the encoder's uniform numbers [B, T, N_enc] themselves, instead of a generator.

        Returns:
            the outputs [B, outputs] and the state after; the state passed in cannot be used again.

        Raises:
            InputError: shapes or types that do not fit, or a state that was already advanced.
            NonFiniteInput: an observation that is not finite.
        """
        rows = self.check(x, state, noise)
        result = None if rows.array is None else self.decide_unchecked(rows.array, state, adapt, generator, rows.noise)
        return self.run_layers(rows, state, adapt, generator) if result is None else result

    def run_layers(
        self, rows: Rows, state: NetworkState | None, adapt: bool = False, generator: Generator | None = None
    ) -> tuple[Tensor, NetworkState]:
        """Make a decision for rows that `check` returned, layer by layer or through the stack.

        Raises:
            NonFiniteInput: an observation is not finite; nothing has changed.
        """
        if rows.array is not None:
            require_finite(rows.array, OBSERVATIONS)
        x = like_weights(rows.x, self.layers[0].weight)
        state = self._ready(x, state, adapt)
        out, measured = self._trains(x, state, generator, rows.noise)
        if adapt and state.plugin is not None:
            assert isinstance(measured, tuple)  # a state with a plug-in goes layer by layer
            self._advance(state, measured)
        state.measured = measured
        y: Tensor = self.readout(out)
        return y, state

    def stepwise(self, x: Tensor, *, generator: Generator | None = None, noise: Tensor | None = None) -> Tensor:
        """Return the outputs after every spike step [T, B, outputs] for observations [B, inputs], for losses over time.

        Raises:
            InputError: as for `forward`.
            NonFiniteInput: as for `forward`.
        """
        rows = self.check(x, None, noise)
        if rows.array is not None:
            require_finite(rows.array, OBSERVATIONS)
        x = like_weights(rows.x, self.layers[0].weight)
        out, _ = self._trains(x, self._ready(x, None, False), generator, rows.noise)
        return self.readout.steps(out).transpose(0, 1)

    def sequence(
        self, x: Tensor, membranes: Sequence[Membrane], *, generator: Generator | None = None
    ) -> tuple[Tensor, list[Membrane]]:
        """Make decisions one after another, with gradients through the membranes between them.

        A layer runs all L * T steps before the next one starts. `forward` with a state is the reference.

        Args:
            x: observations [S, L, inputs]: L decisions of S rows.
            membranes: of each layer [S, N], before the first decision.

        Returns the outputs [S, L, outputs] and the membranes after the last decision. Raises InputError: rows of
        another size.
        """
        rows, steps = rows_of(x.flatten(0, 1), self.spec.inputs, self)[0], self.spec.steps
        train = self.encoder(like_weights(rows, self.layers[0].weight), steps, generator=generator)
        train = train.reshape(len(x), -1, train.shape[-1])
        state = NetworkState(len(x), membranes=[*membranes])
        after = []
        for index in range(len(self.layers)):
            train, membrane = layers.run(
                self.spec.neuron, index, self.weights_of(index, state), state, train, fires=self.fires(index),
                tau=self.leak_of(index),
            )  # fmt: skip
            after.append(membrane)
        return self.readout(train.reshape(-1, steps, train.shape[-1])).unflatten(0, x.shape[:2]), after

    def _trains(
        self, x: Tensor, state: NetworkState, generator: Generator | None, noise: Tensor | None
    ) -> tuple[Tensor, RatesOrThunk]:
        """Return the last layer's output [B, T, N] and the mean outputs of all, or what computes them."""
        if dispatch.route(self.spec, x, state) == "stack":
            return self._stack(x, state, generator, noise)
        train = self.encoder(x, self.spec.steps, generator=generator, noise=noise)
        rates = [train.detach().mean(1)]
        for index in range(len(self.layers)):
            train, membrane = layers.run(
                self.spec.neuron, index, self.weights_of(index, state), state, train, fires=self.fires(index),
                initial=None if self.initial is None else self.initial.of(index), tau=self.leak_of(index),
            )  # fmt: skip
            if self.spec.membrane == "episode":
                state.membranes[index] = Membrane(*(part.detach() for part in membrane))
            rates.append(membrane.spikes.detach() if not self.fires(index) else train.detach().mean(1))
        return train, tuple(rates)

    def decide_unchecked(
        self,
        x: np.ndarray,
        state: NetworkState | None = None,
        adapt: bool = False,
        generator: Generator | None = None,
        noise: Tensor | None = None,
        transform: IOTransform | None = None,
    ) -> tuple[Tensor, NetworkState] | None:
        """Make a decision in one compiled call; return None where that does not cover it (`dispatch.route`).

        ``x`` and ``noise`` must be those that `check` returned: neither their shapes nor their types are looked at
        again. Their numbers are, by the compiled call.

        Args:
            x: observations [B, inputs], C-contiguous.
            transform: a normaliser before and a squashing after the network, that the same call does.

        Raises:
            InputError: a state that was already advanced, or types that do not fit the weights.
            NonFiniteInput: an observation is not finite; nothing has changed.
        """
        if dispatch.route(self.spec, x, state) != "decision":
            return None
        draws = noise is None and self._stochastic
        if draws or (adapt and state is not None and state.plugin is not None and state.plugin.scope == "decision"):
            require_finite(x, OBSERVATIONS)  # before something is drawn or starts again
        after = self._ready(x, state, adapt)
        if draws:
            shape = (x.shape[0], self.spec.steps, self.spec.widths[0])
            noise = torch.rand(shape, generator=generator, dtype=torch.from_numpy(x).dtype)
        if self.spec.membrane == "episode" and after.membranes[0] is None:
            nothing = torch.from_numpy(x[:, :0])
            after.membranes = [
                Membrane(*(part.clone() for part in self.rest_of(index, nothing.new_zeros(x.shape[0], width))))
                for index, width in enumerate(self.spec.widths[1:])
            ]
        try:
            result = compile_network(self)(self, x, after, adapt=adapt, noise=noise, transform=transform)
        except NonFiniteInput:
            if state is not None:
                state.spent = False
            raise
        after.measured = result.rates
        if adapt and after.plugin is not None and not result.adapted:
            self._advance(after, after.rates)
        return result.y, after

    def check(self, x: Any, state: Any, noise: Any = None) -> Rows:
        """Return observations and noise as a decision takes them; their numbers are looked at by whoever reads them.

        Raises:
            InputError: shapes or types that do not fit.
        """
        x, array = rows_of(x, self.spec.inputs, self, finite=False)
        if state is not None:
            require_batch(state, x.shape[0])
        if noise is not None:
            noise = noise_of(noise, (x.shape[0], self.spec.steps, self.spec.widths[0]))
        return Rows(x, array, noise)

    def _ready(self, x: Tensor | np.ndarray, state: NetworkState | None, adapt: bool) -> NetworkState:
        if state is None:
            return NetworkState(x.shape[0], membranes=[None] * (len(self.spec.hidden) + 1))
        state = state.successor()
        if adapt and state.plugin is not None and state.plugin.scope == "decision":
            every = torch.ones(state.batch, dtype=torch.bool, device=None if isinstance(x, np.ndarray) else x.device)
            return self.forget(state, every, "decision")
        return state

    def _stack(
        self, x: Tensor, state: NetworkState, generator: Generator | None, noise: Tensor | None
    ) -> tuple[Tensor, RatesOrThunk]:
        starts = [None if self.initial is None else self.initial.of(index) for index in range(len(self.layers))]
        weights = [self.weights_of(index, state) for index in range(len(self.layers))]
        parts = [stack.Layer(w.weight, w.bias, None, start) for w, start in zip(weights, starts, strict=True)]
        encoded = encode(self.encoder, x, self.spec.steps, generator, noise)
        out, hidden = stack.run(self.spec.neuron, encoded, parts, fires=self.readout.spiking)

        def rates() -> tuple[Tensor, ...]:
            last = out if self.readout.spiking else torch.zeros_like(out)
            return tuple(part.detach().to(out.dtype).mean(1) for part in (encoded.train, *hidden, last))

        return out, rates

    def operations(self, rates: Sequence[Tensor]) -> Operations:
        """Return what a decision cost [B], from the rates that it left in the state."""
        first, *others = rates
        if self.spec.encoder.kind == "current":  # a constant input is multiplied once, not once a step
            first = (first != 0).to(first) / self.spec.steps
        if kernels.serving(first) == "numba":
            return self._count_operations((first, *others))
        return operations((torch.cat([first, *others], 1) * self.spec.steps).round_(), self.costs)

    def _count_operations(self, rates: Sequence[Tensor]) -> Operations:
        result = np.zeros((len(rates[0]), 3))
        for rate, cost in zip(rates, self._costs, strict=True):
            array = rate.detach().numpy()
            add_costs(array, array.dtype.type(self.spec.steps), cost, result)
        return Operations(*torch.from_numpy(result).unbind(1))

    def fires(self, index: int) -> bool:
        """Whether layer ``index`` spikes; a read-out may only integrate."""
        return self.readout.spiking or index < len(self.layers) - 1

    def weights_of(self, index: int, state: NetworkState) -> LayerWeights:
        """Return what layer ``index`` runs with: the state's damaged copies, or the trained parameters."""
        if state.weights is not None:
            return state.weights[index]
        layer = self.layers[index]
        assert isinstance(layer, nn.Linear)
        if self.constants is None or not self.fires(index):
            return LayerWeights(layer.weight, layer.bias)
        return LayerWeights(layer.weight, layer.bias + self.constants[index])

    def rest_of(self, index: int, x: Tensor) -> Membrane:
        """Return what the membranes of layer ``index`` begin with, for currents ``x`` [B, N]."""
        return neurons.rest(x, None if self.initial is None else self.initial.of(index))

    def leak_of(self, index: int) -> Tensor | None:
        """Return the learnable tau of layer ``index``, above 1, or None where it is the neuron's constant."""
        return None if self.leaks is None else 1.0 + torch.exp(-self.leaks[index])

    def _advance(self, state: NetworkState, rates: Sequence[Tensor]) -> None:
        for index in range(len(self.layers)):
            if self.fires(index):
                layers.advance(state, index, DecisionRates(rates[index], rates[index + 1]))


def encode(encoder: Encoder, x: Tensor, steps: int, generator: Generator | None, noise: Tensor | None) -> stack.Input:
    """Return an encoder's spikes (or current) for compiled layers, in the smallest type that holds them."""
    activity = encoder.activity(x)
    plain = activity.detach().contiguous()
    shape = (plain.shape[0], steps, plain.shape[1])
    if isinstance(encoder, CurrentEncoder):
        return stack.Input(activity, plain.unsqueeze(1).expand(shape), encoder.step_gradients(steps))
    train = torch.empty(shape, dtype=stack.event_type(plain.dtype))
    if encoder.stochastic:
        draws = uniform(shape, plain, generator, noise).contiguous()
        encoding.compare(draws.numpy(), plain.numpy(), train.numpy())
    else:
        encoding.integrate(plain.numpy(), plain.numpy().dtype.type(REGULAR_THRESHOLD), train.numpy())
    return stack.Input(activity, train, encoder.step_gradients(steps))


@torch.no_grad()
def half_rate_current(neuron: NeuronSpec, steps: int) -> float:
    """Return a constant input current at which a neuron fires at a rate as near as can be to one half."""
    currents = torch.linspace(0.0, 2.0 * neuron.threshold * max(neuron.tau, 1.0), 401)
    train, _ = neurons.scan(neuron, currents.expand(1, steps, -1))
    distance = (train.mean((0, 1)) - 0.5).abs()
    best = torch.nonzero(distance == distance.min()).flatten()
    return float(currents[best[len(best) // 2]])
