"""TD3 and SAC with a spiking actor whose membranes pass from decision to decision.

The replay buffer gives windows: an observation and those before it in its episode. In an update the actor makes all
decisions of a window from resting membranes, and the last of them counts (truncated back-propagation through time). The
critics, which are not deployed, take the window as one row. While rollouts are collected the membranes pass on.

Shapes: B rows, W decisions of a window, the newest first, D observation entries, H numbers of a state.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, create_mlp
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch import Tensor

from homeo_rl.agents.online_adaptation import OnlineAdaptation
from homeo_rl.agents.sb3 import algorithms
from homeo_rl.agents.sb3.dense import DenseNetwork
from homeo_rl.agents.sb3.policies import (
    NormaliserExtractor,
    SpikingSACActor,
    SpikingSACPolicy,
    SpikingTD3Actor,
    SpikingTD3Policy,
    normalising,
)
from homeo_rl.agents.sb3.spaces import is_row
from homeo_rl.agents.sb3.stateful_head import StatefulHead
from homeo_rl.errors import UsageError
from homeo_rl.homeostasis.protocol import Homeostasis
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.spec import ControllerSpec

WINDOW = 16
"""Decisions through which gradients pass, where the policy is given no other number. Windows begin at rest, so
what membranes remember for longer differs between updates and rollouts."""


class WindowReplayBuffer(ReplayBuffer):
    """SB3's ring whose samples hold windows [B, W, D + 1]; the last column is 1 where the episode had begun."""

    window: int = WINDOW

    def _get_samples(self, batch_inds: np.ndarray, env: Any = None) -> ReplayBufferSamples:
        if self.optimize_memory_usage:
            raise UsageError("recurrent policies: expected optimize_memory_usage false, got true")
        rows = np.random.randint(0, high=self.n_envs, size=len(batch_inds))  # noqa: NPY002  # SB3 draws them so
        back = batch_inds[:, None] - np.arange(self.window)
        oldest = self.pos if self.full else 0
        held = (back - oldest) % self.buffer_size <= (batch_inds[:, None] - oldest) % self.buffer_size
        slots, columns = back % self.buffer_size, rows[:, None]
        ended = self.dones[slots, columns] > 0
        ended[:, 0] = False  # what ends with the newest decision had begun before it
        known = held & ~np.logical_or.accumulate(ended, 1)
        seen = np.where(known[..., None], self._rows(self.observations[slots, columns], env), 0)
        new = self._rows(self.next_observations[batch_inds, rows], env)
        after = np.concatenate([new[:, None], seen[:, :-1]], 1)
        follows = np.concatenate([np.ones((len(rows), 1), bool), known[:, :-1]], 1)
        terminal = self.dones[batch_inds, rows] * (1 - self.timeouts[batch_inds, rows])
        parts = (
            np.concatenate([seen, known[..., None]], 2, dtype=np.float32),
            self.actions[batch_inds, rows],
            np.concatenate([after, follows[..., None]], 2, dtype=np.float32),
            terminal.reshape(-1, 1),
            self._normalize_reward(self.rewards[batch_inds, rows].reshape(-1, 1), env),
        )
        return ReplayBufferSamples(*map(self.to_torch, parts))

    def _rows(self, observations: np.ndarray, env: Any) -> np.ndarray:
        rows = self._normalize_obs(observations, env)
        assert isinstance(rows, np.ndarray)
        return rows


class WindowExtractor(NormaliserExtractor):
    """The normaliser for observations [B, D], as in a rollout, and for windows [B, W, D + 1], which become rows."""

    def __init__(self, observation_space: gym.Space[Any], window: int, **kwargs: Any) -> None:
        super().__init__(observation_space, **kwargs)
        self._features_dim = window * (self.inputs + 1)

    def forward(self, observations: Tensor) -> Tensor:
        """Normalise; rows before an episode's begin stay 0."""
        if observations.dim() != 3:
            return super().forward(observations)
        known = observations[..., -1:]
        rows = super().forward(observations[..., :-1].flatten(0, 1)).view_as(observations[..., :-1])
        return torch.cat([rows * known, known], 2).flatten(1)


class WindowHead(StatefulHead):
    """The actor: one decision from a state in a rollout, the decisions of windows from rest in an update."""

    window: Tensor

    def __init__(self, spec: ControllerSpec, output: str, least: int = 0, *, window: int) -> None:
        super().__init__(spec, output, least)
        self.register_buffer("window", torch.tensor(window))  # by which a zip's policy is known to be recurrent
        self.before: tuple[Tensor, Tensor] | None = None  # state and episode starts of the decision that is made
        self.after: Tensor | None = None

    def forward(self, features: Tensor) -> Tensor:
        """Map normalised observations [B, D] or windows [B, W * (D + 1)] to outputs [B, K]."""
        network = self.network
        assert isinstance(network, SpikingNetwork)
        size = network.spec.inputs
        if features.shape[1] == size:
            state, starts = self.before or self.resting(len(features))
            y, self.after = self.run(features, state, starts)
            return y
        windows = features.view(len(features), -1, size + 1)
        lengths = windows[..., -1].sum(1, keepdim=True).long()
        # In time, with what the episode lacks at the end: the network is causal, so that it changes nothing.
        order = (lengths - 1 - torch.arange(windows.shape[1], device=lengths.device)).clamp_(min=0)
        rows = windows.gather(1, order.unsqueeze(2).expand(-1, -1, size))
        rest, starts = self.resting(len(rows))
        y, _ = network.sequence(rows, self.unpack(rest[0], starts[:, None] != 0))
        return self.squash(y[torch.arange(len(y), device=y.device), lengths[:, 0] - 1])

    def resting(self, count: int) -> tuple[Tensor, Tensor]:
        """Return a state [1, B, H] and the episode starts [B] that say that it is not used."""
        device = self.window.device
        return torch.zeros(1, count, self.hidden_size, device=device), torch.ones(count, device=device)


class _NewestRow(DenseNetwork):
    """Layers that take the newest observation of a window."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input[:, : self._linears[0].in_features])


class SpikingRecurrentTD3Actor(SpikingTD3Actor):
    """TD3's actor with state."""

    def __init__(self, *args: Any, controller_spec: ControllerSpec, window: int, **kwargs: Any) -> None:
        super().__init__(*args, controller_spec=controller_spec, **kwargs)
        self._constructor_arguments["window"] = window
        self.mu = WindowHead(controller_spec, "unit", window=window)  # type: ignore[assignment]  # SB3 types it as a Sequential


class SpikingRecurrentSACActor(SpikingSACActor):
    """SAC's actor with state; the log standard deviation depends on the newest observation alone."""

    def __init__(
        self, *args: Any, controller_spec: ControllerSpec, log_std_arch: list[int], window: int, **kwargs: Any
    ) -> None:
        super().__init__(*args, controller_spec=controller_spec, log_std_arch=log_std_arch, **kwargs)
        self._constructor_arguments["window"] = window
        self.mu = WindowHead(controller_spec, "raw", window=window)
        sizes = controller_spec.network
        layers = create_mlp(sizes.inputs, sizes.outputs, log_std_arch, self.activation_fn)
        self.log_std = _NewestRow(*layers)  # type: ignore[assignment]  # SB3 types it as a Linear


class _RecurrentMixin:
    """What both policies add: ``window``, the decisions through which gradients pass, and a state in `predict`."""

    head: Callable[[], Any]
    algo: ClassVar[str]

    def __init__(self, observation_space: gym.Space[Any], *args: Any, window: int = WINDOW, **kwargs: Any) -> None:
        if kwargs.get("use_sde") or kwargs.get("features_extractor_class") is not None:
            raise UsageError(f"{self.algo}: expected neither use_sde nor a features extractor; leave them out")
        if window < 1:
            raise UsageError(f"{self.algo}: window: expected at least 1 decision, got {window}")
        if not is_row(observation_space):
            raise UsageError(f"{self.algo}: expected observations in one row, got {observation_space}; flatten them")
        self.window = window
        super().__init__(observation_space, *args, **kwargs)  # type: ignore[call-arg]  # the policy, next in line

    def _normalising(self, spec: ControllerSpec) -> dict[str, Any]:
        arguments = normalising(spec)
        arguments["features_extractor_class"] = WindowExtractor
        arguments["features_extractor_kwargs"] |= {"window": self.window}
        return arguments

    def _actor_arguments(self, features_extractor: BaseFeaturesExtractor | None) -> dict[str, Any]:
        return super()._actor_arguments(features_extractor) | {"window": self.window}  # type: ignore[misc,no-any-return]  # the policy, next in line

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return super()._get_constructor_parameters() | {"window": self.window}  # type: ignore[misc,no-any-return]  # as above

    def adapt_online(self, plugin: Homeostasis, *, window: int = 1000) -> OnlineAdaptation:
        """Refuse: what adapts while rollouts are collected has no part in the windows of an update."""
        raise UsageError(f"{self.algo}: expected no --homeostasis-in-training; use td3 or sac, or dwam in evaluate")

    def predict(
        self,
        observation: Any,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Return actions and the state after, ([1, B, H],); without a state before, every row starts an episode."""
        head = self.head()
        head.before = None
        if state is not None:
            starts = np.zeros(state[0].shape[1]) if episode_start is None else episode_start
            device = head.window.device
            head.before = torch.as_tensor(state[0], device=device), torch.as_tensor(starts, device=device)
        actions, _ = super().predict(observation, None, episode_start, deterministic)  # type: ignore[misc]  # as above
        head.before = None
        return actions, (head.after.cpu().numpy(),)


class SpikingRecurrentTD3Policy(_RecurrentMixin, SpikingTD3Policy):
    """For `RecurrentTD3`; arguments are those of `homeo_rl.agents.SpikingTD3Policy`, and ``window``.

    Raises:
        UsageError: neurons without state, ``use_sde``, or what that policy refuses.
    """

    algo = "recurrent_td3"

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> SpikingRecurrentTD3Actor:
        """Build the actor."""
        return SpikingRecurrentTD3Actor(**self._actor_arguments(features_extractor)).to(self.device)


class SpikingRecurrentSACPolicy(_RecurrentMixin, SpikingSACPolicy):
    """For `RecurrentSAC`; arguments are those of `homeo_rl.agents.SpikingSACPolicy`, and ``window``.

    Raises:
        UsageError: neurons without state, ``use_sde``, or what that policy refuses.
    """

    algo = "recurrent_sac"

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> SpikingRecurrentSACActor:
        """Build the actor."""
        kwargs = self._actor_arguments(features_extractor)
        return SpikingRecurrentSACActor(log_std_arch=self.critic_arch, **kwargs).to(self.device)


class _Rollouts:
    """Rollouts that pass membranes on. Actions that are drawn at random before the first update move none."""

    _last_episode_starts: np.ndarray | None
    replay_buffer_class: type[ReplayBuffer] | None

    def _setup_model(self: Any) -> None:
        self.replay_buffer_class = WindowReplayBuffer
        super()._setup_model()  # type: ignore[misc]  # SB3's class, next in line
        self.replay_buffer.window = self.policy.window
        state, _ = self.policy.head().resting(self.n_envs)
        self._last_lstm_states = ((state.cpu(),),)  # under sb3-contrib's name, which checkpoints know

    def predict(
        self: Any, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> Any:
        """Return actions and the state after, as the policy does."""
        if observation is not self._last_obs:
            return self.policy.predict(observation, state, episode_start, deterministic)
        kept = self._last_lstm_states[0][0]
        actions, (after,) = self.policy.predict(observation, (kept.numpy(),), self._last_episode_starts, deterministic)
        kept.copy_(torch.as_tensor(after))
        self._last_episode_starts = np.zeros(self.n_envs, dtype=bool)
        return actions, (after,)

    def _store_transition(
        self: Any, replay_buffer: Any, buffer_action: Any, new_obs: Any, reward: Any, dones: Any, infos: Any
    ) -> None:
        super()._store_transition(replay_buffer, buffer_action, new_obs, reward, dones, infos)  # type: ignore[misc]  # as above
        self._last_episode_starts = self._last_episode_starts | dones

    def _excluded_save_params(self) -> list[str]:  # words: keep
        return [*super()._excluded_save_params(), "_last_lstm_states"]  # type: ignore[misc]  # as above


class RecurrentTD3(_Rollouts, algorithms.TD3):
    """TD3 for `SpikingRecurrentTD3Policy`; arguments and results are SB3's."""


class RecurrentSAC(_Rollouts, algorithms.SAC):
    """SAC for `SpikingRecurrentSACPolicy`; arguments and results are SB3's."""
