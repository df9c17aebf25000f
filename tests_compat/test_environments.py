"""Gymnasium's and Stable-Baselines3's own checkers on every id that ``import homeo_rl`` registers.

Gymnasium's source archive has no tests of its environments, so what is walked here are the checkers that it ships.
"""

from __future__ import annotations

import json
import os
import pickle
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from conftest import record
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.utils.env_match import check_environments_match
from gymnasium.utils.passive_env_checker import env_render_passive_checker
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import homeo_rl  # noqa: F401  # registers

IDS = sorted(name for name in gym.registry if name.startswith("homeo_rl/"))
VARIANTS: dict[str, dict[str, Any]] = {"plain": {}, "spike-coded": {"spike_coded": True}}
CASES = [pytest.param(name, kwargs, id=f"{name}-{how}") for name in IDS for how, kwargs in VARIANTS.items()]

_WRAPPED = ".*The environment .* is different from the unwrapped version"
"""Spike coding is a wrapper, and is to be checked too."""

_UNITS = "We recommend you to use a symmetric and normalized Box action space"
"""Advice that is not taken: actions are speeds in m/s; our policies scale to any finite bounds."""


def test_there_are_ids() -> None:
    """Walking nothing would pass."""
    assert len(IDS) >= 3
    record("environments", ids=len(IDS), cases=len(CASES))


@pytest.mark.parametrize(("name", "kwargs"), CASES)
class TestEnvironment:
    """One id, as it is and spike-coded."""

    def test_gymnasium_checker(self, name: str, kwargs: dict[str, Any]) -> None:
        """Spaces, seeding, determinism, data that are not shared, render modes, closing twice: no warning."""
        env = gym.make(name, disable_env_checker=True, **kwargs)
        assert env.spec is not None
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", message=_WRAPPED)
            check_env(env if kwargs else env.unwrapped, skip_render_check=True)
            for mode in env.metadata["render_modes"]:
                if mode == "human" and not os.environ.get("DISPLAY"):
                    continue  # a window needs a screen
                shown = env.spec.make(render_mode=mode)
                shown.reset()
                env_render_passive_checker(shown)
                shown.close()
        env.close()

    def test_sb3_checker(self, name: str, kwargs: dict[str, Any]) -> None:
        """It has one piece of advice."""
        env = gym.make(name, render_mode="rgb_array", **kwargs)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            sb3_check_env(env, warn=True, skip_render_check=False)
        assert [str(warning.message)[: len(_UNITS)] for warning in warned] == [_UNITS]
        env.close()

    def test_passive_checker(self, name: str, kwargs: dict[str, Any]) -> None:
        """What `gym.make` wraps around by default finds nothing in 500 steps and several episodes."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            env = gym.make(name, max_episode_steps=120, **kwargs)
            env.action_space.seed(0)
            env.reset(seed=0)
            ends = 0
            for _ in range(500):
                observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
                assert observation in env.observation_space
                assert np.isfinite(reward)
                if terminated or truncated:
                    ends += 1
                    env.reset()
            env.close()
        assert ends >= 4

    def test_two_of_them_match(self, name: str, kwargs: dict[str, Any]) -> None:
        """The same seed and actions give the same everything, pictures too."""
        one, other = (gym.make(name, render_mode="rgb_array", **kwargs) for _ in range(2))
        check_environments_match(one, other, num_steps=120, seed=7)

    def test_specification_travels(self, name: str, kwargs: dict[str, Any]) -> None:
        """As JSON and as a pickle it makes the same environment."""
        env = gym.make(name, **kwargs)
        assert env.spec is not None
        text = env.spec.to_json()
        json.loads(text)
        for spec in (EnvSpec.from_json(text), pickle.loads(pickle.dumps(env.spec))):
            check_environments_match(env, gym.make(spec), num_steps=60, seed=3)

    def test_vector_form_is_the_same_robot(self, name: str, kwargs: dict[str, Any]) -> None:
        """Our own vector environments give what Gymnasium's synchronous ones make of single environments."""
        made = [gym.make_vec(name, 3, vectorization_mode=mode, **kwargs) for mode in ("vector_entry_point", "sync")]
        assert made[0].single_observation_space == made[1].single_observation_space
        assert made[0].metadata["autoreset_mode"] == made[1].metadata["autoreset_mode"]
        made[0].action_space.seed(1)
        (one, _), (other, _) = (env.reset(seed=5) for env in made)
        assert data_equivalence(one, other, exact=True)
        for _ in range(300):
            action = made[0].action_space.sample()
            (one, reward, ended, cut, _), (other, reward_, ended_, cut_, _) = (env.step(action) for env in made)
            assert data_equivalence(one, other, exact=True)
            assert np.array_equal(reward, reward_)
            assert np.array_equal(ended, ended_)
            assert np.array_equal(cut, cut_)


@pytest.mark.parametrize("name", IDS)
def test_id_with_its_module(name: str) -> None:
    """``module:id`` imports the module, as Gymnasium promises."""
    env = gym.make(f"homeo_rl:{name}")
    assert env.spec is not None
    assert env.spec.id == name
