"""Hyper-parameter files in rl-zoo's form: ours are what the presets say, and others' are translated or refused."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import homeo_rl  # noqa: F401  # registers the environments
from homeo_rl.errors import UsageError
from homeo_rl.training.params import read_config
from homeo_rl.training.plan import TrainingPlan, prepare
from homeo_rl.training.rl_zoo.reader import translate
from homeo_rl.training.rl_zoo.writer import FOLDER, WITH_FILES, environments, write_all, zoo_text


@pytest.mark.parametrize("algo", WITH_FILES)
def test_shipped_files_are_what_the_presets_say(algo: str) -> None:
    assert (FOLDER / f"{algo}.yml").read_text(encoding="utf-8") == zoo_text(algo), "run `make zoo`"


def test_no_file_is_left_over(tmp_path: Path) -> None:
    write_all(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in FOLDER.iterdir()}


def test_wheels_have_them() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["homeo_rl.training"]
    for path in FOLDER.iterdir():
        assert any(path.relative_to(FOLDER.parent).match(pattern) for pattern in patterns), path


@pytest.mark.parametrize("algo", WITH_FILES)
def test_training_from_a_file_is_training_from_the_preset(algo: str) -> None:
    """The same steps, environment, network and hyper-parameters, for every section and for an environment without."""
    assert "Ant-v5" in environments()
    for env in [*environments(), "Pendulum-v1"]:
        told = read_config(FOLDER / f"{algo}.yml", env, algo)
        assert told.agent is not None
        preset = TrainingPlan(algo=algo, env=env, agent=told.agent)
        plan, spec = prepare(
            replace(preset, steps=told.steps, env_kwargs=told.env_kwargs, hyperparams=told.hyperparams)
        )
        own_plan, own_spec = prepare(preset)
        assert spec == own_spec
        assert plan.steps == own_plan.steps


def test_files_are_data() -> None:
    """A safe loader reads them, and policies are the dotted paths that rl-zoo imports."""
    for path in FOLDER.glob("*.yml"):
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        for section in document.values():
            module, _, name = section["policy"].rpartition(".")
            assert hasattr(__import__(module, fromlist=[name]), name)


def test_a_file_of_rl_zoo_itself() -> None:
    """The form of its own files: texts that it would evaluate, linear schedules, normalisation."""
    section = {
        "normalize": "dict(norm_obs=True, norm_reward=False)",
        "n_envs": 1,
        "policy": "MlpPolicy",
        "n_timesteps": 1e6,
        "batch_size": 64,
        "learning_rate": "lin_2.5e-4",
        "policy_kwargs": "dict(log_std_init=-2, net_arch=dict(pi=[64, 64], vf=[256, 256]))",
    }
    told = translate(section, algo="ppo", env="Hopper-v5", where="theirs.yml")
    assert told.flags == {"n_timesteps": 1_000_000}
    assert told.hyperparams == {
        "agent_kwargs": {"hidden": [64, 64]},
        "net_arch": [256, 256],
        "log_std_init": -2,
        "normalize_reward": False,
        "n_envs": 1,
        "batch_size": 64,
        "learning_rate": "lin_2.5e-4",
    }


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"policy": "CnnPolicy"}, "expected MlpPolicy or homeo_rl.agents.SpikingActorCriticPolicy"),
        ({"policy_kwargs": "dict(activation_fn=nn.ReLU)"}, "would have to be run"),
        ({"policy_kwargs": "__import__('os').system('true')"}, "would have to be run"),
        ({"policy_kwargs": {"ortho_init": False}}, "ortho_init"),
        ({"frame_stack": 4}, "frame_stack has no counterpart"),
        ({"use_sde": True}, "use_sde has no counterpart"),
        ({"env_wrapper": [{"a.B": 1, "c.D": 2}]}, "env wrapper: expected a dotted name"),
        ({"callback": "my.Callback"}, "callback has no counterpart"),
        ({"noise_type": "ornstein-uhlenbeck"}, "expected normal"),
        ({"n_timesteps": 0.5}, "whole number of steps"),
        ({"normalize": "dict(norm_obs=f())"}, "would have to be run"),
    ],
)
def test_what_has_no_counterpart_is_refused(section: dict[str, Any], said: str) -> None:
    """By name, before anything is trained; nothing in a file is evaluated."""
    with pytest.raises(UsageError, match=said):
        translate(section, algo="ppo", env="Hopper-v5", where="theirs.yml")


def test_keys_that_ask_for_nothing_are_no_obstacle() -> None:
    section = {"use_sde": False, "frame_stack": None, "env_wrapper": [], "policy": "MlpPolicy"}
    assert translate(section, algo="ppo", env="Hopper-v5", where="theirs.yml").hyperparams == {}
