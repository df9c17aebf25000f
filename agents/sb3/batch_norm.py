"""TD3 with batch normalisation over time in the spiking actor (Xu et al., CaRe-BN, ICLR 2026).

In an update of the actor, the currents of a layer are normalised by their statistics over rows and spike steps. The
network that acts has no normalisation: its weights are the trained ones, scaled by running statistics. These follow a
batch the more, the further batches have lately been from them, as compared with the error of a batch; and every
`PERIOD` updates they are measured on many transitions of the replay buffer.

Shapes: B rows, T spike steps, N neurons.
"""

import copy
from typing import Any

import torch
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from homeo_rl.agents.online_adaptation import OnlineAdaptation
from homeo_rl.agents.sb3 import algorithms
from homeo_rl.agents.sb3.policies import Head, SpikingTD3Actor, SpikingTD3Policy
from homeo_rl.errors import UsageError
from homeo_rl.homeostasis.protocol import Homeostasis
from homeo_rl.snn import layers
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.snn.state import LayerWeights, NetworkState
from homeo_rl.spec import ControllerSpec

PERIOD, BATCHES = 5000, 100
"""Updates between two measurements of the statistics, and batches that one takes, as its authors have them."""

_MEMORY, _SMALLEST = 0.8, 1e-5


class CurrentNorm(nn.Module):
    """Normalisation of the currents [B, T, N] of one layer, as a change of its weights."""

    running_mean: Tensor
    running_var: Tensor
    errors: Tensor

    def __init__(self, neurons: int, threshold: float) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.full((neurons,), threshold / 2))
        self.shift = nn.Parameter(torch.full((neurons,), threshold / 2))
        self.register_buffer("running_mean", torch.zeros(neurons))
        self.register_buffer("running_var", torch.ones(neurons))
        self.register_buffer("errors", torch.zeros(2, neurons))  # squares of steps: of the mean, of the variance

    def forward(self, weights: LayerWeights, train: Tensor, *, measure: bool = False) -> LayerWeights:
        """Return the weights that normalise the currents of ``train`` [B, T, N_in]; move the running statistics.

        With ``measure`` these become the statistics of the currents.
        """
        currents = nn.functional.linear(train, weights.weight, weights.bias)
        mean, var = currents.mean((0, 1)), currents.var((0, 1), unbiased=False)
        with torch.no_grad():
            noise = var / max(len(train) - 1, 1)
            parts = (self.running_mean, mean, noise), (self.running_var, var, 2 * var * noise)
            for (kept, value, uncertainty), error in zip(parts, self.errors, strict=True):
                step = value - kept
                error.lerp_(step.square(), 1 - _MEMORY)
                kept.add_(step if measure else step * error / (error + uncertainty).clamp_(min=1e-30))
        return self._scale(weights, mean, var)

    def fold(self, weights: LayerWeights) -> LayerWeights:
        """Return the weights that normalise by the running statistics."""
        return self._scale(weights, self.running_mean, self.running_var)

    def reset(self) -> None:
        """Let `fold` change nothing."""
        self.running_mean.zero_()
        self.running_var.fill_(1.0)
        self.gain.fill_((1.0 + _SMALLEST) ** 0.5)
        self.shift.zero_()

    def _scale(self, weights: LayerWeights, mean: Tensor, var: Tensor) -> LayerWeights:
        scale = self.gain / (var + _SMALLEST).sqrt()
        return LayerWeights(weights.weight * scale[:, None], (weights.bias - mean) * scale + self.shift)


class NormalisedHead(Head):
    """The actor: ``network`` acts, ``trained`` and ``norms`` learn. Its encoder and read-out do both."""

    def __init__(self, spec: ControllerSpec, output: str) -> None:
        super().__init__(spec, output)
        if not isinstance(self.network, SpikingNetwork) or self.network.constants is not None:
            raise UsageError("batchnorm_td3: expected spiking neurons without constant currents; use td3")
        self.trained = copy.deepcopy(self.network.layers)
        self.network.layers.requires_grad_(False)
        firing = [size for index, size in enumerate(spec.network.widths[1:]) if self.network.fires(index)]
        self.norms = nn.ModuleList(CurrentNorm(size, spec.network.neuron.threshold) for size in firing)
        self.fold()

    def forward(self, features: Tensor) -> Tensor:
        """Map features [B, D] to [B, K], normalised by their own statistics where the actor learns."""
        learns = self.training and torch.is_grad_enabled()
        return self.squash(self.learn(features)) if learns else super().forward(features)

    def learn(self, features: Tensor, *, measure: bool = False) -> Tensor:
        """Return the outputs [B, K] before squashing; move the statistics, or measure them."""
        network = self.network
        assert isinstance(network, SpikingNetwork)
        state = NetworkState(len(features), membranes=[None] * len(self.trained))
        train = network.encoder(features, network.spec.steps)
        for index, weights in enumerate(_weights(self.trained)):
            if index < len(self.norms):
                weights = self.norms[index](weights, train, measure=measure)
            train, _ = layers.run(
                network.spec.neuron, index, weights, state, train, fires=network.fires(index),
                initial=None if network.initial is None else network.initial.of(index), tau=network.leak_of(index),
            )  # fmt: skip
        y: Tensor = network.readout(train)
        return y

    @torch.no_grad()
    def adopt(self, weights: dict[str, Tensor]) -> None:
        """Take the weights of a deployed network, with norms that change nothing."""
        super().adopt(weights)
        self.trained.load_state_dict(self.network.get_submodule("layers").state_dict())
        for norm in self.norms:
            assert isinstance(norm, CurrentNorm)
            norm.reset()

    @torch.no_grad()
    def fold(self) -> None:
        """Give the network that acts the trained weights under the running statistics."""
        for index, (old, new) in enumerate(zip(_weights(self.network.layers), _weights(self.trained), strict=True)):
            norm = self.norms[index] if index < len(self.norms) else None
            weights = norm.fold(new) if isinstance(norm, CurrentNorm) else new
            old.weight.copy_(weights.weight)
            old.bias.copy_(weights.bias)


def _weights(linears: Any) -> list[LayerWeights]:
    return [LayerWeights(layer.weight, layer.bias) for layer in linears]


class SpikingBatchNormTD3Actor(SpikingTD3Actor):
    """TD3's actor with a normalised head."""

    def __init__(self, *args: Any, controller_spec: ControllerSpec, **kwargs: Any) -> None:
        super().__init__(*args, controller_spec=controller_spec, **kwargs)
        self.mu = NormalisedHead(controller_spec, "unit")  # type: ignore[assignment]  # SB3 types it as a Sequential


class SpikingBatchNormTD3Policy(SpikingTD3Policy):
    """For `BatchNormTD3`; arguments are those of `homeo_rl.agents.SpikingTD3Policy`.

    Raises:
        UsageError: an agent without spikes or with constant currents, or what that policy refuses.
    """

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> SpikingBatchNormTD3Actor:
        """Build the actor."""
        return SpikingBatchNormTD3Actor(**self._actor_arguments(features_extractor)).to(self.device)

    def adapt_online(self, plugin: Homeostasis, *, window: int = 1000) -> OnlineAdaptation:
        """Refuse: the network that adapts is not the one that learns."""
        raise UsageError("batchnorm_td3: expected no --homeostasis-in-training; use td3, or dwam in evaluate")


class BatchNormTD3(algorithms.TD3):
    """TD3 for `SpikingBatchNormTD3Policy`; arguments and results are SB3's."""

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Take gradient steps, and measure the statistics where it is their turn."""
        measured = self._n_updates // PERIOD
        super().train(gradient_steps, batch_size)
        head: Any = self.actor.mu
        if self._n_updates // PERIOD > measured:
            batch = self.replay_buffer.sample(BATCHES * batch_size, env=self._vec_normalize_env)  # type: ignore[union-attr]  # SB3's
            with torch.no_grad():
                head.learn(self.actor.extract_features(batch.observations, self.actor.features_extractor), measure=True)
        head.fold()

    def _follow_actor(self) -> None:
        """Let the target follow the network that acts, and what learns with it."""
        self.actor.mu.fold()  # type: ignore[operator]  # SB3 types it as a Sequential
        super()._follow_actor()
