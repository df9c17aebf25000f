"""SB3's SAC, TD3 and DDPG with the same gradient steps, written for the policies of `homeo_rl.agents.sb3.policies`.

Draws, updates and figures are those of `train` in Stable-Baselines3 2.9, up to rounding. What differs is the time:
the critics' derivatives and those of SAC's distribution are written out, so that a graph is recorded for the actor
alone, and observations are normalised once. Other policies, devices and exploration by gSDE go through SB3's `train`.
"""

from typing import Any

import numpy as np
import stable_baselines3 as sb3
import torch
from stable_baselines3.common.policies import ContinuousCritic
from stable_baselines3.sac.policies import LOG_STD_MAX, LOG_STD_MIN
from torch import Tensor, nn

from homeo_rl.agents.sb3.dense import DenseNetwork, TwinCritic
from homeo_rl.agents.sb3.gaussians import Sample, derivatives, sample
from homeo_rl.agents.sb3.policies import NormaliserExtractor


class SAC(sb3.SAC):
    """Soft actor-critic; arguments and results are SB3's."""

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Take gradient steps."""
        if self.use_sde or not covers(self):
            super().train(gradient_steps, batch_size)
            return
        self.policy.set_training_mode(True)
        entropy = [] if self.ent_coef_optimizer is None else [self.ent_coef_optimizer]
        self._update_learning_rate([self.actor.optimizer, self.critic.optimizer, *entropy])
        figures = []
        for step in range(gradient_steps):
            figures.append(self._take_step(batch_size))
            if step % self.target_update_interval == 0:
                _follow(self.critic, self.critic_target, self.tau)
                torch._foreach_copy_(self.batch_norm_stats_target, self.batch_norm_stats)
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        for name in figures[0] if figures else ():
            self.logger.record(f"train/{name}", np.mean([entry[name] for entry in figures]))

    def _take_step(self, batch_size: int) -> dict[str, float]:
        """Update entropy coefficient, critics and actor once; return the figures that SB3 logs."""
        batch = self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)  # type: ignore[union-attr]  # SB3's
        features = self.actor.extract_features(batch.observations, self.actor.features_extractor)
        mean, log_std = self._parameters(features)
        chosen = sample(mean.detach(), log_std.detach(), (LOG_STD_MIN, LOG_STD_MAX))
        figures: dict[str, float] = {}
        coefficient = self.ent_coef_tensor if self.ent_coef_optimizer is None else self._weigh(chosen, figures)
        figures["ent_coef"] = alpha = coefficient.item()
        with torch.no_grad():
            coming = self.actor.extract_features(batch.next_observations, self.actor.features_extractor)
            then = sample(*self._parameters(coming), (LOG_STD_MIN, LOG_STD_MAX))
            values = _least(_evaluate(self.critic_target, batch.next_observations, then.actions))
            values = values - alpha * then.log_probability
        _learn_values(self, features, batch, values, figures, 0.5)
        inputs = torch.cat([features, chosen.actions], 1)
        networks = _networks(self.critic)
        traces = [network.trace(inputs) for network in networks]
        estimates = torch.cat([trace[-1] for trace in traces], 1)
        least, index = estimates.min(1, keepdim=True)
        figures["actor_loss"] = (alpha * chosen.log_probability - least).mean().item()
        rows = len(inputs)
        coming_back = torch.zeros_like(chosen.actions)
        for number, (network, trace) in enumerate(zip(networks, traces, strict=True)):
            decided = (index == number).to(least).mul_(-1.0 / rows)  # the least estimate alone has a derivative
            coming_back += network.derivative_of_input(decided, trace, features.shape[1])
        self.actor.optimizer.zero_grad()
        torch.autograd.backward([mean, log_std], derivatives(chosen, coming_back, alpha / rows))
        self.actor.optimizer.step()
        return figures

    def _parameters(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.actor.mu(features), self.actor.log_std(features)  # type: ignore[operator]  # SB3 types it as a tensor too

    def _weigh(self, chosen: Sample, figures: dict[str, float]) -> Tensor:
        """Update the entropy coefficient; return it as it was, which is what the losses of this step take."""
        assert self.log_ent_coef is not None
        assert self.ent_coef_optimizer is not None
        assert isinstance(self.target_entropy, float)
        before = self.log_ent_coef.detach().exp()
        gradient = -(chosen.log_probability.mean() + self.target_entropy)
        figures["ent_coef_loss"] = (self.log_ent_coef.detach() * gradient).item()
        self.log_ent_coef.grad = gradient.view_as(self.log_ent_coef)
        self.ent_coef_optimizer.step()
        return before


class _TD3Steps:
    """The gradient steps of TD3, and of DDPG, which is TD3 with other settings."""

    def train(self: Any, gradient_steps: int, batch_size: int = 100) -> None:
        """Take gradient steps."""
        if not covers(self):
            super().train(gradient_steps, batch_size)  # type: ignore[misc]  # SB3's class, next in line
            return
        self.policy.set_training_mode(True)
        self._update_learning_rate([self.actor.optimizer, self.critic.optimizer])
        figures: list[dict[str, float]] = []
        for _ in range(gradient_steps):
            self._n_updates += 1
            figures.append(self._take_step(batch_size))
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        for name in ("actor_loss", "critic_loss", "proxy_loss"):
            values = [entry[name] for entry in figures if name in entry]
            if values:
                self.logger.record(f"train/{name}", np.mean(values))

    def _take_step(self: Any, batch_size: int) -> dict[str, float]:
        """Update critics once, and actor and targets where it is their turn; return the figures that SB3 logs."""
        batch = self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)
        features = self.critic.extract_features(batch.observations, self.critic.features_extractor)
        figures: dict[str, float] = {}
        with torch.no_grad():
            noise = torch.empty_like(batch.actions).normal_(0, self.target_policy_noise)
            noise.clamp_(-self.target_noise_clip, self.target_noise_clip)
            then = (self.actor_target(batch.next_observations) + noise).clamp_(-1, 1)
            values = _least(_evaluate(self.critic_target, batch.next_observations, then))
        _learn_values(self, features, batch, values, figures, 1.0)
        if self._n_updates % self.policy_delay != 0:
            return figures
        actions = self.actor(batch.observations)
        first = _networks(self.critic)[0]
        trace = first.trace(torch.cat([features, actions.detach()], 1))
        figures["actor_loss"] = -trace[-1].mean().item()
        coming = torch.full_like(trace[-1], -1.0 / len(features))
        self.actor.optimizer.zero_grad()
        actions.backward(first.derivative_of_input(coming, trace, features.shape[1]))
        self.actor.optimizer.step()
        _follow(self.critic, self.critic_target, self.tau)
        self._follow_actor()
        torch._foreach_copy_(
            [*self.critic_batch_norm_stats_target, *self.actor_batch_norm_stats_target],
            [*self.critic_batch_norm_stats, *self.actor_batch_norm_stats],
        )
        return figures

    def _follow_actor(self: Any) -> None:
        _follow(self.actor, self.actor_target, self.tau)


class TD3(_TD3Steps, sb3.TD3):
    """Twin delayed deterministic policy gradients; arguments and results are SB3's."""


class DDPG(_TD3Steps, sb3.DDPG):
    """Deep deterministic policy gradients; arguments and results are SB3's."""


def covers(model: Any) -> bool:
    """Whether a model has what the steps above are written for."""
    critic = model.critic
    known = isinstance(critic, TwinCritic) and isinstance(critic.features_extractor, NormaliserExtractor)
    return known and model.device.type == "cpu" and all(network.is_plain for network in _networks(critic))


def _networks(critic: ContinuousCritic) -> list[DenseNetwork]:
    return critic.q_networks  # type: ignore[return-value]  # TwinCritic makes them


def _evaluate(critic: ContinuousCritic, observations: Tensor, actions: Tensor) -> list[Tensor]:
    features = critic.extract_features(observations, critic.features_extractor)
    inputs = torch.cat([features, actions], 1)
    return [network.trace(inputs)[-1] for network in _networks(critic)]


def _least(values: list[Tensor]) -> Tensor:
    return torch.cat(values, 1).amin(1, keepdim=True)


def _learn_values(
    model: Any, features: Tensor, batch: Any, following: Tensor, figures: dict[str, float], share: float
) -> None:
    """Update the critics towards rewards and ``following`` values [B, 1]; losses are ``share`` of squared errors."""
    discounts = model.gamma if batch.discounts is None else batch.discounts
    targets = batch.rewards + (1 - batch.dones) * discounts * following
    inputs, loss = torch.cat([features, batch.actions], 1), 0.0
    for network in _networks(model.critic):
        outputs = network.trace(inputs)
        errors = outputs[-1] - targets
        loss += share * errors.square().mean().item()
        network.descend(errors.mul_(2.0 * share / len(errors)), outputs)
    figures["critic_loss"] = loss
    model.critic.optimizer.step()


def _follow(module: nn.Module, target: nn.Module, tau: float) -> None:
    """Move the parameters of ``target`` by a share ``tau`` of the way to those of ``module``."""
    with torch.no_grad():
        parts = [part.detach() for part in target.parameters()]
        torch._foreach_mul_(parts, 1 - tau)
        torch._foreach_add_(parts, [part.detach() for part in module.parameters()], alpha=tau)
