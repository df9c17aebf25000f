"""The vectorised navigation environment: thousands of worlds in one process, through the same compiled loops.

Observations, rewards, endings and infos are those of as many scalar environments, to the last bit.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from homeo_rl.envs.navigation.coding import CODED, SIGNED
from homeo_rl.envs.navigation.environment import ACTIONS, NavigationEnv
from homeo_rl.envs.navigation.fleet import Fleet
from homeo_rl.envs.navigation.tasks import Task
from homeo_rl.errors import InputError, UsageError
from homeo_rl.numerics.arrays import FLOAT64, floats_of, whole_number

_KEPT = ("where", "episodes", "state", "movers", "ranges", "observations", "rewards", "terminated")
"""The fleet's arrays."""


class NavigationVectorEnv(gym.vector.VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """N robots, each in a world of its own.

    Args:
        max_episode_steps: decisions until an episode is truncated; None for no limit.
        autoreset_mode: Gymnasium's: a robot that is done starts anew at the next step, at the same one, or when asked.
        render_mode: ``rgb_array`` draws all robots.
        arguments: those of `homeo_rl.envs.navigation.tasks.Task.build`.

    ``reset`` takes ``options`` for all robots, and Gymnasium's ``reset_mask`` beside ``world``, ``start`` and ``goal``.
    """

    drive_info = True
    metadata: dict[str, Any] = {**NavigationEnv.metadata, "render_modes": ["rgb_array"]}  # noqa: RUF012  # gymnasium's own type

    def __init__(
        self,
        num_envs: int = 1,
        *,
        max_episode_steps: int | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        **arguments: Any,
    ) -> None:
        self.num_envs = num_envs = whole_number(num_envs, what="num_envs", least=1)
        self.fleet = Fleet(Task.build(**arguments), num_envs)
        self.single_observation_space = CODED if self.fleet.task.spike_coded else SIGNED
        self.single_action_space = ACTIONS
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(ACTIONS, num_envs)
        self.render_mode = render_mode
        self.limit = max_episode_steps
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {**type(self).metadata, "autoreset_mode": self.autoreset_mode}
        self._everyone = np.arange(num_envs)
        self._rngs: list[np.random.Generator | None] = [None] * num_envs
        self._over = np.zeros(num_envs, dtype=np.bool_)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start episodes; robot i of an integer seed s is seeded with s + i, as Gymnasium's own vectors do."""
        options = dict(options or {})
        mask = np.asarray(options.pop("reset_mask", np.ones(self.num_envs, dtype=np.bool_)))
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_ or not mask.any():
            raise UsageError(f"option reset_mask: expected {self.num_envs} booleans, one of them true, got {mask}")
        seeds = (
            [None if seed is None else seed + i for i in range(self.num_envs)] if not isinstance(seed, list) else seed
        )
        if len(seeds) != self.num_envs:
            raise UsageError(f"seed: expected {self.num_envs} seeds, got {len(seeds)}")
        for row in np.flatnonzero(mask):
            if seeds[row] is not None or self._rngs[row] is None:
                self._rngs[row], _ = seeding.np_random(seeds[row])
                self.fleet.episodes[row] = 0
            self._begin(int(row), options)
        self._over[mask] = False
        return self.fleet.encode_observations(), self._infos(mask)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Drive all robots for 0.1 s.

        Raises:
            InputError: not two numbers a robot, or a robot without an episode.
            NonFiniteInput: a number is not finite; nothing has moved.
        """
        fleet = self.fleet
        actions = floats_of(
            actions, (self.num_envs, 2), what="actions", advice="give left and right wheel of every robot, 0 to 1",
            dtype=FLOAT64,
        )  # fmt: skip
        if not fleet.episodes.all():
            first = int(np.flatnonzero(fleet.episodes == 0)[0])
            raise InputError(
                f"step: expected an episode of every robot, none began of robot {first}; call reset() first"
            )
        fresh = self._over.copy()
        rows = np.flatnonzero(~fresh) if fresh.any() else self._everyone
        if fresh.any() and self.autoreset_mode == AutoresetMode.DISABLED:
            raise UsageError("step: some episodes are over; reset them first (options={'reset_mask': ...})")
        fleet.advance(rows, actions)
        fleet.rewards[fresh], fleet.terminated[fresh] = 0.0, False
        for row in np.flatnonzero(fresh):
            self._begin(int(row))
        terminated = fleet.terminated.copy()
        late = np.zeros_like(terminated) if self.limit is None else (fleet.state["steps"] >= self.limit)
        rewards = fleet.rewards.copy()
        self._over = terminated | late
        if self.autoreset_mode != AutoresetMode.SAME_STEP or not self._over.any():
            return fleet.encode_observations(), rewards, terminated, late, self._infos(None)
        over, self._over = self._over, np.zeros_like(terminated)
        last, final = fleet.encode_observations(), self._infos(over)
        for row in np.flatnonzero(over):
            self._begin(int(row))
        infos = self._infos(None)
        infos["final_obs"] = np.full(self.num_envs, None, dtype=object)
        for row in np.flatnonzero(over):
            infos["final_obs"][row] = last[row]
        infos["final_info"] = final
        infos["_final_obs"], infos["_final_info"] = over.copy(), over.copy()
        return fleet.encode_observations(), rewards, terminated, late, infos

    def render(self) -> Any:
        """Return one picture for each robot, as Gymnasium's vectors do."""
        if self.render_mode is None:
            return None
        from homeo_rl.envs.navigation.drawing import Artist

        artist = Artist(400)
        worlds = self.fleet.task.worlds
        return tuple(artist.draw(worlds[self.fleet.where[i]], self.fleet, i, []) for i in range(self.num_envs))

    def snapshot(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return where all robots are: generators as plain data, everything else as arrays."""
        document = {"generators": [None if rng is None else rng.bit_generator.state for rng in self._rngs]}
        fleet = {name: getattr(self.fleet, name).copy() for name in _KEPT}
        fleet["state"] = fleet["state"].view(np.uint8)
        return document, {**fleet, "over": self._over.copy()}

    def restore(self, snapshot: tuple[dict[str, Any], dict[str, np.ndarray]]) -> bool:
        """Put all robots where a snapshot says, to the last bit.

        Raises InputError: it is of another number of robots, or of other worlds.
        """
        document, arrays = snapshot
        for name in _KEPT:
            target, source = getattr(self.fleet, name), arrays[name]
            if source.nbytes != target.nbytes or (source.dtype == target.dtype and source.shape != target.shape):
                raise InputError(
                    f"snapshot: {name}: expected shape {target.shape}, got {source.shape}; take it of this task"
                )
        if not ((arrays["where"] >= 0) & (arrays["where"] < len(self.fleet.sites))).all():
            raise InputError(f"snapshot: expected worlds 0 to {len(self.fleet.sites) - 1}; take it of this task")
        for row, state in enumerate(document["generators"]):
            if state is not None:
                self._rngs[row], _ = seeding.np_random(0)
                rng = self._rngs[row]
                assert rng is not None
                rng.bit_generator.state = state
        for name in _KEPT:
            target = getattr(self.fleet, name)
            source = np.ascontiguousarray(arrays[name])
            target[...] = source.view(target.dtype).reshape(target.shape) if name == "state" else source
        self._over = arrays["over"].astype(np.bool_)
        return True

    def _begin(self, row: int, options: dict[str, Any] | None = None) -> None:
        rng = self._rngs[row]
        if rng is None:
            rng, _ = seeding.np_random(None)
            self._rngs[row] = rng
        self.fleet.begin(row, rng, options)

    def _infos(self, mask: np.ndarray | None) -> dict[str, Any]:
        state = self.fleet.state
        infos: dict[str, Any] = {
            "is_success": state["success"].copy(),
            "collision": state["collision"].copy(),
            "path_length": state["path"].copy(),
            "time": state["steps"] * self.fleet.seconds,
            "pose": np.stack([state["x"], state["y"], state["heading"]], 1),
            "goal": np.stack([state["goal_x"], state["goal_y"]], 1),
            "ranges": self.fleet.ranges.copy(),
        }
        present = np.ones(self.num_envs, dtype=np.bool_) if mask is None else mask.astype(np.bool_)
        if mask is not None and not mask.all():
            for value in infos.values():
                value[~mask] = 0
        return infos | {f"_{key}": present for key in list(infos)}
