"""Leaky integrate-and-fire neurons with synapses of several delays, one spike step a call: what the compiler makes.

With threshold 1, sources s_j (a clock that is 1 from the first step on, the input lines, the neurons) and delays k_j::

    v[t] = beta u[t-1] + sum w_ij s_j[t - k_j],   s = [v > 1]
    soft: u = v - s        hard: u = v (1 - s)        soft_next: v[t] = beta v[t-1] - s[t-1] + ...

Neurons of later layers read earlier ones within the same step where the delay is 0. The arithmetic of a row does not
depend on its neighbours. Shapes: B batch, N neurons, K taps (source and delay).
"""

import torch
from torch import Tensor, nn

from homeo_rl.errors import InputError
from homeo_rl.numerics.arrays import index_of
from homeo_rl.snn.inputs import like_weights, require_weights, rows_of
from homeo_rl.snn.state import LayerWeights, RecurrentState, map_weights
from homeo_rl.spec import RecurrentSpec


class RecurrentNetwork(nn.Module):
    """One weight matrix [N, K] over taps; state goes in and comes out."""

    def __init__(self, spec: RecurrentSpec) -> None:
        super().__init__()
        self.spec = spec
        self.weight = nn.Parameter(torch.zeros(spec.neurons, len(spec.taps)))
        self.sources = 1 + spec.lines + spec.neurons
        self.reach = max(1, *(delay for _, delay in spec.taps))
        # A tap's place in [this step, one step back, ...], each of all sources.
        self._places = torch.tensor([delay * self.sources + source + 1 for source, delay in spec.taps])
        layers = torch.tensor(spec.layers)
        self._groups = [torch.nonzero(layers == layer).flatten() for layer in range(int(layers.max()) + 1)]

    def parameters_of_layers(self) -> tuple[LayerWeights, ...]:
        """Return the weights and, since damage spares a network's output layer, an idle last layer of one neuron."""
        weight = self.weight.detach()
        idle = LayerWeights(weight.new_zeros(1, 1), weight.new_zeros(1))
        return LayerWeights(weight, weight.new_zeros(self.spec.neurons)), idle

    def initial_state(self, batch: int) -> RecurrentState:
        """Return the state before the first step of ``batch`` episodes."""
        weight = self.weight.detach()
        return RecurrentState(
            weight.new_zeros(batch, self.spec.neurons),
            weight.new_zeros(batch, self.reach, self.sources),
            None,
            weight.new_zeros(batch, len(self.spec.outputs)),
            weight.new_zeros(batch, self.spec.lines),
        )

    def forget(self, state: RecurrentState, ended: Tensor) -> RecurrentState:
        """Start again the rows where ``ended`` [B] is True; their weights stay as they are.

        Raises InputError: not one boolean a row.
        """
        if ended.dtype != torch.bool or ended.shape != (len(state.potential),):
            raise InputError(
                f"ended [B]: expected {len(state.potential)} booleans, one a row, got {ended.dtype} of shape "
                f"{list(ended.shape)}; True starts a row again"
            )
        kept = (~ended).to(state.potential)
        return state._replace(
            potential=state.potential * kept[:, None],
            past=state.past * kept[:, None, None],
            spikes=state.spikes * kept[:, None],
            events=state.events * kept[:, None],
        )

    def with_weights(self, state: RecurrentState, row: int, weights: LayerWeights) -> RecurrentState:
        """Return the state in which ``row`` runs with ``weights`` (shapes without a batch dimension).

        Raises:
            InputError: there is no such row, or the weights do not fit.
            NonFiniteInput: a weight is not finite.
        """
        batch = len(state.potential)
        row = index_of(row, batch, what="row", advice="give a row of the state")
        require_weights((weights,), self.parameters_of_layers()[:1])
        copies = None if state.weights is None else map_weights(state.weights, Tensor.clone)
        if copies is None:
            healthy = self.parameters_of_layers()[0]
            copies = map_weights(healthy, lambda part: part.expand(batch, *part.shape).clone())
        if copies.alive is None or copies.stuck is None:
            copies = copies._replace(alive=torch.ones_like(copies.bias), stuck=torch.zeros_like(copies.bias))
        assert copies.alive is not None
        assert copies.stuck is not None
        copies.weight[row], copies.bias[row] = weights.weight, weights.bias
        copies.alive[row] = 1.0 if weights.alive is None else weights.alive
        copies.stuck[row] = 0.0 if weights.stuck is None else weights.stuck
        return state._replace(weights=copies)

    def keep(self, state: RecurrentState, rows: Tensor) -> RecurrentState:
        """Return the state of ``rows`` only, in that order."""
        weights = None if state.weights is None else map_weights(state.weights, lambda part: part[rows])
        return RecurrentState(
            state.potential[rows], state.past[rows], weights, state.spikes[rows], state.events[rows]
        )  # fmt: skip

    def forward(self, x: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        """Take one spike step.

        ``x``: input spikes [B, lines], 0 or 1. Returns the spikes [B, outputs] of the output neurons, and the state
        after; the one before stays as it is.

        Raises:
            InputError: shapes that do not fit, or inputs that are no spikes.
            NonFiniteInput: an input is not finite.
        """
        x, _ = rows_of(x, self.spec.lines, self, what="input spikes [B, lines]")
        x = like_weights(x, self.weight, what="input spikes [B, lines]")
        if len(x) != len(state.potential) or state.potential.shape[1] != self.spec.neurons:
            raise InputError(
                f"input spikes [B, lines]: expected as many rows as the state, {list(state.potential.shape)} for "
                f"{self.spec.neurons} neurons, got {len(x)}; make a state of that size"
            )
        if not bool(((x == 0) | (x == 1)).all()):
            raise InputError(f"input spikes [B, lines]: expected 0 or 1, got {float(x.min()):g} to {float(x.max()):g}; "
                             "say where an event happens")  # fmt: skip
        spec, lines = self.spec, self.spec.lines
        now = torch.cat([x.new_ones(len(x), 1), x, x.new_zeros(len(x), spec.neurons)], 1)
        weight = self.weight if state.weights is None else state.weights.weight
        # Multiplied and summed row by row: a product of matrices would let the batch decide the last bit.
        leaked = spec.beta * state.potential
        if spec.reset == "soft_next":
            leaked = leaked - state.past[:, 0, 1 + lines :]
        if state.weights is not None:
            leaked = leaked + state.weights.bias
        v = leaked
        for group in self._groups:
            taps = torch.cat([now, state.past.flatten(1)], 1)[:, self._places]
            group_weights = weight[group] if state.weights is None else weight[:, group]
            v = v.clone()
            v[:, group] = leaked[:, group] + (group_weights * taps.unsqueeze(1)).sum(-1)
            fired = (v[:, group] > 1.0).to(v)
            if state.weights is not None and state.weights.alive is not None and state.weights.stuck is not None:
                fired = torch.maximum(fired * state.weights.alive[:, group], state.weights.stuck[:, group])
            now = now.clone()
            now[:, 1 + lines + group] = fired
        spikes = now[:, 1 + lines :]
        potential = v - spikes if spec.reset == "soft" else v * (1.0 - spikes) if spec.reset == "hard" else v
        past = torch.cat([now.unsqueeze(1), state.past[:, :-1]], 1)
        y = spikes[:, list(spec.outputs)]
        return y, state._replace(potential=potential, past=past, spikes=y, events=x)

    def run(self, trains: Tensor) -> Tensor:
        """Return the spikes [B, T, N] of all neurons for input ``trains`` [B, T, lines], from rest.

        Raises InputError: shapes that do not fit, or inputs that are no spikes.
        """
        if trains.dim() != 3 or trains.shape[1] < 1:
            raise InputError(
                f"trains [B, T, lines]: expected at least one step, got {list(trains.shape)}; give one row a train"
            )
        state, out = self.initial_state(len(trains)), []
        for x in trains.unbind(1):
            _, state = self(x, state)
            out.append(state.past[:, 0, 1 + self.spec.lines :])
        return torch.stack(out, 1)
