from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import navigation_reference as reference
import numpy as np
import pytest
import scipy.stats
from navigation_worlds import BEAMS, BOX, IDS, ROOM, TRAINING, put

import homeo_rl  # noqa: F401  # registers the environments
from homeo_rl.envs.navigation import kernels
from homeo_rl.envs.navigation.coding import SIGNED
from homeo_rl.envs.navigation.environment import NavigationEnv
from homeo_rl.envs.navigation.vector import NavigationVectorEnv


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


@pytest.mark.parametrize(
    ("kwargs", "decisions"),
    [
        ({}, 400),
        ({"worlds": "evaluation-dynamic", "rules": "dynamic"}, 400),
        ({"worlds": TRAINING, "rules": "training", "random_movers": 3}, 400),
        ({"worlds": "evaluation-dynamic", "median": True}, 25),
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
