from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import toy_envs  # noqa: F401  # registers the small environments

from homeo_rl.degradations import load_suite
from homeo_rl.degradations.randomise import (
    PRESETS,
    Randomisation,
    RandomisedEnv,
    load_randomisation,
    randomisation_from,
)
from homeo_rl.envs import make_env
from homeo_rl.envs.replayable import Recorded
from homeo_rl.errors import UsageError


def wrapped(name: str = "senses", env: str = "toy_envs:Point-v0") -> RandomisedEnv:
    result = load_randomisation(name).wrap(make_env(env))
    assert isinstance(result, RandomisedEnv)
    return result


def episode(env: gym.Env[Any, Any], seed: int | None = None, steps: int = 12) -> np.ndarray:
    """Return the observations of an episode with fixed actions, [steps + 1, D]."""
    rng, size = np.random.default_rng(1), env.action_space.shape
    seen = [env.reset(seed=seed)[0]]
    seen += [env.step(rng.uniform(-1, 1, size).astype(np.float32))[0] for _ in range(steps)]
    return np.array(seen)


def faults(env: RandomisedEnv, seed: int, count: int) -> list[tuple[str, float]]:
    drawn = []
    for index in range(count):
        env.reset(seed=seed if index == 0 else None)
        drawn.append((env.fault.name, env.fault.severity))
    return drawn


def write(path: Path, *conditions: str) -> str:
    path.write_text(
        "name: mine\nversion: 1\nconditions:\n  - name: clean\n" + "".join(f"  - {c}\n" for c in conditions)
    )
    return str(path)


def test_a_fault_depends_on_the_seed_and_the_number_of_the_episode() -> None:
    first, second = faults(wrapped(), 7, 20), wrapped()
    faults(second, 3, 5)
    assert faults(second, 7, 20) == first
    assert faults(wrapped(), 8, 20) != first


def test_observations_are_repeated_whatever_happened_before() -> None:
    env = wrapped()
    before = [episode(env, 4 if index == 0 else None) for index in range(8)]
    again = [episode(env, 4 if index == 0 else None) for index in range(8)]
    assert np.array_equal(before, again)


def test_a_quarter_of_the_episodes_is_clean_and_the_others_draw_every_fault_evenly() -> None:
    drawn = faults(wrapped(), 0, 3000)
    shares = {name: count / 3000 for name, count in Counter(name for name, _ in drawn).items()}
    assert set(shares) == {"clean", *(part.kind for part in PRESETS["senses"])}
    assert abs(shares.pop("clean") - 0.25) < 0.03
    assert all(abs(share - 0.1875) < 0.03 for share in shares.values())


def test_severities_lie_evenly_below_the_largest(tmp_path: Path) -> None:
    file = write(tmp_path / "s.yaml", "{name: a, severities: [0.4], degradations: [{kind: obs-gaussian, std: 1.0}]}")
    severities = [severity for name, severity in faults(wrapped(file), 0, 2000) if name == "a"]
    assert 0.0 < min(severities) < 0.02
    assert 0.38 < max(severities) < 0.4
    assert abs(float(np.mean(severities)) - 0.2) < 0.01


def test_the_median_severity_of_a_file_is_the_largest_drawn(tmp_path: Path) -> None:
    file = write(
        tmp_path / "s.yaml",
        "{name: a, severities: [0.9, 0.2, 0.6], onset: 3, degradations: [{kind: obs-stuck}]}",
        "{name: b, degradations: [{kind: action-noise}, {kind: obs-dropped}]}",
    )
    conditions = load_randomisation(file).conditions
    assert [(one.name, one.severity, one.onset, len(one.degradations)) for one in conditions] == [
        ("a", 0.6, 3, 1), ("b", 1.0, 0, 2),
    ]  # fmt: skip


def test_an_episode_without_a_fault_is_that_of_the_environment() -> None:
    env, plain = wrapped(), make_env("toy_envs:Point-v0")
    clean = 0
    for index in range(20):
        seen, true = (episode(one, 11 if index == 0 else None) for one in (env, plain))
        same = np.array_equal(seen, true)
        assert same or env.fault.name != "clean"
        clean += env.fault.name == "clean"
        assert env.fault.name != "obs-gaussian-normalised" or not same
    assert 0 < clean < 20


def test_a_changed_body_is_healthy_again_in_the_next_episode(tmp_path: Path) -> None:
    file = write(tmp_path / "s.yaml", "{name: heavy, degradations: [{kind: body-mass, factor: 3.0}]}")
    env = wrapped(file, "InvertedPendulum-v5")
    healthy = env.unwrapped.model.body_mass.copy()  # type: ignore[attr-defined]
    seen = set()
    for index in range(12):
        episode(env, 2 if index == 0 else None, steps=2)
        changed = not np.array_equal(env.unwrapped.model.body_mass, healthy)  # type: ignore[attr-defined]
        assert changed == (env.fault.name == "heavy")
        seen.add(changed)
    assert seen == {True, False}
    env.close()


def test_noise_has_the_unit_that_it_was_told_from_the_next_episode_on() -> None:
    def noise(std: np.ndarray | None) -> np.ndarray:
        env = Randomisation("n", load_randomisation("senses").conditions[:1], 0.0).wrap(make_env("toy_envs:Point-v0"))
        assert isinstance(env, RandomisedEnv)
        if std is not None:
            env.set_observation_std(std)
        difference: np.ndarray = episode(env, 1) - episode(make_env("toy_envs:Point-v0"), 1)
        return difference

    told = noise(np.array([9.0, 9.0, 9.0, 2.0, 0.5, 0.0]))  # of a stack of two observations
    assert np.allclose(told, noise(None) * [2.0, 0.5, 0.0], atol=1e-6)
    assert np.abs(told[:, :2]).min() > 0.0


def test_a_snapshot_in_the_middle_of_an_episode_comes_back_to_the_same_faults() -> None:
    one, other = (Recorded(wrapped()) for _ in range(2))
    inner = one.env
    assert isinstance(inner, RandomisedEnv)
    for index in range(6):
        episode(one, 5 if index == 0 else None, steps=7)
        inner.set_observation_std(np.full(3, 0.5 + index))
        assert other.restore(one.snapshot())
        assert one.step(np.zeros(2, np.float32))[0].tobytes() == other.step(np.zeros(2, np.float32))[0].tobytes()
        assert other.restore(one.snapshot())


def test_the_environments_of_a_training_draw_their_own_faults() -> None:
    drawn = [faults(wrapped(), 100 + index, 6) for index in range(8)]
    assert len({str(one) for one in drawn}) == 8


@pytest.mark.parametrize("name", PRESETS)
def test_what_a_run_stores_makes_the_same_faults(name: str) -> None:
    randomisation = load_randomisation(name).for_env(make_env("HalfCheetah-v5"))
    assert randomisation_from(randomisation.to_dict()) == randomisation
    assert not randomisation.skipped


def test_faults_that_do_not_apply_are_left_out_with_a_reason() -> None:
    randomisation = load_randomisation("all").for_env(make_env("CartPole-v1"))
    assert "body-mass" in randomisation.skipped
    assert {one.name for one in randomisation.conditions} >= {part.kind for part in PRESETS["senses"]}
    assert randomisation_from(randomisation.to_dict()) == randomisation


def test_a_preset_is_no_harder_than_the_middle_severities_of_the_standard_suite() -> None:
    largest = {"obs-dropped": "probability", "obs-stuck": "fraction", "obs-delayed": "steps", "action-noise": "std"}
    middle = {one.name: one for one in load_suite("standard").conditions if one.severity == 0.67}
    parts = {part.kind: part for part in PRESETS["all"]}
    for kind, field in largest.items():
        (standard,) = middle[kind].degradations
        assert getattr(parts[kind], field) <= round(0.67 * getattr(standard, field), 2)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("weights", "got damage of the network: a rollout"),
        ("sensess", "did you mean 'senses'"),
        ("nowhere.yml", "--randomise nowhere.yml: expected a suite file, found none"),
    ],
)
def test_what_cannot_be_drawn_is_refused(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_randomisation(name)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("{name: a, degradations: [{kind: weights-gaussian}]}", "weights-gaussian cannot be drawn in a training"),
        ("{name: a, env: CartPole-v1, degradations: [{kind: obs-stuck}]}", "expected no env in a training"),
        ("{name: a, severities: [0.0], degradations: [{kind: obs-stuck}]}", "expected a condition with a degradation"),
    ],
)
def test_a_file_of_what_cannot_be_drawn_is_refused(condition: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        load_randomisation(write(tmp_path / "s.yaml", condition))


def test_a_file_without_a_fault_for_the_environment_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "s.yaml", "{name: a, degradations: [{kind: body-mass}]}")
    with pytest.raises(UsageError, match="expected a fault that applies to the environment, got none: needs a MuJoCo"):
        load_randomisation(file).for_env(make_env("CartPole-v1"))


@pytest.mark.parametrize(
    "data",
    [
        {}, {"name": "a", "clean_share": 0.5, "conditions": []}, {"name": "a", "clean_share": 2.0, "conditions": [1]},
        {"name": "a", "clean_share": "x", "conditions": []}, {"name": "a", "clean_share": 0.5, "conditions": [{}]},
    ],
)  # fmt: skip
def test_a_damaged_record_of_a_run_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"run\.json: randomise"):
        randomisation_from(data)
