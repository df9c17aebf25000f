from __future__ import annotations

import copy
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils import env_checker
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from navigation_worlds import DYNAMIC, IDS, ROOM, STATIC, TRAINING, equal, trajectory

import homeo_rl  # noqa: F401  # registers the environments
from homeo_rl.envs.navigation.coding import CODED, SpikeCoded
from homeo_rl.envs.navigation.environment import NavigationEnv
from homeo_rl.envs.navigation.fleet import Fleet
from homeo_rl.envs.navigation.tasks import Task
from homeo_rl.envs.navigation.vector import NavigationVectorEnv
from homeo_rl.errors import UsageError


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
    {"worlds": ["train-4", "train-2"], "rules": "training", "curriculum": [1], "random_movers": 2},
    {"worlds": ROOM | {"discs": [{"center": [2, 2], "radius": 0.5}]}},
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
        {"worlds": "evaluation-dynamic", "rules": "dynamic", "spike_coded": True},
        {"worlds": TRAINING, "rules": "training", "curriculum": [1, 2], "random_movers": 3},
        {"worlds": ROOM, "median": True, "limit": 7},  # all end at once
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
