"""The navigation world on one core, beside a Shapely and Python loop, and its memory.

``python -m benchmarks.navigation_world [--json]``. Seconds are processor time, for other jobs may run beside it, spent
inside ``step``, resets of episodes included.
"""

from __future__ import annotations

import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import shapely

from benchmarks.common import arguments, report
from homeo_rl.envs.navigation import rays
from homeo_rl.envs.navigation.environment import NavigationEnv
from homeo_rl.envs.navigation.tasks import EVALUATION
from homeo_rl.envs.navigation.vector import NavigationVectorEnv
from homeo_rl.envs.navigation.world import World, load_world
from homeo_rl.numerics.jit import jit

ROBOTS, ROUNDS = 1024, 9
BEAMS = np.radians(85.0 - 10.0 * np.arange(18))

Policy = Callable[[np.ndarray], np.ndarray]


def seek(observations: np.ndarray) -> np.ndarray:
    """Steer to the goal and away from what is near, so that episodes are long."""
    beams = observations[:, 4:]
    left, ahead, right = beams[:, 2:9].max(1), beams[:, 6:12].max(1), beams[:, 9:16].max(1)
    danger = np.maximum(left, right) > 0.35
    turn = np.where(danger, 1.5 * np.sign(right - left) * np.maximum(left, right), 0.6 * observations[:, 0])
    speed = 0.8 - np.minimum(ahead, 0.7)
    wheels: np.ndarray = np.clip(np.stack([speed - turn, speed + turn], 1), 0.0, 1.0)
    return wheels


def wander(seed: int) -> Policy:
    """Random actions."""
    rng = np.random.default_rng(seed)
    return lambda observations: rng.random((len(observations), 2))


def crowded(obstacles: int, seed: int = 0) -> World:
    """A world of 20 m x 20 m, as large as the evaluation world, with that many small quadrilaterals."""
    rng = np.random.default_rng(seed)
    polygons = []
    for x, y in rng.uniform(-9.7, 9.7, (obstacles, 2)):
        turns = rng.uniform(0, 2 * math.pi) + np.radians([0, 90, 180, 270])
        polygons.append(
            tuple(
                (x + r * math.cos(a), y + r * math.sin(a))
                for r, a in zip(rng.uniform(0.1, 0.25, 4), turns, strict=True)
            )
        )
    outer = ((-10.0, -10.0), (10.0, -10.0), (10.0, 10.0), (-10.0, 10.0))
    return World(name=f"crowded-{obstacles}", outer=outer, obstacles=tuple(polygons), least_distance=10.0)


class Vector:
    """A vectorised environment that is timed."""

    def __init__(self, policy: Policy, robots: int, warm_up: int, world: str | World = "evaluation") -> None:
        self.env = NavigationVectorEnv(robots, worlds=world, max_episode_steps=1000)
        self.policy, self.robots = policy, robots
        self.endings = self.steps = 0
        self.seen, _ = self.env.reset(seed=0)
        self.round(warm_up)  # compiles, and spreads the episodes' beginnings

    def round(self, decisions: int = 60) -> float:
        """Return the seconds a step of one robot takes."""
        seconds = 0.0
        for _ in range(decisions):
            actions = self.policy(self.seen)
            begin = time.process_time()
            self.seen, _, terminated, truncated, _ = self.env.step(actions)
            seconds += time.process_time() - begin
            self.endings += int((terminated | truncated).sum())
            self.steps += self.robots
        return seconds / (decisions * self.robots)

    def casting(self) -> float:
        """Return the seconds that the rays of a robot's step take."""
        state, out = self.env.fleet.state, np.zeros((self.robots, 18))
        poses = np.stack([state["x"], state["y"], state["heading"]], 1)
        begin = time.process_time()
        for _ in range(20):
            cast_rays(self.env.fleet.sites[0].scene, poses, BEAMS, out)
        return (time.process_time() - begin) / (20 * self.robots)


@jit
def cast_rays(scene: rays.Scene, poses: np.ndarray, angles: np.ndarray, out: np.ndarray) -> None:
    """`cast_ray` from poses [P, 3] along headings + ``angles`` [A], into out [P, A]."""
    if poses.shape[1] != 3 or out.shape != (poses.shape[0], angles.shape[0]):
        raise ValueError("cast_rays: expected poses [P, 3] and out [P, A] for angles [A]")
    for i in range(poses.shape[0]):
        for j in range(angles.shape[0]):
            angle = poses[i, 2] + angles[j]
            out[i, j] = rays.cast_ray(scene, poses[i, 0], poses[i, 1], math.cos(angle), math.sin(angle))


class ShapelyRobot:
    """The same step for one robot, as it is written with Shapely: all beams at once through an index of the edges."""

    def __init__(self, world: World) -> None:
        corners = [np.array(polygon) for polygon in (world.outer, *world.obstacles)]
        self.edges = shapely.linestrings(np.concatenate([np.stack([c, np.roll(c, -1, 0)], 1) for c in corners]))
        self.index = shapely.STRtree(self.edges)
        self.rng = np.random.default_rng(0)

    def place(self, pose: np.ndarray, goal: np.ndarray) -> None:
        """Begin an episode."""
        self.x, self.y, self.heading = pose
        self.goal = goal
        self.distance = math.hypot(goal[0] - self.x, goal[1] - self.y)

    def ranges(self) -> np.ndarray:
        """Range of every beam."""
        here, angles = np.array([self.x, self.y]), self.heading + BEAMS
        ends = np.empty((18, 2, 2))
        ends[:, 0] = here
        ends[:, 1] = here + 40.0 * np.stack([np.cos(angles), np.sin(angles)], 1)
        lines = shapely.linestrings(ends)
        ray, edge = self.index.query(lines, predicate="intersects")
        hits = shapely.distance(shapely.points(here), shapely.intersection(lines[ray], self.edges[edge]))
        found = np.full(18, 40.0)
        np.minimum.at(found, ray, hits)
        return found

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool]:
        """Run one decision."""
        rules = EVALUATION
        noise = self.rng.normal(size=20)
        left, right = 0.05 + 0.45 * np.clip(0.99 * action + 0.01 * noise[:2], 0.0, 1.0)
        speed, turn = 0.5 * (left + right), (right - left) / rules.track
        for _ in range(rules.substeps):
            self.x += speed * math.cos(self.heading) * rules.substep
            self.y += speed * math.sin(self.heading) * rules.substep
            self.heading += turn * rules.substep
        before, (gx, gy) = self.distance, self.goal
        self.distance = math.hypot(gx - self.x, gy - self.y)
        ranges = np.clip(self.ranges() + 0.01 * noise[2:], 0.15, 40.0)
        _, clearance = self.index.query_nearest(shapely.points(self.x, self.y), return_distance=True)
        success = self.distance < 0.5
        collision = not success and clearance[0] < 0.18
        direction = math.remainder(math.atan2(gy - self.y, gx - self.x) - self.heading, 2 * math.pi)
        reward = 30.0 if success else -20.0 if collision else 15.0 * (before - self.distance)
        observation = np.array([direction, min(0.3 / self.distance, 1.0), speed, turn, *np.clip(0.35 / ranges, 0, 1)])
        return observation.astype(np.float32), reward, success or collision


def shapely_round(robot: ShapelyRobot, env: NavigationEnv, steps: int) -> float:
    """Return the seconds a step of `ShapelyRobot` takes; starts and goals are those of the environment."""
    policy = wander(1)
    done, seconds = True, 0.0
    for _ in range(steps):
        if done:
            _, info = env.reset(seed=0)
            robot.place(info["pose"], info["goal"])
        action = policy(np.zeros((1, 22)))[0]
        begin = time.process_time()
        _, _, done = robot.step(action)
        seconds += time.process_time() - begin
    return seconds / steps


def agree(robot: ShapelyRobot, env: NavigationEnv) -> float:
    """Return by how much the ranges of both differ at most."""
    worst = 0.0
    scene, out = env.fleet.sites[0].scene, np.zeros((1, 18))
    for seed in range(50):
        _, info = env.reset(seed=seed)
        robot.place(info["pose"], info["goal"])
        cast_rays(scene, info["pose"][None], BEAMS, out)
        worst = max(worst, float(np.abs(out[0] - robot.ranges()).max()))
    return worst


def resident() -> float:
    """Resident memory of this process (MB)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


def memory(worlds: int) -> None:
    """Print the resident memory after that many worlds are made and run for a while, and what it was before."""
    before = resident()
    env = NavigationVectorEnv(worlds, max_episode_steps=1000)
    seen, _ = env.reset(seed=0)
    for _ in range(50):
        seen, *_ = env.step(seek(seen))
    print(f"{resident():.1f} {before:.1f}")


def main() -> None:
    """Measure and print."""
    told = arguments(__doc__)
    robots, rounds, worlds = (8, 1, 16) if told.tiny else (ROBOTS, ROUNDS, 4096)
    warm_up, shapely_steps, crowd = (30, 30, 40) if told.tiny else (300, 300, 330)
    random, seeking = Vector(wander(0), robots, warm_up), Vector(seek, robots, warm_up)
    few, many = (Vector(seek, robots, warm_up, crowded(obstacles)) for obstacles in (33, crowd))
    scalar = NavigationEnv()
    robot = ShapelyRobot(load_world("evaluation"))
    vectors = {"random actions": random, "seeking the goal": seeking, "33 small": few, "330 small": many}
    names = (*vectors, "Shapely", "rays", "rays, 33 small", "rays, 330 small")
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):  # in turn, so that what runs beside us is the same for all
        for name, vector in vectors.items():
            times[name].append(vector.round())
        times["Shapely"].append(shapely_round(robot, scalar, shapely_steps))
        times["rays"].append(seeking.casting())
        times["rays, 33 small"].append(few.casting())
        times["rays, 330 small"].append(many.casting())
    medians = {name: 1e6 * statistics.median(values) for name, values in times.items()}
    command = [sys.executable, "-m", "benchmarks.navigation_world", "memory", str(worlds)]
    total, before = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    slowest = max(medians["random actions"], medians["seeking the goal"])
    ratios = {
        "steps_per_second": 1e6 / slowest,
        "vs_shapely": medians["Shapely"] / slowest,
        "330_obstacles_vs_33": medians["330 small"] / medians["seeking the goal"],
        "330_obstacles_vs_33_small": medians["330 small"] / medians["33 small"],
        "resident_mb": float(total),
    }
    note = (
        f"microseconds a step of a robot; ranges differ from Shapely's by at most {agree(robot, scalar):.1e} m; "
        + "".join(
            f"{name}: {1000 * v.endings / v.steps:.2f} of 1,000 steps end an episode; " for name, v in vectors.items()
        )
        + f"resident memory is that of {worlds:,} worlds, {before} MB of it the imports; goals: 150,000 steps/s (the "
        "slower of the first two), 20 x Shapely, 330 obstacles at most 3 x 33, 500 MB"
    )
    report(medians, ratios, as_json=told.json, note=note)


if __name__ == "__main__":
    memory(int(sys.argv[2])) if sys.argv[1:2] == ["memory"] else main()
