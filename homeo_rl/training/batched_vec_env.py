"""The bodies that MuJoCo steps in one call, as Stable-Baselines3 wants its environments."""

import time
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.monitor import Monitor, ResultsWriter
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from homeo_rl.envs.batched_bodies import BatchedBodies
from homeo_rl.envs.replayable import Snapshot


class BatchedVecEnv(VecEnv):
    """Rows of `homeo_rl.envs.batched_bodies.BatchedBodies` as an SB3 ``VecEnv``.

    Seeds, numbers and monitor files are those of a ``DummyVecEnv`` of as many monitored environments, bit for bit: each
    row has its own generator. Infos are given where an episode ends, and empty elsewhere.

    Args:
        env: an environment that `homeo_rl.envs.make.make_env` made; it resets for all rows.
        count: rows.
        threads: of the simulations; the numbers do not depend on it.

    Raises:
        UsageError: as `BatchedBodies`.
    """

    def __init__(self, env: gym.Env[Any, Any], count: int, threads: int = 1) -> None:
        self.env, self.bodies = env, BatchedBodies(env, count, threads)
        self.t_start = time.time()
        self._all = np.arange(count)
        self._generators: list[np.random.Generator | None] = [None] * count
        self._rewards: list[list[float]] = [[] for _ in range(count)]
        self._writers: list[ResultsWriter | None] = [None] * count
        self._actions = np.zeros(0)
        super().__init__(count, env.observation_space, env.action_space)

    def reset(self) -> np.ndarray:
        """Start all episodes; rows that were not seeded continue their own generators."""
        rows = [self._begin(row, self._seeds[row], self._options[row] or None) for row in self._all.tolist()]
        self._reset_seeds()
        self._reset_options()
        return np.stack(rows)

    def step_async(self, actions: np.ndarray) -> None:
        """Remember the actions [N, A]."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Take the step; rows whose episode ended begin another one."""
        observations, rewards, terminated, truncated, infos = self.bodies.step(self._all, self._actions)
        infos, dones = list(infos), np.logical_or(terminated, truncated)
        for earned, reward in zip(self._rewards, rewards, strict=True):
            earned.append(reward)
        for row in np.flatnonzero(dones).tolist():
            infos[row] = {
                **infos[row],
                "TimeLimit.truncated": truncated[row] and not terminated[row],
                "terminal_observation": observations[row].copy(),
                "episode": self._end(row),
            }
            observations[row] = self._begin(row)
        return observations, np.array(rewards, np.float32), dones, infos

    def snapshot(self, row: int) -> Snapshot:
        """Return where a row is: its generator, its simulation and what its episode earned."""
        generator = self._generators[row]
        document = {"generator": None if generator is None else generator.bit_generator.state}
        return document, {**self.bodies.snapshot(row), "rewards": np.array(self._rewards[row])}

    def restore(self, row: int, snapshot: Snapshot) -> bool:
        """Go there; nothing has to be repeated, so the row is the same to the last bit."""
        document, arrays = snapshot
        if document["generator"] is not None:
            self._generators[row] = generator = np.random.Generator(np.random.PCG64())
            generator.bit_generator.state = document["generator"]
        self.bodies.restore(row, arrays)
        self._rewards[row] = arrays["rewards"].tolist()
        return True

    def monitor_to(self, row: int, path: str, header: dict[str, float | str], append: bool) -> None:
        """Write the episodes of a row to the file ``path`` from now on; times count from the header's ``t_start``."""
        self.t_start = float(header["t_start"])
        self._writers[row] = ResultsWriter(path, header=header, override_existing=not append)

    def close(self) -> None:
        """Close the environment that resets, and the files of the monitors."""
        self.bodies.close()
        for writer in filter(None, self._writers):
            writer.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of this or of the environment that resets, once a row."""
        value = getattr(self, attr_name) if attr_name in vars(self) else self.env.get_wrapper_attr(attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the environment that resets, for all rows."""
        setattr(self.env.unwrapped, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call `snapshot`, `restore` or `monitor_to` of rows."""
        method = getattr(self, method_name)
        return [method(row, *method_args, **method_kwargs) for row in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Any = None) -> list[bool]:
        """Whether a wrapper stands around each row; episodes are monitored."""
        wrapped = wrapper_class is Monitor or is_wrapped(self.env, wrapper_class)
        return [wrapped for _ in self._get_indices(indices)]

    def _begin(self, row: int, seed: int | None = None, options: dict[str, Any] | None = None) -> np.ndarray:
        base = self.env.unwrapped
        base._np_random = self._generators[row]  # None lets Gymnasium make one
        observation, self.reset_infos[row] = self.bodies.reset(row, seed, options)
        self._generators[row], self._rewards[row] = base.np_random, []
        return observation

    def _end(self, row: int) -> dict[str, Any]:
        """Return what a monitor says of the episode that ended, and write it."""
        rewards, writer = self._rewards[row], self._writers[row]
        episode = {
            "r": round(sum(rewards), 6), "l": len(rewards), "t": round(time.time() - self.t_start, 6)
        }  # fmt: skip
        if writer is not None:
            writer.write_row(episode)
        return episode
