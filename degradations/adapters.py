"""Fault models between a policy and batches of environments: Gymnasium's, and those of tensors (rsl-rl, mjlab).

That of Stable-Baselines3 is `homeo_rl.training.faulty_vec_env`. Any other loop calls `FaultModel.observe`, `act` and
`reset` itself.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper

from homeo_rl.degradations.fault_model import FaultModel
from homeo_rl.degradations.protocol import Degradation
from homeo_rl.errors import UsageError


def make_fault_model(
    envs: VectorEnv[Any, Any, Any], faults: Sequence[Degradation | Mapping[str, Any]], **options: Any
) -> FaultModel:
    """Return a model with the number, the bounds and the joints of Gymnasium's environments.

    Raises:
        UsageError: an observation or an action is no vector, or a fault does not suit.
    """
    spaces = envs.single_observation_space, envs.single_action_space
    for space, what in zip(spaces, ("observations", "actions"), strict=True):
        if len(space.shape or ()) > 1 or not isinstance(space, gym.spaces.Box | gym.spaces.Discrete):
            raise UsageError(f"{what}: expected a one-dimensional Box or Discrete, got {space}; flatten them")
    bounds = [(space.low, space.high) if isinstance(space, gym.spaces.Box) else None for space in spaces]
    try:
        structure = envs.get_attr("observation_structure")[0]  # type: ignore[attr-defined]  # of Sync and Async
    except AttributeError:
        structure = {}
    joints = {}
    if isinstance(structure, Mapping):
        ends = [int(structure.get(group, 0)) for group in ("qpos", "qvel")]
        joints = {"qpos": range(ends[0]), "qvel": range(ends[0], sum(ends))}
    places = {"observation_bounds": bounds[0], "action_bounds": bounds[1], "joints": joints}
    return FaultModel(faults, envs.num_envs, **{**places, **options})


class FaultyVectorEnv(VectorWrapper):
    """Gymnasium's batch of environments with faults, in each of its three modes of autoreset.

    ``reset(seed=s)`` seeds the faults of environment i with s + i, or with entry i of a list, as the environments.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], model: FaultModel) -> None:
        super().__init__(env)
        self.model = model
        self._over = np.zeros(env.num_envs, np.bool_)
        self._seen = np.zeros(0)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin new episodes, of the rows of ``options["reset_mask"]`` where it is given (they keep their seeds)."""
        mask = (options or {}).get("reset_mask")
        observations, info = self.env.reset(seed=seed, options=options)
        if mask is not None:
            rows = np.flatnonzero(mask)
            self.model.reset(rows)
            self._seen = self._seen.copy()
            self._seen[rows] = self.model.observe(observations[rows], rows)
            return self._seen, info
        known = seed is not None and (np.ndim(seed) == 0 or None not in seed)
        self.model.reset(seed=seed if known else None)
        self._over[:] = False
        self._seen = self.model.observe(observations)
        return self._seen, info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take a step: the actions pass the model, and so do the observations, final ones included."""
        mode = self.env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        observations, reward, terminated, truncated, info = self.env.step(self._execute(np.asarray(actions)))
        over = terminated | truncated
        if mode == AutoresetMode.SAME_STEP:
            final = observations.copy()
            for i in np.flatnonzero(over):
                final[i] = info["final_obs"][i]
            self._seen, final = self.model.observe_step(observations, over, final)
            for i in np.flatnonzero(over):
                info["final_obs"][i] = final[i]
        elif mode == AutoresetMode.NEXT_STEP:
            self._seen, _ = self.model.observe_step(observations, self._over)
            self._over = over
        else:
            self._seen = self.model.observe(observations)
        return self._seen, reward, terminated, truncated, info

    def _execute(self, actions: np.ndarray) -> np.ndarray:
        """Return the actions that are executed; those of environments that reset in this step are not used."""
        rows = actions.reshape(len(actions), -1)
        if self._over.any():
            acting, executed = np.flatnonzero(~self._over), rows.copy()
            executed[acting] = self.model.act(rows[acting], acting)
        else:
            executed = self.model.act(rows)
        return executed.reshape(actions.shape)


class FaultyTensorEnv:
    """Environments of tensors that reset themselves, as rsl-rl and mjlab step them, with faults.

    ``step(actions)`` of the environment returns observations, rewards, flags of the end (``dones``, or ``terminated``
    and ``truncated``) and extras. Observations are a tensor, or a TensorDict or dictionary of groups, of which one is
    damaged; a critic's group may stay as it is. Everything else is the environment's own.
    """

    def __init__(self, env: Any, model: FaultModel, group: str = "policy") -> None:
        vars(self).update(env=env, model=model, group=group, _seen=None)

    def __getattr__(self, name: str) -> Any:
        if name == "env":  # of a copy that is being made
            raise AttributeError(name)
        return getattr(self.env, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.env, name, value)

    def get_observations(self) -> Any:
        """Return what the policy sees now; asking does not take a step."""
        if self._seen is None:
            self._observe(self.env.get_observations())
        return self._seen

    def reset(self, *args: Any, **kwargs: Any) -> Any:
        """Begin new episodes in all environments."""
        self.model.reset()
        answer = self.env.reset(*args, **kwargs)
        observations, *rest = answer if isinstance(answer, tuple) else (answer,)
        seen = self._observe(observations)
        return (seen, *rest) if isinstance(answer, tuple) else seen

    def step(self, actions: Any) -> tuple[Any, ...]:
        """Take a step."""
        observations, rewards, *ends, extras = self.env.step(self.model.act(actions))
        over = ends[0].bool()
        for end in ends[1:]:
            over = over | end.bool()
        self.model.reset(over)
        return self._observe(observations), rewards, *ends, extras

    def _observe(self, observations: Any) -> Any:
        if isinstance(observations, Mapping) or hasattr(observations, "keys"):
            seen = observations.copy()  # of the names, not of the tensors
            seen[self.group] = self.model.observe(observations[self.group])
        else:
            seen = self.model.observe(observations)
        vars(self)["_seen"] = seen
        return seen
