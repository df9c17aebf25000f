"""Networks without spikes, with the same interface as the spiking one: the ReLU control arm, QCFS and tanh networks."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn

from homeo_rl.errors import InputError
from homeo_rl.homeostasis.protocol import Homeostasis, LayerReference, Scope
from homeo_rl.numerics.arrays import whole_number
from homeo_rl.snn.inputs import like_weights, require_batch, require_ended, require_weights, rows_of
from homeo_rl.snn.layers import currents
from homeo_rl.snn.operation_counts import Operations
from homeo_rl.snn.qcfs import QCFS, fit_thetas
from homeo_rl.snn.state import LayerWeights, NetworkState, Weights, weights_in
from homeo_rl.spec import NetworkSpec


class MLPNetwork(nn.Module):
    """Linear layers with ReLU, tanh or QCFS between them; no spikes, so no homeostasis either."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in zip(spec.widths, spec.widths[1:], strict=False))
        levels = spec.levels_of_layers if spec.activation == "qcfs" else ()
        self.activations = nn.ModuleList(QCFS(level) for level in levels)
        if levels:
            fit_thetas(self, torch.randn(1024, spec.inputs))  # as normalised observations are

    def parameters_of_layers(self) -> Weights:
        """Return the trained weights, without gradients."""
        return weights_in(self.layers)

    def initial_state(
        self,
        batch: int,
        *,
        plugin: Homeostasis | None = None,
        references: tuple[LayerReference, ...] = (),
        weights: Weights | None = None,
    ) -> NetworkState:
        """Return a state; a plug-in is refused."""
        if plugin is not None:
            raise InputError(
                f"plug-in {plugin.name}: expected a spiking network, got an MLP, which has no rates to keep"
            )
        batch = whole_number(batch, what="batch", least=0)
        if weights is not None:
            require_weights(weights, self.parameters_of_layers(), batch=batch)
        return NetworkState(batch=batch, weights=weights)

    def forget(self, state: NetworkState, ended: Tensor, scope: Scope) -> NetworkState:
        """Nothing outlives a decision; the state that is returned takes the place of ``state``."""
        require_ended(ended, state)
        return state.successor()

    def forward(
        self,
        x: Tensor,
        state: NetworkState | None = None,
        *,
        adapt: bool = False,
        generator: Generator | None = None,
        noise: Tensor | None = None,
    ) -> tuple[Tensor, NetworkState]:
        """Map x [B, inputs] to [B, outputs].

        Raises:
            InputError: shapes or types that do not fit, or a state that was already advanced.
            NonFiniteInput: an observation is not finite.
        """
        x, _ = rows_of(x, self.spec.inputs, self)
        if state is not None:
            require_batch(state, x.shape[0])
        x = like_weights(x, self.layers[0].weight)
        state = NetworkState(x.shape[0]) if state is None else state.successor()
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, nn.Linear)
            weights = LayerWeights(layer.weight, layer.bias) if state.weights is None else state.weights[index]
            x = currents(x.unsqueeze(1), weights.weight, weights.bias).squeeze(1)
            if index < len(self.layers) - 1:
                activation = self.activations[index] if self.activations else None
                if activation is not None:
                    x = activation(x)
                else:
                    x = torch.tanh(x) if self.spec.activation == "tanh" else torch.relu(x)
                x = x if weights.alive is None else x * weights.alive
                most = activation.theta if isinstance(activation, QCFS) else 1.0
                x = x if weights.stuck is None else torch.where(weights.stuck > 0, most, x)
        return x, state

    def operations(self, rates: Sequence[Tensor]) -> Operations:
        """Return what any decision costs [1]: products alone."""
        products = float(sum(i * o for i, o in pairwise(self.spec.widths)))
        return Operations(torch.zeros(1), torch.zeros(1), torch.tensor([products], dtype=torch.float64))
