"""Many robots, each alone in a world of its own, as arrays: what scalar and vectorised environments are made of."""

import math
from typing import Any

import numpy as np

from homeo_rl.envs.navigation import kernels, rays
from homeo_rl.envs.navigation.coding import spike_code
from homeo_rl.envs.navigation.kernels import BEAMS, MOVER, STATE
from homeo_rl.envs.navigation.scene import Site, site
from homeo_rl.envs.navigation.tasks import Task
from homeo_rl.errors import UsageError, unknown
from homeo_rl.numerics.arrays import index_of

MOVER_SPEED = 0.7  # speed of movers drawn at random (m/s)
GRACE = 5.0  # seconds for which movers drawn at random stay away from where the robot starts


class Fleet:
    """N robots. Rows of all arrays are robots.

    Attributes:
        where: [N], the index of the world that each robot is in.
        state: [N] of `kernels.STATE`.
        movers: [N, M, 8].
        ranges: [N, 18], the lidar's last reading (m).
        observations: [N, 22], of the last decision.
    """

    def __init__(self, task: Task, count: int) -> None:
        self.task = task
        self.sites = [site(world) for world in task.worlds]
        most = max(len(ready.movers) for ready in self.sites) + task.random_movers
        self.where = np.zeros(count, dtype=np.int64)
        self.episodes = np.zeros(count, dtype=np.int64)
        self.state = np.zeros(count, dtype=STATE)
        self.movers = np.zeros((count, most, MOVER))
        self.ranges = np.zeros((count, BEAMS))
        self.observations = np.zeros((count, 4 + BEAMS), dtype=np.float32)
        self.rewards = np.zeros(count)
        self.terminated = np.zeros(count, dtype=np.bool_)

    def begin(self, row: int, rng: np.random.Generator, options: dict[str, Any] | None = None) -> None:
        """Start an episode of one robot.

        Args:
            rng: source of everything random in the episode.
            options: ``world`` (index or name), ``start`` (x, y, heading) and ``goal`` (x, y), each optional.

        Raises UsageError: an option is unknown or not possible; nothing has changed.
        """
        row = index_of(row, len(self.where), what="row", advice="give one of the fleet's robots")
        options = dict(options or {})
        where = self._world(row, rng, options.pop("world", None))
        ready = self.sites[where]
        route = {name: options.pop(name) for name in ("start", "goal") if options.get(name) is not None}
        for name in options:
            if name not in ("start", "goal"):
                raise unknown("option of reset", name, ["world", "start", "goal"])
        start = _numbers(route["start"], 3, "start") if "start" in route else None
        goal = _numbers(route["goal"], 2, "goal") if "goal" in route else None
        start, goal = ready.route(rng, start, goal)
        key = rng.integers(2**64, dtype=np.uint64)
        self.where[row] = where
        self.episodes[row] += 1
        robot = self.state[row]
        robot["x"], robot["y"], robot["heading"] = start
        robot["goal_x"], robot["goal_y"] = goal
        robot["key"] = key
        self.movers[row] = _park(len(self.movers[row]))
        self.movers[row, : len(ready.movers)] = ready.movers
        for index in range(self.task.random_movers):
            self.movers[row, len(ready.movers) + index] = _random_mover(ready, start, rng)
        kernels.begin(ready.scene, self.task.rules, self.state, self.movers, self.ranges, self.observations, row)

    def advance(self, rows: np.ndarray, actions: np.ndarray) -> None:
        """Run one decision of the robots ``rows`` with actions [N, 2] of float64."""
        groups = [(0, rows)] if len(self.sites) == 1 else [
            (where, rows[self.where[rows] == where]) for where in np.unique(self.where[rows])
        ]  # fmt: skip
        for where, group in groups:
            kernels.advance(
                self.sites[where].scene, self.task.rules, self.state, self.movers, self.ranges, group, actions,
                self.observations, self.rewards, self.terminated,
            )  # fmt: skip

    def encode_observations(self) -> np.ndarray:
        """Observations [N, 22 or 24] as the policy sees them, copied."""
        return spike_code(self.observations) if self.task.spike_coded else self.observations.copy()

    def clearance(self, row: int) -> float:
        """Distance of one robot to the nearest thing that stands still (m)."""
        row = index_of(row, len(self.where), what="row", advice="give one of the fleet's robots")
        robot = self.state[row]
        return rays.clearance(self.sites[self.where[row]].scene, float(robot["x"]), float(robot["y"]))

    @property
    def seconds(self) -> float:
        """Duration of a decision (s)."""
        return self.task.rules.substep * self.task.rules.substeps

    def _world(self, row: int, rng: np.random.Generator, asked: int | str | None) -> int:
        if asked is not None:
            names = [world.name for world in self.task.worlds]
            if isinstance(asked, str) and asked in names:
                return names.index(asked)
            if isinstance(asked, int | np.integer) and 0 <= asked < len(names):
                return int(asked)
            raise UsageError(
                f"option world: expected 0 to {len(names) - 1} or one of {', '.join(names)}, got {asked!r}"
            )
        drawn = int(rng.integers(len(self.sites)))
        done = 0
        for index, count in enumerate(self.task.curriculum):
            done += count
            if self.episodes[row] < done:
                return index
        return drawn


def _numbers(value: Any, count: int, name: str) -> np.ndarray:
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.zeros(0)
    if array.shape != (count,) or not np.isfinite(array).all():
        raise UsageError(f"option {name}: expected {count} numbers, got {value!r}")
    return array


def _park(count: int) -> np.ndarray:
    """Movers that are nowhere near: rows of a world that has fewer of them than another."""
    return np.tile([1e6, 1e6, 0.0, 0.0, 1e-3, 1.0, 0.0, 1.0], (count, 1))


def _random_mover(ready: Site, start: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a cylinder that turns back before it meets what stands still.

    For its first five seconds it keeps 1 m or more away from where the robot starts: nobody learns from what nobody
    could have avoided.
    """
    radius = 0.25
    for _ in range(20):
        points = ready.starts if len(ready.starts) > 1 else ready.goals
        x, y = points[int(rng.integers(len(points)))]
        angle = float(rng.uniform(0.0, 2.0 * math.pi))
        way = np.arange(0.0, 9.6 * MOVER_SPEED, 0.1)
        course = np.array([x, y]) + way[:, None] * np.array([math.cos(angle), math.sin(angle)])
        room = np.zeros(len(way))
        rays.clearances(ready.scene, course, room)
        blocked = np.flatnonzero(room < radius)
        length = float(way[-1] if len(blocked) == 0 else way[max(blocked[0] - 1, 0)])
        soon = course[: round(min(length, GRACE * MOVER_SPEED) / 0.1) + 1]
        if length >= 1.0 and np.hypot(soon[:, 0] - start[0], soon[:, 1] - start[1]).min() >= 1.0:
            out = length / MOVER_SPEED
            velocity = MOVER_SPEED * math.cos(angle), MOVER_SPEED * math.sin(angle)
            return np.array([x, y, *velocity, radius, out, 1.1, out])
    parked: np.ndarray = _park(1)[0]
    return parked
