"""What moves around a robot, tracked from its own observations: dead reckoning, a map of free space, Kalman filters.

Hits of the lidar in space that was seen free begin a track: a disc of known radius with position and velocity. Each
later hit says that a point lies on the disc's edge, and each ray that passes says where the disc is not. A track counts
as a mover once it is certain to move through free space; edges of walls, which seem to move along as the robot drives,
are not. The tests compare these filters with a plain version, `tests/support/tracking_reference.py`.

Frame: the origin is where the episode began, the x axis the robot's heading there. Units: metre, radian, second.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from homeo_rl.envs.navigation.coding import FASTEST, TURNING
from homeo_rl.envs.navigation.kernels import BEAMS
from homeo_rl.envs.navigation.rays import Floats
from homeo_rl.numerics.jit import jit

Ints = NDArray[np.int64]


class Tracking(NamedTuple):
    """Numbers of the tracker."""

    period: float = 0.1  # duration of a decision (s), and of its ``substeps`` of integration
    substeps: int = 10
    radius: float = 0.25  # of the discs (m)
    cell: float = 0.1  # size of a cell of the map (m)
    reach: float = 5.0  # ranges beyond it are not used (m); tracks begin 1 m nearer
    free_margin: float = 0.2  # how far before a hit the space counts as free (m)
    free_between: float = 3.5  # how far the space between two beams counts as free (m)
    free_age: int = 150  # observations for which free space is remembered
    hit_std: float = 0.03  # of a hit's distance to the disc's edge (m)
    pass_std: float = 0.03  # of a passing ray's distance to the disc's edge (m)
    gate: float = 2.5  # standard deviations within which a hit belongs to a disc, and ``gate_most`` metres at most
    gate_most: float = 0.25
    start_std: float = 0.2  # of the position of a new track across the beam (m)
    depth_std: float = 0.06  # and along it (m)
    speed_std: float = 0.7  # of its velocity (m/s)
    acceleration: float = 1.0  # change of the velocity that is expected in a second (m/s^2)
    # weight of the newest observation in the share of the time for which a disc was in free space
    score_rate: float = 0.1
    score_least: float = 0.25  # share at which a track is dropped
    score_moving: float = 0.65  # share from which it may be a mover
    hits_moving: float = 3.0  # hits that a mover must have had
    sure: float = 1.5  # standard deviations by which its speed must exceed 0
    slowest: float = 0.35  # speed of a mover at least (m/s)
    fastest: float = 0.95  # and at most (m/s)
    moved: float = 0.12  # distance from where its track began at least (m)
    misses: float = 3.0  # observations for which rays may pass through a disc
    double: float = 1.0  # distance to a new mover within which tracks that are out of view are dropped (m)
    unseen_most: int = 30  # observations for which a disc may be out of view


CELLS = 128
"""Cells of the map along x and along y. It wraps around, so it always holds what is near the robot."""

TRACKS = 12
"""Most discs at once."""

ALIVE, SEEN, HITS, BORN, MISSES, SCORE, MOVING, LANE, TRACK = 20, 21, 22, 23, 25, 26, 27, 28, 30
"""Columns of a track: x, y, vx, vy; covariance [4, 4]; whether it is alive; its last observation; hits; where it began
[2]; recent misses; share of the time in free space; whether it is a mover; mean velocity while moving [2]."""


class Memory(NamedTuple):
    """What is remembered in an episode; the caller owns it, and `observe` writes into it."""

    pose: Floats  # x, y, heading [3]
    clock: Ints  # observations so far [1]
    tracks: Floats  # [TRACKS, TRACK]
    keys: Ints  # which cell of the plane each cell of the map stands for [CELLS, CELLS], -1 for none
    free: Ints  # the observation at which it was last seen free, from 1 on; 0 for never
    hits: Ints  # how often it was hit since


def new_memory() -> Memory:
    """Return what an episode begins with."""
    grid = (CELLS, CELLS)
    return Memory(
        np.zeros(3),
        np.zeros(1, dtype=np.int64),
        np.zeros((TRACKS, TRACK)),
        np.full(grid, -1, dtype=np.int64),
        np.zeros(grid, dtype=np.int64),
        np.zeros(grid, dtype=np.int64),
    )


@jit
def decode_scan(observation: NDArray[np.float32], out: Floats) -> None:
    """Write goal direction and distance, speed, turn and 18 ranges into out [22].

    ``observation`` has 22 entries, or 24 in the spike coding. What its entries cannot say is cut: ranges lie in 0.35 to
    40 m, the goal's distance in 0.3 to 300 m.
    """
    first = observation.shape[0] - BEAMS
    if first == 6:
        out[0] = (float(observation[0]) - float(observation[1])) * math.pi
        out[1] = float(observation[2])
        out[2] = float(observation[3]) * FASTEST
        out[3] = (float(observation[4]) - float(observation[5])) * TURNING
    else:
        for entry in range(4):
            out[entry] = float(observation[entry])
    out[1] = 0.3 / min(max(out[1], 1e-3), 1.0)
    for beam in range(BEAMS):
        out[4 + beam] = 0.35 / min(max(float(observation[first + beam]), 0.35 / 40.0), 1.0)


@jit
def point_beams(heading: float, out: Floats) -> None:
    """Write the unit vectors of the beams into out [18, 2]."""
    for beam in range(BEAMS):
        angle = heading + (85.0 - 10.0 * beam) * (math.pi / 180.0)
        out[beam, 0], out[beam, 1] = math.cos(angle), math.sin(angle)


@jit
def move_pose(p: Tracking, pose: Floats, speed: float, turn: float) -> None:
    """Advance a pose by a decision."""
    dt = p.period / p.substeps
    for _ in range(p.substeps):
        pose[0] += speed * math.cos(pose[2]) * dt
        pose[1] += speed * math.sin(pose[2]) * dt
        pose[2] += turn * dt


@jit
def locate(size: float, x: float, y: float) -> tuple[int, int, int]:
    """Return the key of the cell that a point lies in, and its row and column in the map."""
    column, row = math.floor(x / size), math.floor(y / size)
    return (row + 500_000) * 1_000_000 + column + 500_000, row % CELLS, column % CELLS


@jit
def mark(p: Tracking, memory: Memory, x: float, y: float, hit: bool) -> None:
    """Note that a point was hit, or is free."""
    key, row, column = locate(p.cell, x, y)
    if memory.keys[row, column] != key:
        memory.keys[row, column], memory.free[row, column], memory.hits[row, column] = key, 0, 0
    if hit:
        memory.hits[row, column] += 1
    else:
        memory.free[row, column], memory.hits[row, column] = memory.clock[0], 0


@jit
def hits_at(p: Tracking, memory: Memory, x: float, y: float) -> int:
    """Return how often the cell of a point was hit since it was free."""
    key, row, column = locate(p.cell, x, y)
    return int(memory.hits[row, column]) if memory.keys[row, column] == key else 0


@jit
def is_free(p: Tracking, memory: Memory, x: float, y: float) -> bool:
    """Whether the cell of a point was free not long ago, and hit at most once since."""
    key, row, column = locate(p.cell, x, y)
    if memory.keys[row, column] != key or memory.hits[row, column] > 1 or memory.free[row, column] == 0:
        return False
    return bool(memory.clock[0] - memory.free[row, column] <= p.free_age)


@jit
def predict_track(p: Tracking, track: Floats) -> None:
    """Advance a track by a decision, at constant velocity."""
    dt, c = p.period, track[4:20].reshape(4, 4)
    track[0] += dt * track[2]
    track[1] += dt * track[3]
    for i in range(2):
        for j in range(4):
            c[i, j] += dt * c[i + 2, j]
    for i in range(4):
        for j in range(2):
            c[i, j] += dt * c[i, j + 2]
    q = (p.acceleration * dt) ** 2
    for i in range(2):
        c[i + 2, i + 2] += q
        c[i, i] += 0.25 * q * dt * dt


@jit
def correct_track(track: Floats, hx: float, hy: float, error: float, std: float) -> None:
    """Take the measurement that the disc is ``error`` farther along (hx, hy), with standard deviation ``std``."""
    c, gain = track[4:20].reshape(4, 4), np.empty(4)
    for i in range(4):
        gain[i] = c[i, 0] * hx + c[i, 1] * hy
    variance = hx * gain[0] + hy * gain[1] + std * std
    for i in range(4):
        track[i] += gain[i] / variance * error
    for i in range(4):
        for j in range(4):
            c[i, j] -= gain[i] * gain[j] / variance


@jit
def measure_edge(p: Tracking, track: Floats, x: float, y: float) -> tuple[float, float, float, float]:
    """Return how far a point lies inside a disc's edge, the unit vector to the centre, and the error's deviation."""
    dx, dy = track[0] - x, track[1] - y
    distance = max(math.sqrt(dx * dx + dy * dy), 1e-6)
    hx, hy, c = dx / distance, dy / distance, track[4:20].reshape(4, 4)
    variance = hx * hx * c[0, 0] + 2.0 * hx * hy * c[0, 1] + hy * hy * c[1, 1] + p.hit_std * p.hit_std
    return p.radius - distance, hx, hy, math.sqrt(max(variance, 1e-12))


@jit
def associate(p: Tracking, memory: Memory, beams: Floats, scan: Floats, owner: Ints) -> None:
    """Correct tracks by the hits that belong to them; owner [18] becomes the track of each beam, -1 for none."""
    for beam in range(BEAMS):
        owner[beam] = -1
        if scan[4 + beam] > p.reach + 1.0:
            continue
        x = memory.pose[0] + scan[4 + beam] * beams[beam, 0]
        y = memory.pose[1] + scan[4 + beam] * beams[beam, 1]
        still, best = hits_at(p, memory, x, y) >= 4, p.gate
        for k in range(TRACKS):
            if memory.tracks[k, ALIVE] == 0.0:
                continue
            error, hx, hy, deviation = measure_edge(p, memory.tracks[k], x, y)
            far_side = hx * beams[beam, 0] + hy * beams[beam, 1] < -0.2
            if not far_side and abs(error) / deviation < best and abs(error) < (0.1 if still else p.gate_most):
                best, owner[beam] = abs(error) / deviation, k
        if owner[beam] >= 0:
            track = memory.tracks[owner[beam]]
            error, hx, hy, deviation = measure_edge(p, track, x, y)
            correct_track(track, hx, hy, error, p.hit_std)
            track[SEEN] = memory.clock[0]
            track[HITS] += 1.0


@jit
def exclude(p: Tracking, memory: Memory, beams: Floats, scan: Floats, owner: Ints) -> None:
    """Push discs out of rays that pass, and count the discs that a ray went through."""
    for k in range(TRACKS):
        track, passed = memory.tracks[k], False
        if track[ALIVE] == 0.0:
            continue
        for beam in range(BEAMS):
            ux, uy = beams[beam, 0], beams[beam, 1]
            dx, dy = track[0] - memory.pose[0], track[1] - memory.pose[1]
            along, across = dx * ux + dy * uy, dy * ux - dx * uy
            depth = p.radius - abs(across)
            if owner[beam] == k or along <= 0.0 or scan[4 + beam] <= along or depth <= 0.02:
                continue
            side = 1.0 if across >= 0.0 else -1.0
            correct_track(track, -uy * side, ux * side, depth, p.pass_std)
            passed = passed or depth > 0.12
        track[MISSES] = track[MISSES] + 1.0 if passed else max(track[MISSES] - 0.5, 0.0)


@jit
def is_moving(p: Tracking, track: Floats) -> bool:
    """Whether a track that was just seen is certain to move through free space."""
    c, speed = track[4:20].reshape(4, 4), math.hypot(track[2], track[3])
    if track[HITS] < p.hits_moving or track[SCORE] < p.score_moving or not p.slowest < speed < p.fastest:
        return False
    moved = math.hypot(track[0] - track[BORN], track[1] - track[BORN + 1])
    return bool(speed > p.sure * math.sqrt(max(c[2, 2], c[3, 3])) and moved > p.moved)


@jit
def drop_double(p: Tracking, memory: Memory, track: Floats) -> None:
    """Drop tracks near a new mover that are out of view: it may be what they followed."""
    for k in range(TRACKS):
        other = memory.tracks[k]
        unseen = other[SEEN] < memory.clock[0] - 1
        if unseen and math.hypot(other[0] - track[0], other[1] - track[1]) < p.double:
            other[ALIVE] = 0.0


@jit
def judge_track(p: Tracking, memory: Memory, track: Floats) -> None:
    """Decide whether a track is a mover, and whether it goes on."""
    c, speed = track[4:20].reshape(4, 4), math.hypot(track[2], track[3])
    if track[SEEN] == memory.clock[0]:
        inside = 1.0 if is_free(p, memory, track[0], track[1]) else 0.0
        track[SCORE] += p.score_rate * (inside - track[SCORE])
        if is_moving(p, track):
            if track[MOVING] == 0.0:
                drop_double(p, memory, track)
            track[MOVING] = 1.0
        elif track[SCORE] < p.score_moving - 0.1:
            track[MOVING] = 0.0
    lost = c[0, 0] + c[1, 1] > 1.0 and track[MOVING] == 0.0
    old = memory.clock[0] - track[SEEN] > p.unseen_most
    if lost or old or track[MISSES] > p.misses or track[SCORE] < p.score_least or speed > 2.0 * p.fastest:
        track[ALIVE] = 0.0
        return
    if speed > p.fastest:
        track[2] *= p.fastest / speed
        track[3] *= p.fastest / speed
    if track[MOVING] > 0.0 and speed > p.slowest:
        track[LANE] += 0.3 * (track[2] - track[LANE])
        track[LANE + 1] += 0.3 * (track[3] - track[LANE + 1])


@jit
def begin_tracks(p: Tracking, memory: Memory, beams: Floats, scan: Floats, owner: Ints) -> None:
    """Begin a track where a hit that belongs to none lies in space that was free."""
    for beam in range(BEAMS):
        reach = scan[4 + beam]
        ux, uy = beams[beam, 0], beams[beam, 1]
        x, y = memory.pose[0] + reach * ux, memory.pose[1] + reach * uy
        if owner[beam] >= 0 or reach > p.reach - 1.0 or not is_free(p, memory, x, y):
            continue
        if not is_free(p, memory, x + p.cell * ux, y + p.cell * uy):
            continue
        x, y = x + p.radius * ux, y + p.radius * uy
        chosen, near = -1, False
        for k in range(TRACKS):
            track = memory.tracks[k]
            if track[ALIVE] == 0.0:
                chosen = k if chosen < 0 else chosen
            elif math.hypot(track[0] - x, track[1] - y) < p.radius:
                near = True
        if near or chosen < 0:
            continue
        track, c = memory.tracks[chosen], memory.tracks[chosen, 4:20].reshape(4, 4)
        track[:] = 0.0
        track[0], track[1], track[BORN], track[BORN + 1] = x, y, x, y
        across, along = p.start_std * p.start_std, p.depth_std * p.depth_std - p.start_std * p.start_std
        c[0, 0], c[1, 1] = across + along * ux * ux, across + along * uy * uy
        c[0, 1] = c[1, 0] = along * ux * uy
        c[2, 2] = c[3, 3] = p.speed_std * p.speed_std
        track[ALIVE], track[SEEN], track[HITS], track[SCORE] = 1.0, memory.clock[0], 1.0, 0.6
        owner[beam] = chosen


@jit
def draw_map(p: Tracking, memory: Memory, scan: Floats, owner: Ints) -> None:
    """Note what the scan saw free, along the beams and between them, and what it hit that is no track's."""
    x, y, heading = memory.pose[0], memory.pose[1], memory.pose[2]
    for quarter in range(4 * BEAMS - 3):
        beam, between = quarter // 4, quarter % 4
        reach = min(scan[4 + beam] - p.free_margin, p.reach)
        if between > 0:
            reach = min(reach, scan[5 + beam] - p.free_margin, p.free_between)
        angle = heading + (85.0 - 2.5 * quarter) * (math.pi / 180.0)
        ux, uy = math.cos(angle), math.sin(angle)
        for step in range(int(reach / p.cell) + 1 if reach > 0.0 else 0):
            mark(p, memory, x + step * p.cell * ux, y + step * p.cell * uy, False)
    for beam in range(BEAMS):
        reach = scan[4 + beam]
        angle = heading + (85.0 - 10.0 * beam) * (math.pi / 180.0)
        if owner[beam] < 0 and reach < p.reach:
            mark(p, memory, x + reach * math.cos(angle), y + reach * math.sin(angle), True)


@jit
def observe(p: Tracking, memory: Memory, scan: Floats, owner: Ints) -> None:
    """Take an observation, decoded by `decode_scan`.

    Args:
        p: numbers of the tracker.
        memory: advanced in place.
        scan: [22], of this decision.
        owner: [18], written: the track that each beam hit, -1 for none.
    """
    memory.clock[0] += 1
    if memory.clock[0] > 1:
        move_pose(p, memory.pose, scan[2], scan[3])
    beams = np.empty((BEAMS, 2))
    point_beams(memory.pose[2], beams)
    for k in range(TRACKS):
        if memory.tracks[k, ALIVE] > 0.0:
            predict_track(p, memory.tracks[k])
    associate(p, memory, beams, scan, owner)
    exclude(p, memory, beams, scan, owner)
    for k in range(TRACKS):
        if memory.tracks[k, ALIVE] > 0.0:
            judge_track(p, memory, memory.tracks[k])
    begin_tracks(p, memory, beams, scan, owner)
    draw_map(p, memory, scan, owner)
