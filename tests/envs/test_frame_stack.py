from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import toy_envs  # noqa: F401  # registers the small environments
from gymnasium.wrappers import FlattenObservation, FrameStackObservation

from homeo_rl.agents.controller import load_controller
from homeo_rl.degradations import DEGRADATIONS, Condition, EnvDegradation
from homeo_rl.envs import make_env
from homeo_rl.envs.frame_stack import FrameStack
from homeo_rl.errors import UsageError
from homeo_rl.evaluation.observer_memory import fit_observer
from homeo_rl.training.plan import TrainingPlan
from homeo_rl.training.train import train

FAULTS = ["obs-gaussian", "obs-dropped", "obs-stuck", "obs-delayed", "obs-markov", "obs-drift"]


def play(env: gym.Env[Any, Any], steps: int = 30) -> np.ndarray:
    """Return the observations of an episode with fixed actions, [steps + 1, D]."""
    rng = np.random.default_rng(1)
    seen = [env.reset(seed=5)[0]]
    for _ in range(steps):
        observation, _, terminated, truncated, _ = env.step(rng.uniform(-1, 1, 2).astype(np.float32))
        seen.append(observation)
        if terminated or truncated:
            break
    return np.array(seen)


def reference(env: gym.Env[Any, Any], frames: int) -> gym.Env[Any, Any]:
    return FlattenObservation(FrameStackObservation(env, frames, padding_type="reset"))


def damage(kind: str) -> Condition:
    return Condition(name=kind, severity=1.0, degradations=(DEGRADATIONS[kind](),))


@pytest.mark.parametrize("frames", [2, 4])
def test_a_stack_has_the_numbers_of_gymnasium_s_wrappers(frames: int) -> None:
    env, other = (
        make_env("toy_envs:Point-v0", {"frame_stack": frames}),
        reference(make_env("toy_envs:Point-v0"), frames),
    )
    assert env.observation_space == other.observation_space
    assert np.array_equal(play(env), play(other))


def test_one_observation_is_no_stack() -> None:
    assert not isinstance(make_env("toy_envs:Point-v0", {"frame_stack": 1}), FrameStack)


@pytest.mark.parametrize("frames", [0, 65, 2.0, True, "4"])
def test_another_number_of_observations_is_refused(frames: Any) -> None:
    with pytest.raises(UsageError, match="--frame-stack: expected a whole number of 1 to 64"):
        make_env("toy_envs:Point-v0", {"frame_stack": frames})


def test_observations_of_several_dimensions_are_refused() -> None:
    with pytest.raises(UsageError, match="--frame-stack: expected a one-dimensional Box"):
        FrameStack(gym.make("FrozenLake-v1"), 2)


@pytest.mark.parametrize("kind", FAULTS)
def test_a_stack_holds_damaged_observations_each_damaged_once(kind: str) -> None:
    inside = damage(kind).wrap(make_env("toy_envs:Point-v0", {"frame_stack": 3}))
    assert np.array_equal(play(inside), play(reference(damage(kind).wrap(make_env("toy_envs:Point-v0")), 3)))


def test_damage_finds_the_stack_beneath_another_wrapper() -> None:
    class Outer(gym.Wrapper[Any, Any, Any, Any]):
        pass

    inside = damage("obs-gaussian").wrap(Outer(make_env("toy_envs:Point-v0", {"frame_stack": 3})))
    assert isinstance(inside, Outer)
    assert np.array_equal(play(inside), play(reference(damage("obs-gaussian").wrap(make_env("toy_envs:Point-v0")), 3)))


def test_noise_beneath_a_stack_has_the_unit_of_the_newest_observation() -> None:
    condition = damage("obs-gaussian-normalised")
    std = np.array([9.0, 9.0, 9.0, 1.0, 2.0, 0.0])
    inside = condition.wrap(make_env("toy_envs:Point-v0", {"frame_stack": 2}), std)
    assert np.array_equal(play(inside), play(reference(condition.wrap(make_env("toy_envs:Point-v0"), std[3:]), 2)))


@pytest.mark.parametrize("kind", sorted(kind for kind, cls in DEGRADATIONS.items() if issubclass(cls, EnvDegradation)))
def test_a_fault_applies_to_a_stack_as_to_its_environment(kind: str) -> None:
    condition = damage(kind)
    plain, stacked = make_env("HalfCheetah-v5"), make_env("HalfCheetah-v5", {"frame_stack": 2})
    assert condition.incompatibility(stacked, spiking=True) == condition.incompatibility(plain, spiking=True)


def test_navigation_with_a_stack_has_the_observations_of_navigation() -> None:
    kwargs = {"frame_stack": 2}
    env, other = make_env("homeo_rl/Navigation-v0", kwargs), reference(make_env("homeo_rl/Navigation-v0"), 2)
    assert np.array_equal(play(env), play(other))


def test_a_policy_of_a_stack_is_trained_and_has_no_observer(tmp_path: Path) -> None:
    run = train(
        TrainingPlan(
            algo="ppo", env="toy_envs:Point-v0", agent="mlp", steps=64, env_kwargs={"frame_stack": 3}, eval_freq=32,
            hyperparams={"n_steps": 32, "batch_size": 32, "agent_kwargs": {"hidden": [8]}}, out=tmp_path / "run",
        )
    )  # fmt: skip
    controller = load_controller(run)
    assert controller.spec.network.inputs == 9
    with pytest.raises(UsageError, match="expected a policy that sees one observation, got one that sees 3"):
        fit_observer(run, controller)
