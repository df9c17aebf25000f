"""Environments in processes of their own, none of which can hang or kill the training."""

import multiprocessing.util
import time
import warnings
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn
from stable_baselines3.common.vec_env.util import dict_to_obs, obs_space_info

from homeo_rl.agents.workers.commands import pack
from homeo_rl.agents.workers.supervisor import PoolSettings, SupervisedWorker
from homeo_rl.agents.workers.worker import EnvMaker
from homeo_rl.agents.workers.worker_process import Deadline
from homeo_rl.errors import UsageError, unknown
from homeo_rl.processes.child import kill_all, start_methods

CLOSE_SECONDS = 2.0  # seconds that workers get to close their environments


class SupervisedVecEnv(VecEnv):
    """One environment in each of ``count`` processes; the same numbers as SB3's ``DummyVecEnv``.

    A worker that dies, or gives no answer in time, is killed and started again: a fresh environment, seeded by the
    root seed, the worker's index and its generation. Its lost episode ends as a truncation that is
    marked ``discarded`` and has no reward; Monitor does not report it. Attributes set by `set_attr` are set again;
    what was done by `env_method` is not. An exception of an environment is raised here at once.

    Args:
        recipe: what each environment is made from, such as a `homeo_rl.envs.env_factory.Recipe`: data, as it is sent.
        seed: root seed until `seed` is called.
        timeout: seconds that a step or a reset may take.
        start_timeout: seconds that starting a process and any other command may take.
        start_method: of `multiprocessing`; by default a fork server with libraries loaded, where there is one. As
            always with processes, a script must do its work under ``if __name__ == "__main__"``.

    Raises:
        UsageError: the environment cannot be made from these arguments.
        EnvironmentFault: an environment raised an exception, or one worker was lost more than three times.
        HomeoError: as the environment raised it, such as `NumericalFault`.
    """

    def __init__(
        self,
        recipe: EnvMaker,
        count: int,
        *,
        monitored: bool = True,
        seed: int = 0,
        timeout: float = 60.0,
        start_timeout: float = 120.0,
        start_method: str | None = None,
    ) -> None:
        possible = start_methods()
        if start_method is not None and start_method not in possible:
            raise unknown("start method", start_method, possible)
        if count < 1 or timeout <= 0:
            raise UsageError(f"workers: expected count >= 1 and timeout > 0, got {count} and {timeout}; correct it")
        start_timeout = max(start_timeout, timeout)
        self._settings = PoolSettings(recipe, monitored, start_method or possible[0], timeout, start_timeout, seed)
        # Before multiprocessing's own: that would wait at exit for workers that ignore SIGTERM.
        self._end = multiprocessing.util.Finalize(self, kill_all, args=(self._settings.processes,), exitpriority=100)
        try:
            self._workers = [SupervisedWorker(self._settings, index) for index in range(count)]
            deadline = Deadline(start_timeout)
            for worker in self._workers:
                worker.wait_ready(deadline)
            spaces = self._workers[0].spaces
            self._keys, self._shapes, self._dtypes = obs_space_info(spaces[0])
            super().__init__(count, *spaces)
        except BaseException:
            self.close()
            raise

    @property
    def restarts(self) -> list[int]:
        """Restarts of each worker, so far."""
        return [worker.restarts for worker in self._workers]

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Set the seeds of the next reset, and the root seed of restarts."""
        seeds = super().seed(seed)
        self._settings.root_seed = int(seeds[0] or 0)
        return seeds

    def reset(self) -> VecEnvObs:
        """Start all episodes."""
        for worker, seed, options in zip(self._workers, self._seeds, self._options, strict=True):
            worker.send("reset", seed, options)
        deadline = Deadline(self._settings.timeout)
        first = [worker.receive_reset(deadline) for worker in self._workers]
        self.reset_infos = [info for _, info in first]
        self._reset_seeds()
        self._reset_options()
        return self._stack([observation for observation, _ in first])

    def step_async(self, actions: np.ndarray) -> None:
        """Send the actions, but for those that belong to a lost episode."""
        self._settings.steps += 1
        for worker, action in zip(self._workers, actions, strict=True):
            if worker.fresh is None:
                worker.send("step", pack(action))

    def step_wait(self) -> VecEnvStepReturn:
        """Wait for the step, as long as agreed."""
        deadline = Deadline(self._settings.timeout)
        observations: list[Any] = []
        rewards, dones = np.zeros(self.num_envs, dtype=np.float32), np.zeros(self.num_envs, dtype=bool)
        infos: list[dict[str, Any]] = []
        for index, worker in enumerate(self._workers):
            observation, rewards[index], dones[index], info, first = worker.receive_step(deadline)
            observations.append(observation)
            infos.append(info)
            if first is not None:
                self.reset_infos[index] = first
        return self._stack(observations), rewards, dones, infos

    def close(self) -> None:
        """Close the environments; in bounded time, whatever the workers do."""
        processes = self._settings.processes
        for process in processes:
            process.ask_to_close()
        deadline = time.monotonic() + CLOSE_SECONDS
        for process in processes:
            process.has_ended(deadline - time.monotonic())
        self._end()

    def has_attr(self, attr_name: str) -> bool:
        """Say whether all environments have the attribute."""
        return all(self._ask(self._workers, "has", attr_name))

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return the environments' attribute."""
        return self._ask(self._chosen(indices), "get", attr_name)

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set the attribute on the outermost wrapper of the environments."""
        workers = self._chosen(indices)
        self._ask(workers, "set", attr_name, value)
        for worker in workers:
            worker.attributes[attr_name] = value

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call the environments' method.

        Snapshots of `Recorded` also hold the worker's generation, and a loss that no step has returned yet.
        """
        workers = self._chosen(indices)
        results = self._ask(workers, "method", method_name, method_args, method_kwargs)
        if method_name == "snapshot":
            return [_with_losses(worker, *snapshot) for worker, snapshot in zip(workers, results, strict=True)]
        if method_name == "restore":
            document, arrays = method_args[0]
            for worker in workers:
                self._seeds[worker.index] = None  # of the reset that took place before the snapshot
                worker.generation = document.get("births", 0)
                worker.last = arrays.get("lost", arrays["seen"])
                worker.fresh = (arrays["seen"], {}) if "lost" in arrays else None
        return results

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Any = None) -> list[bool]:
        """Say which environments have such a wrapper."""
        return self._ask(self._chosen(indices), "wrapped", wrapper_class)

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Return a picture of each environment."""
        if self.render_mode != "rgb_array":
            warnings.warn(f"pictures: expected render_mode rgb_array, got {self.render_mode}", stacklevel=2)
            return [None] * self.num_envs
        return self._ask(self._workers, "render")

    def monitor_to(self, index: int, path: str, header: dict[str, float | str], *, append: bool) -> None:
        """Let worker ``index`` write its episodes to the file ``path`` (see `Monitored`), also after a restart."""
        worker = self._workers[index]
        self._ask([worker], "method", "monitor_to", (path, header, append), {})
        worker.file = path, header

    def _chosen(self, indices: VecEnvIndices) -> list[SupervisedWorker]:
        return [self._workers[index] for index in self._get_indices(indices)]

    def _ask(self, workers: list[SupervisedWorker], *message: Any) -> list[Any]:
        for worker in workers:
            worker.send(*message)
        deadline = Deadline(self._settings.start_timeout)
        return [worker.receive(deadline) for worker in workers]

    def _stack(self, rows: list[Any]) -> VecEnvObs:
        columns: dict[Any, np.ndarray] = {}
        for key in self._keys:
            columns[key] = np.empty((self.num_envs, *self._shapes[key]), self._dtypes[key])
            for index, row in enumerate(rows):
                columns[key][index] = row if key is None else row[key]
        return dict_to_obs(self.observation_space, columns)


def _with_losses(worker: SupervisedWorker, document: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    lost = {} if worker.fresh is None else {"lost": np.asarray(worker.last)}
    return {**document, "births": worker.generation}, {**arrays, **lost}
