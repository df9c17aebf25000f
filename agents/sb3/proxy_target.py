"""TD3 whose target actor is an MLP that imitates the spiking actor (Xu et al., Proxy Target, NeurIPS 2025).

A small change of weights can change spikes by whole steps, so a target that averages the weights of a spiking actor
does not move smoothly. The proxy does: before each update it takes gradient steps towards the actions of the actor.
It has no part in rollouts and is not deployed.
"""

from typing import Any

import torch
from torch import nn

from homeo_rl.agents.presets import controller_spec
from homeo_rl.agents.sb3 import algorithms
from homeo_rl.agents.sb3.policies import SpikingTD3Actor, SpikingTD3Policy
from homeo_rl.agents.sb3.spaces import flat_observation_space
from homeo_rl.errors import UsageError

STEPS = 3
"""Gradient steps of the proxy for each update, as the published code takes them."""


class SpikingProxyTD3Policy(SpikingTD3Policy):
    """For `ProxyTD3`; arguments are those of `homeo_rl.agents.SpikingTD3Policy`. The proxy is as wide as the critics.

    Raises:
        UsageError: a features extractor, or what that policy refuses.
    """

    def _build(self, lr_schedule: Any) -> None:
        if self.extractor:
            raise UsageError("proxy_td3: expected no features extractor; use td3")
        super()._build(lr_schedule)
        seen = flat_observation_space(self.observation_space)
        spec = controller_spec("mlp", seen, self.action_space, algo="td3", overrides={"hidden": self.critic_arch})
        arguments = self._actor_arguments(self.actor_target.features_extractor) | {"controller_spec": spec}
        proxy = SpikingTD3Actor(**arguments).to(self.device)
        proxy.optimizer = self.optimizer_class(proxy.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]  # SB3 types the class as a bare Optimizer
        proxy.set_training_mode(False)
        self.actor_target = proxy


class ProxyTD3(algorithms.TD3):
    """TD3 for `SpikingProxyTD3Policy`; arguments and results are SB3's."""

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Take gradient steps.

        Raises:
            UsageError: the model is not on a processor, or has another critic than its policy's.
        """
        if not algorithms.covers(self):
            raise UsageError(f"proxy_td3: expected the device cpu and the policy's critics, got {self.device}; use td3")
        self._update_learning_rate([self.actor_target.optimizer])
        super().train(gradient_steps, batch_size)

    def _take_step(self, batch_size: int) -> dict[str, float]:
        """Let the proxy follow the actor, then update critics and, where it is its turn, the actor."""
        for _ in range(STEPS):
            batch = self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)  # type: ignore[union-attr]  # SB3's
            with torch.no_grad():
                wanted = self.actor(batch.observations)
            loss = nn.functional.mse_loss(self.actor_target(batch.observations), wanted)
            self.actor_target.optimizer.zero_grad()
            torch.autograd.backward(loss)
            self.actor_target.optimizer.step()
        return super()._take_step(batch_size) | {"proxy_loss": loss.item()}

    def _follow_actor(self) -> None:
        """Do nothing: the proxy has followed."""

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        state_dicts, variables = super()._get_torch_save_params()
        return [*state_dicts, "actor_target.optimizer"], variables
