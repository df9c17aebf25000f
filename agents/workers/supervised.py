"""Environments in processes of their own, none of which can hang or kill the training."""

from __future__ import annotations

import multiprocessing
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

from homeo_rl.agents.workers.commands import packed
from homeo_rl.agents.workers.supervisor import Seat, Workplace
from homeo_rl.agents.workers.worker import Makes
from homeo_rl.agents.workers.worker_process import START_METHODS, Handle, Patience
from homeo_rl.errors import UsageError, unknown

CLOSING = 2.0
"""Seconds that workers get to close their environments."""


class SupervisedVecEnv(VecEnv):
    """One environment in each of ``count`` processes; the same numbers as SB3's ``DummyVecEnv``.

    A worker that dies, or gives no answer in time, is killed and started again: a fresh environment, seeded by the
    root seed, the worker's index and how often it was born before. Its lost episode ends as a truncation that is
    marked ``discarded`` and has no reward; Monitor does not tell of it. Attributes set by `set_attr` are set again;
    what was done by `env_method` is not. An exception of an environment is raised here at once.

    Args:
        recipe: what each environment is made from, such as a `homeo_rl.envs.env_factory.Recipe`: data, as it is sent.
        count: environments, at least 1.
        monitored: whether SB3's Monitor tells of each episode.
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
        recipe: Makes,
        count: int,
        *,
        monitored: bool = True,
        seed: int = 0,
        timeout: float = 60.0,
        start_timeout: float = 120.0,
        start_method: str | None = None,
    ) -> None:
        possible = [name for name in START_METHODS if name in multiprocessing.get_all_start_methods()]
        if start_method is not None and start_method not in possible:
            raise unknown("start method", start_method, possible)
        if count < 1 or timeout <= 0:
            raise UsageError(f"workers: expected count >= 1 and timeout > 0, got {count} and {timeout}; correct it")
        longer = max(start_timeout, timeout)
        self._place = Workplace(recipe, monitored, start_method or possible[0], timeout, longer, seed)
        # Before multiprocessing's own: that would wait at exit for workers that ignore SIGTERM.
        self._end = multiprocessing.util.Finalize(self, _kill, args=(self._place.handles,), exitpriority=100)
        try:
            self._seats = [Seat(self._place, index) for index in range(count)]
            patience = Patience(longer)
            for seat in self._seats:
                seat.greet(patience)
            spaces = self._seats[0].spaces
            self._keys, self._shapes, self._dtypes = obs_space_info(spaces[0])
            super().__init__(count, *spaces)
        except BaseException:
            self.close()
            raise

    @property
    def restarts(self) -> list[int]:
        """Restarts of each worker, so far."""
        return [seat.restarts for seat in self._seats]

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Set the seeds of the next reset, and the root seed of restarts."""
        seeds = super().seed(seed)
        self._place.root = int(seeds[0] or 0)
        return seeds

    def reset(self) -> VecEnvObs:
        """Start all episodes."""
        for seat, seed, options in zip(self._seats, self._seeds, self._options, strict=True):
            seat.tell("reset", seed, options)
        patience = Patience(self._place.timeout)
        first = [seat.begun(patience) for seat in self._seats]
        self.reset_infos = [info for _, info in first]
        self._reset_seeds()
        self._reset_options()
        return self._stacked([observation for observation, _ in first])

    def step_async(self, actions: np.ndarray) -> None:
        """Send the actions, but for those that belong to a lost episode."""
        self._place.steps += 1
        for seat, action in zip(self._seats, actions, strict=True):
            if seat.fresh is None:
                seat.tell("step", packed(action))

    def step_wait(self) -> VecEnvStepReturn:
        """Wait for the step, as long as agreed."""
        patience = Patience(self._place.timeout)
        observations: list[Any] = []
        rewards, dones = np.zeros(self.num_envs, dtype=np.float32), np.zeros(self.num_envs, dtype=bool)
        infos: list[dict[str, Any]] = []
        for index, seat in enumerate(self._seats):
            observation, rewards[index], dones[index], info, first = seat.stepped(patience)
            observations.append(observation)
            infos.append(info)
            if first is not None:
                self.reset_infos[index] = first
        return self._stacked(observations), rewards, dones, infos

    def close(self) -> None:
        """Close the environments; in bounded time, whatever the workers do."""
        handles = self._place.handles
        for handle in handles:
            handle.ask_to_close()
        deadline = time.monotonic() + CLOSING
        for handle in handles:
            handle.has_ended(deadline - time.monotonic())
        self._end()

    def has_attr(self, attr_name: str) -> bool:
        """Say whether all environments have the attribute."""
        return all(self._ask(self._seats, "has", attr_name))

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return the environments' attribute."""
        return self._ask(self._chosen(indices), "get", attr_name)

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set the attribute on the outermost wrapper of the environments."""
        seats = self._chosen(indices)
        self._ask(seats, "set", attr_name, value)
        for seat in seats:
            seat.set(attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call the environments' method.

        Snapshots of `Recorded` also tell how often the worker was born, and of a loss that no step has told yet.
        """
        seats = self._chosen(indices)
        results = self._ask(seats, "method", method_name, method_args, method_kwargs)
        if method_name == "snapshot":
            return [_with_losses(seat, *found) for seat, found in zip(seats, results, strict=True)]
        if method_name == "restore":
            told, arrays = method_args[0]
            for seat in seats:
                self._seeds[seat.index] = None  # of the reset that took place before the snapshot
                seat.births = told.get("births", 0)
                seat.last = arrays.get("lost", arrays["seen"])
                seat.fresh = (arrays["seen"], {}) if "lost" in arrays else None
        return results

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Any = None) -> list[bool]:
        """Say which environments have such a wrapper."""
        return self._ask(self._chosen(indices), "wrapped", wrapper_class)

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Return a picture of each environment."""
        if self.render_mode != "rgb_array":
            warnings.warn(f"pictures: expected render_mode rgb_array, got {self.render_mode}", stacklevel=2)
            return [None] * self.num_envs
        return self._ask(self._seats, "render")

    def monitor_to(self, index: int, path: str, header: dict[str, float | str], *, append: bool) -> None:
        """Let worker ``index`` write its episodes to the file ``path`` (see `Monitored`), also after a restart."""
        seat = self._seats[index]
        self._ask([seat], "method", "monitor_to", (path, header, append), {})
        seat.write_to(path, header)

    def _chosen(self, indices: VecEnvIndices) -> list[Seat]:
        return [self._seats[index] for index in self._get_indices(indices)]

    def _ask(self, seats: list[Seat], *message: Any) -> list[Any]:
        """Send a command to workers and return their answers."""
        for seat in seats:
            seat.tell(*message)
        patience = Patience(self._place.longer)
        return [seat.hear(patience) for seat in seats]

    def _stacked(self, rows: list[Any]) -> VecEnvObs:
        """Put observations together, in the types that the space says."""
        found: dict[Any, np.ndarray] = {}
        for key in self._keys:
            found[key] = np.empty((self.num_envs, *self._shapes[key]), self._dtypes[key])
            for index, row in enumerate(rows):
                found[key][index] = row if key is None else row[key]
        return dict_to_obs(self.observation_space, found)


def _with_losses(seat: Seat, told: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    lost = {} if seat.fresh is None else {"lost": np.asarray(seat.last)}
    return {**told, "births": seat.births}, {**arrays, **lost}


def _kill(handles: list[Handle]) -> None:
    for handle in handles:
        handle.kill()
    handles.clear()
