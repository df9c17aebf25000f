from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
import worlds  # noqa: F401  # registers the small environments

from homeo_rl.degradations import (
    DEGRADATIONS,
    Condition,
    EnvDegradation,
    NetworkDegradation,
    build,
    load_suite,
    suite_names,
)
from homeo_rl.degradations.network import DeadNeurons, EightBitWeights, StuckNeurons, ZeroWeights
from homeo_rl.degradations.observation import joint_entries
from homeo_rl.envs import make_env
from homeo_rl.errors import NumericalFault, UsageError
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
    healthy = episode(cheetah(), 5)
    assert same(episode(degradation.wrap(cheetah(), 0.0), 5), healthy)
    env = degradation.wrap(cheetah(), 1.0)
    damaged = episode(env, 5)
    assert not same(damaged, healthy)
    assert same(episode(env, 5), damaged), "the same seed again, in the same environment"
    assert same(episode(degradation.wrap(cheetah(), 1.0), 5), damaged)
    assert all(a.dtype == b.dtype and a.shape == b.shape for a, b in zip(damaged, healthy, strict=True))


@pytest.mark.parametrize("kind", ENV_KINDS)
def test_damage_begins_at_its_onset(kind: str) -> None:
    degradation = build({"kind": kind}, where="test")
    assert isinstance(degradation, EnvDegradation)
    healthy = episode(cheetah(), 5)
    late = episode(degradation.wrap(cheetah(), 1.0, onset=10), 5)
    # 1 reset and 9 whole steps (observation, reward) come before the observation that step 10 may change
    assert same(late[:19], healthy[:19])
    assert not same(late, healthy)


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


def test_standard_suite_tries_everything() -> None:
    kinds = {part.kind for condition in load_suite("standard").conditions for part in condition.degradations}
    assert kinds == set(DEGRADATIONS)
    severities: dict[str, set[float]] = {}
    for condition in load_suite("standard").conditions[1:]:
        severities.setdefault(condition.name, set()).add(condition.severity)
    assert all(len(found) == 3 for found in severities.values())


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


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
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
    env = make_env("worlds:Point-v0")
    reasons = {c.label: c.reason_against(env, spiking=True) for c in load_suite("standard").conditions}
    assert "MuJoCo model" in str(reasons["body-mass"])
    assert "joint entries" in str(reasons["pose"])
    assert reasons["obs-gaussian"] is None
    choice = make_env("worlds:Choice-v0")
    assert "action space" in str(
        next(c for c in load_suite("standard").conditions if c.name == "action-gain").reason_against(
            choice, spiking=True
        )
    )


def test_discrete_actions_can_be_noisy() -> None:
    degradation = build({"kind": "action-noise", "std": 1.0}, where="test")
    assert isinstance(degradation, EnvDegradation)
    healthy, noisy = (
        episode(make_env("worlds:Choice-v0"), 1),
        episode(degradation.wrap(make_env("worlds:Choice-v0"), 1.0), 1),
    )
    assert not same(healthy, noisy)


def coast(env: gym.Env[Any, Any]) -> None:
    for _ in range(20):
        env.step(np.zeros(2, dtype=np.float32))


def test_nan_stops_with_step_and_entry() -> None:
    env = make_env("worlds:Broken-v0")
    env.reset(seed=0)
    with pytest.raises(NumericalFault, match="Broken-v0: step 7: observation entry 1 is nan"):
        coast(env)
    env = make_env("worlds:BadReward-v0")
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
        make_env("worlds:Point-v0", {"stepz": 3})
