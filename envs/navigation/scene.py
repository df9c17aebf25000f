"""From a world to the arrays that the compiled loops run on: things, grid, and where episodes may begin and end."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage

from homeo_rl.envs.navigation import rays
from homeo_rl.envs.navigation.kernels import MOVER
from homeo_rl.envs.navigation.rays import Scene
from homeo_rl.envs.navigation.world import Places, Polygon, World, inside
from homeo_rl.errors import UsageError

RASTER = 0.1  # spacing of the points where episodes may begin and end (m)
LARGEST = 200.0  # longest side of a world (m); a raster of the free space is made of all of it
ROBOT = 0.18  # distance from an obstacle at which the robot touches it (m)


@dataclass(frozen=True, eq=False)
class Site:
    """A world made ready.

    Attributes:
        starts, goals: candidate points [P, 2].
        start_parts, goal_parts: the connected part of the free space [P] that each lies in.
        parts: the part of every raster point [rows, columns], 0 where the robot would touch an obstacle.
        corner: raster point (0, 0).
    """

    world: World
    scene: Scene
    movers: np.ndarray
    starts: np.ndarray
    start_parts: np.ndarray
    goals: np.ndarray
    goal_parts: np.ndarray
    parts: np.ndarray
    corner: np.ndarray

    def draw(
        self, rng: np.random.Generator, start: np.ndarray | None = None, goal: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw a start [x, y, heading] and a goal [x, y] that it can reach, ``least_distance`` or more away.

        Where one of them is given, the other is drawn to fit.

        Raises UsageError: nothing fits what was given.
        """
        starts, start_parts = self.starts, self.start_parts
        goals, goal_parts = self.goals, self.goal_parts
        heading = float(rng.uniform(0.0, 2.0 * math.pi)) if start is None else float(start[2])
        if start is not None:
            starts, start_parts = start[None, :2], np.array([self.part_of(start[:2], 0.5)])
        if goal is not None:
            goals, goal_parts = goal[None], np.array([self.part_of(goal, 0.5)])
        for _ in range(1000):
            first, last = int(rng.integers(len(starts))), int(rng.integers(len(goals)))
            far = np.hypot(*(goals[last] - starts[first])) >= self.world.least_distance - 1e-9
            if far and start_parts[first] == goal_parts[last]:
                return np.array([*starts[first], heading]), goals[last]
        for first in rng.permutation(len(starts)):  # pairs are rare here
            far = np.linalg.norm(goals - starts[first], axis=1) >= self.world.least_distance - 1e-9
            fits = np.flatnonzero(far & (goal_parts == start_parts[first]))
            if len(fits):
                return np.array([*starts[first], heading]), goals[int(rng.choice(fits))]
        where = f"start {starts[0].tolist()}" if start is not None else f"goal {goals[0].tolist()}"
        raise UsageError(
            f"world {self.world.name!r}: nothing {self.world.least_distance} m or more away can be reached from "
            f"{where}; move it"
        )

    def route(
        self, rng: np.random.Generator, start: np.ndarray | None, goal: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return a start [x, y, heading] and a goal [x, y]: those that a user gives, checked, and drawn otherwise.

        Raises UsageError: the start touches an obstacle, or the goal cannot be reached from it.
        """
        name = f"world {self.world.name!r}"
        if start is not None and not self.free(start[None, :2], ROBOT)[0]:
            raise UsageError(f"{name}: start {start[:2].tolist()}: expected {ROBOT} m or more from every obstacle")
        if start is None or goal is None:
            return self.draw(rng, start, goal)
        here, there = self.part_of(start[:2], 0.5), self.part_of(goal, 0.5)
        if here != there or here == 0:
            raise UsageError(
                f"{name}: goal {goal.tolist()} cannot be reached from {start[:2].tolist()}; move one of them"
            )
        return start, goal

    def free(self, points: np.ndarray, clearance: float) -> np.ndarray:
        """Whether points [P, 2] are inside the wall, outside every obstacle, and ``clearance`` or more from both."""
        return _clear(self.scene, self.world, points, clearance)

    def part_of(self, point: np.ndarray, reach: float) -> int:
        """Return the connected part of the free space that lies nearest to a point, within ``reach``; 0 for none."""
        return int(_parts_of(self.parts, self.corner, point[None], reach)[0])


@lru_cache(maxsize=64)
def site(world: World) -> Site:
    """Make a world ready. Raises UsageError: no start is free, or no goal can be reached from one."""
    scene = build_scene(world)
    corners = np.array(world.outer)
    if np.ptp(corners, axis=0).max() > LARGEST:
        raise UsageError(f"world {world.name!r}: expected at most {LARGEST:g} m from end to end; is the unit metres?")
    low = np.round(corners.min(0) / RASTER) * RASTER
    count = np.floor((corners.max(0) - low) / RASTER + 1e-9).astype(int) + 1
    columns, rows = np.meshgrid(np.arange(count[0]), np.arange(count[1]))
    raster = np.round(np.stack([low[0] + columns * RASTER, low[1] + rows * RASTER], -1), 10)
    flat = raster.reshape(-1, 2)
    free = _clear(scene, world, flat, ROBOT)
    parts, _ = ndimage.label(free.reshape(columns.shape), structure=np.ones((3, 3)))
    starts, goals = (
        _candidates(world, scene, flat, places, what) for places, what in ((world.start, "start"), (world.goal, "goal"))
    )
    ready = Site(
        world=world,
        scene=scene,
        movers=np.array(
            [[*m.start, *m.velocity, m.radius, m.out_s, m.pause_s, m.back_s] for m in world.movers], dtype=np.float64
        ).reshape(-1, MOVER),
        starts=starts,
        start_parts=_parts_of(parts, low, starts, 0.5),
        goals=goals,
        goal_parts=_parts_of(parts, low, goals, 0.5),
        parts=parts,
        corner=low,
    )
    _check_reach(ready)
    return ready


def build_scene(world: World, cell: float | None = None) -> Scene:
    """Lay a grid over the things of a world; ``cell`` overrides the edge that suits their number."""
    polygons: list[Polygon] = [world.outer, *world.obstacles]
    segments = np.concatenate(
        [np.hstack([c, np.roll(c, -1, axis=0) - c]) for c in (np.array(p, dtype=np.float64) for p in polygons)]
    )
    discs = np.array([[*disc.center, disc.radius] for disc in world.discs], dtype=np.float64).reshape(-1, 3)
    corners = np.array(world.outer, dtype=np.float64)
    low, size = corners.min(0) - 0.01, np.ptp(corners, axis=0) + 0.02
    if cell is None:
        # About six cells a thing: fewer make long lists, more make long walks.
        cell = max(math.sqrt(float(size[0] * size[1]) / (6 * (len(segments) + len(discs)))), 0.05)
    columns, rows = (math.ceil(edge / cell) for edge in size)
    empty = np.zeros(0, dtype=np.int32)
    bare = Scene(segments, discs, low, cell, columns, rows, empty, empty, empty, empty)
    counts = np.zeros((2, columns * rows), dtype=np.int32)
    rays.bin_things(bare, counts, False)
    offsets = np.zeros((2, columns * rows + 1), dtype=np.int32)
    np.cumsum(counts, axis=1, out=offsets[:, 1:])
    scene = bare._replace(
        crossed_from=offsets[0].copy(),
        crossed=np.zeros(offsets[0, -1], dtype=np.int32),
        nearest_from=offsets[1].copy(),
        nearest=np.zeros(offsets[1, -1], dtype=np.int32),
    )
    rays.bin_things(scene, counts, True)
    return scene


def _parts_of(parts: np.ndarray, corner: np.ndarray, points: np.ndarray, reach: float) -> np.ndarray:
    """Return the part [P] that lies nearest to each of the points [P, 2], within ``reach``; 0 for none."""
    columns, rows = np.round((points - corner) / RASTER).astype(int).T
    known = (rows >= 0) & (rows < parts.shape[0]) & (columns >= 0) & (columns < parts.shape[1])
    result = np.zeros(len(points), dtype=int)
    result[known] = parts[rows[known], columns[known]]
    rows, columns = np.nonzero(parts)
    if len(rows):
        for i in np.flatnonzero(result == 0):
            distance = np.hypot(corner[0] + columns * RASTER - points[i, 0], corner[1] + rows * RASTER - points[i, 1])
            nearest = int(distance.argmin())
            result[i] = parts[rows[nearest], columns[nearest]] if distance[nearest] < reach else 0
    return result


def _clear(scene: Scene, world: World, points: np.ndarray, clearance: float) -> np.ndarray:
    distances = np.zeros(len(points))
    rays.clearances(scene, np.ascontiguousarray(points, dtype=np.float64), distances)
    result: np.ndarray = inside(world.outer, points) & (distances >= clearance - 1e-9)
    for polygon in world.obstacles:
        result &= ~inside(polygon, points)
    return result


def _candidates(world: World, scene: Scene, raster: np.ndarray, places: Places, what: str) -> np.ndarray:
    if places.fixed is not None:
        point = np.array([places.fixed], dtype=np.float64)
        if not (_clear(scene, world, point, ROBOT if what == "start" else 0.0))[0]:
            raise UsageError(f"world {world.name!r}: {what} {places.fixed} lies in or at an obstacle; move it")
        return point
    fits = _clear(scene, world, raster, places.clearance)
    if places.within is not None:
        (x0, x1), (y0, y1) = places.within
        x, y = raster[:, 0], raster[:, 1]
        fits &= (x >= x0 - 1e-9) & (x <= x1 + 1e-9) & (y >= y0 - 1e-9) & (y <= y1 + 1e-9)
    for polygon in places.keepout:
        distances = np.zeros(len(raster))
        rays.clearances(build_scene(World(name="keep-out", outer=polygon)), raster, distances)
        fits &= ~inside(polygon, raster) & (distances >= places.clearance - 1e-9)
    if not fits.any():
        raise UsageError(
            f"world {world.name!r}: no {what} is {places.clearance} m or more from every obstacle; "
            "make room or lower the clearance"
        )
    return np.ascontiguousarray(raster[fits])


def _check_reach(ready: Site) -> None:
    world = ready.world
    for part in np.unique(ready.start_parts):
        starts, goals = ready.starts[ready.start_parts == part], ready.goals[ready.goal_parts == part]
        if part == 0 or not len(goals):
            continue
        corners = np.array([goals.min(0), goals.max(0)])
        for start in starts:
            # The farthest corner of the goals' box bounds the distance from above; only then is each goal looked at.
            if np.hypot(*np.abs(corners - start).max(0)) < world.least_distance:
                continue
            if (np.linalg.norm(goals - start, axis=1) >= world.least_distance - 1e-9).any():
                return
    raise UsageError(
        f"world {world.name!r}: unreachable goal: from no start leads a way to a goal "
        f"{world.least_distance} m or more away; open a passage or move them"
    )
