"""The navigation world once more, to be read and to be tested against: plain numpy, one robot, every thing looked at.

`homeo_rl.envs.navigation.rays` and `kernels` do the same fast. Both take the same random numbers, so a test can follow
both through the same episode. Units: metre, radian, second.
"""

import math
from typing import NamedTuple

import numpy as np

from homeo_rl.envs.navigation.kernels import BEAMS, Rules
from homeo_rl.envs.navigation.rays import Floats, Scene

OVERLAP = 1e-12  # how far a segment reaches beyond its ends, as a share of its length


class Robot(NamedTuple):
    """One robot in the middle of an episode."""

    x: float
    y: float
    heading: float
    goal_x: float
    goal_y: float
    speed: float = 0.0
    turn: float = 0.0
    path: float = 0.0
    steps: int = 0

    @property
    def distance(self) -> float:
        """Distance to the goal."""
        return math.sqrt((self.goal_x - self.x) ** 2 + (self.goal_y - self.y) ** 2)


class Outcome(NamedTuple):
    """What a decision led to."""

    reward: float
    success: bool
    collision: bool
    ranges: Floats
    observation: Floats


def ray_ranges(scene: Scene, x: float, y: float, ux: float, uy: float) -> Floats:
    """Ranges [S + D] along the unit vector (ux, uy) to every segment and every disc; infinite where the ray misses."""
    ax, ay = scene.segments[:, 0] - x, scene.segments[:, 1] - y
    dx, dy = scene.segments[:, 2], scene.segments[:, 3]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        # The ray is at t * u, the segment at a + along * d; Cramer's rule. Parallel ones never meet.
        across = ux * dy - uy * dx
        along = (ax * uy - ay * ux) / across
        t = (ax * dy - ay * dx) / across
        # All but parallel, rounding would put the hit anywhere: it lies between the two ends.
        first = ax * ux + ay * uy
        last = first + dx * ux + dy * uy
        t = np.clip(t, np.minimum(first, last), np.maximum(first, last))
        meets = (across != 0.0) & (along >= -OVERLAP) & (along <= 1.0 + OVERLAP) & (t >= 0.0)
    return np.concatenate([np.where(meets, t, np.inf), disc_ranges(scene.discs, x, y, ux, uy)])


def disc_ranges(discs: Floats, x: float, y: float, ux: float, uy: float) -> Floats:
    """Ranges [D] along (ux, uy) to discs [D, 3] of centre and radius: 0 inside one, infinite where the ray misses."""
    ax, ay = discs[:, 0] - x, discs[:, 1] - y
    # |t * u - a| = radius, so t^2 - 2 * middle * t + outside = 0; the smaller root is where the ray goes in.
    middle = ax * ux + ay * uy
    outside = ax * ax + ay * ay - discs[:, 2] * discs[:, 2]
    root = middle * middle - outside
    meets = (middle > 0.0) & (root >= 0.0)
    result: Floats = np.where(meets, middle - np.sqrt(np.where(meets, root, 0.0)), np.inf)
    return np.where(outside <= 0.0, 0.0, result)


def distances(scene: Scene, x: float, y: float) -> Floats:
    """Distances [S + D] of a point to every segment and every disc (0 inside a disc)."""
    ax, ay = x - scene.segments[:, 0], y - scene.segments[:, 1]
    dx, dy = scene.segments[:, 2], scene.segments[:, 3]
    along = np.clip((ax * dx + ay * dy) / (dx * dx + dy * dy), 0.0, 1.0)
    to_segments = np.sqrt((ax - along * dx) ** 2 + (ay - along * dy) ** 2)
    to_centres = np.sqrt((scene.discs[:, 0] - x) ** 2 + (scene.discs[:, 1] - y) ** 2)
    return np.concatenate([to_segments, np.maximum(to_centres - scene.discs[:, 2], 0.0)])


def clearance(scene: Scene, x: float, y: float) -> float:
    """Distance of a point to the nearest thing that stands still."""
    return float(distances(scene, x, y).min())


def mover_place(mover: Floats, time: float) -> Floats:
    """Centre and radius [3] of a mover: it goes out at constant speed, pauses, comes back, pauses."""
    x, y, vx, vy, radius, out, pause, back = mover
    phase = time % (out + pause + back + pause)
    turning_points = [0.0, out, out + pause, out + pause + back, out + pause + back + pause]
    share = float(np.interp(phase, turning_points, [0.0, 1.0, 1.0, 0.0, 0.0]))
    return np.array([x + vx * out * share, y + vy * out * share, radius])


def measure(scene: Scene, rules: Rules, robot: Robot, movers: Floats, noise: Floats) -> Floats:
    """Ranges [18] of the lidar, left to right, from standard normal numbers [18 * rays_per_beam]."""
    time = robot.steps * rules.substeps * rules.substep
    cylinders = np.array([mover_place(mover, time) for mover in movers]).reshape(-1, 3)
    rays = rules.rays_per_beam
    readings = np.zeros((BEAMS, rays))
    for beam in range(BEAMS):
        for ray in range(rays):
            from_left = 10.0 * beam + 10.0 * (ray + 0.5) / rays  # degrees, where the front spans 180
            angle = robot.heading + math.radians(90.0 - from_left)
            ux, uy = math.cos(angle), math.sin(angle)
            still = ray_ranges(scene, robot.x, robot.y, ux, uy).min()
            moving = disc_ranges(cylinders, robot.x, robot.y, ux, uy).min(initial=np.inf)
            readings[beam, ray] = min(still, moving) + rules.range_noise * noise[beam * rays + ray]
    result: Floats = np.median(np.clip(readings, rules.range_least, rules.range_most), axis=1)
    return result


def observe(robot: Robot, ranges: Floats) -> Floats:
    """Observation [22]: goal direction (left is positive), goal distance, linear speed, angular speed, beams."""
    towards = math.atan2(robot.goal_y - robot.y, robot.goal_x - robot.x) - robot.heading
    direction = math.atan2(math.sin(towards), math.cos(towards))
    distance = min(0.3 / max(robot.distance, 1e-9), 1.0)
    return np.array([direction, distance, robot.speed, robot.turn, *np.clip(0.35 / ranges, 0.0, 1.0)])


def decide(
    scene: Scene, rules: Rules, robot: Robot, movers: Floats, action: Floats, noise: Floats
) -> tuple[Robot, Outcome]:
    """Run one decision; noise [2 + 18 * rays_per_beam] is standard normal, for the two wheels and then the rays."""
    executed = np.clip(rules.action_kept * action + rules.action_noise * noise[:2], 0.0, 1.0)
    left, right = rules.wheel_least + rules.wheel_span * executed
    speed, turn = (left + right) / 2, (right - left) / rules.track
    if robot.steps < rules.still:
        speed, turn = 0.0, 0.0
    x, y, heading = robot.x, robot.y, robot.heading
    for _ in range(rules.substeps):
        x += speed * math.cos(heading) * rules.substep
        y += speed * math.sin(heading) * rules.substep
        heading += turn * rules.substep
    path = robot.path + speed * rules.substep * rules.substeps
    after = robot._replace(x=x, y=y, heading=heading, speed=speed, turn=turn, path=path, steps=robot.steps + 1)

    ranges = measure(scene, rules, after, movers, noise[2:])
    success = after.distance < rules.goal_radius
    now = after.steps * rules.substeps * rules.substep
    gaps = [math.hypot(cx - x, cy - y) - radius for cx, cy, radius in (mover_place(mover, now) for mover in movers)]
    touching = (
        clearance(scene, x, y) < rules.collision_clearance
        or min(gaps, default=math.inf) < rules.collision_mover
        or ranges.min() < rules.collision_beam
    )
    collision = bool(not success and touching and after.steps > rules.immune)
    reward = 30.0 if success else -20.0 if collision else 15.0 * (robot.distance - after.distance)
    return after, Outcome(reward, success, collision, ranges, observe(after, ranges))
