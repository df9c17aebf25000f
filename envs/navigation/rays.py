"""Compiled rays and distances among segments and discs, with a uniform grid as broad phase.

Tested against `tests/support/navigation_reference.py` and Shapely. Unit: metre. Shapes: S segments, D discs.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from homeo_rl.numerics.jit import jit

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]


class Scene(NamedTuple):
    """What stands still, with a grid over it. Things are numbered: segments first, discs after them."""

    segments: Floats  # [S, 4], start and extent (x, y, dx, dy)
    discs: Floats  # [D, 3], centre and radius
    corner: Floats  # [2], lower left corner of the grid
    cell: float  # edge of a grid cell
    columns: int
    rows: int
    # crossed_from, crossed: for cell c, ``crossed[crossed_from[c]:crossed_from[c + 1]]`` are the things in it
    crossed_from: Ints
    crossed: Ints
    # nearest_from, nearest: likewise, the things that may be nearest to a point of the cell
    nearest_from: Ints
    nearest: Ints


_OVERLAP = 1e-12  # how far a segment reaches beyond its ends: no ray slips between two edges of a polygon
_MARGIN = 1e-6  # how far a thing reaches into neighbouring cells, against rounding
_TINY = 1e-300  # parts of a direction below it would make infinite steps


@jit
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


@jit
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


@jit
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


@jit
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


@jit
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


@jit
def clearances(scene: Scene, points: Floats, out: Floats) -> None:
    """`clearance` of points [P, 2]."""
    if points.shape[1] != 2 or out.shape[0] != points.shape[0]:
        raise ValueError("clearances: expected points [P, 2] and out [P]")
    for i in range(points.shape[0]):
        out[i] = clearance(scene, points[i, 0], points[i, 1])


@jit
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


@jit
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
