"""Homeostasis while rollouts are collected (``--homeostasis-in-training``).

The plug-in adapts exactly as it does in deployment: a state per environment, restarted when an episode ends. What is
normal is not known before training, so the first ``window`` decisions are only observed, and from then on each
window's mean rates are the set point of the next one: the set point follows the policy as it learns.

For PPO and A2C the collected log-probabilities are those of the adapted policy, which chose the actions; the gradient
passes see the trained weights alone. The importance ratio is therefore right but not 1 before the first gradient
step; its mean distance from 1 is logged as ``homeo/ratio_gap``. Nothing adapts in gradient passes, value
bootstraps or evaluations.

Thresholds that move within a decision and start again with the next (scope "decision") are part of the neuron: PPO and
A2C then train the network with them, through them, and evaluations have them too.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from homeo_rl.homeostasis.plasticity_guard import not_finite, out_of_bounds
from homeo_rl.homeostasis.protocol import SCOPES, Homeostasis
from homeo_rl.homeostasis.statistics import RateMoments
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.snn.neurons import Membrane
from homeo_rl.snn.state import NetworkState


class OnlineAdaptation:
    """State of a plug-in over the environments of a training run.

    An adaptation that goes wrong (`homeo_rl.homeostasis.plasticity_guard`) starts again from no change, in that
    environment alone; ``rolled_back`` counts how often.
    """

    def __init__(self, network: SpikingNetwork, plugin: Homeostasis, *, window: int = 1000) -> None:
        self.network, self.plugin, self.window = network, plugin, window
        self.state: NetworkState | None = None
        self.rolled_back = 0
        self._moments = RateMoments()

    @property
    def within_decision(self) -> bool:
        """Whether the mechanism begins and ends within a decision, and is part of the neuron."""
        return self.plugin.adapts_threshold and self.plugin.scope == "decision"

    def initial_state(self, batch: int) -> NetworkState:
        """Return the state of so many decisions of the mechanism; what it learns of rates is nothing to thresholds."""
        rates = [torch.zeros(width) for width in self.network.spec.widths[1:]]
        return self.network.initial_state(batch, plugin=self.plugin, references=self.network.references(rates, rates))

    @torch.no_grad()
    def decide(self, features: Tensor) -> Tensor:
        """Return the network's outputs for normalised observations [B, D], and adapt."""
        y: Tensor
        if self.within_decision and self.state is None:
            self.state = self.initial_state(len(features))
        y, state = self.network(features, self.state, adapt=True)
        for row in range(features.shape[0]):
            self._moments.add([rate[row].cpu() for rate in state.rates[1:]])
        if self.state is not None:
            self.state = self._roll_back(state)
        if self._moments.decisions >= self.window:
            self._move_set_point(features.shape[0])
        return y

    @torch.no_grad()
    def end(self, dones: Tensor) -> None:
        """Restart what ends with an episode in the environments where ``dones`` [B] is True."""
        if self.state is not None and bool(dones.any()):
            self.state = self.network.forget(self.state, dones, "episode")

    def state_dict(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return everything that outlives a decision, as plain data and arrays."""
        moments = self._moments
        arrays = {"moments/first": moments.first, "moments/second": moments.second}
        document: dict[str, Any] = {"decisions": moments.decisions, "sizes": list(moments.sizes), "batch": None}
        document["rolled_back"] = self.rolled_back
        if self.state is None:
            return document, arrays
        for index, (adaptation, layer) in enumerate(zip(self.state.adaptation, self.state.references, strict=True)):
            arrays |= {f"adaptation/{index}/{name}": value.cpu().numpy() for name, value in adaptation.items()}
            arrays |= {f"reference/{index}/rate": layer.rate.numpy(), f"reference/{index}/square": layer.square.numpy()}
        for index, membrane in enumerate(self.state.membranes):
            if membrane is not None:
                arrays |= {f"membrane/{index}/{name}": part.numpy() for name, part in membrane._asdict().items()}
        scales = [layer.weight_scale for layer in self.state.references]
        return {**document, "batch": self.state.batch, "scales": scales}, arrays

    def load_state_dict(self, document: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Take over what `state_dict` returned."""
        self.rolled_back = document["rolled_back"]
        layers = range(len(self.network.layers))
        sums = (arrays[f"moments/{name}"].copy() for name in ("first", "second"))
        self._moments = RateMoments(document["decisions"], list(document["sizes"]), *sums)
        if document["batch"] is None:
            self.state = None
            return
        rates = [torch.as_tensor(arrays[f"reference/{i}/rate"].copy()) for i in layers]
        squares = [torch.as_tensor(arrays[f"reference/{i}/square"].copy()) for i in layers]
        references = tuple(
            replace(layer, weight_scale=scale)
            for layer, scale in zip(self.network.references(rates, squares), document["scales"], strict=True)
        )
        self.state = self.network.initial_state(document["batch"], plugin=self.plugin, references=references)
        for i in layers:
            names = {name: f"adaptation/{i}/{name}" for name in self.state.adaptation[i]}
            self.state.adaptation[i] = {name: torch.as_tensor(arrays[key].copy()) for name, key in names.items()}
            if f"membrane/{i}/potential" in arrays:
                parts = {name: torch.as_tensor(arrays[f"membrane/{i}/{name}"].copy()) for name in Membrane._fields}
                self.state.membranes[i] = Membrane(**parts)

    def drift(self) -> list[float]:
        """Mean over environments of norm(delta) / norm(trained), one a layer; empty before the first window's end."""
        if self.state is None:
            return []
        drifts = []
        for adaptation, layer in zip(self.state.adaptation, self.network.parameters_of_layers(), strict=True):
            delta = self.plugin.modulation(adaptation).weight
            drifts.append(0.0 if delta is None else float(delta.flatten(1).norm(dim=1).mean() / layer.weight.norm()))
        return drifts

    def sliding_thresholds(self) -> list[float]:
        """Mean sliding threshold, one a layer; empty where there is none."""
        if self.state is None:
            return []
        pairs = zip(self.state.adaptation, self.state.references, strict=True)
        thresholds = (self.plugin.sliding_threshold(adaptation, layer) for adaptation, layer in pairs)
        return [float(threshold.mean()) for threshold in thresholds if threshold is not None]

    def rate_errors(self) -> list[float]:
        """Mean of abs(rate - set point) in the last decision, one a layer."""
        if self.state is None or not self.state.rates:
            return []
        pairs = zip(self.state.rates[1:], self.state.references, strict=True)
        return [float((rate.mean(0) - layer.rate).abs().mean()) for rate, layer in pairs]

    def _roll_back(self, state: NetworkState) -> NetworkState:
        """Return the state after a decision with adaptations that went wrong rolled back."""
        every = range(state.batch)  # beside a step of a training, looking at all matrices costs nothing
        wrong = {*not_finite(state.adaptation), *out_of_bounds(self.plugin, state.references, state.adaptation, every)}
        if wrong:
            self.rolled_back += len(wrong)
            ended = torch.zeros(state.batch, dtype=torch.bool)
            ended[sorted(wrong)] = True
            for scope in SCOPES:  # membranes too: what went wrong may have charged them
                state = self.network.forget(state, ended, scope)
        return state

    def _move_set_point(self, batch: int) -> None:
        rates, squares = self._moments.means()
        references = self.network.references([torch.tensor(r) for r in rates], [torch.tensor(s) for s in squares])
        if self.state is None:
            self.state = self.network.initial_state(batch, plugin=self.plugin, references=references)
        else:
            self.state = replace(self.state, references=references)
        self._moments = RateMoments()
