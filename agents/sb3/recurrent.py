"""A spiking actor whose membranes pass from decision to decision, for sb3-contrib's RecurrentPPO.

RecurrentPPO keeps the states of two LSTMs for every environment, splits rollouts at episode starts and minibatches, and
propagates gradients through each piece (truncated back-propagation through time). Here a spiking network takes the
place of the actor's LSTM; the value function keeps its own. Usable by dotted path::

    RecurrentPPO(homeo_rl.agents.SpikingRecurrentPolicy, env, policy_kwargs={"agent": "popsan"})
"""

from typing import Any

import gymnasium as gym
import numpy as np
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from homeo_rl.agents.online_adaptation import OnlineAdaptation
from homeo_rl.agents.sb3.dense import QuickModes, compact
from homeo_rl.agents.sb3.policies import Head, SpikingPolicyMixin, fuse_optimiser, normalising
from homeo_rl.agents.sb3.spaces import feature_space
from homeo_rl.agents.sb3.stateful_head import StatefulHead, widen
from homeo_rl.errors import UsageError
from homeo_rl.homeostasis.protocol import Homeostasis
from homeo_rl.spec import ControllerSpec

States = tuple[Tensor, Tensor]


class SpikingRecurrentPolicy(QuickModes, SpikingPolicyMixin, RecurrentActorCriticPolicy):
    """For RecurrentPPO: a spiking actor with state, and a value function with an LSTM of ``lstm_hidden_size`` cells.

    Args:
        observation_space: as for `homeo_rl.agents.SpikingActorCriticPolicy`; so are the arguments that follow.
        lstm_hidden_size: cells of the value function's LSTM.
        kwargs: the remaining arguments of SB3's ActorCriticPolicy.

    Raises:
        UsageError: unknown preset or field, unsuited spaces, neurons without state, or ``use_sde``.
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
        lstm_hidden_size: int = 64,
        spec: ControllerSpec | None = None,
        **kwargs: Any,
    ) -> None:
        if kwargs.get("use_sde"):
            raise UsageError("recurrent_ppo: expected Gaussian exploration, got use_sde; leave it out")
        spaces = observation_space, action_space
        critic = self._specify(spaces, "recurrent_ppo", agent, agent_kwargs, net_arch, spec, kwargs)
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            net_arch={"pi": [], "vf": [64, 64] if critic is None else critic},
            log_std_init=log_std_init,
            lstm_hidden_size=lstm_hidden_size,
            **fuse_optimiser(kwargs, eps=1e-5),
            **(self.extractor or normalising(self.controller_spec)),
            **kwargs,
        )
        if self.extractor:
            self.controller_spec = self._spec_for(feature_space(self.features_dim))
        self.mlp_extractor.value_net = compact(self.mlp_extractor.value_net)
        output = "raw" if self.controller_spec.discrete else "action"
        actor = StatefulHead(self.controller_spec, output, lstm_hidden_size)
        self.lstm_actor = actor  # type: ignore[assignment]  # sb3-contrib asks it for two sizes, and passes it on
        self.action_net = nn.Identity()
        self.lstm_hidden_state_shape = (1, 1, actor.hidden_size)
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]  # SB3 types the class as a bare Optimizer

    def _get_constructor_parameters(self) -> dict[str, Any]:
        arch = self.net_arch["vf"] if isinstance(self.net_arch, dict) else self.net_arch
        more = {"log_std_init": self.log_std_init, "lstm_hidden_size": self.lstm_output_dim}
        return self._arguments(super()._get_constructor_parameters(), arch) | more

    def head(self) -> Head:
        """Return the actor's network."""
        head: Any = self.lstm_actor
        assert isinstance(head, Head)
        return head

    def actor_features_extractor(self) -> BaseFeaturesExtractor:
        """Return the shared features extractor."""
        return self.features_extractor

    def adapt_online(self, plugin: Homeostasis, *, window: int = 1000) -> OnlineAdaptation:
        """Refuse: what adapts while rollouts are collected has no part in the sequences of an update."""
        raise UsageError("recurrent_ppo: expected no --homeostasis-in-training; use ppo, or dwam in evaluate")

    @staticmethod
    def _process_sequence(
        features: Tensor, lstm_states: States, episode_starts: Tensor, lstm: Any
    ) -> tuple[Tensor, Any]:
        """Run the actor or the value function's LSTM; both keep their states in rows of one width."""
        if isinstance(lstm, StatefulHead):
            y, state = lstm.run(features, lstm_states[0], episode_starts)
            return y, (state, lstm_states[1])
        width, size = lstm_states[0].shape[-1], lstm.hidden_size
        narrow = (lstm_states[0][..., :size].contiguous(), lstm_states[1][..., :size].contiguous())
        y, (hidden, cell) = RecurrentActorCriticPolicy._process_sequence(features, narrow, episode_starts, lstm)
        return y, (widen(hidden, width), widen(cell, width))

    def predict(
        self,
        observation: Any,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Return actions and the state after; without a state before, every row starts an episode."""
        if state is None and episode_start is None:
            rows = self.obs_to_tensor(observation)[0]
            first = next(iter(rows.values())) if isinstance(rows, dict) else rows
            episode_start = np.ones(len(first), dtype=bool)
        return super().predict(observation, state, episode_start, deterministic)
