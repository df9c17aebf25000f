from __future__ import annotations

import dataclasses
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest
import torch
import toy_envs  # noqa: F401  # registers the small environments

from homeo_rl.degradations import (
    DEGRADATIONS,
    Condition,
    EnvDegradation,
    NetworkDegradation,
    Suite,
    build,
    load_suite,
    suite_names,
    suites,
)
from homeo_rl.degradations.lidar import LidarGaussian, LidarStuck
from homeo_rl.degradations.network import DeadNeurons, EightBitWeights, FlippedBits, StuckNeurons, ZeroWeights
from homeo_rl.degradations.observation import joint_entries
from homeo_rl.degradations.protocol import DegradationWrapper
from homeo_rl.degradations.suites import suite_from_dicts
from homeo_rl.envs import make_env
from homeo_rl.errors import NumericalFault, UsageError
from homeo_rl.numerics.limits import LIMIT
from homeo_rl.snn import LayerWeights, SpikingNetwork, Weights
from homeo_rl.spec import NetworkSpec

ENV_KINDS = sorted(kind for kind, cls in DEGRADATIONS.items() if issubclass(cls, EnvDegradation))
NETWORK_KINDS = sorted(kind for kind, cls in DEGRADATIONS.items() if issubclass(cls, NetworkDegradation))


def episode(env: gym.Env[Any, Any], seed: int, steps: int = 25, action_seed: int = 0) -> list[np.ndarray]:
    """Return observations and rewards of an episode with fixed random actions."""
    rng = np.random.default_rng(action_seed)
    seen = [env.reset(seed=seed)[0]]
    space = env.action_space
    for _ in range(steps):
        if isinstance(space, gym.spaces.Box):
            action: Any = rng.uniform(space.low, space.high).astype(np.float32)
        else:
            action = int(rng.integers(3))
        observation, reward, terminated, truncated, _ = env.step(action)
        seen += [observation, np.array([reward])]
        if terminated or truncated:
            break
    return seen


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def cheetah() -> gym.Env[Any, Any]:
    return make_env("HalfCheetah-v5")


def navigation(**kwargs: Any) -> gym.Env[Any, Any]:
    return make_env("homeo_rl/Navigation-v0", kwargs)


def healthy_env(kind: str) -> gym.Env[Any, Any]:
    """Return an environment that degradations of this kind apply to."""
    return navigation() if kind.startswith("lidar-") else cheetah()


def weights() -> Weights:
    torch.manual_seed(3)
    return SpikingNetwork(NetworkSpec(inputs=4, outputs=2, hidden=(20, 15))).parameters_of_layers()


def equal(one: Weights, other: Weights) -> bool:
    def parts(value: LayerWeights) -> list[torch.Tensor]:
        return [
            value.weight,
            value.bias,
            torch.ones_like(value.bias) if value.alive is None else value.alive,
            torch.zeros_like(value.bias) if value.stuck is None else value.stuck,
        ]

    return all(
        torch.equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(parts(x), parts(y), strict=True)
    )


@pytest.mark.parametrize("kind", ENV_KINDS)
def test_environment_degradations(kind: str) -> None:
    """Severity 0 is the same bit for bit, 1 is not; the same seed gives the same damage; another seed another one."""
    degradation = build({"kind": kind}, where="test")
    assert isinstance(degradation, EnvDegradation)
    assert degradation.incompatibility(healthy_env(kind), spiking=True) is None
    healthy = episode(healthy_env(kind), 5)
    assert same(episode(degradation.wrap(healthy_env(kind), 0.0), 5), healthy)
    env = degradation.wrap(healthy_env(kind), 1.0)
    damaged = episode(env, 5)
    assert not same(damaged, healthy)
    assert same(episode(env, 5), damaged), "the same seed again, in the same environment"
    assert same(episode(degradation.wrap(healthy_env(kind), 1.0), 5), damaged)
    assert all(a.dtype == b.dtype and a.shape == b.shape for a, b in zip(damaged, healthy, strict=True))


@pytest.mark.parametrize("kind", ENV_KINDS)
def test_damage_begins_at_its_onset(kind: str) -> None:
    degradation = build({"kind": kind}, where="test")
    assert isinstance(degradation, EnvDegradation)
    healthy = episode(healthy_env(kind), 5)
    late = episode(degradation.wrap(healthy_env(kind), 1.0, onset=10), 5)
    # 1 reset and 9 whole steps (observation, reward) come before the observation that step 10 may change
    assert same(late[:19], healthy[:19])
    assert not same(late, healthy)


def test_noise_in_the_units_of_each_sensor() -> None:
    """The policy's normaliser says what is usual; a suite may say it itself; with neither, the units are raw."""
    noise = build({"kind": "obs-gaussian-normalised", "std": 0.5}, where="test")
    condition = Condition(name="x", severity=0.4, degradations=(noise,))
    spread = np.linspace(0.1, 10.0, 17)
    first = {"policy": condition.wrap(cheetah(), spread), "raw": condition.wrap(cheetah())}
    told = build({"kind": "obs-gaussian-normalised", "std": 0.5, "spread": [2.0] * 17}, where="test")
    first["suite"] = dataclasses.replace(condition, degradations=(told,)).wrap(cheetah(), spread)
    for name, unit in (("policy", spread), ("raw", np.ones(17)), ("suite", np.full(17, 2.0))):
        errors = np.stack([first[name].reset(seed=seed)[0] - cheetah().reset(seed=seed)[0] for seed in range(300)])
        np.testing.assert_allclose(errors.std(0), 0.2 * unit, rtol=0.2)
        np.testing.assert_allclose(errors.mean(0), 0.0, atol=0.06 * unit.max())
    short = build({"kind": "obs-gaussian-normalised", "spread": [1.0]}, where="test")
    assert "17 entries, got 1" in str(short.incompatibility(cheetah(), spiking=True))


def first_readings(fields: dict[str, Any], spread: np.ndarray, severity: float = 1.0) -> tuple[Any, Any]:
    """Return what 200 episodes show at first, healthy and damaged, [200, 17] each."""
    part = build(fields, where="test")
    healthy, damaged = cheetah(), Condition(name="x", severity=severity, degradations=(part,)).wrap(cheetah(), spread)
    return tuple(np.stack([env.reset(seed=seed)[0] for seed in range(200)]) for env in (healthy, damaged))


def test_offsets_and_scale_errors_have_their_size_and_both_signs() -> None:
    spread = np.linspace(0.1, 10.0, 17)
    healthy, damaged = first_readings({"kind": "obs-offset", "size": 0.5}, spread, 0.4)
    np.testing.assert_allclose(np.abs(damaged - healthy), np.broadcast_to(0.2 * spread, healthy.shape), rtol=1e-6)
    np.testing.assert_allclose((damaged > healthy).mean(0), 0.5, atol=0.15)
    healthy, damaged = first_readings({"kind": "obs-scale", "error": 0.5}, spread, 0.4)
    np.testing.assert_allclose(np.abs(damaged / healthy - 1.0), np.full(healthy.shape, 0.2), atol=1e-5)
    np.testing.assert_allclose((damaged / healthy > 1.0).mean(0), 0.5, atol=0.15)
    robot = build({"kind": "obs-offset", "size": 9.0}, where="test")
    assert isinstance(robot, EnvDegradation)
    env = robot.wrap(navigation(), 1.0)
    assert all(reading in env.observation_space for reading in episode(env, 0)[1::2]), "readings stay within bounds"


def test_drift_of_sensors_begins_at_zero_and_grows_with_the_root_of_time() -> None:
    part = build({"kind": "obs-drift", "std": 2.0}, where="test")
    spread = np.linspace(0.1, 10.0, 17)
    gaps = []
    for seed in range(60):
        env = Condition(name="x", severity=0.5, degradations=(part,), onset=50).wrap(cheetah(), spread)
        healthy, drifting = episode(cheetah(), seed, 150)[1::2], episode(env, seed, 150)[1::2]
        gaps.append([(a - b) / spread for a, b in zip(drifting, healthy, strict=True)])
    deviation = np.array(gaps).std((0, 2))
    assert not deviation[:49].any()
    for steps in (1, 25, 100):  # of the walk, whose first one is seen at the onset
        assert deviation[48 + steps] == pytest.approx((steps / 1000) ** 0.5, rel=0.1)


@pytest.mark.parametrize("severity", [1.0, 0.5])
def test_markov_drop_out_has_its_availability_and_its_two_levels(severity: float) -> None:
    """Entries of a group fail together; what fails returns with the recovery's probability; no reading is made up."""
    part = build({"kind": "obs-markov"}, where="test")
    assert isinstance(part, EnvDegradation)
    healthy = np.array(episode(cheetah(), 0, 900)[1::2])
    damaged = np.array(episode(part.wrap(cheetah(), severity), 0, 900)[1::2])
    kept = damaged != 0.0
    assert np.array_equal(damaged[kept], healthy[kept])
    group_fail, fail = 0.55 * severity, 0.01 * severity
    groups = [np.flatnonzero(np.arange(17) * 4 // 17 == group) for group in range(4)]
    on = np.stack([kept[:, entries].any(1) for entries in groups], 1)  # [steps, groups]
    assert kept.mean() == pytest.approx(0.9 / (0.9 + group_fail) * 0.9 / (0.9 + fail), abs=0.02)
    assert on.mean() == pytest.approx(0.9 / (0.9 + group_fail), abs=0.02)
    assert (~on[1:])[on[:-1]].mean() == pytest.approx(group_fail, abs=0.03)
    assert on[1:][~on[:-1]].mean() == pytest.approx(0.9, abs=0.03)
    single = ~kept[:, groups[0]] & on[:, [0]]
    assert single[on[:, 0]].mean() == pytest.approx(fail / (fail + 0.9), abs=0.006)


def test_jitter_shows_past_readings_of_every_age() -> None:
    part = build({"kind": "obs-jitter", "steps": 3}, where="test")
    assert isinstance(part, EnvDegradation)
    healthy, late = episode(cheetah(), 0, 200), episode(part.wrap(cheetah(), 1.0), 0, 200)
    true, seen = [healthy[0], *healthy[1::2]], [late[0], *late[1::2]]
    ages = [next(a for a in range(4) if np.array_equal(seen[t], true[t - a])) for t in range(3, 200)]
    assert all(count > 30 for count in np.bincount(ages, minlength=4))
    assert np.array_equal(seen[0], true[0])


def executed(fields: dict[str, Any], actions: np.ndarray, severity: float = 1.0, seed: int = 0) -> np.ndarray:
    """Return the actions that the cheetah executes where ``actions`` [N, 6] are given."""
    given: list[np.ndarray] = []

    class Spy(gym.Wrapper[Any, Any, Any, Any]):
        def step(self, action: Any) -> Any:
            given.append(np.array(action))
            return super().step(action)

    part = build(fields, where="test")
    assert isinstance(part, EnvDegradation)
    env = part.wrap(Spy(cheetah()), severity)
    env.reset(seed=seed)
    for action in actions:
        env.step(action)
    return np.array(given)


def test_actuators_have_biases_of_both_signs_and_dead_joints() -> None:
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, (20, 6)).astype(np.float32)
    untouched = actions.copy()
    ups = []
    for seed in range(20):
        moved = executed({"kind": "action-bias", "size": 0.4}, 0.7 * actions, 0.5, seed) - np.float32(0.7) * actions
        np.testing.assert_allclose(np.abs(moved), np.full(moved.shape, 0.2), atol=1e-6)
        assert np.ptp(np.sign(moved), axis=0).max() == 0.0, "the same bias for the whole episode"
        ups.append(moved[0] > 0)
    assert 0.3 < np.mean(ups) < 0.7
    assert np.abs(executed({"kind": "action-bias", "size": 0.4}, actions)).max() == 1.0, "clipped"
    chosen = set()
    for seed in range(20):
        result = executed({"kind": "action-dead", "count": 2}, actions, 0.75, seed)
        (weak,) = np.nonzero((result != actions).any(0))
        assert len(weak) == 2
        np.testing.assert_allclose(result[:, weak], 0.25 * actions[:, weak], rtol=1e-6)
        chosen.update(weak.tolist())
    assert chosen == set(range(6))
    assert not executed({"kind": "action-dead", "count": 9}, actions).any(), "all joints, where there are fewer"
    assert np.array_equal(actions, untouched)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "obs-markov", "groups": 0}, "groups: expected at least 1, got 0"),
        ({"kind": "obs-markov", "recover": 1.5}, "recover: expected a probability, got 1.5"),
        ({"kind": "action-dead", "count": 0}, "count: expected at least 1, got 0"),
        ({"kind": "obs-jitter", "steps": -1}, "steps: expected 0 to 10000"),
    ],
)
def test_bad_parameters_of_sensors_and_actuators_are_named(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        build(fields, where="test")


def test_a_bias_needs_bounds() -> None:
    part = build({"kind": "action-bias"}, where="test")
    env = cheetah()
    env.action_space = gym.spaces.Box(-np.inf, np.inf, (6,), np.float32)
    assert "between bounds" in str(part.incompatibility(env, spiking=True))
    assert "action space" in str(part.incompatibility(make_env("toy_envs:Choice-v0"), spiking=True))


@pytest.mark.parametrize("name", ["senses", "actuators", "everything"])
def test_new_suites_apply_to_a_walker_and_stay_affordable(name: str) -> None:
    conditions = load_suite(name).conditions
    assert len(conditions) <= {"senses": 16, "actuators": 8, "everything": 12}[name]
    env = cheetah()
    assert [c.label for c in conditions if c.incompatibility(env, spiking=True)] == []
    assert len(load_suite(f"navigation-{name}").conditions) <= len(conditions)


@pytest.mark.parametrize("kind", ["body-mass", "friction", "actuator-gain"])
def test_the_model_is_restored_to_the_bit(kind: str) -> None:
    from homeo_rl.degradations.dynamics import _arrays

    degradation = build({"kind": kind}, where="test")
    assert isinstance(degradation, EnvDegradation)
    inner = cheetah()
    model = inner.unwrapped.model  # type: ignore[attr-defined]
    before = {name: array.copy() for name, array in _arrays(model).items()}
    env = degradation.wrap(inner, 0.5)
    episode(env, 1)
    changed = [name for name, array in _arrays(model).items() if not np.array_equal(array, before[name])]
    assert changed
    for name in getattr(degradation, "arrays", ()):
        factor = 1 + 0.5 * (degradation.factor - 1)  # type: ignore[attr-defined]
        np.testing.assert_allclose(getattr(model, name), before[name] * factor)
    env.reset(seed=2)
    assert all(np.array_equal(array, before[name]) for name, array in _arrays(model).items())
    env.step(np.zeros(6, dtype=np.float32))
    env.close()
    assert all(np.array_equal(array, before[name]) for name, array in _arrays(model).items())


def test_wrappers_can_be_rebuilt_from_their_specification() -> None:
    condition = load_suite("paper-mujoco").conditions[1]
    env = condition.wrap(gym.make("HalfCheetah-v5"))
    assert env.spec is not None
    again = gym.make(env.spec)
    assert same(episode(env, 3), episode(again, 3))

    lidar = LidarGaussian().wrap(LidarStuck().wrap(gym.make("homeo_rl/Navigation-v0"), 1.0), 0.5, onset=3)
    assert lidar.spec is not None
    assert same(episode(lidar, 3), episode(gym.make(lidar.spec), 3))


def test_joint_faults_hit_one_entry_of_their_group() -> None:
    env = cheetah()
    assert joint_entries(env, "qpos").tolist() == list(range(8))
    assert joint_entries(env, "qvel").tolist() == list(range(8, 17))
    ant = make_env("Ant-v5", {"include_cfrc_ext_in_observation": False})
    assert joint_entries(ant, "qpos").tolist() == list(range(13))
    assert joint_entries(ant, "qvel").tolist() == list(range(13, 27))
    for kind, group in (("pose", "qpos"), ("velocity", "qvel")):
        entries = set()
        for seed in range(12):
            degradation = build({"kind": kind}, where="test")
            assert isinstance(degradation, EnvDegradation)
            seen = degradation.wrap(cheetah(), 1.0).reset(seed=seed)[0]
            (changed,) = np.flatnonzero(seen != env.reset(seed=seed)[0])
            entries.add(int(changed))
        assert len(entries) > 2
        assert entries <= set(joint_entries(env, group).tolist())


def test_gaussian_noise_has_its_size() -> None:
    degradation = build({"kind": "obs-gaussian", "std": 0.2}, where="test")
    assert isinstance(degradation, EnvDegradation)
    healthy, noisy = episode(cheetah(), 0, 400), episode(degradation.wrap(cheetah(), 0.5), 0, 400)
    gaps = np.concatenate([a - b for a, b in zip(noisy[1::2], healthy[1::2], strict=True)])
    assert gaps.std() == pytest.approx(0.1, rel=0.05)
    assert abs(gaps.mean()) < 0.01


def test_delays_are_exact() -> None:
    sensors, actions = (build({"kind": k, "steps": 3}, where="test") for k in ("obs-delayed", "action-delay"))
    assert isinstance(sensors, EnvDegradation)
    assert isinstance(actions, EnvDegradation)
    healthy, late = episode(cheetah(), 0), episode(sensors.wrap(cheetah(), 1.0), 0)
    for step in range(3, 20):
        seen, true = late[1 + 2 * (step - 1)], [healthy[0], *healthy[1::2]]
        assert np.array_equal(seen, true[step - 3])
    given: list[np.ndarray] = []

    class Spy(gym.Wrapper[Any, Any, Any, Any]):
        def step(self, action: Any) -> Any:
            given.append(np.array(action))
            return super().step(action)

    env = actions.wrap(Spy(cheetah()), 1.0)
    env.reset(seed=0)
    for k in range(8):
        env.step(np.full(6, k / 10, dtype=np.float32))
    assert [round(float(a[0]) * 10) for a in given] == [0, 0, 0, 0, 1, 2, 3, 4]


def drive(env: gym.Env[Any, Any], seed: int = 0, steps: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Return the beams that the policy saw and ``info["ranges"]``, one row a step, on one and the same path."""
    observation, info = env.reset(seed=seed)
    beams, ranges = [observation[-18:]], [info["ranges"]]
    for _ in range(steps):
        observation, _, terminated, _, info = env.step(np.zeros(2, dtype=np.float32))
        assert not terminated
        assert observation in env.observation_space
        beams.append(observation[-18:])
        ranges.append(info["ranges"])
    return np.array(beams), np.array(ranges)


def entries(ranges: np.ndarray) -> np.ndarray:
    return np.clip(0.35 / ranges, 0.0, 1.0).astype(np.float32)


@pytest.mark.parametrize("spike_coded", [False, True])
@pytest.mark.parametrize(("fixed", "entry"), [(0.2, 1.0), (6.0, 0.35 / 6.0)])
def test_stuck_beams_read_their_range(spike_coded: bool, fixed: float, entry: float) -> None:
    """Severity fixes the first beams of the list; all other entries are the same bits."""
    env = navigation(spike_coded=spike_coded)
    assert env.observation_space.shape == ((24,) if spike_coded else (22,))
    true, ranges = drive(env)
    for severity, stuck in ((0.1, []), (0.3, [2]), (0.6, [2, 8]), (1.0, [2, 8, 14])):
        part = LidarStuck(range=fixed)
        seen, read = drive(part.wrap(navigation(spike_coded=spike_coded), severity))
        others = np.setdiff1d(np.arange(18), stuck)
        assert np.all(seen[:, stuck] == np.float32(entry))
        assert np.all(read[:, stuck] == fixed)
        assert np.array_equal(seen[:, others], true[:, others])
        assert np.array_equal(read[:, others], ranges[:, others])
        ahead = env.reset(seed=1)[0]
        damaged = part.wrap(navigation(spike_coded=spike_coded), severity).reset(seed=1)[0]
        assert np.array_equal(damaged[:-18], ahead[:-18]), "what is not lidar"


@pytest.mark.parametrize("spike_coded", [False, True])
def test_lidar_noise_has_its_size_and_bounds(spike_coded: bool) -> None:
    def readings(part: LidarGaussian | None, severity: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        env = navigation(spike_coded=spike_coded)
        runs = [drive(env if part is None else part.wrap(env, severity), seed) for seed in range(10)]
        beams, ranges = (np.concatenate(column) for column in zip(*runs, strict=True))
        assert np.array_equal(beams, entries(ranges)), "the observation is that of info's ranges"
        return beams, ranges

    _, healthy = readings(None)
    beams, ranges = readings(LidarGaussian(), 1.0)
    assert (ranges.min(), ranges.max()) == (0.2, 6.0)
    assert (beams.min(), beams.max()) == (np.float32(0.35 / 6.0), 1.0)
    middle = (healthy > 2.6) & (healthy < 3.6)  # at least 2.4 standard deviations from both bounds
    assert middle.sum() > 500
    assert (ranges - healthy)[middle].std() == pytest.approx(1.0, rel=0.1)
    _, ranges = readings(LidarGaussian(std=0.3, low=1e-3, high=1e3), 0.5)
    gaps = (ranges - healthy)[healthy > 1.0]
    assert len(gaps) > 5000
    assert gaps.std() == pytest.approx(0.15, rel=0.03)
    assert abs(gaps.mean()) < 0.01


def test_lidar_noise_is_paired() -> None:
    """The same draws for every severity and whatever the robot does, other draws for another seed."""

    def noise(severity: float, seed: int = 0, action: float = 0.3) -> np.ndarray:
        part, found = LidarGaussian(low=1e-3, high=1e3), []
        healthy, damaged = navigation(), part.wrap(navigation(), severity)
        pairs = [(healthy.reset(seed=seed)[1], damaged.reset(seed=seed)[1])]
        for _ in range(5):
            step = np.full(2, action, dtype=np.float32)
            pairs.append((healthy.step(step)[4], damaged.step(step)[4]))
        for truth, info in pairs:
            gap = info["ranges"] - truth["ranges"]
            found.append(np.where(info["ranges"] > 1e-3, gap, np.nan) / severity)
        return np.array(found)

    assert np.nanmax(np.abs(noise(1.0) - noise(0.5))) < 1e-9
    assert np.nanmax(np.abs(noise(1.0) - noise(1.0, action=0.9))) < 1e-9
    assert np.nanmax(np.abs(noise(1.0) - noise(1.0, seed=1))) > 0.1


def test_lidar_degradations_compose() -> None:
    noise, near, far = LidarGaussian(), LidarStuck(beams=(0, 1)), LidarStuck(beams=(1, 17), range=6.0)
    _, noisy = drive(noise.wrap(navigation(), 1.0))
    env = Condition(name="x", severity=1.0, degradations=(noise, near, far)).wrap(navigation())
    beams, ranges = drive(env)
    assert np.all(ranges[:, 0] == 0.2)
    assert np.all(ranges[:, [1, 17]] == 6.0)
    assert np.array_equal(ranges[:, 2:17], noisy[:, 2:17])
    assert np.array_equal(beams, entries(ranges))
    turned = Condition(name="x", severity=1.0, degradations=(near, noise)).wrap(navigation())
    _, ranges = drive(turned)
    assert len(np.unique(ranges[:, 0])) > 10, "noise on a stuck beam"
    assert np.array_equal(ranges[:, 2:], noisy[:, 2:])


def test_lidar_degradations_come_before_those_of_the_observation() -> None:
    delay, noise, gain = (build({"kind": k}, where="test") for k in ("obs-delayed", "lidar-gaussian", "action-gain"))
    fine = Condition(name="x", severity=1.0, degradations=(gain, noise, delay)).wrap(navigation())
    assert not same(episode(fine, 0), episode(navigation(), 0))
    with pytest.raises(UsageError, match=r"lidar-gaussian would undo obs-delayed.*list lidar-gaussian first"):
        Condition(name="x", severity=1.0, degradations=(gain, delay, noise)).wrap(navigation())


def test_the_world_goes_by_the_true_lidar() -> None:
    """The robot's own info is not written, and a beam stuck at 0.1 m is no collision."""
    env = navigation(worlds="evaluation-dynamic", rules="dynamic")
    damaged = LidarStuck(range=0.1).wrap(env, 1.0)
    fleet = env.unwrapped.fleet  # type: ignore[attr-defined]
    damaged.reset(seed=0)
    for _ in range(60):
        _, _, terminated, _, info = damaged.step(np.full(2, 0.1, dtype=np.float32))
        assert not terminated
        assert info["ranges"][8] == 0.1
        assert fleet.ranges[0, 8] > 0.18


def test_lidar_needs_eighteen_ranges() -> None:
    for kind in ("lidar-stuck", "lidar-gaussian"):
        part = build({"kind": kind}, where="test")
        for env in (cheetah(), make_env("toy_envs:Point-v0"), make_env("toy_envs:Choice-v0")):
            assert "lidar of 18 beams" in str(part.incompatibility(env, spiking=True))
        for env in (navigation(), navigation(spike_coded=True), make_env("homeo_rl/NavigationDynamic-v0")):
            assert part.incompatibility(env, spiking=False) is None
        for wrapped in (
            gym.wrappers.NormalizeObservation(navigation()),
            gym.wrappers.RescaleObservation(navigation(), np.float32(-1.0), np.float32(1.0)),
        ):
            assert "last entries of the observation" in str(part.incompatibility(wrapped, spiking=True))
        stacked = gym.wrappers.FrameStackObservation(navigation(), 2)
        assert "one-dimensional" in str(part.incompatibility(stacked, spiking=True))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "lidar-stuck", "beams": [2, 18]}, r"from 0 to 17, got \[2, 18\]"),
        ({"kind": "lidar-stuck", "beams": [-1]}, r"from 0 to 17, got \[-1\]"),
        ({"kind": "lidar-stuck", "beams": [3, 3]}, "different numbers"),
        ({"kind": "lidar-stuck", "beams": []}, "different numbers"),
        ({"kind": "lidar-stuck", "beams": [2.5]}, "valid integer"),
        ({"kind": "lidar-stuck", "range": 0}, "range: expected a number of metres > 0"),
        ({"kind": "lidar-stuck", "range": float("nan")}, "range: expected"),
        ({"kind": "lidar-stuck", "ranges": 0.2}, "did you mean 'range'"),
        ({"kind": "lidar-gaussian", "std": -1}, "std: expected"),
        ({"kind": "lidar-gaussian", "std": float("inf")}, "std: expected"),
        ({"kind": "lidar-gaussian", "low": 0}, "0 < low <= high"),
        ({"kind": "lidar-gaussian", "low": 7.0}, "0 < low <= high"),
    ],
)
def test_bad_lidar_parameters_are_named(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        build(fields, where="test")


@pytest.mark.parametrize("kind", NETWORK_KINDS)
def test_network_degradations(kind: str) -> None:
    """Severity 0 through a condition changes nothing; damage copies, repeats and leaves the trained tensors alone."""
    degradation = build({"kind": kind}, where="test")
    assert isinstance(degradation, NetworkDegradation)
    trained, untouched = weights(), weights()
    assert Condition(name="x", severity=0.0, degradations=(degradation,)).network_damage(1) is None

    def damaged(seed: int, severity: float = 1.0, upto: int = 60) -> Weights:
        course = Condition(name="x", severity=severity, degradations=(degradation,)).network_damage(seed)
        assert course is not None
        latest: Weights = trained
        for step in range(upto):
            latest = course.at(step, trained) or latest
        return latest

    assert not equal(damaged(1), trained)
    assert equal(damaged(1), damaged(1))
    assert equal(trained, untouched)
    if kind not in ("weights-8bit", "weights-scale"):
        assert not equal(damaged(1), damaged(2))
    assert not equal(damaged(1, 0.5), damaged(1, 1.0))


def test_network_damage_waits_for_its_onset_and_drift_goes_on() -> None:
    part = build({"kind": "weights-drift"}, where="test")
    course = Condition(name="x", severity=1.0, degradations=(part,), onset=30).network_damage(0)
    assert course is not None
    trained = weights()
    changes = [step for step in range(100) if course.at(step, trained) is not None]
    assert changes == [30, 50, 70, 90]


def test_counts_are_exact() -> None:
    rng, trained = np.random.default_rng(0), weights()
    zeroed = ZeroWeights(fraction=0.3).damage(trained, 1.0, rng)
    for before, after in zip(trained, zeroed, strict=True):
        assert int((after.weight == 0).sum()) == int(0.3 * before.weight.numel())
    dead = DeadNeurons(fraction=0.2).damage(trained, 1.0, rng)
    assert [None if w.alive is None else int((w.alive == 0).sum()) for w in dead] == [4, 3, None]
    stuck = StuckNeurons(fraction=0.1).damage(trained, 1.0, rng)
    assert [None if w.stuck is None else int(w.stuck.sum()) for w in stuck] == [2, 1, None]


def test_eight_bits() -> None:
    trained, rng = weights(), np.random.default_rng(0)
    largest = max(float(part.abs().max()) for w in trained for part in (w.weight, w.bias))
    raw = EightBitWeights(rescale=False).damage(trained, 1.0, rng)
    for before, after in zip(trained, raw, strict=True):
        assert torch.equal(after.weight, (before.weight * (255.0 / largest)).round())
    fine = EightBitWeights().damage(trained, 1.0, rng)
    step = largest / 255
    assert all(float((a.weight - b.weight).abs().max()) <= 0.5001 * step for a, b in zip(fine, trained, strict=True))


@pytest.mark.parametrize("word", ["int8", "float32"])
def test_bit_flips_change_one_bit_of_their_share(word: Any) -> None:
    """Weights without a flip keep every bit; the others are the words with one bit changed, and finite."""
    trained = weights()
    damaged = FlippedBits(fraction=0.2, word=word).damage(trained, 0.5, np.random.default_rng(0))
    for before, after in zip(trained, damaged, strict=True):
        w, v = before.weight.detach().numpy().ravel(), after.weight.numpy().ravel()
        changed = np.flatnonzero(w.view(np.uint32) != v.view(np.uint32))
        assert len(changed) == int(0.1 * w.size)
        if word == "float32":
            flips = w[changed].view(np.uint32) ^ v[changed].view(np.uint32)
            single = (flips & (flips - np.uint32(1))) == 0
            assert (single | (np.abs(v[changed]) >= LIMIT * 0.999) | (v[changed] == 0.0)).all()
        else:
            scale = np.abs(w).max() / 127.0
            moves = np.rint((v[changed] - w[changed]) / scale).astype(int)
            assert {abs(move) for move in moves.tolist()} <= {1, 2, 4, 8, 16, 32, 64, 128}
            np.testing.assert_allclose(v[changed] - w[changed], moves * scale, atol=1e-3 * scale)
        assert np.isfinite(v).all()
        assert torch.equal(before.bias, after.bias)
    assert equal(trained, FlippedBits(word=word).damage(trained, 0.0, np.random.default_rng(0)))


def test_every_bit_of_a_float_is_flipped_at_times() -> None:
    layer = LayerWeights(torch.full((200, 100), 0.7), torch.zeros(200))
    (damaged,) = FlippedBits(fraction=1.0, word="float32").damage((layer,), 1.0, np.random.default_rng(0))
    values, counts = np.unique(damaged.weight.numpy(), return_counts=True)
    assert len(values) == 32, "each bit gives another number; the highest bit of the exponent gives the limit"
    assert values.max() == np.float32(LIMIT)
    assert counts.min() > 400


def test_drift_reaches_its_size() -> None:
    part = build({"kind": "weights-drift", "std": 0.1}, where="test")
    course = Condition(name="x", severity=1.0, degradations=(part,)).network_damage(0)
    assert course is not None
    trained = (LayerWeights(torch.zeros(100, 100), torch.zeros(100)),)
    latest = trained
    for step in range(1001):
        latest = course.at(step, trained) or latest  # type: ignore[assignment]
    assert float(latest[0].weight.std()) == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("name", suite_names())
def test_suites_load_and_their_hash_holds(name: str) -> None:
    suite = load_suite(name)
    assert suite.name == name
    assert suite.conditions[0].label == "clean"
    assert load_suite(name).hash == suite.hash
    assert len(suite.hash) == 12


NEWER = {
    "obs-offset", "obs-scale", "obs-drift", "obs-markov", "obs-jitter", "obs-spikes",
    "action-bias", "action-dead", "action-hold", "action-stuck", "weights-bitflips",
}  # fmt: skip
"""Kinds that came after the hash of the suite ``standard`` was published."""


def test_standard_suites_try_everything() -> None:
    names = ("standard", "navigation-standard", "homeostasis", "senses", "actuators", "faults")
    kinds = [{part.kind for c in load_suite(name).conditions for part in c.degradations} for name in names]
    assert set().union(*kinds) == set(DEGRADATIONS)
    assert set(DEGRADATIONS) - kinds[0] == {"lidar-stuck", "lidar-gaussian", "obs-gaussian-normalised", *NEWER}
    severities: dict[str, set[float]] = {}
    for condition in load_suite("standard").conditions[1:]:
        severities.setdefault(condition.name, set()).add(condition.severity)
    assert all(len(found) == 3 for found in severities.values())


def test_published_suites_keep_their_hashes() -> None:
    """These stand in tables; a hash that changes means that the numbers beside it are another suite's."""
    published = {
        "clean": "bcdaa0057d16",
        "quick": "6cdb4fe037a3",
        "paper-mujoco": "a1ed4e139d0a",
        "standard": "a219d19b06db",
        "homeostasis": "fb4712f534ec",
        "wear": "d2c9e79e0166",
        "navigation-paper": "e836c99cfc80",
        "navigation-standard": "c80314b2c79a",
    }
    assert {name: load_suite(name).hash for name in published} == published


@pytest.mark.parametrize("name", [name for name in suite_names() if name.startswith("navigation-")])
def test_navigation_suites(name: str) -> None:
    """Every condition applies where it takes place; the first is clean and stands still, another has moving things."""
    suite = load_suite(name)
    first = suite.conditions[0]
    assert (first.degradations, first.severity, first.env) == ((), 0.0, "homeo_rl/Navigation-v0")
    moving = [c for c in suite.conditions if c.name == "moving-obstacles"]
    assert len(moving) == (name not in ("navigation-senses", "navigation-actuators"))
    for condition in moving:
        assert (condition.degradations, condition.severity) == ((), 1.0)
        assert condition.env == "homeo_rl/NavigationDynamic-v0"
    assert len(suite.conditions) <= 30
    for condition in suite.conditions:
        env = make_env(condition.env)
        assert condition.incompatibility(env, spiking=True) is None
        damaged = condition.wrap(env)
        observation, _ = damaged.reset(seed=0)
        assert observation in env.observation_space
        env.close()


def test_paper_conditions_of_the_lidar() -> None:
    parts = {c.name: c.degradations for c in load_suite("navigation-paper").conditions}
    assert parts["lidar-0.2"] == (LidarStuck(beams=(2, 8, 14), range=0.2),)
    assert parts["lidar-6.0"] == (LidarStuck(beams=(2, 8, 14), range=6.0),)
    assert parts["lidar-gaussian"] == (LidarGaussian(std=1.0, low=0.2, high=6.0),)


SUITE = """
name: mine
version: 1
conditions:
  - name: clean
  - name: noisy
    severities: [0.5, 1.0]
    degradations: [{kind: obs-gaussian, std: 0.1}]
"""


def test_suite_files(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(SUITE)
    suite = load_suite(str(path))
    assert [condition.label for condition in suite.conditions] == ["clean", "noisy@0.5", "noisy"]
    path.write_text("# a comment\n" + SUITE)
    assert load_suite(str(path)).hash == suite.hash, "comments do not count"
    path.write_text(SUITE.replace("0.1}", "0.2}"))
    assert load_suite(str(path)).hash != suite.hash, "content does"


def test_conditions_may_name_their_environment(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"

    def load(text: str) -> Suite:
        path.write_text(text)
        return load_suite(str(path))

    plain = load(SUITE)
    assert plain.env == ""
    assert {c.env for c in plain.conditions} == {""}
    suite = load(SUITE + "    env: B-v0\n  - name: moving\n    env: C-v0\nenv: A-v0\n")
    assert suite.env == "A-v0"
    assert [(c.label, c.env, c.severity) for c in suite.conditions] == [
        ("clean", "A-v0", 0.0),
        ("noisy@0.5", "B-v0", 0.5),
        ("noisy", "B-v0", 1.0),
        ("moving", "C-v0", 1.0),
    ]
    assert load(SUITE + "env: ''\n").hash == plain.hash, "no environment is no content"
    hashes = [load(SUITE + more).hash for more in ("env: A-v0\n", "env: B-v0\n", "    env: A-v0\n")]
    assert len({plain.hash, *hashes}) == 4
    again = Suite(name="mine", version=1, description="", conditions=plain.conditions, env="A-v0")
    assert again.hash == hashes[0], "a suite made in a program fills its conditions too"
    assert dataclasses.replace(again, env="").conditions == again.conditions


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("version: 1", "version: 1\nevn: A-v0", "did you mean 'env'"),
        ("version: 1", "version: 1\nenv: 3", "env: Input should be a valid string"),
        ("version: 1", "version: 1\nenv:", "env: Input should be a valid string"),
        ("name: noisy", "name: noisy\n    env: [A-v0]", "conditions.1.env: Input should be a valid string"),
        ("name: noisy", "name: noisy\n    evn: A-v0", "conditions.1.evn: Unexpected keyword"),
        ("kind: obs-gaussian", "kind: obs-gausian", "did you mean 'obs-gaussian'"),
        ("std: 0.1", "sdt: 0.1", "did you mean 'std'"),
        ("std: 0.1", "std: much", "valid number"),
        ("[0.5, 1.0]", "[0.5, 1.5]", "numbers in"),
        ("[0.5, 1.0]", "[0.5, 0.5]", "appears twice"),
        ("version: 1", "verson: 1", "did you mean 'version'"),
        ("  - name: clean\n", "", "first condition without degradations"),
        ("conditions:", "conditions: {", "cannot read it"),
    ],
)
def test_bad_suites_name_the_fault(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(SUITE.replace(old, new))
    with pytest.raises(UsageError, match=said):
        load_suite(str(path))


def test_unknown_suites_are_named() -> None:
    with pytest.raises(UsageError, match="did you mean 'paper-mujoco'"):
        load_suite("paper-mojuco")
    with pytest.raises(UsageError, match="expected a suite file, found none"):
        load_suite("nowhere/mine.yaml")


def test_conditions_say_why_they_do_not_apply() -> None:
    env = make_env("toy_envs:Point-v0")
    reasons = {c.label: c.incompatibility(env, spiking=True) for c in load_suite("standard").conditions}
    assert "MuJoCo model" in str(reasons["body-mass"])
    assert "joint entries" in str(reasons["pose"])
    assert reasons["obs-gaussian"] is None
    choice = make_env("toy_envs:Choice-v0")
    assert "action space" in str(
        next(c for c in load_suite("standard").conditions if c.name == "action-gain").incompatibility(
            choice, spiking=True
        )
    )


def test_discrete_actions_can_be_noisy() -> None:
    degradation = build({"kind": "action-noise", "std": 1.0}, where="test")
    assert isinstance(degradation, EnvDegradation)
    healthy, noisy = (
        episode(make_env("toy_envs:Choice-v0"), 1),
        episode(degradation.wrap(make_env("toy_envs:Choice-v0"), 1.0), 1),
    )
    assert not same(healthy, noisy)


def coast(env: gym.Env[Any, Any]) -> None:
    for _ in range(20):
        env.step(np.zeros(2, dtype=np.float32))


def test_nan_stops_with_step_and_entry() -> None:
    env = make_env("toy_envs:Broken-v0")
    env.reset(seed=0)
    with pytest.raises(NumericalFault, match="Broken-v0: step 7: observation entry 1 is nan"):
        coast(env)
    env = make_env("toy_envs:BadReward-v0")
    env.reset(seed=0)
    with pytest.raises(NumericalFault, match="step 5: reward is inf"):
        coast(env)
    env.reset(seed=0)
    with pytest.raises(NumericalFault, match="step 1: action entry 0 is nan"):
        env.step(np.full(2, np.nan, dtype=np.float32))


def test_unknown_environments_get_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="did you mean 'HalfCheetah-v5'"):
        make_env("HalfCheeta-v5")
    with pytest.raises(UsageError, match="check --env-kwargs"):
        make_env("toy_envs:Point-v0", {"stepz": 3})


def test_a_new_degradation_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hooks of a dataclass are enough; suites build it, conditions wrap it, its older method names are understood."""

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Toy(EnvDegradation):
        kind: ClassVar[str] = "toy"
        offset: float = 2.0

        def on_reset(self, at: DegradationWrapper, observation: Any) -> float:
            return float(at.rng.uniform())

        def observe(self, at: DegradationWrapper, observation: Any) -> Any:
            return (observation + at.severity * self.offset + at.memory).astype(observation.dtype)

        def reason_against(self, env: gym.Env[Any, Any], *, spiking: bool) -> str | None:
            return None if spiking else "needs spikes"

    monkeypatch.setitem(DEGRADATIONS, "toy", Toy)
    toy = build({"kind": "toy", "offset": 4.0}, where="test")
    assert toy.to_dict() == {"kind": "toy", "offset": 4.0}
    condition = Condition(name="x", severity=0.5, degradations=(toy,))
    env, healthy = condition.wrap(make_env("toy_envs:Point-v0")), make_env("toy_envs:Point-v0")
    gaps = [env.reset(seed=seed)[0] - healthy.reset(seed=seed)[0] for seed in (0, 0, 1)]
    assert all(((gap > 2.0) & (gap < 3.0)).all() for gap in gaps)
    assert np.array_equal(gaps[0], gaps[1])
    assert not np.array_equal(gaps[0], gaps[2])
    assert condition.incompatibility(env, spiking=False) == "needs spikes"
    again = suite_from_dicts("x", 1, [Condition(name="clean").to_dict(), condition.to_dict()], where="test")
    assert again.conditions[1] == condition


def test_every_degradation_of_the_room_is_offered() -> None:
    """A file with a kind is one of those that are searched for kinds."""
    names = [path.stem for path in Path(suites.__file__).parent.glob("*.py") if path.stem != "__init__"]
    modules = {name: import_module(f"homeo_rl.degradations.{name}") for name in names}
    with_kinds = {
        name for name, module in modules.items() for cls in vars(module).values()
        if isinstance(cls, type) and cls.__module__ == module.__name__ and getattr(cls, "kind", "")
    }  # fmt: skip
    assert with_kinds == set(suites.MODULES)
