"""Many MuJoCo bodies in one call: Gymnasium's HalfCheetah, Hopper, Walker2d and Ant (v5) as rows of arrays.

`mujoco.batch.Batch` steps all simulations on a pool of threads, and keeps the whole state of each: what the solver
starts from too, which `mujoco.rollout` drops, so that its episodes leave Gymnasium's after a few steps. Observations,
rewards and ends are computed here in NumPy, in Gymnasium's operations and their order, so they are equal bit for bit.
Resets are Gymnasium's own, of one environment that all rows share.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import gymnasium as gym
import numpy as np

from homeo_rl.envs.contract import Checked, name_of
from homeo_rl.envs.guard import FiniteGuard, require_finite
from homeo_rl.envs.stability import KEY as UNSTABLE
from homeo_rl.envs.stability import WARNINGS, StabilityGuard, warning_rows
from homeo_rl.errors import EnvironmentFault, UsageError
from homeo_rl.numerics.limits import wrong_entry

Env = gym.Env[Any, Any]
Rows = Any
"""Rows of a batch: an int array [K], or ``slice(None)`` for all."""

ENGINES = ("gymnasium", "rollout")
"""How environments are stepped: one after another, or as rows of one simulator."""

_PARTS = ("x", "before", "elapsed", "observed")  # what is kept of each row beside its simulation
_WRAPPERS = (FiniteGuard, StabilityGuard, gym.wrappers.TimeLimit, gym.wrappers.OrderEnforcing, Checked)


class Stepped(NamedTuple):
    """A step of K rows; infos hold what `homeo_rl.envs.stability` and `homeo_rl.envs.time_limit` write only."""

    observations: Any  # [K, D]
    rewards: Sequence[float]
    terminated: Sequence[bool]
    truncated: Sequence[bool]
    infos: Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Body:
    """What an environment makes of its simulations; ``env`` is one of them, which knows the parameters."""

    # returns which of N rows are healthy, of (env, qpos [N, nq], qvel [N, nv]); None if all are
    is_healthy: Callable[[Any, np.ndarray, np.ndarray], np.ndarray] | None = None
    velocity_limit: float | None = None  # what observed velocities are clipped to
    # whether contact forces are observed and cost; the position is then that of a body's frame
    has_contacts: bool = False


def _within(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    return np.asarray((limits[0] < values) & (values < limits[1]))


def _is_walker_healthy(env: Any, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    return np.asarray(_within(qpos[:, 1], env._healthy_z_range) & _within(qpos[:, 2], env._healthy_angle_range))


def _is_hopper_healthy(env: Any, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    state = np.concatenate([qpos[:, 2:], qvel], 1)
    return np.asarray(_within(state, env._healthy_state_range).all(1) & _is_walker_healthy(env, qpos, qvel))


def _is_ant_healthy(env: Any, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    low, high = env._healthy_z_range
    is_finite = np.isfinite(qpos).all(1) & np.isfinite(qvel).all(1)
    return np.asarray(is_finite & (low <= qpos[:, 2]) & (qpos[:, 2] <= high))


BODIES = {
    "gymnasium.envs.mujoco.half_cheetah_v5:HalfCheetahEnv": Body(),
    "gymnasium.envs.mujoco.hopper_v5:HopperEnv": Body(_is_hopper_healthy, 10.0),
    "gymnasium.envs.mujoco.walker2d_v5:Walker2dEnv": Body(_is_walker_healthy, 10.0),
    "gymnasium.envs.mujoco.ant_v5:AntEnv": Body(_is_ant_healthy, has_contacts=True),
}
"""The bodies by the classes of their environments."""


def body_of(env: Env) -> Body:
    """Return the body of an environment that `homeo_rl.envs.make.make_env` made.

    Raises:
        UsageError: there is none, or other wrappers stand around it.
    """
    kind = type(env.unwrapped)
    body = BODIES.get(f"{kind.__module__}:{kind.__qualname__}")
    if body is None:
        names = ", ".join(f"{name.rpartition(':')[2].removesuffix('Env')}-v5" for name in BODIES)
        raise UsageError(
            f"--engine rollout: expected one of {names}, got {name_of(env)}; --engine gymnasium runs every environment"
        )
    wrappers: list[Any] = []
    while isinstance(env, gym.Wrapper):
        wrappers.append(type(env))
        env = env.env
    strange = next((one.__name__ for one in wrappers if one not in _WRAPPERS), None)
    if strange is not None or sorted(map(id, wrappers)) != sorted(map(id, _WRAPPERS)):
        got = strange or "a wrapper that stands twice"
        raise UsageError(f"--engine rollout: expected no wrapper around {name_of(env)}, got {got}; use gymnasium")
    return body


class BatchedBodies:
    """``count`` simulations of the body of ``env``, each a row; they reset one by one.

    Args:
        env: an environment that `homeo_rl.envs.make.make_env` made; it resets for all rows.
        count: rows.
        threads: of the simulations, the caller's included.

    Raises:
        UsageError: `body_of` knows no such body, or MuJoCo is older than 4.0.
    """

    def __init__(self, env: Env, count: int, threads: int = 1) -> None:
        import mujoco

        try:
            from mujoco.batch import Batch
        except ImportError:
            raise UsageError(
                f"--engine rollout: expected MuJoCo 4.0 or later, got {mujoco.__version__}; use gymnasium"
            ) from None
        self.body, self.env = body_of(env), env
        self._base = cast(Any, env.unwrapped)
        self._name, self._limit = name_of(env), int(env.get_wrapper_attr("_max_episode_steps"))
        self.model = self._base.model
        self._dt, self._frame_skip = self._base.dt, self._base.frame_skip
        self._skipped = self._base.observation_structure["skipped_qpos"]
        self._main = self._base.data.body(self._base._main_body).id if self.body.has_contacts else 0
        # Contact forces are computed on the whole data of a simulation, so each keeps its own.
        self._batch = Batch(self.model, count, threads, self.body.has_contacts)
        self._scratch = mujoco.MjData(self.model) if self.body.has_contacts else None
        self._qpos, self._qvel, self._ctrl, self._time = (
            self._batch.bind(name) for name in ("qpos", "qvel", "ctrl", "time")
        )
        self._frames = self._batch.bind("xpos") if self.body.has_contacts else None
        self._models, self._is_changed = [self.model] * count, False
        self._all = np.arange(count)
        self._x, self._before = np.zeros(count), np.zeros(count)
        self._elapsed = np.zeros(count, np.int64)
        self._kinds = warning_rows()
        self._warned = self._counts()
        self._observed = np.zeros((count, *(env.observation_space.shape or ())))
        self._contacts = np.zeros((count, *self._base.data.cfrc_ext.shape))

    def set_model(self, row: int, model: Any) -> None:
        """Let the simulation of ``row`` run on another model of the same sizes, until its next reset."""
        self._models[row], self._is_changed = model, True

    def reset(
        self, row: int, seed: int | None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode with the healthy model in ``row``; return its first observation [D] and info."""
        import mujoco

        observation, info = self.env.reset(seed=seed, options=options)
        data = self._base.data
        mujoco.mj_getState(self.model, data, self._batch.state[row], mujoco.mjtState.mjSTATE_INTEGRATION)
        if self._models[row] is not self.model:
            self.set_model(row, self.model)
        self._x[row] = data.xpos[self._main, 0] if self.body.has_contacts else data.qpos[0]
        self._before[row], self._elapsed[row] = data.time, 0
        self._warned[row] = self._counts()[row]
        self._observed[row] = observation
        return observation, info

    def snapshot(self, row: int) -> dict[str, np.ndarray]:
        """Return where ``row`` is: all that its next steps depend on, but for a changed model."""
        arrays = {name: np.array(getattr(self, f"_{name}")[row]) for name in _PARTS}
        return {**arrays, "state": self._batch.state[row].copy()}

    def restore(self, row: int, arrays: dict[str, np.ndarray]) -> None:
        """Go to where `snapshot` was taken, with the healthy model."""
        for name in _PARTS:
            getattr(self, f"_{name}")[row] = arrays[name]
        self._batch.state[row] = arrays["state"]
        self._warned[row] = self._counts()[row]

    def step(self, rows: np.ndarray, actions: np.ndarray) -> Stepped:
        """Take a step of ``rows`` [K] with ``actions`` [K, A], in physics once and for all of them.

        Raises:
            NumericalFault: an action, observation or reward is not finite, or huge.
            EnvironmentFault: MuJoCo refused to step.
        """
        whole = len(rows) == len(self._all) and bool((rows == self._all).all())
        at: Rows = slice(None) if whole else rows
        self._elapsed[at] += 1
        self._require_finite("action", rows, actions)
        self._simulate(at, actions)
        truncated = self._elapsed[at] >= self._limit
        observations, rewards, terminated = self._outcome(at, rows, actions)
        infos: list[dict[str, Any]] = [{}] * len(rows)  # nobody writes them
        for place, reason in self._failures(at, rows):
            infos[place], rewards[place] = {UNSTABLE: reason}, 0.0
            observations[place] = self._observed[rows[place]]
            terminated[place], truncated[place] = False, True
        self._require_finite("observation", rows, observations)
        self._require_finite("reward", rows, rewards)
        self._observed[at] = observations
        return Stepped(observations, rewards.tolist(), terminated.tolist(), truncated.tolist(), infos)

    def close(self) -> None:
        """Close the environment that resets."""
        self.env.close()

    def _simulate(self, at: Rows, actions: np.ndarray) -> None:
        from mujoco.batch import SimulationError

        if self._is_changed:
            self._batch.set_models(self._models)
            self._is_changed = False
        self._ctrl[at] = actions
        try:
            self._batch.step(None if isinstance(at, slice) else at, nstep=self._frame_skip)
        except SimulationError as error:
            raise EnvironmentFault(
                f"{self._name}: {' '.join(str(error).split())}; expected a simulation that goes on; check --env-kwargs"
            ) from error

    def _outcome(self, at: Rows, rows: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return observations [K, D], rewards [K] and ends [K], as Gymnasium computes them."""
        base, body = self._base, self.body
        qpos, qvel = self._qpos[at], self._qvel[at]
        x = qpos[:, 0] if self._frames is None else self._frames[at][:, self._main, 0]
        rewards = base._forward_reward_weight * ((x - self._x[at]) / self._dt)
        self._x[at] = x
        terminated = np.zeros(len(rows), np.bool_)
        if body.is_healthy is not None:
            healthy = body.is_healthy(base, qpos, qvel)
            rewards = rewards + healthy * base._healthy_reward
            terminated = ~healthy & base._terminate_when_unhealthy
        costs = base._ctrl_cost_weight * np.sum(np.square(actions), 1)
        velocities = qvel if body.velocity_limit is None else np.clip(qvel, -body.velocity_limit, body.velocity_limit)
        parts = [qpos[:, self._skipped :], velocities]
        if body.has_contacts:
            forces = np.clip(self._contact_forces(rows), *base._contact_force_range)
            costs = costs + base._contact_cost_weight * np.sum(np.square(forces.reshape(len(rows), -1)), 1)
            if base._include_cfrc_ext_in_observation:
                parts.append(forces[:, 1:].reshape(len(rows), -1))
        return np.concatenate(parts, 1), rewards - costs, terminated

    def _contact_forces(self, rows: np.ndarray) -> np.ndarray:
        """Return the external forces on the bodies, [K, bodies, 6].

        MuJoCo has no call for a batch of them, so this is the one place where Python goes through the rows.
        """
        import mujoco

        for row in rows.tolist():
            self._batch.get_data(row, self._scratch)
            mujoco.mj_rnePostConstraint(self._models[row], self._scratch)
            self._contacts[row] = self._scratch.cfrc_ext  # type: ignore[union-attr]
        return np.asarray(self._contacts[rows])

    def _counts(self) -> np.ndarray:
        """Return how often MuJoCo gave each simulation up, [N, kinds]."""
        return np.asarray(self._batch.warning[:, self._kinds, 1])  # beside each count, what the last one was about

    def _failures(self, at: Rows, rows: np.ndarray) -> list[tuple[int, str]]:
        """Return where among ``rows`` a simulation was given up, and why (`homeo_rl.envs.stability`)."""
        counts, back = self._counts(), self._time[at] < self._before[at]
        self._before[at] = self._time[at]
        grown = counts[at] > self._warned[at]
        self._warned = counts
        if not (grown.any() or back.any()):
            return []
        return [
            (int(place), WARNINGS[int(grown[place].argmax())] if grown[place].any() else "RESET")
            for place in np.flatnonzero(grown.any(1) | back)
        ]

    def _require_finite(self, what: str, rows: np.ndarray, values: np.ndarray) -> None:
        if wrong_entry(values) is not None:
            for row, value in zip(rows, values, strict=True):
                require_finite(self._name, int(self._elapsed[row]), what, value)
