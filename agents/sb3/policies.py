"""Stable-Baselines3 policies with a spiking actor, an MLP critic and the observation normaliser inside.

Usable by dotted path in any SB3 program or rl-zoo file::

    PPO("...", policy=homeo_rl.agents.SpikingActorCriticPolicy, policy_kwargs={"agent": "popsan"})

``agent`` is a preset of `homeo_rl.agents.presets` (``mlp`` is the control arm with the same critic and normaliser) and
``agent_kwargs`` replaces fields of its network; both are plain data. Membrane potentials live inside one decision,
because SB3 does not tell a policy in training when an episode ends. `homeo_rl.agents.sb3.algorithms` has SB3's SAC,
TD3 and DDPG with faster gradient steps for these policies.
"""

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.preprocessing import get_flattened_obs_dim, preprocess_obs
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, create_mlp
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.sac.policies import Actor as SACActor
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import Actor as TD3Actor
from stable_baselines3.td3.policies import TD3Policy
from torch import Tensor, nn

from homeo_rl.agents.controller import Controller, Normaliser, PolicyNetwork, Squasher, build_network
from homeo_rl.agents.online_adaptation import OnlineAdaptation
from homeo_rl.agents.presets import controller_spec
from homeo_rl.agents.sb3 import gaussians
from homeo_rl.agents.sb3.adam import Adam
from homeo_rl.agents.sb3.dense import QuickModes, TwinCritic, compact
from homeo_rl.agents.sb3.net_arch import Widths, resolve_widths
from homeo_rl.agents.sb3.spaces import action_output_space, feature_space, flat_observation_space, is_row
from homeo_rl.errors import UsageError
from homeo_rl.homeostasis.protocol import Homeostasis
from homeo_rl.numerics.arrays import require_numbers
from homeo_rl.snn.inputs import rows_of
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.spec import ControllerSpec

_EXTRACTOR = ("features_extractor_class", "features_extractor_kwargs", "share_features_extractor")
"""Arguments of SB3's policies that a policy with a normaliser fills itself."""


class NormaliserExtractor(BaseFeaturesExtractor):
    """The observation normaliser where SB3 expects a features extractor."""

    def __init__(self, observation_space: gym.Space[Any], clip: float = 3.0, normalise: bool = True) -> None:
        super().__init__(observation_space, get_flattened_obs_dim(observation_space))
        self.inputs = self.features_dim
        self.normaliser = Normaliser(self.inputs, clip, active=normalise)

    def forward(self, observations: Tensor) -> Tensor:
        """Normalise preprocessed observations [B, ...], flat.

        Raises:
            InputError: another shape.
            NonFiniteInput: an observation is not finite; a clipped infinity would look like any other.
        """
        rows, _ = rows_of(observations.flatten(1), self.inputs, torch.zeros(()))
        result: Tensor = self.normaliser(rows)
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
        self.adapting = False

    def forward(self, features: Tensor) -> Tensor:
        """Map features [B, D] to [B, K]; only a policy that is collecting a rollout adapts."""
        if self.adapting and self.online is not None:
            y = self.online.decide(features)
        elif self.online is not None and self.online.within_decision:
            y, _ = self.network(features, self.online.initial_state(len(features)))
        else:
            y, _ = self.network(features)
        return self.squash(y)

    def adopt(self, weights: dict[str, Tensor]) -> None:
        """Take the weights of a deployed network."""
        self.network.load_state_dict(weights)

    def squash(self, y: Tensor) -> Tensor:
        """Return outputs [B, K] of the network as ``output`` says."""
        if self.output == "action":
            y = self.squasher(y)
        elif self.output == "unit":
            y = self.squasher.unit(y)
        return y


class SpikingPolicyMixin:
    """What the three policies have in common.

    ``extractor`` holds the arguments of a features extractor that takes the observation normaliser's place, if any.
    """

    controller_spec: ControllerSpec
    agent: str
    agent_kwargs: dict[str, Any] | None
    extractor: dict[str, Any]
    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]

    def head(self) -> Head:
        """Return the actor's network with its squashing; each policy says where SB3 keeps it."""
        raise NotImplementedError

    def actor_features_extractor(self) -> BaseFeaturesExtractor:
        """Return the actor's features extractor; each policy says where SB3 keeps it."""
        raise NotImplementedError

    def normaliser(self) -> Normaliser:
        """Return the observation normaliser of actor and critic.

        Raises:
            UsageError: the policy has a features extractor of its own.
        """
        extractor = self.actor_features_extractor()
        if not isinstance(extractor, NormaliserExtractor):
            raise UsageError(
                f"this policy sees through {type(extractor).__name__} and has no normaliser; without "
                "features_extractor_class it has one"
            )
        return extractor.normaliser

    def obs_to_tensor(self, observation: Any) -> tuple[Any, bool]:
        """Return what `predict` is given as SB3 does, which checks shapes, where it holds numbers.

        Raises:
            InputError: it holds something else.
        """
        for name, part in observation.items() if isinstance(observation, dict) else [("", observation)]:
            require_numbers(part, f"observation {name}".strip())
        return super().obs_to_tensor(observation)  # type: ignore[misc,no-any-return]  # SB3's policy, next in line

    def observe(self, observations: Tensor) -> None:
        """Move the normaliser's statistics by observations [M, ...] as the environment gives them."""
        if not is_row(self.observation_space):
            preprocessed = preprocess_obs(observations, self.observation_space)
            assert isinstance(preprocessed, Tensor)
            observations = preprocessed.flatten(1)
        self.normaliser().update(observations)

    def controller(self) -> Controller:
        """Return a copy of the deterministic policy, ready to be saved or to act; no generator moves.

        It takes observations as SB3 preprocesses them, flat, and gives actions flat.

        Raises:
            UsageError: the policy has a features extractor of its own, or chooses several things at once.
        """
        normaliser = self.normaliser()
        if isinstance(self.action_space, gym.spaces.MultiDiscrete | gym.spaces.MultiBinary):
            raise UsageError(f"controller: expected a Box or a Discrete action, got {self.action_space}")
        with torch.random.fork_rng(devices=[]):  # building a network draws weights, which are replaced at once
            controller = Controller(self.controller_spec)
        controller.normaliser.load_state_dict(normaliser.state_dict())
        controller.network.load_state_dict(self.head().network.state_dict())
        return controller.eval().requires_grad_(False)

    def _specify(
        self,
        spaces: tuple[gym.Space[Any], gym.Space[Any]],
        algo: str,
        agent: str,
        agent_kwargs: dict[str, Any] | None,
        net_arch: Any,
        spec: ControllerSpec | None,
        kwargs: dict[str, Any],
    ) -> Widths:
        """Settle which actor is built, and take a features extractor out of ``kwargs``; return the critic's widths."""
        self.agent = agent
        self.agent_kwargs, critic = resolve_widths(agent_kwargs, net_arch)
        self.extractor = _own_extractor(kwargs, spaces[0])
        action_space = action_output_space(spaces[1])
        self._spec_for = partial(
            controller_spec, agent, action_space=action_space, algo=algo, overrides=self.agent_kwargs
        )
        if not self.extractor:  # with one, the number of its features is known later
            self.controller_spec = self._spec_for(flat_observation_space(spaces[0]))
        if spec is not None and (self.extractor or spec != self.controller_spec):
            raise UsageError(
                f"agent {agent}: expected the controller that the run's specification describes, these spaces make "
                "another; train where observations and actions are those of the plain environment"
            )
        return critic

    def _arguments(self, inherited: dict[str, Any], net_arch: Any) -> dict[str, Any]:
        """Return what `BasePolicy.save` needs to build the policy again, from what SB3's own would need."""
        inherited_kept = {name: value for name, value in inherited.items() if name not in _EXTRACTOR}
        ours = {"agent": self.agent, "agent_kwargs": self.agent_kwargs, "net_arch": net_arch}
        return inherited_kept | ours | self.extractor

    def adapt_online(self, plugin: Homeostasis, *, window: int = 1000) -> OnlineAdaptation:
        """Let ``plugin`` adapt while rollouts are collected (see `homeo_rl.agents.online_adaptation`).

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
    def _adapting(self) -> Iterator[None]:
        head = self.head()
        head.adapting = True
        try:
            yield
        finally:
            head.adapting = False


def policy_of(model: BaseAlgorithm) -> SpikingPolicyMixin:
    """Return the policy of an algorithm that was built with one of these."""
    policy = model.policy
    assert isinstance(policy, SpikingPolicyMixin)
    return policy


class SpikingActorCriticPolicy(QuickModes, SpikingPolicyMixin, ActorCriticPolicy):
    """For PPO and A2C: spiking mean (or logits), a state-free log standard deviation, an MLP value function.

    Args:
        observation_space: Box, Discrete, MultiDiscrete or MultiBinary; a Dict goes through SB3's CombinedExtractor.
        action_space: a Box with finite bounds, Discrete, MultiDiscrete or MultiBinary.
        agent_kwargs: network fields that replace the preset's.
        net_arch: hidden widths of the value function, or SB3's ``{"pi": [...], "vf": [...]}``.
        log_std_init: start of the log standard deviation, in units of the action.
        spec: what the actor has to be, where it is already written down; the other arguments must give the same.
        kwargs: SB3's remaining arguments. A ``features_extractor_class`` takes the normaliser's place, and the policy
            is then one for SB3 alone: it has no `controller`. With ``use_sde`` the noise depends on the features.

    Raises:
        UsageError: unknown preset or field, or unsuited spaces.
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
        spec: ControllerSpec | None = None,
        **kwargs: Any,
    ) -> None:
        # SB3 squashes what gSDE has added its noise to by tanh, as SAC does.
        algo = "sac" if kwargs.get("squash_output") else "ppo"
        critic = self._specify((observation_space, action_space), algo, agent, agent_kwargs, net_arch, spec, kwargs)
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            net_arch={"pi": [], "vf": [64, 64] if critic is None else critic},
            log_std_init=log_std_init,
            **fuse_optimiser(kwargs, eps=1e-5),
            **(self.extractor or normalising(self.controller_spec)),
            **kwargs,
        )

    def _build(self, lr_schedule: Schedule) -> None:
        if self.extractor:
            self.controller_spec = self._spec_for(feature_space(self.features_dim))
        super()._build(lr_schedule)
        self.mlp_extractor.value_net = compact(self.mlp_extractor.value_net)
        raw = self.controller_spec.discrete or self.squash_output
        self.action_net = Head(self.controller_spec, "raw" if raw else "action")
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]  # SB3 types the class as a bare Optimizer

    def _get_constructor_parameters(self) -> dict[str, Any]:
        arch = self.net_arch["vf"] if isinstance(self.net_arch, dict) else self.net_arch
        return self._arguments(super()._get_constructor_parameters(), arch) | {"log_std_init": self.log_std_init}

    def head(self) -> Head:
        """Return the actor's network."""
        assert isinstance(self.action_net, Head)
        return self.action_net

    def actor_features_extractor(self) -> BaseFeaturesExtractor:
        """Return the shared features extractor."""
        return self.features_extractor

    def forward(self, obs: Any, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Choose actions for a rollout; SB3 calls this there and nowhere else."""
        with self._adapting():
            if torch.is_grad_enabled() or not self._is_gaussian:
                return super().forward(obs, deterministic)
            features, values = self._value(obs)
            actions, log_probability = gaussians.draw(self.action_net(features), self.log_std, deterministic)
            return actions.reshape(-1, *self.action_space.shape), values, log_probability  # type: ignore[misc]  # a Box has a shape

    def evaluate_actions(self, obs: Any, actions: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return values [B, 1], log probabilities [B] and entropies [B] of ``actions``."""
        if not self._is_gaussian:
            return super().evaluate_actions(obs, actions)
        features, values = self._value(obs)
        return values, *gaussians.evaluate(self.action_net(features), self.log_std, actions.flatten(1))

    @property
    def _is_gaussian(self) -> bool:
        """Whether actions are drawn around the network's output and nothing is between observation and network."""
        return type(self.action_dist) is DiagGaussianDistribution and isinstance(
            self.features_extractor, NormaliserExtractor
        )

    def _value(self, obs: Any) -> tuple[Tensor, Tensor]:
        features = self.extract_features(obs)
        assert isinstance(features, Tensor)
        return features, self.value_net(self.mlp_extractor.value_net(features))


class OffPolicyMixin(SpikingPolicyMixin):
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
        spec: ControllerSpec | None = None,
        **kwargs: Any,
    ) -> None:
        spaces = observation_space, action_space
        critic = self._specify(spaces, self.algo, agent, agent_kwargs, net_arch, spec, kwargs)
        self.critic_arch = [256, 256] if critic is None else critic
        super().__init__(  # type: ignore[call-arg]  # SB3's policy, next in line
            observation_space,
            action_space,
            lr_schedule,
            net_arch={"pi": [], "qf": self.critic_arch},
            **fuse_optimiser(kwargs),
            **(self.extractor or self._normalising(self.controller_spec)),
            **kwargs,
        )

    def _normalising(self, spec: ControllerSpec) -> dict[str, Any]:
        return normalising(spec)

    def _actor_arguments(self, features_extractor: BaseFeaturesExtractor | None) -> dict[str, Any]:
        kwargs: dict[str, Any] = self._update_features_extractor(self.actor_kwargs, features_extractor)  # type: ignore[attr-defined]  # SB3's
        if self.extractor:
            self.controller_spec = self._spec_for(feature_space(kwargs["features_dim"]))
        return kwargs | {"controller_spec": self.controller_spec}

    def _get_constructor_parameters(self) -> dict[str, Any]:
        inherited = super()._get_constructor_parameters()  # type: ignore[misc]  # as above
        return self._arguments(inherited, self.critic_arch)

    def head(self) -> Head:
        """Return the actor's network."""
        head = self.actor.mu
        assert isinstance(head, Head)
        return head

    def actor_features_extractor(self) -> BaseFeaturesExtractor:
        """Return the actor's features extractor."""
        extractor = self.actor.features_extractor
        assert isinstance(extractor, BaseFeaturesExtractor)
        return extractor

    def predict(
        self,
        observation: Any,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Choose actions as SB3 does; a rollout gives no ``episode_start``."""
        with self._adapting() if episode_start is None else contextlib.nullcontext():
            return super().predict(observation, state, episode_start, deterministic)  # type: ignore[misc,no-any-return]  # as above


class _QuickCriticsMixin(OffPolicyMixin):
    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> TwinCritic:
        """Build a critic."""
        kwargs = self._update_features_extractor(self.critic_kwargs, features_extractor)  # type: ignore[attr-defined]  # SB3's
        return TwinCritic(**kwargs).to(self.device)  # type: ignore[attr-defined]  # SB3's


class SpikingSACActor(QuickModes, SACActor):
    """SAC's actor with a spiking mean and an MLP for the log standard deviation (as PopSAN's authors do).

    With ``use_sde`` the deviation is SB3's parameter; the mean is not clipped, so that deterministic actions are the
    network's.
    """

    def __init__(self, *args: Any, controller_spec: ControllerSpec, log_std_arch: list[int], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._constructor_arguments = {"controller_spec": controller_spec, "log_std_arch": log_std_arch}
        actions = controller_spec.network.outputs
        self.mu = Head(controller_spec, "raw")
        if not self.use_sde:
            layers = create_mlp(self.features_dim, actions, log_std_arch, self.activation_fn)
            self.log_std = compact(nn.Sequential(*layers))  # type: ignore[assignment]  # SB3 types it as a Linear

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | self._constructor_arguments


class SpikingTD3Actor(QuickModes, TD3Actor):
    """TD3's and DDPG's actor with a spiking network."""

    def __init__(self, *args: Any, controller_spec: ControllerSpec, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._constructor_arguments: dict[str, Any] = {"controller_spec": controller_spec}
        self.mu = Head(controller_spec, "unit")  # type: ignore[assignment]  # SB3 types it as a Sequential

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | self._constructor_arguments


class SpikingSACPolicy(_QuickCriticsMixin, SACPolicy):
    """For SAC. ``net_arch`` are the hidden widths of the critics and of the log standard deviation's MLP, or SB3's
    ``{"pi": [...], "qf": [...]}``.

    Raises:
        UsageError: unknown preset or field, or unsuited spaces.
    """

    algo = "sac"

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> SpikingSACActor:
        """Build the actor."""
        kwargs = self._actor_arguments(features_extractor)
        return SpikingSACActor(log_std_arch=self.critic_arch, **kwargs).to(self.device)


class SpikingTD3Policy(_QuickCriticsMixin, TD3Policy):
    """For TD3 and DDPG. ``net_arch`` are the hidden widths of the critics, or SB3's ``{"pi": [...], "qf": [...]}``.

    Raises:
        UsageError: unknown preset or field, or unsuited spaces.
    """

    algo = "td3"

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> SpikingTD3Actor:
        """Build the actor."""
        return SpikingTD3Actor(**self._actor_arguments(features_extractor)).to(self.device)


def normalising(spec: ControllerSpec) -> dict[str, Any]:
    """Return the arguments that make the normaliser SB3's features extractor; nothing in it is trained."""
    values = NormaliserExtractor, {"clip": spec.clip, "normalise": spec.normalise}, True
    return dict(zip(_EXTRACTOR, values, strict=True))


def fuse_optimiser(kwargs: dict[str, Any], **defaults: float) -> dict[str, Any]:
    """Take the optimiser out of ``kwargs``; where it is SB3's own Adam, ours takes its place."""
    kind, arguments = kwargs.pop("optimizer_class", torch.optim.Adam), kwargs.pop("optimizer_kwargs", None)
    if kind not in (Adam, torch.optim.Adam):
        return {"optimizer_class": kind, "optimizer_kwargs": arguments}
    arguments = defaults if arguments is None else arguments
    return {"optimizer_class": Adam, "optimizer_kwargs": {"fused": True, **arguments}}


def _own_extractor(kwargs: dict[str, Any], observation_space: gym.Space[Any]) -> dict[str, Any]:
    """Take a features extractor out of the arguments; empty where the normaliser is to be it."""
    arguments = {name: kwargs.pop(name) for name in _EXTRACTOR if name in kwargs}
    if arguments.get("features_extractor_class") is not None:
        return arguments
    return {"features_extractor_class": CombinedExtractor} if isinstance(observation_space, gym.spaces.Dict) else {}
