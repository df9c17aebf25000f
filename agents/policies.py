"""Stable-Baselines3 policies with a spiking actor, an MLP critic and the observation normaliser inside.

Usable by dotted path in any SB3 program or rl-zoo file::

    PPO("...", policy=homeo_rl.agents.SpikingActorCriticPolicy, policy_kwargs={"agent": "popsan"})

``agent`` is a preset of `homeo_rl.agents.presets` (``mlp`` is the control arm with the same critic and normaliser) and
``agent_kwargs`` replaces fields of its network; both are plain data. Membrane potentials live inside one decision,
because SB3 does not tell a policy in training when an episode ends.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, create_mlp
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.sac.policies import Actor as SACActor
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import Actor as TD3Actor
from stable_baselines3.td3.policies import TD3Policy
from torch import Tensor, nn

from homeo_rl.agents.controller import Controller, Normaliser, PolicyNetwork, Squasher, build_network
from homeo_rl.agents.net_arch import Widths, split_net_arch
from homeo_rl.agents.online import OnlineAdaptation
from homeo_rl.agents.presets import controller_spec
from homeo_rl.errors import UsageError
from homeo_rl.homeostasis.protocol import Homeostasis
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.spec import ControllerSpec

_FIXED = {
    "use_sde": "state-dependent exploration needs a latent layer that a spiking actor does not have",
    "features_extractor_class": "the observation normaliser takes its place",
    "features_extractor_kwargs": "the observation normaliser takes its place",
}
"""Arguments that are refused unless they are false or None."""

_OWN = {*_FIXED, "share_features_extractor"}
"""Arguments that a policy gives to SB3's itself."""


class NormaliserExtractor(BaseFeaturesExtractor):
    """The observation normaliser where SB3 expects a features extractor."""

    def __init__(self, observation_space: gym.Space[Any], clip: float = 3.0, normalise: bool = True) -> None:
        super().__init__(observation_space, int(np.prod(observation_space.shape or (1,))))
        self.normaliser = Normaliser(self.features_dim, clip, active=normalise)

    def forward(self, observations: Tensor) -> Tensor:
        """Normalise observations [B, D]."""
        result: Tensor = self.normaliser(observations)
        return result


class Head(nn.Module):
    """The actor network as an SB3 output layer: normalised observations in, squashed or raw outputs out.

    ``output`` "action" gives actions in their own units, "unit" in [-1, 1], "raw" the outputs before squashing.
    """

    def __init__(self, spec: ControllerSpec, output: str) -> None:
        super().__init__()
        self.network: PolicyNetwork = build_network(spec.network)
        self.squasher = Squasher(spec)
        self.output = output
        self.online: OnlineAdaptation | None = None
        self.collecting = False

    def forward(self, features: Tensor) -> Tensor:
        """Map features [B, D] to [B, K]; only a policy that is collecting a rollout adapts."""
        if self.collecting and self.online is not None:
            y = self.online.decide(features)
        else:
            y, _ = self.network(features)
        if self.output == "action":
            y = self.squasher(y)
        elif self.output == "unit":
            y = self.squasher.unit(y)
        return y


class SpikingPolicyMixin:
    """What the three policies have in common."""

    controller_spec: ControllerSpec

    def head(self) -> Head:
        """Return the actor's network with its squashing; each policy says where SB3 keeps it."""
        raise NotImplementedError

    def normaliser(self) -> Normaliser:
        """Return the observation normaliser of actor and critic."""
        raise NotImplementedError

    def controller(self) -> Controller:
        """Return a copy of the deterministic policy, ready to be saved or to act; no generator moves."""
        with torch.random.fork_rng(devices=[]):  # building a network draws weights, which are replaced at once
            controller = Controller(self.controller_spec)
        controller.normaliser.load_state_dict(self.normaliser().state_dict())
        controller.network.load_state_dict(self.head().network.state_dict())
        return controller.eval().requires_grad_(False)

    def adapt_online(self, plugin: Homeostasis, *, window: int = 1000) -> OnlineAdaptation:
        """Let ``plugin`` adapt while rollouts are collected (see `homeo_rl.agents.online`).

        Raises:
            UsageError: the actor does not spike.
        """
        network = self.head().network
        if not isinstance(network, SpikingNetwork):
            raise UsageError(
                "--homeostasis-in-training needs spiking neurons, this agent is an MLP; use --agent popsan"
            )
        self.head().online = online = OnlineAdaptation(network, plugin, window=window)
        return online

    @contextlib.contextmanager
    def _collecting(self) -> Iterator[None]:
        head = self.head()
        head.collecting = True
        try:
            yield
        finally:
            head.collecting = False


class SpikingActorCriticPolicy(SpikingPolicyMixin, ActorCriticPolicy):
    """For PPO and A2C: spiking mean (or logits), a state-free log standard deviation, an MLP value function.

    Args:
        observation_space: a one-dimensional Box.
        action_space: a one-dimensional Box with finite bounds, or a Discrete.
        lr_schedule: SB3's.
        agent: preset.
        agent_kwargs: network fields that replace the preset's.
        net_arch: hidden widths of the value function, or SB3's ``{"pi": [...], "vf": [...]}``.
        log_std_init: start of the log standard deviation, in units of the action.
        kwargs: SB3's remaining arguments; those that make no sense here are refused by name.

    Raises:
        UsageError: unknown preset or field, unsuited spaces, or a refused argument.
    """

    def __init__(
        self,
        observation_space: gym.Space[Any],
        action_space: gym.Space[Any],
        lr_schedule: Schedule,
        *,
        agent: str = "popsan",
        agent_kwargs: dict[str, Any] | None = None,
        net_arch: list[int] | dict[str, list[int]] | None = None,
        log_std_init: float = -0.5,
        **kwargs: Any,
    ) -> None:
        _refuse(kwargs)
        agent_kwargs, critic = _widths(agent_kwargs, net_arch)
        self.agent, self.agent_kwargs = agent, agent_kwargs
        self.controller_spec = controller_spec(
            agent, observation_space, action_space, algo="ppo", overrides=agent_kwargs
        )
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            net_arch={"pi": [], "vf": [64, 64] if critic is None else critic},
            log_std_init=log_std_init,
            features_extractor_class=NormaliserExtractor,
            features_extractor_kwargs=_extractor_kwargs(self.controller_spec),
            **kwargs,
        )

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        self.action_net = Head(self.controller_spec, "raw" if self.controller_spec.discrete else "action")
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]  # SB3 types the class as a bare Optimizer

    def _get_constructor_parameters(self) -> dict[str, Any]:
        arch = self.net_arch["vf"] if isinstance(self.net_arch, dict) else self.net_arch
        return _own_arguments(super()._get_constructor_parameters(), self.agent, self.agent_kwargs, arch) | {
            "log_std_init": self.log_std_init
        }

    def head(self) -> Head:
        """Return the actor's network."""
        assert isinstance(self.action_net, Head)
        return self.action_net

    def normaliser(self) -> Normaliser:
        """Return the shared normaliser."""
        assert isinstance(self.features_extractor, NormaliserExtractor)
        return self.features_extractor.normaliser

    def forward(self, obs: Any, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Choose actions for a rollout; SB3 calls this there and nowhere else."""
        with self._collecting():
            return super().forward(obs, deterministic)


class _OffPolicyMixin(SpikingPolicyMixin):
    """SB3 collects off-policy rollouts through ``predict`` without ``episode_start``; evaluations give it."""

    actor: Any
    algo: ClassVar[str]

    def __init__(
        self,
        observation_space: gym.Space[Any],
        action_space: gym.spaces.Box,
        lr_schedule: Schedule,
        *,
        agent: str = "popsan",
        agent_kwargs: dict[str, Any] | None = None,
        net_arch: list[int] | dict[str, list[int]] | None = None,
        **kwargs: Any,
    ) -> None:
        _refuse(kwargs)
        agent_kwargs, critic = _widths(agent_kwargs, net_arch)
        self.agent, self.agent_kwargs = agent, agent_kwargs
        self.critic_arch = [256, 256] if critic is None else critic
        self.controller_spec = controller_spec(
            agent, observation_space, action_space, algo=self.algo, overrides=agent_kwargs
        )
        super().__init__(  # type: ignore[call-arg]  # SB3's policy, next in line
            observation_space,
            action_space,
            lr_schedule,
            net_arch={"pi": [], "qf": self.critic_arch},
            features_extractor_class=NormaliserExtractor,
            features_extractor_kwargs=_extractor_kwargs(self.controller_spec),
            share_features_extractor=True,
            **kwargs,
        )

    def _get_constructor_parameters(self) -> dict[str, Any]:
        inherited = super()._get_constructor_parameters()  # type: ignore[misc]  # as above
        return _own_arguments(inherited, self.agent, self.agent_kwargs, self.critic_arch)

    def head(self) -> Head:
        """Return the actor's network."""
        head = self.actor.mu
        assert isinstance(head, Head)
        return head

    def normaliser(self) -> Normaliser:
        """Return the normaliser that actor and critic share."""
        normaliser = self.actor.features_extractor.normaliser
        assert isinstance(normaliser, Normaliser)
        return normaliser

    def predict(
        self,
        observation: Any,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Return actions as SB3's own method does."""
        with self._collecting() if episode_start is None else contextlib.nullcontext():
            return super().predict(observation, state, episode_start, deterministic)  # type: ignore[misc,no-any-return]  # as above


class SpikingSACActor(SACActor):
    """SAC's actor with a spiking mean and an MLP for the log standard deviation (as PopSAN's authors do)."""

    def __init__(self, *args: Any, controller_spec: ControllerSpec, log_std_arch: list[int], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        actions = controller_spec.network.outputs
        self.mu = Head(controller_spec, "raw")
        self.log_std = nn.Sequential(*create_mlp(self.features_dim, actions, log_std_arch, self.activation_fn))  # type: ignore[assignment]  # SB3 types it as a Linear


class SpikingTD3Actor(TD3Actor):
    """TD3's and DDPG's actor with a spiking network."""

    def __init__(self, *args: Any, controller_spec: ControllerSpec, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.mu = Head(controller_spec, "unit")  # type: ignore[assignment]  # SB3 types it as a Sequential


class SpikingSACPolicy(_OffPolicyMixin, SACPolicy):
    """For SAC. ``net_arch`` are the hidden widths of the critics and of the log standard deviation's MLP, or SB3's
    ``{"pi": [...], "qf": [...]}``.

    Raises:
        UsageError: unknown preset or field, unsuited spaces, or a refused argument.
    """

    algo = "sac"

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> SpikingSACActor:
        """Build the actor."""
        kwargs = self._update_features_extractor(self.actor_kwargs, features_extractor)
        actor = SpikingSACActor(controller_spec=self.controller_spec, log_std_arch=self.critic_arch, **kwargs)
        return actor.to(self.device)


class SpikingTD3Policy(_OffPolicyMixin, TD3Policy):
    """For TD3 and DDPG. ``net_arch`` are the hidden widths of the critics, or SB3's ``{"pi": [...], "qf": [...]}``.

    Raises:
        UsageError: unknown preset or field, unsuited spaces, or a refused argument.
    """

    algo = "td3"

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> SpikingTD3Actor:
        """Build the actor."""
        kwargs = self._update_features_extractor(self.actor_kwargs, features_extractor)
        return SpikingTD3Actor(controller_spec=self.controller_spec, **kwargs).to(self.device)


def _extractor_kwargs(spec: ControllerSpec) -> dict[str, Any]:
    return {"clip": spec.clip, "normalise": spec.normalise}


def _widths(agent_kwargs: dict[str, Any] | None, net_arch: Any) -> tuple[dict[str, Any] | None, Widths]:
    """Return the network's fields with the actor's widths among them, and the critic's widths."""
    actor, critic = split_net_arch(net_arch, shared=False, where="policy_kwargs")
    return agent_kwargs if actor is None else {"hidden": actor, **(agent_kwargs or {})}, critic


def _refuse(kwargs: dict[str, Any]) -> None:
    """Refuse what cannot be; nothing in the normaliser is trained, so that sharing it or not is the same."""
    kwargs.pop("share_features_extractor", None)
    for name, reason in _FIXED.items():
        if kwargs.pop(name, None):
            raise UsageError(f"policy_kwargs: {name} cannot be set: {reason}; leave it out")


def _own_arguments(
    inherited: dict[str, Any], agent: str, agent_kwargs: dict[str, Any] | None, net_arch: Any
) -> dict[str, Any]:
    """Return what `BasePolicy.save` needs to build one of our policies again, from what SB3's own would need."""
    kept = {name: value for name, value in inherited.items() if name not in _OWN}
    return kept | {"agent": agent, "agent_kwargs": agent_kwargs, "net_arch": net_arch}
