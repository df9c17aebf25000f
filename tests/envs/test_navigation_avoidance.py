"""Movers are tracked and avoided from what the robot itself observes; what stands still is left to the policy."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from tracking_reference import Tracker, costs

from homeo_rl.envs import make_env
from homeo_rl.envs.navigation import avoidance, tracking
from homeo_rl.envs.navigation.avoidance import AvoidMovers, Planning, Surroundings
from homeo_rl.envs.navigation.coding import spike_code
from homeo_rl.envs.navigation.tracking import ALIVE, MOVING, Tracking
from homeo_rl.errors import UsageError

SQUARE = [[-10.0, -10.0], [10.0, -10.0], [10.0, 10.0], [-10.0, 10.0]]


def world(movers: list[dict[str, Any]], obstacles: tuple[Any, ...] = ()) -> dict[str, Any]:
    """Return an empty square of 20 m with movers; the robot starts in its middle and drives along the x axis."""
    return {
        "name": "square", "outer": SQUARE, "obstacles": list(obstacles), "discs": [], "movers": movers,
        "start": {"fixed": [0.0, 0.0]}, "goal": {"fixed": [8.0, 0.0]},
    }  # fmt: skip


def crossing(x: float = 3.0) -> dict[str, Any]:
    """Return a mover that crosses the robot's way at x from the left, at 0.7 m/s."""
    return {"start": [x, 3.5], "velocity": [0.0, -0.7]}


def square(movers: list[dict[str, Any]], rules: str = "dynamic", **kwargs: Any) -> gym.Env[Any, Any]:
    return make_env("homeo_rl/NavigationDynamic-v0", {"worlds": [world(movers)], "rules": rules, **kwargs})


def scans(env: gym.Env[Any, Any], steps: int, *, action: tuple[float, float] = (0.5, 0.5)) -> list[np.ndarray]:
    """Return the observations of a drive from the middle of the square along the x axis."""
    observation, _ = env.reset(seed=0, options={"start": [0.0, 0.0, 0.0], "goal": [8.0, 0.0]})
    seen = [observation]
    for _ in range(steps):
        observation, _, terminated, _, _ = env.step(np.array(action, dtype=np.float32))
        seen.append(observation)
        if terminated:
            break
    return seen


def decoded(observation: np.ndarray) -> np.ndarray:
    scan = np.empty(22)
    tracking.decode_scan(observation, scan)
    return scan


def track(observations: list[np.ndarray], p: Tracking | None = None) -> tuple[tracking.Memory, np.ndarray]:
    """Return the memory after the observations, and the owners of the last beams."""
    memory, owner = tracking.new_memory(), np.empty(18, dtype=np.int64)
    for observation in observations:
        tracking.observe(p or Tracking(), memory, decoded(observation), owner)
    return memory, owner


def test_both_codings_say_the_same() -> None:
    for observation in scans(square([crossing()]), 30):
        np.testing.assert_allclose(decoded(spike_code(observation)), decoded(observation), rtol=1e-5, atol=1e-6)
    _, info = (env := square([crossing()])).reset(seed=0)
    observation, _, _, _, info = env.step(np.zeros(2, dtype=np.float32))
    scan, (x, y, heading) = decoded(observation), info["pose"]
    goal = info["goal"] - [x, y]
    assert scan[1] == pytest.approx(np.hypot(*goal), rel=1e-5)
    assert math.cos(scan[0] - math.atan2(goal[1], goal[0]) + heading) == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(scan[4:], np.clip(info["ranges"], 0.35, 40.0), rtol=1e-5)


def test_a_mover_is_found_with_its_velocity() -> None:
    env = square([crossing(1.5)])
    memory, _ = track(scans(env, 42))
    (disc,) = (row for row in memory.tracks if row[ALIVE] and row[MOVING])
    robot = env.unwrapped.fleet.state[0]  # type: ignore[attr-defined]
    np.testing.assert_allclose(memory.pose, [robot["x"], robot["y"], robot["heading"]], atol=1e-4)
    np.testing.assert_allclose(disc[:2], [1.5, 3.5 - 0.7 * 4.2], atol=0.06)
    np.testing.assert_allclose(disc[2:4], [0.0, -0.7], atol=0.1)


def test_walls_are_no_movers() -> None:
    memory, _ = track(scans(make_env("homeo_rl/Navigation-v0", {"worlds": [world([])]}), 150, action=(0.9, 1.0)))
    assert not memory.tracks[:, MOVING].any()
    assert memory.clock[0] > 100


def test_the_compiled_tracker_is_that_of_the_reference() -> None:
    """Among eleven movers and 33 obstacles, over whole drives: the same tracks, the same owners, the same map."""
    found = 0
    for seed in (1, 2):
        env = make_env("homeo_rl/NavigationDynamic-v0")
        observation, _ = env.reset(seed=seed)
        rng, memory, owner, plain = (
            np.random.default_rng(seed),
            tracking.new_memory(),
            np.empty(18, np.int64),
            Tracker(Tracking()),
        )
        for _ in range(150):
            tracking.observe(Tracking(), memory, decoded(observation), owner)
            assert plain.observe(decoded(observation)) == owner.tolist()
            np.testing.assert_allclose(memory.pose, plain.pose, atol=1e-9)
            for row, disc in zip(memory.tracks, plain.discs, strict=True):
                assert bool(row[ALIVE]) == (disc is not None)
                if disc is not None:
                    np.testing.assert_allclose(row[:4], disc.mean, atol=1e-7)
                    np.testing.assert_allclose(row[4:20].reshape(4, 4), disc.covariance, atol=1e-7)
                    assert bool(row[MOVING]) == disc.moving
                    found += disc.moving
            observation, _, terminated, _, _ = env.step(rng.uniform(0.2, 1.0, 2).astype(np.float32))
            if terminated:
                break
        cells = {(r, c): cell for (r, c), cell in plain.map.items()}
        for (row_index, column), cell in cells.items():
            assert memory.free[row_index, column] == cell.free
            assert memory.hits[row_index, column] == cell.hits
        assert int((memory.keys >= 0).sum()) == len(cells)
    assert found > 20, "a comparison without movers would say little"


def test_the_compiled_planner_is_that_of_the_reference() -> None:
    rng, p, q = np.random.default_rng(0), Tracking(), Planning()
    overridden = 0
    for case in range(40):
        pose = np.array([*rng.normal(0, 1, 2), rng.uniform(-3, 3)])
        movers = np.concatenate([pose[:2] + rng.normal(0, 1.2, (case % 4, 2)), rng.normal(0, 0.5, (case % 4, 2))], 1)
        points = pose[:2] + rng.normal(0, 1.5, (case % 7, 2))
        around = Surroundings(pose, pose[:2] + rng.normal(0, 5, 2), movers, points)
        actions = np.stack(np.meshgrid(np.arange(7) / 6, np.arange(7) / 6, indexing="ij"), -1).reshape(-1, 2)
        expected, clearances = costs(p, q, around, actions)
        results = np.array([avoidance.drive_ahead(p, q, around, *action) for action in actions])
        np.testing.assert_allclose(results[:, 0], expected, atol=1e-9)
        np.testing.assert_allclose(results[:, 1], clearances, atol=1e-9)
        policy, chosen = rng.uniform(0, 1, 2), np.empty(2)
        replaced = avoidance.choose_action(p, q, around, policy, chosen)
        assert replaced == (costs(p, q, around, policy[None])[1][0] < q.trigger)
        best = actions[np.argmin(expected + q.change * np.abs(actions - policy).sum(1))]
        assert np.array_equal(chosen, best if replaced else policy)
        overridden += replaced
    assert 5 < overridden < 35


def straight(env: gym.Env[Any, Any], steps: int = 120, seed: int = 0) -> tuple[list[float], dict[str, Any]]:
    """Drive straight ahead; return the true clearances to the mover, and the last info."""
    _, info = env.reset(seed=seed, options={"start": [0.0, 0.0, 0.0], "goal": [8.0, 0.0]})
    clearances = []
    for _ in range(steps):
        _, _, terminated, _, info = env.step(np.full(2, 0.9, dtype=np.float32))
        clearances.append(float(info["ranges"].min()))
        if terminated:
            break
    return clearances, info


@pytest.mark.parametrize("spike_coded", [False, True])
def test_a_robot_that_would_be_hit_gets_out_of_the_way(spike_coded: bool) -> None:
    movers = [{"start": [5.5, 0.0], "velocity": [-0.7, 0.0]}]  # towards the robot
    _, info = straight(square(movers, spike_coded=spike_coded))
    assert info["collision"]
    env = AvoidMovers(square(movers, spike_coded=spike_coded))
    clearances, info = straight(env)
    assert not info["collision"]
    assert min(clearances) > 0.18
    assert 0 < env.overridden < 100


def test_nothing_changes_to_the_bit_where_nothing_moves() -> None:
    """In a square without movers, and before the first observation says anything."""
    plain, avoiding = (
        scans(env, 150, action=(0.8, 0.9))
        for env in (
            make_env("homeo_rl/Navigation-v0", {"worlds": [world([])]}),
            AvoidMovers(make_env("homeo_rl/Navigation-v0", {"worlds": [world([])]})),
        )
    )
    assert len(plain) == len(avoiding)
    assert all(np.array_equal(a, b) for a, b in zip(plain, avoiding, strict=True))


def test_episodes_are_alone() -> None:
    """The same seed gives the same episode, whatever came before; neither action nor observation is written."""
    env = AvoidMovers(square([crossing(2.0)]))
    first = straight(env)[0]
    straight(env, 40, seed=5)
    action = np.full(2, 0.9, dtype=np.float32)
    env.reset(seed=1)
    observation = env.step(action)[0].copy()
    assert np.array_equal(action, np.full(2, 0.9, dtype=np.float32))
    assert observation in env.observation_space
    assert straight(env)[0] == first
    assert straight(AvoidMovers(square([crossing(2.0)])))[0] == first


def test_other_environments_are_refused() -> None:
    with pytest.raises(UsageError, match="expected the observations and actions of a navigation environment"):
        AvoidMovers(make_env("toy_envs:Point-v0"))
