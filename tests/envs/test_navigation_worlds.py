from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import scipy.stats
import shapely
from conftest import published
from navigation_worlds import BOX, ROOM, TRAIN, TRAINING, equal, trajectory

import homeo_rl  # noqa: F401  # registers the environments
from homeo_rl.envs.navigation.coding import CODED, SIGNED, SpikeCoded, spike_code
from homeo_rl.envs.navigation.environment import NavigationEnv
from homeo_rl.envs.navigation.scene import ROBOT, site
from homeo_rl.envs.navigation.vector import NavigationVectorEnv
from homeo_rl.envs.navigation.world import load_world, world_names
from homeo_rl.errors import UsageError


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
