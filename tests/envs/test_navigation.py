from __future__ import annotations

import copy
import dataclasses
import json
import math
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.stats
import shapely
from conftest import published
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils import env_checker
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from hypothesis import given, settings

import homeo_rl  # noqa: F401  # registers the environments
from homeo_rl.envs.navigation import kernels, rays, reference
from homeo_rl.envs.navigation.coding import CODED, SIGNED, SpikeCoded, spike_code
from homeo_rl.envs.navigation.environment import NavigationEnv
from homeo_rl.envs.navigation.fleet import Fleet
from homeo_rl.envs.navigation.rays import Scene
from homeo_rl.envs.navigation.scene import ROBOT, build_scene, site
from homeo_rl.envs.navigation.tasks import Task
from homeo_rl.envs.navigation.vector import NavigationVectorEnv
from homeo_rl.envs.navigation.world import Disc, World, load_world, world_names
from homeo_rl.errors import UsageError

STATIC, DYNAMIC, TRAIN = "homeo_rl/Navigation-v0", "homeo_rl/NavigationDynamic-v0", "homeo_rl/NavigationTrain-v0"
IDS = {STATIC: 1000, DYNAMIC: 3000, TRAIN: 1000}
BEAMS = np.radians(85.0 - 10.0 * np.arange(18))
TRAINING = ["train-1", "train-2", "train-3", "train-4"]

# 10 m x 10 m and empty: the robot in the middle, the goal to the right.
ROOM: dict[str, Any] = {
    "name": "room",
    "outer": [[-5, -5], [5, -5], [5, 5], [-5, 5]],
    "start": {"fixed": [0, 0]},
    "goal": {"fixed": [4, 0]},
}
BOX = [[-1.1, 1], [1.1, 1], [1.1, 2], [-1.1, 2]]


def put(env: gym.Env[Any, Any], **fields: float) -> None:
    """Set fields of the robot of a scalar environment."""
    robot = env.unwrapped.fleet.state[0]  # type: ignore[attr-defined]
    for name, value in fields.items():
        robot[name] = value
    robot["distance"] = math.hypot(robot["goal_x"] - robot["x"], robot["goal_y"] - robot["y"])


def crowd(obstacles: int = 330, discs: int = 50, seed: int = 1) -> World:
    """A world of 20 m x 20 m with small random triangles and discs, some across each other."""
    rng = np.random.default_rng(seed)
    centres, angles = rng.uniform(-9.6, 9.6, (obstacles, 2)), rng.uniform(0, 2 * math.pi, obstacles)
    turns = angles[:, None] + np.radians([0, 110, 240]) + rng.uniform(-0.3, 0.3, (obstacles, 3))
    corners = centres[:, None] + rng.uniform(0.1, 0.3, (obstacles, 3, 1)) * np.stack([np.cos(turns), np.sin(turns)], -1)
    return World(
        name="crowd",
        outer=((-10, -10), (10, -10), (10, 10), (-10, 10)),
        obstacles=tuple(tuple((float(x), float(y)) for x, y in polygon) for polygon in corners),
        discs=tuple(
            Disc(center=(float(x), float(y)), radius=float(r))
            for x, y, r in zip(*rng.uniform(-9, 9, (2, discs)), rng.uniform(0.05, 0.3, discs), strict=True)
        ),
    )


# Geometry ------------------------------------------------------------------------------------------------------------


def free_poses(world: World, count: int, seed: int) -> np.ndarray:
    """Random poses [count, 3] outside of every obstacle."""
    rng = np.random.default_rng(seed)
    low, high = np.array(world.outer).min(0), np.array(world.outer).max(0)
    points = rng.uniform(low, high, (4 * count, 2))
    there = shapely.points(points)
    solid = shapely.union_all([shapely.Polygon(polygon) for polygon in world.obstacles])
    free = shapely.contains(shapely.Polygon(world.outer), there) & ~shapely.intersects(solid, there)
    for disc in world.discs:
        free &= np.hypot(*(points - disc.center).T) > disc.radius
    points = points[free][:count]
    assert len(points) == count
    return np.column_stack([points, rng.uniform(-7, 7, count)])


def rings(world: World) -> list[Any]:
    return [shapely.LinearRing(polygon) for polygon in (world.outer, *world.obstacles)]


def shapely_ranges(world: World, poses: np.ndarray, angles: np.ndarray, ours: np.ndarray) -> np.ndarray:
    """Ranges [P, A] by Shapely to edges; to discs by the ray's foot point, for Shapely's circles are polygons.

    Its rays are a little longer than ``ours`` [P, A]: a hit of ours that is none is missed, a nearer one is found.
    """
    turned = poses[:, 2:] + angles
    units = np.stack([np.cos(turned), np.sin(turned)], -1).reshape(-1, 2)
    origins = np.repeat(poses[:, :2], len(angles), axis=0)
    lines = shapely.linestrings(np.stack([origins, origins + (ours.reshape(-1, 1) + 1e-3) * units], 1))
    corners = [np.array(ring.coords) for ring in rings(world)]
    edges = shapely.linestrings(np.concatenate([np.stack([c[:-1], c[1:]], 1) for c in corners]))
    ray, edge = shapely.STRtree(edges).query(lines, predicate="intersects")
    hits = shapely.distance(shapely.points(origins)[ray], shapely.intersection(lines[ray], edges[edge]))
    found = np.full(len(lines), np.inf)
    np.minimum.at(found, ray, hits)
    for disc in world.discs:
        to = np.array(disc.center) - origins
        foot = (to * units).sum(1)
        inside = disc.radius**2 - ((to - foot[:, None] * units) ** 2).sum(1)
        reached = (foot > 0) & (inside >= 0)
        found[reached] = np.minimum(found[reached], foot[reached] - np.sqrt(inside[reached]))
    return found.reshape(len(poses), len(angles))


@pytest.mark.parametrize("name", ["evaluation", "evaluation-dynamic", *TRAINING])
def test_ranges_and_clearances_equal_shapely(name: str) -> None:
    """10,000 poses in each world. Movers stand as discs where they are at 4.3 s."""
    world = load_world(name)
    places = [np.zeros(3) for _ in world.movers]
    for mover, place in zip(site(world).movers, places, strict=True):
        kernels.place_mover(mover, 4.3, place)
    world = dataclasses.replace(world, discs=tuple(Disc(center=(p[0], p[1]), radius=p[2]) for p in places))
    assert len(world.discs) == (11 if name == "evaluation-dynamic" else 0)
    scene = build_scene(world)
    poses = free_poses(world, 10_000, seed=3)
    angles = BEAMS[::3] if name == "evaluation" else BEAMS[[0, 8, 17]]
    ranges = np.zeros((len(poses), len(angles)))
    rays.cast_rays(scene, poses, angles, ranges)
    assert np.isfinite(ranges).all()
    np.testing.assert_allclose(ranges, shapely_ranges(world, poses, angles, ranges), rtol=0, atol=1e-9)

    clearances = np.zeros(len(poses))
    rays.clearances(scene, poses[:, :2].copy(), clearances)
    expected = shapely.distance(shapely.points(poses[:, :2]), shapely.union_all(rings(world)))
    for disc in world.discs:
        expected = np.minimum(expected, np.hypot(*(poses[:, :2] - disc.center).T) - disc.radius)
    np.testing.assert_allclose(clearances, expected, rtol=0, atol=1e-9)


def check_grid(scene: Scene, cases: np.ndarray) -> None:
    """Rays [R, 4] (x, y, unit vector) and clearances through the grid equal those without it, to the bit."""
    for x, y, ux, uy in cases:
        expected = reference.ray_ranges(scene, x, y, ux, uy).min()
        assert rays.cast_ray(scene, x, y, ux, uy) == expected, (x, y, ux, uy)
        assert rays.clearance(scene, x, y) == reference.clearance(scene, x, y), (x, y)


@pytest.mark.parametrize("cell", [None, 0.13, 1.0, 3.7, 25.0])
def test_the_grid_changes_nothing(cell: float | None) -> None:
    """330 obstacles and 50 discs: random rays, rays along grid lines, through corners, along edges, from outside."""
    world = crowd()
    scene = build_scene(world, cell)
    rng = np.random.default_rng(2)
    angles = rng.uniform(-7, 7, 600)
    free = np.column_stack([rng.uniform(-10, 10, (600, 2)), np.cos(angles), np.sin(angles)])

    axes = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    slants = np.radians([0, 45, 90, 135, 180, 270])  # cosines and sines that are all but zero, too
    units = np.concatenate([axes, np.stack([np.cos(slants), np.sin(slants)], 1)])
    columns, rows = rng.integers(0, [scene.columns, scene.rows], (200, 2)).T
    crossings = scene.corner + np.stack([columns, rows], 1) * scene.cell
    along_lines = np.column_stack([crossings, units[np.arange(200) % len(units)]])

    first = scene.segments[:, :2]
    edges = scene.segments[:, 2:]
    origins = rng.uniform(-10, 10, first.shape)
    towards = (first - origins) / np.linalg.norm(first - origins, axis=1, keepdims=True)
    through_corners = np.column_stack([origins, towards])
    ahead = edges / np.linalg.norm(edges, axis=1, keepdims=True)
    along_edges = np.column_stack([first - rng.uniform(0, 3, (len(first), 1)) * ahead, ahead])

    outside = np.column_stack([rng.uniform(11, 12, (20, 2)), np.tile([[-0.6, -0.8], [0.6, 0.8]], (10, 1))])
    check_grid(scene, np.concatenate([free, along_lines, through_corners[:300], along_edges[:300], outside]))


@st.composite
def stars(draw: st.DrawFn) -> World:
    """A room with some star-shaped polygons, which never cross themselves."""
    polygons = []
    for _ in range(draw(st.integers(0, 4))):
        corners = draw(st.integers(3, 8))
        x, y = draw(st.tuples(st.floats(-4, 4), st.floats(-4, 4)))
        sizes = draw(st.lists(st.floats(0.1, 3.0), min_size=corners, max_size=corners))
        turn = draw(st.floats(0, 1))
        polygons.append(
            tuple(
                (x + r * math.cos(turn + 2 * math.pi * i / corners), y + r * math.sin(turn + 2 * math.pi * i / corners))
                for i, r in enumerate(sizes)
            )
        )
    radii = draw(st.lists(st.floats(0.01, 2.0), max_size=3))
    return World(
        name="stars",
        outer=((-5, -5), (5, -5), (5, 5), (-5, 5)),
        obstacles=tuple(polygons),
        discs=tuple(Disc(center=(i - 2.0, 1.0 - i), radius=r) for i, r in enumerate(radii)),
    )


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    world=stars(),
    x=st.floats(-5, 5),
    y=st.floats(-5, 5),
    heading=st.floats(-10, 10),
    cell=st.floats(0.2, 12),
    corner=st.integers(0, 100),
)
def test_any_world_and_pose(world: World, x: float, y: float, heading: float, cell: float, corner: int) -> None:
    scene = build_scene(world, cell)
    aim = scene.segments[corner % len(scene.segments), :2] - (x, y)
    far = float(np.hypot(*aim))
    cases = [(x, y, math.cos(heading), math.sin(heading))]
    if far > 1e-3:
        cases.append((x, y, aim[0] / far, aim[1] / far))
        assert rays.cast_ray(scene, *cases[1]) <= far + 1e-9, "a ray slips between two edges"
    check_grid(scene, np.array(cases))


def test_rays_along_an_edge_end_at_its_corner() -> None:
    """All but parallel lines meet anywhere, by rounding; the ray must not."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        corner, angle, length = rng.uniform(-2, 2, 2), rng.uniform(0, 2 * math.pi), rng.uniform(0.5, 2)
        ahead = np.array([math.cos(angle), math.sin(angle)])
        tip = corner + length / 2 * ahead + rng.uniform(0.5, 1) * np.array([-ahead[1], ahead[0]])
        triangle = tuple((float(x), float(y)) for x, y in (corner, corner + length * ahead, tip))
        scene = build_scene(World(name="one", outer=((-5, -5), (5, -5), (5, 5), (-5, 5)), obstacles=(triangle,)))
        away = rng.uniform(0.2, 2)
        x, y = corner - away * ahead
        assert rays.cast_ray(scene, x, y, *ahead) == pytest.approx(away, abs=1e-9)


def test_movers_go_out_pause_and_come_back() -> None:
    mover = np.array([1.0, 2.0, 0.7, -0.5, 0.25, 9.6, 1.1, 7.4])  # a round: 9.6 + 1.1 + 7.4 + 1.1 = 19.2 s
    place = np.zeros(3)
    for time, share in {0: 0, 4.8: 0.5, 9.6: 1, 10.5: 1, 14.4: 0.5, 18.1: 0, 19.0: 0, 24.0: 0.5}.items():
        kernels.place_mover(mover, float(time), place)
        np.testing.assert_allclose(place, [1 + 0.7 * 9.6 * share, 2 - 0.5 * 9.6 * share, 0.25], atol=1e-12)
    for time in np.random.default_rng(0).uniform(0, 300, 200):
        kernels.place_mover(mover, time, place)
        np.testing.assert_allclose(place, reference.mover_place(mover, time), rtol=0, atol=1e-12)


# Noise ---------------------------------------------------------------------------------------------------------------


def drawn(key: int, count: int, start: int = 0) -> np.ndarray:
    out = np.zeros(count)
    assert kernels.normals(np.uint64(key), np.uint64(start), out) == start + count
    return out


def test_noise_is_standard_normal_and_streams_are_independent() -> None:
    numbers = drawn(20240607, 100_000)
    assert abs(numbers.mean()) < 0.01
    assert abs(numbers.std() - 1) < 0.01
    assert abs(scipy.stats.skew(numbers)) < 0.03
    assert abs(scipy.stats.kurtosis(numbers)) < 0.06
    assert scipy.stats.kstest(numbers, "norm").pvalue > 0.01
    assert np.array_equal(numbers[:1000], np.concatenate([drawn(20240607, 400), drawn(20240607, 600, start=400)]))
    for shift in (1, 2, 20):
        assert abs(np.corrcoef(numbers[shift:], numbers[:-shift])[0, 1]) < 0.013, "four standard errors"
    for key in (20240608, 20240607 ^ (1 << 63), 0, 2**64 - 1):
        other = drawn(key, 100_000)
        assert abs(np.corrcoef(numbers, other)[0, 1]) < 0.013
        assert scipy.stats.kstest(other, "norm").pvalue > 0.01


def test_uniform_is_in_the_half_open_interval() -> None:
    assert kernels.uniform(np.uint64(0), np.uint64(0)) == 2.0**-53, "the least: all bits of the mixed number are 0"
    # The key that mixes to all ones, by undoing the mixing.
    word, mask = 2**64 - 1, 2**64 - 1
    for shift, factor in ((31, 0x94D049BB133111EB), (27, 0xBF58476D1CE4E5B9), (30, 1)):
        word ^= (word >> shift) ^ (word >> 2 * shift)
        word = word * pow(factor, -1, 2**64) & mask
    assert kernels.uniform(np.uint64(word), np.uint64(0)) == 1.0, "the most"
    assert np.isfinite(drawn(0, 2)).all()
    assert np.isfinite(drawn(word, 2)).all()


# One decision --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kwargs", "decisions"),
    [
        ({}, 400),
        ({"toy_envs": "evaluation-dynamic", "rules": "dynamic"}, 400),
        ({"toy_envs": TRAINING, "rules": "training", "random_movers": 3}, 400),
        ({"toy_envs": "evaluation-dynamic", "median": True}, 25),
    ],
    ids=["evaluation", "dynamic", "training", "median"],
)
def test_a_decision_is_that_of_the_reference(kwargs: dict[str, Any], decisions: int) -> None:
    env = NavigationEnv(**kwargs)
    fleet, rules = env.fleet, env.fleet.task.rules
    rng = np.random.default_rng(4)
    noise = np.zeros(2 + 18 * rules.rays_per_beam)
    done, endings, seed = 0, 0, 0
    while done < decisions:
        observation, info = env.reset(seed=seed)
        scene, movers = fleet.sites[fleet.where[0]].scene, fleet.movers[0]
        key, draws = fleet.state["key"][0], 0
        robot = reference.Robot(*info["pose"], *info["goal"])
        draws = int(kernels.normals(key, np.uint64(draws), noise))
        np.testing.assert_allclose(info["ranges"], reference.measure(scene, rules, robot, movers, noise[2:]), atol=1e-9)
        np.testing.assert_allclose(observation, reference.observe(robot, info["ranges"]), atol=1e-6)
        bias = rng.uniform(0, 1, 2)
        for _ in range(min(150, decisions - done)):
            action = np.clip(bias + rng.uniform(-0.3, 0.3, 2), 0, 1)
            draws = int(kernels.normals(key, np.uint64(draws), noise))
            robot, outcome = reference.decide(scene, rules, robot, movers, action, noise)
            observation, reward, terminated, truncated, info = env.step(action)
            np.testing.assert_allclose(info["pose"], robot[:3], rtol=0, atol=1e-9)
            np.testing.assert_allclose(info["ranges"], outcome.ranges, rtol=0, atol=1e-9)
            np.testing.assert_allclose(observation, outcome.observation, rtol=0, atol=1e-6)
            assert reward == pytest.approx(outcome.reward, abs=1e-9)
            assert (info["is_success"], info["collision"]) == (outcome.success, outcome.collision)
            assert terminated == (outcome.success or outcome.collision)
            assert not truncated
            assert info["path_length"] == pytest.approx(robot.path, abs=1e-9)
            assert info["time"] == pytest.approx(0.1 * robot.steps)
            done += 1
            if terminated:
                endings += 1
                break
        seed += 1
    assert endings or decisions < 100


def test_wheels_and_signs() -> None:
    """No noise in training: both wheels from 0.05 to 0.5 m/s, 0.25 m apart; the right wheel turns the robot left."""
    env = NavigationEnv(worlds=ROOM, rules="training")
    expected = {
        (0, 0): (0.05, 0),
        (1, 1): (0.5, 0),
        (0, 1): (0.275, 1.8),
        (1, 0): (0.275, -1.8),
        (0.2, 0.7): (0.2525, 0.9),
    }
    for action, (speed, turn) in expected.items():
        env.reset(seed=1, options={"start": (0, 0, 0.5)})
        observation, _, _, _, info = env.step(np.array(action))
        np.testing.assert_allclose(observation[2:4], [speed, turn], rtol=1e-6, atol=1e-7)
        assert observation in SIGNED
        assert info["pose"][2] == pytest.approx(0.5 + 0.1 * turn)
        assert info["path_length"] == pytest.approx(0.1 * speed)
        x, y = (sum(0.01 * speed * f(0.5 + 0.01 * turn * i) for i in range(10)) for f in (math.cos, math.sin))
        np.testing.assert_allclose(info["pose"][:2], [x, y])
    for goal, direction in {(0, 3): 1, (0, -3): -1, (3, 0): 0, (-3, 0.1): 1, (-3, -0.1): -1}.items():
        observation, _ = env.reset(options={"start": (0, 0, 0), "goal": goal})
        assert np.sign(observation[0]) == direction
        assert observation[0] == pytest.approx(math.atan2(goal[1], goal[0]))
        assert observation[1] == pytest.approx(0.3 / math.hypot(*goal))
    observation, _ = env.reset(options={"start": (0, 0, math.radians(200)), "goal": (3, 0)})
    assert observation[0] == pytest.approx(math.radians(160)), "the short way round"
    observation, _ = env.reset(options={"start": (0, 0, 0), "goal": (0.1, 0)})
    assert observation[1] == 1.0


def test_executed_actions_of_the_evaluation() -> None:
    """0.99 a + 0.01 N, clipped to [0, 1]."""
    env = NavigationVectorEnv(2000, worlds=ROOM)
    env.reset(seed=0)
    observations = env.step(np.tile([0.5, 1.0], (2000, 1)))[0].astype(np.float64)
    left = (observations[:, 2] - 0.125 * observations[:, 3] - 0.05) / 0.45
    right = (observations[:, 2] + 0.125 * observations[:, 3] - 0.05) / 0.45
    assert left.mean() == pytest.approx(0.495, abs=1e-3)
    assert left.std() == pytest.approx(0.01, abs=1e-3)
    assert right.max() == pytest.approx(1.0, abs=1e-6)
    assert (right > 1 - 1e-6).mean() == pytest.approx(1 - scipy.stats.norm.cdf(1), abs=0.04)


def test_beams_go_from_left_to_right() -> None:
    env = NavigationEnv(worlds=ROOM | {"obstacles": [BOX]})
    observation, info = env.reset(seed=0, options={"start": (0, 0, 0), "goal": (4, 0)})
    wall = [5 / math.cos(angle) if abs(angle) < math.pi / 4 else 5 / abs(math.sin(angle)) for angle in BEAMS]
    expected = np.array([1 / math.sin(angle) for angle in BEAMS[:5]] + wall[5:])
    np.testing.assert_allclose(info["ranges"], expected, rtol=0, atol=0.05)
    np.testing.assert_allclose(observation[4:], 0.35 / info["ranges"], rtol=1e-6)
    assert (observation[4:8] > 0.28).all()
    assert (observation[9:] < 0.1).all()
    _, info = env.reset(options={"start": (0, 0, math.pi / 2), "goal": (4, 0)})
    assert np.abs(info["ranges"][8:10] - 1 / math.cos(math.radians(5))).max() < 0.05, "now ahead"
    observation, info = env.reset(options={"start": (0, 0.82, math.pi / 2), "goal": (4, 0)})
    assert observation[12:14].tolist() == [1.0, 1.0], "nearer than 0.35 m"
    put(env, x=0.0, y=0.99)
    _, _, _, _, info = env.step(np.zeros(2))
    assert info["ranges"][8:10].tolist() == [0.15, 0.15], "the scanner's least range"
    put(env, x=100.0)
    assert env.step(np.zeros(2))[4]["ranges"].max() == 40.0, "and its most"


def test_goal_and_progress() -> None:
    env = NavigationEnv(worlds=ROOM, rules="training")
    env.reset(seed=0, options={"start": (0, 0, 0), "goal": (0.5049, 0)})
    _, reward, terminated, truncated, info = env.step(np.zeros(2))  # 0.005 m ahead
    assert (reward, terminated, truncated, info["is_success"], info["collision"]) == (30.0, True, False, True, False)
    env.reset(options={"start": (0, 0, 0), "goal": (0.5051, 0)})
    _, reward, terminated, _, info = env.step(np.zeros(2))
    assert reward == pytest.approx(15 * 0.005)
    assert not terminated
    assert not info["is_success"]
    env.reset(options={"start": (0, 0, 0), "goal": (-3, 0)})
    assert env.step(np.ones(2))[1] == pytest.approx(-15 * 0.05), "away from the goal"
    put(env, x=4.9, goal_x=4.9, goal_y=0.0)
    _, reward, terminated, _, info = env.step(np.zeros(2))
    assert (reward, terminated, info["is_success"], info["collision"]) == (30.0, True, True, False), (
        "the goal counts first"
    )


def test_collision_in_evaluation_and_training() -> None:
    """0.18 m and 0.35 m from what is nearest, wherever it is: here behind the robot, where no beam looks."""
    for rules, least in (("evaluation", 0.18), ("training", 0.35)):
        env = NavigationEnv(worlds=ROOM, rules=rules)
        for clearance, collides in ((least - 0.011, True), (least + 0.002, False)):
            env.reset(seed=0)
            put(env, x=-5 + clearance, y=0.0, heading=0.0)
            _, reward, terminated, truncated, info = env.step(np.zeros(2))  # 0.005 to 0.008 m away from the wall
            assert 0.004 < env.fleet.clearance(0) - clearance < 0.009
            assert (terminated, info["collision"], truncated) == (collides, collides, False)
            assert (reward == -20.0) == collides
    env = NavigationEnv(worlds=ROOM)
    env.reset(seed=0)
    put(env, x=5 - 0.19, y=0.0, heading=0.0)
    _, _, terminated, _, info = env.step(np.zeros(2))
    assert not terminated
    for _ in range(8):
        put(env, x=5 - 0.19, y=0.0, heading=0.0)
        _, _, terminated, _, info = env.step(np.zeros(2))
        assert not terminated, "in evaluation, beams do not count"
        if info["ranges"].min() < 0.18:
            break
    else:
        pytest.fail("no beam was as short as this test wants")


def test_moving_obstacles_hold_the_robot_and_collide_by_beam() -> None:
    env = NavigationEnv(worlds=ROOM | {"start": {"fixed": [4.805, 0]}, "goal": {"fixed": [0, 0]}}, rules="dynamic")
    _, first = env.reset(seed=0, options={"start": (4.805, 0, 0)})
    for decision in range(1, 52):
        observation, reward, terminated, _, info = env.step(np.zeros(2))
        if decision <= 20:
            assert np.array_equal(info["pose"], first["pose"])
            assert observation[2:4].tolist() == [0.0, 0.0]
            assert reward == 0.0
        else:
            assert info["pose"][0] > first["pose"][0]
        assert terminated == info["collision"] == (decision == 51), decision
        assert (reward == -20.0) == terminated
    assert info["ranges"].min() == 0.15
    env.reset(seed=0)
    put(env, x=-5 + 0.05, y=0.0, heading=0.0, steps=60)
    assert not env.step(np.ones(2))[2], "what no beam sees does not count"

    movers = {"movers": [{"start": [-3, 0], "velocity": [0.45, 0], "radius": 0.25}]}
    env = NavigationEnv(worlds=ROOM | movers, rules="dynamic")
    env.reset(seed=0, options={"start": (0, 0, 0), "goal": (0, 4)})
    for decision in range(1, 70):
        put(env, x=0.0, y=0.0, heading=math.pi - math.radians(5))  # beam 8 looks at the cylinder that comes
        _, _, terminated, _, info = env.step(np.zeros(2))
        if terminated:
            break
        assert info["ranges"][8] == pytest.approx(2.75 - 0.045 * decision, abs=0.06)
    assert info["collision"]
    assert decision in (56, 57, 58), "2.75 m - 0.18 m at 0.45 m/s"


@pytest.mark.parametrize("env_id", IDS)
def test_overtime(env_id: str) -> None:
    """Spinning on the spot until the time is over, alone and in a vector."""
    limit = IDS[env_id]
    env = gym.make(env_id, worlds=ROOM)
    env.reset(seed=0)
    endings = [env.step(np.array([0.0, 1.0], dtype=np.float32))[2:4] for _ in range(limit)]
    assert endings == [(False, False)] * (limit - 1) + [(False, True)]
    vector = gym.make_vec(env_id, num_envs=2, worlds=ROOM)
    assert isinstance(vector, NavigationVectorEnv)
    vector.reset(seed=0)
    for step in range(limit):
        _, _, terminated, truncated, infos = vector.step(np.array([[0.0, 1.0]] * 2, dtype=np.float32))
        assert truncated.tolist() == [step == limit - 1] * 2
    assert not terminated.any()
    np.testing.assert_allclose(infos["time"], limit / 10)


# Contracts of Gymnasium and Stable-Baselines3 -----------------------------------------------------------------------


@pytest.mark.parametrize("env_id", IDS)
def test_checkers(env_id: str) -> None:
    """Warnings are errors. [0, 1] is the benchmark's own action space, [-1, 1] Stable-Baselines3's recommendation."""
    from stable_baselines3.common import env_checker as sb3

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env_checker.check_env(gym.make(env_id).unwrapped, skip_render_check=True)
        env_checker.check_env(gym.make(env_id, spike_coded=True).unwrapped, skip_render_check=True)
        sb3.check_env(gym.wrappers.RescaleAction(gym.make(env_id), np.float32(-1), np.float32(1)))
        warnings.filterwarnings("ignore", message=".*symmetric and normalized Box action space.*")
        sb3.check_env(gym.make(env_id))


def trajectory(env: gym.Env[Any, Any], seed: int | None, steps: int = 150) -> list[Any]:
    """What fixed random actions lead to, through episodes that start unseeded after the first."""
    rng = np.random.default_rng(9)
    seen: list[Any] = list(env.reset(seed=seed))
    for _ in range(steps):
        *step, info = env.step(rng.random(2, dtype=np.float32))
        seen += [*step, info]
        if step[2] or step[3]:
            seen += list(env.reset())
    return seen


def equal(one: Any, other: Any) -> bool:
    """Equal to the bit, types and shapes included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, np.ndarray):
        same = one.shape == other.shape and one.dtype == other.dtype
        return same and (all(map(equal, one, other)) if one.dtype == object else np.array_equal(one, other))
    return bool(one == other)


@pytest.mark.parametrize("env_id", IDS)
def test_the_same_seed_gives_the_same_episodes(env_id: str) -> None:
    env = gym.make(env_id, max_episode_steps=40)
    first = trajectory(env, 7)
    assert equal(trajectory(env, 7), first), "in the same environment"
    more = trajectory(env, None)
    assert not equal(more, first)
    again = gym.make(env_id, max_episode_steps=40)
    assert equal(trajectory(again, 7), first), "in another one"
    assert equal(trajectory(again, 7), first)
    assert equal(trajectory(again, None), more), "unseeded, the stream goes on"
    assert not equal(trajectory(again, 8), first)


KWARGS: list[dict[str, Any]] = [
    {},
    {"spike_coded": True},
    {"median": True},
    {"toy_envs": ["train-4", "train-2"], "rules": "training", "curriculum": [1], "random_movers": 2},
    {"toy_envs": ROOM | {"discs": [{"center": [2, 2], "radius": 0.5}]}},
]


@pytest.mark.parametrize("kwargs", KWARGS, ids=["plain", "coded", "median", "training", "own"])
@pytest.mark.parametrize("env_id", [STATIC, DYNAMIC])
def test_the_specification_rebuilds_the_environment(env_id: str, kwargs: dict[str, Any]) -> None:
    env = gym.make(env_id, max_episode_steps=30, **copy.deepcopy(kwargs))
    expected = trajectory(env, 3, steps=70)
    assert env.spec is not None
    for spec in (env.spec, EnvSpec.from_json(env.spec.to_json())):
        assert equal(trajectory(gym.make(spec), 3, steps=70), expected)


def test_the_wrapper_is_rebuilt_too() -> None:
    env = SpikeCoded(gym.make(STATIC))
    assert env.spec is not None
    for spec in (env.spec, EnvSpec.from_json(env.spec.to_json())):
        again = gym.make(spec)
        assert again.observation_space == CODED
        assert equal(trajectory(again, 3, steps=30), trajectory(env, 3, steps=30))


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"toy_envs": "evaluation-dynamic", "rules": "dynamic", "spike_coded": True},
        {"toy_envs": TRAINING, "rules": "training", "curriculum": [1, 2], "random_movers": 3},
        {"toy_envs": ROOM, "median": True, "limit": 7},  # all end at once
    ],
    ids=["evaluation", "dynamic", "training", "median"],
)
def test_async_is_sync_is_ours(kwargs: dict[str, Any], mode: AutoresetMode) -> None:
    """Observations, rewards, endings and infos, to the bit."""
    kwargs = dict(kwargs)
    count, limit = 3, kwargs.pop("limit", 45)

    def make() -> gym.Env[Any, Any]:
        return gym.wrappers.TimeLimit(NavigationEnv(**kwargs), limit)

    make()  # worlds are made ready once, before the processes begin
    ours: gym.vector.VectorEnv[Any, Any, Any]
    ours = NavigationVectorEnv(count, max_episode_steps=limit, autoreset_mode=mode, **kwargs)
    others = [kind([make] * count, autoreset_mode=mode) for kind in (SyncVectorEnv, AsyncVectorEnv)]
    try:
        for other in others:
            assert ours.observation_space == other.observation_space
            assert ours.action_space == other.action_space
            assert ours.metadata["autoreset_mode"] == other.metadata["autoreset_mode"]
        rng = np.random.default_rng(0)
        answers = [env.reset(seed=5) for env in (ours, *others)]
        assert equal(answers[0], answers[1])
        assert equal(answers[0], answers[2])
        endings = 0
        for _ in range(160):
            actions = rng.random((count, 2), dtype=np.float32)
            actions[0] = 1.0  # one that gets somewhere, or hits something
            steps = [env.step(actions) for env in (ours, *others)]
            assert equal(steps[0], steps[1])
            assert equal(steps[0], steps[2])
            over = steps[0][2] | steps[0][3]
            endings += over.sum()
            if mode == AutoresetMode.DISABLED and over.any():
                answers = [env.reset(options={"reset_mask": over.copy()}) for env in (ours, *others)]
                assert equal(answers[0], answers[1])
                assert equal(answers[0], answers[2])
        assert endings >= 3 * count
        answers = [env.reset() for env in (ours, *others)]
        assert equal(answers[0], answers[1])
        assert equal(answers[0], answers[2])
    finally:
        for other in others:
            other.close()


def test_vector_refuses_what_does_not_fit() -> None:
    env = NavigationVectorEnv(2, worlds=ROOM, max_episode_steps=2, autoreset_mode=AutoresetMode.DISABLED)
    env.reset(seed=[3, None])
    for actions in (np.zeros(2), np.zeros((3, 2)), np.zeros((2, 3))):
        with pytest.raises(UsageError, match=r"actions: expected shape \(2, 2\), got"):
            env.step(actions)
    for mask in (np.ones(2), np.ones(3, dtype=bool), np.zeros(2, dtype=bool)):
        with pytest.raises(UsageError, match="option reset_mask: expected 2 booleans"):
            env.reset(options={"reset_mask": mask})
    with pytest.raises(UsageError, match="seed: expected 2 seeds, got 1"):
        env.reset(seed=[1])
    env.step(np.zeros((2, 2)))
    env.step(np.zeros((2, 2)))
    with pytest.raises(UsageError, match="some episodes are over; reset them first"):
        env.step(np.zeros((2, 2)))
    with pytest.raises(UsageError, match="num_envs: expected at least 1, got 0"):
        NavigationVectorEnv(0)


def test_four_thousand_worlds_are_small() -> None:
    fleet = Fleet(Task.build(worlds=["evaluation-dynamic", *TRAINING], random_movers=5), 4096)
    used = sum(value.nbytes for value in vars(fleet).values() if isinstance(value, np.ndarray))
    assert used < 20e6


# Spike coding --------------------------------------------------------------------------------------------------------


def test_spike_coding() -> None:
    beams = np.linspace(0, 1, 18)
    signed = np.array([[math.pi / 2, 0.3, 0.25, -1.0, *beams], [-math.pi / 4, 1.0, 0.5, 1.8, *beams]], dtype=np.float32)
    coded = spike_code(signed)
    assert coded.dtype == np.float32
    np.testing.assert_allclose(coded[0], [0.5, 0, 0.3, 0.5, 0, 0.5, *beams], rtol=1e-6)
    np.testing.assert_allclose(coded[1], [0, 0.25, 1, 1, 0.9, 0, *beams], rtol=1e-6)
    assert spike_code(SIGNED.high) in CODED
    assert spike_code(SIGNED.low) in CODED


def test_wrapper_and_argument_code_alike() -> None:
    one, other = gym.make(TRAIN, spike_coded=True), SpikeCoded(gym.make(TRAIN))
    assert one.observation_space == other.observation_space == CODED
    first = trajectory(one, 2)
    assert equal(first, trajectory(other, 2))
    assert all(value in CODED for value in first if isinstance(value, np.ndarray))
    with pytest.raises(ValueError, match="expected the navigation observation of 22 entries"):
        SpikeCoded(one)


# Options, curriculum, rules of start and goal ------------------------------------------------------------------------


def test_options() -> None:
    env = NavigationEnv(worlds=["evaluation", *TRAINING])
    _, info = env.reset(seed=1, options={"world": "train-2"})
    assert env.world.name == "train-2"
    _, info = env.reset(options={"world": 0, "start": [-3.2, -8.7, 9.0], "goal": (-8.5, 8.7)})
    assert env.world.name == "evaluation"
    assert info["pose"].tolist() == [-3.2, -8.7, 9.0]
    assert info["goal"].tolist() == [-8.5, 8.7]
    _, info = env.reset(options={"world": "train-1", "start": None, "goal": [5.0, 5.0]})
    assert info["pose"][:2].tolist() == [8.0, 8.0]


WALLED = [[-1, -5], [-1, 5], [-0.9, 5], [-0.9, -5]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"wrld": 0}, r"unknown option of reset 'wrld'; expected one of goal, start, world; did you mean 'world'\?"),
        ({"world": 3}, "option world: expected 0 to 0 or one of room, got 3"),
        ({"world": "rome"}, "option world: expected 0 to 0 or one of room, got 'rome'"),
        ({"start": (0, 0)}, r"option start: expected 3 numbers, got \(0, 0\)"),
        ({"start": (0, 0, math.nan)}, r"option start: expected 3 numbers, got \(0, 0, nan\)"),
        ({"start": "here"}, "option start: expected 3 numbers, got 'here'"),
        ({"goal": (0, 0, 0)}, r"option goal: expected 2 numbers, got \(0, 0, 0\)"),
        ({"goal": [[0], [0, 1]]}, "option goal: expected 2 numbers"),
        ({"start": (1, 1.5, 0)}, r"'room': start .*: expected 0.18 m or more from every obstacle"),
        ({"start": (0.9, 0.85, 0)}, r"'room': start .*: expected 0.18 m or more from every obstacle"),
        ({"start": (7, 0, 0)}, r"'room': start .*: expected 0.18 m or more from every obstacle"),
        ({"start": (0, 0, 0), "goal": (-3, 0)}, r"'room': goal .* cannot be reached from .*; move one of them"),
        ({"start": (0, 0, 0), "goal": (30, 0)}, r"'room': goal .* cannot be reached"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    world = ROOM | {"obstacles": [BOX, WALLED]}
    for env in (NavigationEnv(worlds=world), NavigationVectorEnv(2, worlds=world)):
        env.reset(seed=0)
        with pytest.raises(UsageError, match=message):
            env.reset(options=options)


def test_curriculum() -> None:
    """So many episodes in each world, then all of them."""
    env = NavigationEnv(worlds=TRAINING, rules="training", curriculum=[3, 2])
    names = []
    for episode in range(65):
        env.reset(seed=11 if episode == 0 else None)
        names.append(env.world.name)
    assert names[:5] == ["train-1"] * 3 + ["train-2"] * 2
    assert set(names[5:]) == set(TRAINING)
    vector = NavigationVectorEnv(2, worlds=TRAINING, curriculum=[1])
    for seed in range(6):
        env.reset(seed=seed)
        assert env.world.name == "train-1", "a seed starts over"
        vector.reset(seed=seed)
        assert vector.fleet.where.tolist() == [0, 0]
    for bad in ([1, 2, 3, 4, 5], [-1], [1.5]):
        with pytest.raises(UsageError, match="curriculum: expected at most 4 numbers of episodes"):
            NavigationEnv(worlds=TRAINING, curriculum=bad)


def test_every_training_world_is_drawn() -> None:
    env = gym.make(TRAIN)
    env.reset(seed=0)
    names = []
    for _ in range(400):
        env.reset()
        names.append(env.unwrapped.world.name)  # type: ignore[attr-defined]
    assert all(70 <= names.count(name) <= 130 for name in TRAINING)


@pytest.mark.parametrize("name", ["evaluation", "evaluation-dynamic", *TRAINING])
def test_starts_and_goals_follow_the_rules(name: str) -> None:
    """On a 0.1 m grid, 0.5 m or more from obstacles and keep-outs, far enough from each other, any heading."""
    world = load_world(name)
    env = NavigationEnv(worlds=name)
    env.reset(seed=0)
    infos = [env.reset()[1] for _ in range(400)]
    starts, goals = np.array([info["pose"] for info in infos]), np.array([info["goal"] for info in infos])
    solid = shapely.union_all([shapely.LinearRing(world.outer), *map(shapely.Polygon, world.obstacles)])
    for points, places in ((starts[:, :2], world.start), (goals, world.goal)):
        there = shapely.points(points)
        np.testing.assert_allclose(points * 10, np.round(points * 10), rtol=0, atol=1e-9)
        assert shapely.distance(solid, there).min() >= 0.5 - 1e-9
        assert shapely.contains(shapely.Polygon(world.outer), there).all()
        for keepout in places.keepout:
            assert shapely.distance(shapely.Polygon(keepout), there).min() >= 0.5 - 1e-9
        if places.within is not None:
            (x0, x1), (y0, y1) = places.within
            assert ((points >= np.array([x0, y0]) - 1e-9) & (points <= np.array([x1, y1]) + 1e-9)).all()
        if places.fixed is not None:
            assert (points == places.fixed).all()
        else:
            assert len(np.unique(points, axis=0)) > 100
    assert np.hypot(*(goals - starts[:, :2]).T).min() >= world.least_distance - 1e-9
    assert scipy.stats.kstest(starts[:, 2] / (2 * math.pi), "uniform").pvalue > 0.001


# Worlds --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"obstacles": [[[0, 0], [1, 1]]]}, r"obstacles\[0\]: expected a polygon of 3 corners or more, got 2"),
        ({"obstacles": [BOX, [[2, 2], [3, 2], [3, 2], [3, 3]]]}, r"obstacles\[1\]: degenerate polygon: two corners"),
        ({"obstacles": [[[2, 2], [3, 2], [3, 3], [2, 2]]]}, r"obstacles\[0\]: degenerate polygon: two corners"),
        ({"obstacles": [[[2, 2], [3, 3], [3, 2], [2, 3]]]}, r"obstacles\[0\]: crossing polygon: edges 0 and 2 meet"),
        ({"obstacles": [[[2, 2], [3, 2], [4, 2]]]}, r"obstacles\[0\]: degenerate polygon: its area is 0"),
        ({"obstacles": [[[2, 2], [4, 2], [3, 2], [3, 3]]]}, r"obstacles\[0\]: crossing polygon"),
        ({"obstacles": [[[7, 7], [8, 7], [8, 8]]]}, r"obstacles\[0\]: expected a corner of it inside the outer wall"),
        ({"outer": [[-5, -5], [5, 5], [5, -5], [-5, 5]]}, "outer: crossing polygon"),
        ({"goal": {"keepout": [[[0, 0], [1, 0]]]}}, r"goal.keepout\[0\]: expected a polygon of 3 corners"),
        ({"start": {"fixed": [0, 1.5]}, "obstacles": [BOX]}, r"'room': start \(0.0, 1.5\) lies in or at an obstacle"),
        ({"start": {"fixed": [0, 0.9]}, "obstacles": [BOX]}, r"'room': start .* lies in or at an obstacle; move it"),
        ({"start": {"fixed": [9, 9]}}, "'room': start .* lies in or at an obstacle; move it"),
        (
            {"start": {"fixed": [2, 2]}, "discs": [{"center": [2, 2.5], "radius": 1}]},
            "'room': start .* lies in or at an obstacle; move it",
        ),
        ({"goal": {"fixed": [0, 1.5]}, "obstacles": [BOX]}, "'room': goal .* lies in or at an obstacle; move it"),
        ({"goal": {"fixed": [-4, 0]}, "obstacles": [WALLED]}, "'room': unreachable goal: from no start"),
        ({"least_distance": 9}, "'room': unreachable goal: from no start leads a way to a goal 9.0 m or more away"),
        ({"start": {"clearance": 6}}, "'room': no start is 6.0 m or more from every obstacle"),
        ({"obstacle": []}, "obstacle"),
        ({"discs": [{"center": [0, 0], "radius": 0}]}, "disc radius: expected > 0, got 0"),
        ({"discs": [{"center": [0, 0], "radius": 1, "colour": "red"}]}, "colour"),
        ({"movers": [{"start": [0, 0], "velocity": [1, 0], "out_s": 0}]}, "mover: expected radius, out_s, back_s > 0"),
        ({"outer": [[-5, -5], [5, -5], [math.nan, 5]]}, "outer.*finite"),
        ({"least_distance": math.inf}, "least_distance.*finite"),
        ({"outer": [[-5, -5, 0], [5, -5], [5, 5]]}, "outer"),
        ({"outer": "square"}, "outer"),
    ],
)
def test_bad_worlds(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        NavigationEnv(worlds=ROOM | change)
    assert "\n" not in str(caught.value)


def test_bad_world_files(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"nowhere.json: expected a world file, found none; worlds by name: evaluation"
    ):
        load_world(str(tmp_path / "nowhere.json"))
    with pytest.raises(UsageError, match=r"unknown world 'evaluaton'.*did you mean 'evaluation'\?"):
        load_world("evaluaton")
    file = tmp_path / "world.json"
    file.write_text('{"name": "broken", "outer": [[0, 0]')
    with pytest.raises(UsageError, match=r"world.json: expected JSON, cannot read it"):
        load_world(str(file))
    file.write_text(json.dumps(ROOM | {"least_distance": math.nan}))
    with pytest.raises(UsageError, match=r"world.json: expected JSON.*NaN is not a number"):
        load_world(str(file))
    file.write_text("[1, 2]")
    with pytest.raises(UsageError, match=r"world.json"):
        load_world(str(file))
    file.write_text(json.dumps(ROOM))
    assert load_world(str(file)) == load_world(ROOM), "a file that changed is read again"
    assert NavigationEnv(worlds=str(file)).world.name == "room"
    with pytest.raises(UsageError, match=r"unknown rules 'dynamics'.*did you mean 'dynamic'\?"):
        NavigationEnv(rules="dynamics")
    with pytest.raises(UsageError, match="worlds: expected one or more names"):
        NavigationEnv(worlds=[])
    with pytest.raises(UsageError, match="random_movers: expected 0 to 100, got -1"):
        NavigationEnv(random_movers=-1)


def test_a_world_without_a_wall_around_the_goal_is_fine() -> None:
    """The wall of `test_bad_worlds` with a door in it."""
    door = [[-1, -5], [-1, 4], [-0.9, 4], [-0.9, -5]]
    NavigationEnv(worlds=ROOM | {"goal": {"fixed": [-4, 0]}, "obstacles": [door]})


def test_worlds_are_the_published_ones() -> None:
    data = json.loads(published("navigation", "worlds.json").read_text())
    evaluation = load_world("evaluation")
    assert world_names() == ["evaluation", "evaluation-dynamic", *TRAINING]

    def points(polygons: Any) -> list[list[tuple[float, ...]]]:
        return [[tuple(map(float, corner)) for corner in polygon] for polygon in polygons]

    assert points([evaluation.outer]) == points([data["evaluation"]["outer"]])
    assert points(evaluation.obstacles) == points(data["evaluation"]["obstacles"])
    for plan in data["training"]:
        world = load_world(plan["name"])
        assert points([world.outer]) == points([plan["outer"]])
        assert points(world.obstacles) == points(plan["obstacles"])
        assert points(world.goal.keepout) == points(
            [p for p in plan["goal_keepout"] if p not in plan["obstacles"] or world.goal.keepout]
        )
        start = tuple(plan["start_fixed"]) if plan["start_fixed"] else None
        within = tuple(map(tuple, plan["start_range"])) if plan["start_range"] else None
        assert (world.start.fixed, world.start.within) == (start, within)
        assert world.least_distance == plan["min_start_goal_distance"]
        # Goals lie in the published range, 0.5 m or more from its wall, obstacles and keep-outs.
        there = shapely.points(site(world).goals)
        (x0, x1), (y0, y1) = plan["goal_range"]
        everything = shapely.union_all(list(map(shapely.Polygon, plan["goal_keepout"] + plan["obstacles"])))
        columns, rows = np.meshgrid(np.arange(10 * x0, 10 * x1 + 1) / 10, np.arange(10 * y0, 10 * y1 + 1) / 10)
        grid = shapely.points(columns.ravel(), rows.ravel())
        allowed = grid[
            (shapely.distance(everything, grid) >= 0.5 - 1e-9 if not everything.is_empty else np.ones(len(grid), bool))
            & (shapely.distance(shapely.LinearRing(plan["goal_outer"]), grid) >= 0.5 - 1e-9)
        ]
        assert {(round(p.x, 6), round(p.y, 6)) for p in there} == {(round(p.x, 6), round(p.y, 6)) for p in allowed}

    moving = data["moving_obstacles"]
    changed = {
        1: [(-9, -5), (-6, -5), (-6, -5.5), (-9, -5.5)],
        2: [(-5.5, -6), (-5, -6), (-5, -9), (-5.5, -9)],
        6: [(-8.25, 1), (-4.5, 1), (-4.5, 0), (-8.25, 0)],
        12: [(4.5, 8), (7.5, 8), (7.5, 5.5), (4.5, 5.5)],
        23: [(-1, -10), (1, -10), (0, -8)],
        33: [(3.5, -3), (4, -3.5), (3.5, -4), (3, -3.5)],
    }
    dynamic = load_world("evaluation-dynamic")
    expected = [
        changed.get(number, polygon)
        for number, polygon in enumerate(data["evaluation"]["obstacles"], 1)
        if number not in (10, 11, 13, 16)
    ]
    assert points(dynamic.obstacles) == points(expected)
    assert dynamic.outer == evaluation.outer
    for mover, facts in zip(dynamic.movers, moving["cylinders"], strict=True):
        assert mover.start == tuple(facts["start"])
        assert mover.velocity == tuple(facts["velocity"])
        assert mover.radius == moving["radius"]
        assert mover.pause_s == moving["pause_s"]
        assert mover.out_s == facts.get("out_s", moving["out_s"])
        assert mover.back_s == facts.get("back_s", moving["back_s"])


def test_published_routes_are_free_and_reachable() -> None:
    routes = json.loads(published("navigation", "routes.json").read_text())["routes"]
    assert len(routes) == 100
    env = NavigationEnv()
    for route in routes:
        _, info = env.reset(seed=0, options=route)
        assert info["pose"].tolist() == route["start"]
        assert info["goal"].tolist() == route["goal"]
        assert env.fleet.clearance(0) >= ROBOT
    ready = site(load_world("evaluation"))
    assert ready.free(np.array([route["goal"] for route in routes]), ROBOT).all()
