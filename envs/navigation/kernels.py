"""Compiled loops of the navigation world: rays, clearances, and one decision of many robots.

Scalar and vectorised environments run these same loops, so they agree to the last bit. Every loop is tested against
`homeo_rl.envs.navigation.reference`. Units: metre, radian, second. Shapes: N robots, S segments, D discs, M movers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., Any])
Floats = NDArray[np.float64]
Ints = NDArray[np.int32]


def _compiled(function: F) -> F:
    """Compile, cached on disk; typed here because numba ships no types."""
    return cast(F, numba.njit(cache=True, error_model="numpy")(function))


class Scene(NamedTuple):
    """What stands still, with a grid over it. Things are numbered: segments first, discs after them.

    Attributes:
        segments: [S, 4], start and extent (x, y, dx, dy).
        discs: [D, 3], centre and radius.
        corner: [2], lower left corner of the grid.
        cell: edge of a grid cell.
        columns: cells along x.
        rows: cells along y.
        crossed_from, crossed: for cell c, ``crossed[crossed_from[c]:crossed_from[c + 1]]`` are the things in it.
        nearest_from, nearest: likewise, the things that may be nearest to a point of the cell.
    """

    segments: Floats
    discs: Floats
    corner: Floats
    cell: float
    columns: int
    rows: int
    crossed_from: Ints
    crossed: Ints
    nearest_from: Ints
    nearest: Ints


class Rules(NamedTuple):
    """Numbers of the task (`homeo_rl.envs.navigation.tasks` says where each comes from)."""

    substep: float
    substeps: int
    wheel_least: float
    wheel_span: float
    track: float
    action_kept: float
    action_noise: float
    rays_per_beam: int
    range_noise: float
    range_least: float
    range_most: float
    goal_radius: float
    collision_clearance: float
    collision_beam: float
    still: int
    immune: int


BEAMS = 18
STATE = np.dtype(
    [
        ("x", "f8"), ("y", "f8"), ("heading", "f8"), ("speed", "f8"), ("turn", "f8"),
        ("goal_x", "f8"), ("goal_y", "f8"), ("distance", "f8"), ("path", "f8"),
        ("key", "u8"), ("draws", "u8"), ("steps", "i8"), ("success", "?"), ("collision", "?"),
    ]
)  # fmt: skip
"""One robot. ``key`` and ``draws`` are the state of its noise: a key an episode, a counter of numbers drawn."""

MOVER = 8
"""Numbers of a mover: x, y at the start, velocity x, y on the way out, radius, seconds out, of a pause, and back."""

_OVERLAP = 1e-12  # how far a segment reaches beyond its ends: no ray slips between two edges of a polygon
_MARGIN = 1e-6  # how far a thing reaches into neighbouring cells, against rounding
_TINY = 1e-300  # parts of a direction below it would make infinite steps

_STRIDE = np.uint64(0x9E3779B97F4A7C15)
_MIX1, _MIX2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_27, _30, _31, _11 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(11)
_ONE = np.uint64(1)


@_compiled
def uniform(key: np.uint64, counter: np.uint64) -> float:
    """Number ``counter`` of the stream ``key``, in (0, 1] (SplitMix64, Steele et al. 2014)."""
    z = key + counter * _STRIDE
    z = (z ^ (z >> _30)) * _MIX1
    z = (z ^ (z >> _27)) * _MIX2
    z = z ^ (z >> _31)
    return (float(z >> _11) + 1.0) * 1.1102230246251565e-16


@_compiled
def normals(key: np.uint64, counter: np.uint64, out: Floats) -> np.uint64:
    """Fill ``out``, of even length, with standard normal numbers (Box-Muller); return the counter after."""
    for i in range(0, out.shape[0], 2):
        radius = math.sqrt(-2.0 * math.log(uniform(key, counter)))
        angle = 2.0 * math.pi * uniform(key, counter + _ONE)
        out[i], out[i + 1] = radius * math.cos(angle), radius * math.sin(angle)
        counter = counter + _ONE + _ONE
    return counter


@_compiled
def ray_to_thing(scene: Scene, thing: int, x: float, y: float, ux: float, uy: float) -> float:
    """Range along the unit vector (ux, uy) to a segment or a disc; infinite where it misses."""
    if thing >= scene.segments.shape[0]:
        disc = scene.discs[thing - scene.segments.shape[0]]
        return ray_to_disc(x, y, ux, uy, disc[0], disc[1], disc[2])
    segment = scene.segments[thing]
    ax, ay, dx, dy = segment[0] - x, segment[1] - y, segment[2], segment[3]
    across = ux * dy - uy * dx
    if across == 0.0:
        return math.inf
    along = (ax * uy - ay * ux) / across
    if along < -_OVERLAP or along > 1.0 + _OVERLAP:
        return math.inf
    t = (ax * dy - ay * dx) / across
    # Where the ray all but follows the segment, rounding would put the hit anywhere: it lies between the two ends.
    first = ax * ux + ay * uy
    last = first + dx * ux + dy * uy
    t = min(max(t, min(first, last)), max(first, last))
    return t if t >= 0.0 else math.inf


@_compiled
def ray_to_disc(x: float, y: float, ux: float, uy: float, cx: float, cy: float, radius: float) -> float:
    """Range along the unit vector (ux, uy) to a disc: 0 inside it, infinite where the ray misses."""
    ax, ay = cx - x, cy - y
    inside = ax * ax + ay * ay - radius * radius
    if inside <= 0.0:
        return 0.0
    middle = ax * ux + ay * uy
    root = middle * middle - inside
    if middle <= 0.0 or root < 0.0:
        return math.inf
    return middle - math.sqrt(root)


@_compiled
def distance_to_thing(scene: Scene, thing: int, x: float, y: float) -> float:
    """Distance of a point to a segment or a disc (0 inside it)."""
    if thing >= scene.segments.shape[0]:
        disc = scene.discs[thing - scene.segments.shape[0]]
        distance: float = max(math.sqrt((disc[0] - x) ** 2 + (disc[1] - y) ** 2) - disc[2], 0.0)
        return distance
    segment = scene.segments[thing]
    ax, ay, dx, dy = x - segment[0], y - segment[1], segment[2], segment[3]
    along = min(max((ax * dx + ay * dy) / (dx * dx + dy * dy), 0.0), 1.0)
    return math.sqrt((ax - along * dx) ** 2 + (ay - along * dy) ** 2)


@_compiled
def cast_ray(scene: Scene, x: float, y: float, ux: float, uy: float) -> float:
    """Range along (ux, uy) to the first thing that stands still; infinite where there is none.

    Walks the grid cell by cell (Amanatides and Woo 1987) and stops at the first cell that holds a hit.
    """
    cell = scene.cell
    fx, fy = (x - scene.corner[0]) / cell, (y - scene.corner[1]) / cell
    column, row = math.floor(fx), math.floor(fy)
    best = math.inf
    if column < 0 or row < 0 or column >= scene.columns or row >= scene.rows:
        for thing in range(scene.segments.shape[0] + scene.discs.shape[0]):
            best = min(best, ray_to_thing(scene, thing, x, y, ux, uy))
        return best
    step_x, step_y = (1 if ux > 0.0 else -1), (1 if uy > 0.0 else -1)
    per_column = cell / max(abs(ux), _TINY) if ux != 0.0 else math.inf
    per_row = cell / max(abs(uy), _TINY) if uy != 0.0 else math.inf
    next_x = ((column + 1 - fx) if ux > 0.0 else (fx - column)) * per_column if ux != 0.0 else math.inf
    next_y = ((row + 1 - fy) if uy > 0.0 else (fy - row)) * per_row if uy != 0.0 else math.inf
    while True:
        index = row * scene.columns + column
        for place in range(scene.crossed_from[index], scene.crossed_from[index + 1]):
            t = ray_to_thing(scene, scene.crossed[place], x, y, ux, uy)
            if t < best:
                best = t
        if next_x < next_y:
            leave = next_x
            next_x += per_column
            column += step_x
        else:
            leave = next_y
            next_y += per_row
            row += step_y
        if best <= leave or column < 0 or row < 0 or column >= scene.columns or row >= scene.rows:
            return best


@_compiled
def clearance(scene: Scene, x: float, y: float) -> float:
    """Distance of a point to the nearest thing that stands still."""
    column = math.floor((x - scene.corner[0]) / scene.cell)
    row = math.floor((y - scene.corner[1]) / scene.cell)
    best = math.inf
    if column < 0 or row < 0 or column >= scene.columns or row >= scene.rows:
        for thing in range(scene.segments.shape[0] + scene.discs.shape[0]):
            best = min(best, distance_to_thing(scene, thing, x, y))
        return best
    index = row * scene.columns + column
    for place in range(scene.nearest_from[index], scene.nearest_from[index + 1]):
        d = distance_to_thing(scene, scene.nearest[place], x, y)
        if d < best:
            best = d
    return best


@_compiled
def clearances(scene: Scene, points: Floats, out: Floats) -> None:
    """`clearance` of points [P, 2]."""
    for i in range(points.shape[0]):
        out[i] = clearance(scene, points[i, 0], points[i, 1])


@_compiled
def cast_rays(scene: Scene, poses: Floats, angles: Floats, out: Floats) -> None:
    """`cast_ray` from poses [P, 3] along headings + ``angles`` [A], into out [P, A]."""
    for i in range(poses.shape[0]):
        for j in range(angles.shape[0]):
            angle = poses[i, 2] + angles[j]
            out[i, j] = cast_ray(scene, poses[i, 0], poses[i, 1], math.cos(angle), math.sin(angle))


@_compiled
def _touches(scene: Scene, thing: int, cx: float, cy: float, half: float) -> bool:
    """Whether a thing's boundary meets the square around (cx, cy)."""
    if thing >= scene.segments.shape[0]:
        disc = scene.discs[thing - scene.segments.shape[0]]
        near_x = max(abs(disc[0] - cx) - half, 0.0)
        near_y = max(abs(disc[1] - cy) - half, 0.0)
        return bool(near_x * near_x + near_y * near_y <= disc[2] * disc[2])
    segment = scene.segments[thing]
    hx, hy = 0.5 * segment[2], 0.5 * segment[3]
    mx, my = segment[0] + hx - cx, segment[1] + hy - cy
    if abs(mx) > half + abs(hx) or abs(my) > half + abs(hy):
        return False
    return bool(abs(mx * hy - my * hx) <= half * (abs(hx) + abs(hy)))


@_compiled
def bin_things(scene: Scene, counts: Ints, fill: bool) -> None:
    """Count or list what each cell holds and what may be nearest to its points.

    Without ``fill``, ``counts`` [2, cells] becomes the numbers of both lists; with it, ``scene.crossed`` and
    ``scene.nearest`` are filled from ``scene.crossed_from`` and ``scene.nearest_from`` on.
    """
    things = scene.segments.shape[0] + scene.discs.shape[0]
    half = 0.5 * scene.cell + _MARGIN
    reach = half * math.sqrt(2.0)
    distances = np.empty(things)
    for row in range(scene.rows):
        for column in range(scene.columns):
            index = row * scene.columns + column
            cx = scene.corner[0] + (column + 0.5) * scene.cell
            cy = scene.corner[1] + (row + 0.5) * scene.cell
            least = math.inf
            for thing in range(things):
                distances[thing] = distance_to_thing(scene, thing, cx, cy)
                least = min(least, distances[thing])
            held, near = 0, 0
            for thing in range(things):
                # No point of the cell is farther than `reach` from its centre, so what is nearest to some point of
                # it is at most 2 * reach farther from the centre than what is nearest to the centre.
                if distances[thing] <= least + 2.0 * reach:
                    if fill:
                        scene.nearest[scene.nearest_from[index] + near] = thing
                    near += 1
                if distances[thing] <= reach and _touches(scene, thing, cx, cy, half):
                    if fill:
                        scene.crossed[scene.crossed_from[index] + held] = thing
                    held += 1
            if not fill:
                counts[0, index], counts[1, index] = held, near


@_compiled
def place_mover(mover: Floats, time: float, out: Floats) -> None:
    """Write a mover's x, y, radius at ``time`` into out [3]: out at constant speed, a pause, back, a pause."""
    away, pause, back = mover[5], mover[6], mover[7]
    phase = time % (away + back + 2.0 * pause)
    if phase < away:
        share = phase / away
    elif phase < away + pause:
        share = 1.0
    elif phase < away + pause + back:
        share = 1.0 - (phase - away - pause) / back
    else:
        share = 0.0
    out[0] = mover[0] + mover[2] * away * share
    out[1] = mover[1] + mover[3] * away * share
    out[2] = mover[4]


@_compiled
def _measure(
    scene: Scene, rules: Rules, robot: Any, movers: Floats, here: Floats, noise: Floats, sector: Floats, ranges: Floats
) -> None:
    """Read the lidar of one robot into ranges [18], left to right."""
    time = robot.steps * rules.substeps * rules.substep
    for m in range(movers.shape[0]):
        place_mover(movers[m], time, here[m])
    rays = rules.rays_per_beam
    for beam in range(BEAMS):
        for ray in range(rays):
            # Beams point to +85, +75, ..., -85 degrees; the rays of a beam's sector lie evenly around it.
            offset = 0.0 if rays == 1 else (0.5 * (rays - 1) - ray) * 10.0 / rays
            angle = robot.heading + (85.0 - 10.0 * beam + offset) * (math.pi / 180.0)
            ux, uy = math.cos(angle), math.sin(angle)
            t = cast_ray(scene, robot.x, robot.y, ux, uy)
            for m in range(movers.shape[0]):
                t = min(t, ray_to_disc(robot.x, robot.y, ux, uy, here[m, 0], here[m, 1], here[m, 2]))
            t += rules.range_noise * noise[2 + beam * rays + ray]
            sector[ray] = min(max(t, rules.range_least), rules.range_most)
        ranges[beam] = sector[0] if rays == 1 else np.median(sector)


@_compiled
def _write(robot: Any, ranges: Floats, observation: NDArray[np.float32]) -> None:
    """Write the 22 entries: goal direction, distance, speeds, beams."""
    direction = math.atan2(robot.goal_y - robot.y, robot.goal_x - robot.x) - robot.heading
    direction -= 2.0 * math.pi * math.floor((direction + math.pi) / (2.0 * math.pi))
    observation[0] = min(max(direction, -math.pi), math.pi)
    observation[1] = min(0.3 / max(robot.distance, 1e-9), 1.0)
    observation[2] = robot.speed
    observation[3] = robot.turn
    for beam in range(BEAMS):
        observation[4 + beam] = min(max(0.35 / ranges[beam], 0.0), 1.0)


@_compiled
def begin(
    scene: Scene, rules: Rules, state: Any, movers: Floats, ranges: Floats, observations: NDArray[np.float32], row: int
) -> None:
    """Give the first observation of an episode, whose pose, goal and noise key are set."""
    robot = state[row]
    robot.speed, robot.turn, robot.path = 0.0, 0.0, 0.0
    robot.steps, robot.success, robot.collision = 0, False, False
    robot.distance = math.sqrt((robot.goal_x - robot.x) ** 2 + (robot.goal_y - robot.y) ** 2)
    noise = np.empty(2 + BEAMS * rules.rays_per_beam)
    robot.draws = normals(robot.key, np.uint64(0), noise)
    here, sector = np.empty((movers.shape[1], 3)), np.empty(rules.rays_per_beam)
    _measure(scene, rules, robot, movers[row], here, noise, sector, ranges[row])
    _write(robot, ranges[row], observations[row])


@_compiled
def advance(
    scene: Scene,
    rules: Rules,
    state: Any,
    movers: Floats,
    ranges: Floats,
    rows: NDArray[np.int64],
    actions: Floats,
    observations: NDArray[np.float32],
    rewards: Floats,
    terminated: NDArray[np.bool_],
) -> None:
    """Run one decision (0.1 s) of the robots ``rows`` of one scene.

    Args:
        scene: what stands still.
        rules: the task.
        state: [N] of `STATE`.
        movers: [N, M, 8], what moves.
        ranges: [N, 18], written: the lidar's measured ranges.
        rows: which robots.
        actions: [N, 2] in [0, 1], left and right wheel.
        observations: [N, 22], written.
        rewards: [N], written.
        terminated: [N], written.
    """
    noise = np.empty(2 + BEAMS * rules.rays_per_beam)
    here, sector = np.empty((movers.shape[1], 3)), np.empty(rules.rays_per_beam)
    for row in rows:
        robot = state[row]
        robot.draws = normals(robot.key, robot.draws, noise)
        left = min(max(rules.action_kept * actions[row, 0] + rules.action_noise * noise[0], 0.0), 1.0)
        right = min(max(rules.action_kept * actions[row, 1] + rules.action_noise * noise[1], 0.0), 1.0)
        left = rules.wheel_least + rules.wheel_span * left
        right = rules.wheel_least + rules.wheel_span * right
        robot.speed, robot.turn = 0.5 * (left + right), (right - left) / rules.track
        if robot.steps < rules.still:
            robot.speed, robot.turn = 0.0, 0.0
        robot.steps += 1
        for _ in range(rules.substeps):
            robot.x += robot.speed * math.cos(robot.heading) * rules.substep
            robot.y += robot.speed * math.sin(robot.heading) * rules.substep
            robot.heading += robot.turn * rules.substep
        robot.path += robot.speed * rules.substep * rules.substeps
        before = robot.distance
        robot.distance = math.sqrt((robot.goal_x - robot.x) ** 2 + (robot.goal_y - robot.y) ** 2)
        _measure(scene, rules, robot, movers[row], here, noise, sector, ranges[row])
        near = math.inf
        for beam in range(BEAMS):
            near = min(near, ranges[row, beam])
        robot.success = robot.distance < rules.goal_radius
        robot.collision = (
            not robot.success
            and robot.steps > rules.immune
            and (near < rules.collision_beam or clearance(scene, robot.x, robot.y) < rules.collision_clearance)
        )
        terminated[row] = robot.success or robot.collision
        if robot.success:
            rewards[row] = 30.0
        elif robot.collision:
            rewards[row] = -20.0
        else:
            rewards[row] = 15.0 * (before - robot.distance)
        _write(robot, ranges[row], observations[row])
