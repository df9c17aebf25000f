"""Gymnasium's vectorised environments as Stable-Baselines3 wants them."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from homeo_rl.errors import EnvironmentFault, HomeoError, NumericalFault, UsageError
from homeo_rl.numerics.arrays import instance_of
from homeo_rl.numerics.limits import LIMIT, wrong_entry


class GymVecEnv(VecEnv):
    """A `gymnasium.vector.VectorEnv` with same-step autoreset as an SB3 ``VecEnv``.

    Infos are given where an episode ends (the final info, ``terminal_observation``, ``TimeLimit.truncated``) and empty
    elsewhere: a dictionary a robot and step would cost more than the step.

    Raises:
        UsageError: the environment resets at another time.
        EnvironmentFault: the environment raised an exception.
        NumericalFault: an observation, a reward or an action is not finite, or beyond `homeo_rl.numerics.limits.LIMIT`.
    """

    def __init__(self, env: gym.vector.VectorEnv[Any, Any, Any]) -> None:
        instance_of(env, gym.vector.VectorEnv, what="environment", advice="gymnasium.make_vec makes one")
        if env.metadata.get("autoreset_mode") != AutoresetMode.SAME_STEP:
            raise UsageError(
                f"{env}: expected autoreset_mode SameStep, got {env.metadata.get('autoreset_mode')}; "
                "make it with gymnasium.make_vec(..., autoreset_mode='SameStep')"
            )
        self.env = env
        self._actions = np.zeros(0)
        self._steps = np.zeros(env.num_envs, dtype=np.int64)  # of each robot's episode
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> VecEnvObs:
        """Start all episodes."""
        seeds = None if all(seed is None for seed in self._seeds) else list(self._seeds)
        options = dict(self._options[0]) if self._options and self._options[0] else None
        observations, infos = self.env.reset(seed=seeds, options=options)  # type: ignore[arg-type]  # gymnasium takes None
        self.reset_infos = [_row(infos, i) for i in range(self.num_envs)]
        self._reset_seeds()
        self._reset_options()
        self._steps[:] = 0
        self._check("observation", observations)
        return observations  # type: ignore[no-any-return]  # an array, as the space says

    def step_async(self, actions: np.ndarray) -> None:
        """Remember the actions."""
        self._steps += 1
        self._check("action", actions)
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Take the step."""
        try:
            observations, rewards, terminated, truncated, infos = self.env.step(self._actions)
        except HomeoError:
            raise
        except (Exception, SystemExit) as error:
            text = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise EnvironmentFault(
                f"{self._name}: step {int(self._steps.max())}: {text}; expected an environment that raises nothing; "
                "--debug shows where it was"
            ) from error
        self._check("reward", rewards)
        dones = terminated | truncated
        row_infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for i in (int(row) for row in np.flatnonzero(dones)):
            self._check("observation", np.asarray(infos["final_obs"][i])[None], first=i)
            self._steps[i] = 0  # what follows is another episode's
            row_infos[i] = _row(infos["final_info"], i)
            row_infos[i]["terminal_observation"] = infos["final_obs"][i]
            row_infos[i]["TimeLimit.truncated"] = bool(truncated[i] and not terminated[i])
            self.reset_infos[i] = _row(infos, i)
        self._check("observation", observations)
        return observations, rewards.astype(np.float32), dones, row_infos

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return the environment's attribute once a robot."""
        return [getattr(self.env, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set the environment's attribute, for all robots."""
        setattr(self.env, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call the environment's method once, for all robots."""
        result = getattr(self.env, method_name)(*method_args, **method_kwargs)
        return [result] * len(list(self._get_indices(indices)))

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Any = None) -> list[bool]:
        """No scalar wrappers live in here."""
        return [False] * len(list(self._get_indices(indices)))

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Return a picture of each robot."""
        pictures = self.env.render()
        return [None] * self.num_envs if pictures is None else [np.asarray(picture) for picture in pictures]

    @property
    def _name(self) -> str:
        return self.env.spec.id if self.env.spec is not None else type(self.env.unwrapped).__name__

    def _check(self, what: str, values: np.ndarray, *, first: int = 0) -> None:
        """Check the numbers of robots from ``first`` on, one a row."""
        wrong = wrong_entry(values)
        if wrong is not None:
            index, number = wrong
            robot, entry = first + index[0], f", entry {index[1]}," if len(index) == 2 else ""
            raise NumericalFault(
                f"{self._name}: step {self._steps[robot]}: {what} of robot {robot}{entry} is {number}; "
                f"expected finite numbers within {LIMIT:g}; stopped before it reached the "
                "policy (steps are those of the episode)"
            )


def _row(infos: dict[str, Any], row: int) -> dict[str, Any]:
    info = {}
    for key, values in infos.items():
        if not key.startswith("_") and key not in ("final_obs", "final_info") and infos.get(f"_{key}", ())[row]:
            value = values[row]
            info[key] = value.item() if isinstance(value, np.generic) else value
    return info
