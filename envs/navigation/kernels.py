"""One decision of many robots, compiled: noise, movers, kinematics, lidar, outcome, observation.

Scalar and vectorised environments run these same loops, so they agree to the last bit. Every loop is tested against
`tests/support/navigation_reference.py`. Units: metre, radian, second. Shapes: N robots, M movers.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from homeo_rl.envs.navigation.rays import Floats, Scene, cast_ray, clearance, ray_to_disc
from homeo_rl.numerics.jit import jit


class Rules(NamedTuple):
    """Numbers of the task, by default those of an evaluation (`homeo_rl.envs.navigation.tasks` says where from)."""

    substep: float = 0.01
    substeps: int = 10
    wheel_least: float = 0.05
    wheel_span: float = 0.45
    track: float = 0.25
    action_kept: float = 0.99
    action_noise: float = 0.01
    rays_per_beam: int = 1
    range_noise: float = 0.01
    range_least: float = 0.15
    range_most: float = 40.0
    goal_radius: float = 0.5
    collision_clearance: float = 0.18
    collision_mover: float = 0.18
    collision_beam: float = 0.0
    still: int = 0
    immune: int = 0


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

_STRIDE = np.uint64(0x9E3779B97F4A7C15)
_MIX1, _MIX2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_27, _30, _31, _11 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(11)
_ONE = np.uint64(1)


@jit
def uniform(key: np.uint64, counter: np.uint64) -> float:
    """Number ``counter`` of the stream ``key``, in (0, 1] (SplitMix64, Steele et al. 2014)."""
    z = key + counter * _STRIDE
    z = (z ^ (z >> _30)) * _MIX1
    z = (z ^ (z >> _27)) * _MIX2
    z = z ^ (z >> _31)
    return (float(z >> _11) + 1.0) * 1.1102230246251565e-16


@jit
def normals(key: np.uint64, counter: np.uint64, out: Floats) -> np.uint64:
    """Fill ``out``, of even length, with standard normal numbers (Box-Muller); return the counter after."""
    for i in range(0, out.shape[0], 2):
        radius = math.sqrt(-2.0 * math.log(uniform(key, counter)))
        angle = 2.0 * math.pi * uniform(key, counter + _ONE)
        out[i], out[i + 1] = radius * math.cos(angle), radius * math.sin(angle)
        counter = counter + _ONE + _ONE
    return counter


@jit
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


@jit
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


@jit
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


@jit
def _collides(scene: Scene, rules: Rules, robot: Any, here: Floats, ranges: Floats) -> bool:
    """Whether what stands still, a mover or the least beam is nearer than the rules allow."""
    for beam in range(BEAMS):
        if ranges[beam] < rules.collision_beam:
            return True
    for m in range(here.shape[0]):
        if math.hypot(here[m, 0] - robot.x, here[m, 1] - robot.y) - here[m, 2] < rules.collision_mover:
            return True
    return clearance(scene, robot.x, robot.y) < rules.collision_clearance


@jit
def _require(state: Any, movers: Floats, ranges: Floats, observations: NDArray[np.float32]) -> None:
    """Check that all arrays are of the same robots: loops read them without looking."""
    count = state.shape[0]
    if movers.shape[0] != count or movers.shape[2] != MOVER or ranges.shape != (count, BEAMS):
        raise ValueError("fleet: expected movers [N, M, 8] and ranges [N, 18] for N robots")
    if observations.shape != (count, 4 + BEAMS):
        raise ValueError("fleet: expected observations [N, 22] for N robots")


@jit
def begin(
    scene: Scene, rules: Rules, state: Any, movers: Floats, ranges: Floats, observations: NDArray[np.float32], row: int
) -> None:
    """Give the first observation of an episode, whose pose, goal and noise key are set."""
    _require(state, movers, ranges, observations)
    if row < 0 or row >= state.shape[0]:
        raise IndexError("begin: expected a row of the fleet")
    robot = state[row]
    robot.speed, robot.turn, robot.path = 0.0, 0.0, 0.0
    robot.steps, robot.success, robot.collision = 0, False, False
    robot.distance = math.sqrt((robot.goal_x - robot.x) ** 2 + (robot.goal_y - robot.y) ** 2)
    noise = np.empty(2 + BEAMS * rules.rays_per_beam)
    robot.draws = normals(robot.key, np.uint64(0), noise)
    here, sector = np.empty((movers.shape[1], 3)), np.empty(rules.rays_per_beam)
    _measure(scene, rules, robot, movers[row], here, noise, sector, ranges[row])
    _write(robot, ranges[row], observations[row])


@jit
def _move(rules: Rules, robot: Any, action: Floats, noise: Floats) -> None:
    left = min(max(rules.action_kept * action[0] + rules.action_noise * noise[0], 0.0), 1.0)
    right = min(max(rules.action_kept * action[1] + rules.action_noise * noise[1], 0.0), 1.0)
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


@jit
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
        state: [N] of `STATE`.
        movers: [N, M, 8], what moves.
        ranges: [N, 18], written: the lidar's measured ranges.
        actions: [N, 2] in [0, 1], left and right wheel.
        observations: [N, 22], written.
    """
    _require(state, movers, ranges, observations)
    count = state.shape[0]
    if actions.shape != (count, 2) or rewards.shape[0] != count or terminated.shape[0] != count:
        raise ValueError("advance: expected actions [N, 2], rewards [N] and terminated [N] for N robots")
    for row in rows:
        if row < 0 or row >= count:
            raise IndexError("advance: expected rows of the fleet")
    noise = np.empty(2 + BEAMS * rules.rays_per_beam)
    here, sector = np.empty((movers.shape[1], 3)), np.empty(rules.rays_per_beam)
    for row in rows:
        robot = state[row]
        robot.draws = normals(robot.key, robot.draws, noise)
        _move(rules, robot, actions[row], noise)
        before = robot.distance
        robot.distance = math.sqrt((robot.goal_x - robot.x) ** 2 + (robot.goal_y - robot.y) ** 2)
        _measure(scene, rules, robot, movers[row], here, noise, sector, ranges[row])
        robot.success = robot.distance < rules.goal_radius
        robot.collision = (
            not robot.success and robot.steps > rules.immune and _collides(scene, rules, robot, here, ranges[row])
        )
        terminated[row] = robot.success or robot.collision
        if robot.success:
            rewards[row] = 30.0
        elif robot.collision:
            rewards[row] = -20.0
        else:
            rewards[row] = 15.0 * (before - robot.distance)
        _write(robot, ranges[row], observations[row])
