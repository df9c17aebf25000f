"""Files of rl-zoo: those beside a run, and `zoo/<algo>.yml`, the presets as ``rl_zoo3.train -conf`` reads them."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import yaml

from homeo_rl.run import Run
from homeo_rl.spec import dump
from homeo_rl.training.algorithms import ALGORITHMS
from homeo_rl.training.hyperparams import OF_POLICY, load_tuned, resolve
from homeo_rl.training.plan import TrainingPlan
from homeo_rl.training.rl_zoo.reader import NORMALISING, SPIKE_CODED, policy_path

_SAME = ("algo", "env", "agent", "seed", "env_kwargs", "eval_freq", "eval_episodes", "save_freq", "device",
         "num_threads", "homeostasis_in_training")  # fmt: skip
"""Arguments that have the plan's name."""


def write_run_files(plan: TrainingPlan, run: Run) -> None:
    """Write ``args.yml``, ``config.yml`` and ``command.txt`` of a run, as rl-zoo does."""
    folder = run.export_folder
    folder.mkdir(exist_ok=True)
    arguments = {name: getattr(plan, name) for name in _SAME} | {"n_timesteps": run.spec.planned}
    config = {**dump(run.spec)["hyperparams"], "policy": policy_path(plan.algo)}
    (folder / "args.yml").write_text(yaml.safe_dump(arguments), encoding="utf-8")
    (folder / "config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (folder / "command.txt").write_text(plan.command + "\n", encoding="utf-8")


FOLDER = Path(__file__).parent.parent / "zoo"  # the files that come with the package

AGENTS = {"homeo_rl/NavigationTrain-v0": "san"}
"""Agent of each environment that has tuned hyper-parameters; elsewhere the default one."""

DEFAULT_AGENT = "popsan"

WITH_FILES = sorted(set(ALGORITHMS) - {"batchnorm_td3", "proxy_td3", "recurrent_sac", "recurrent_td3"})
"""Algorithms that rl-zoo has too."""

STEPS = 100_000  # where nothing is tuned, as in `homeo_rl.training.plan`


def environments() -> list[str]:
    """Return what the files name: Gymnasium's MuJoCo environments, and those that something is tuned for."""
    mujoco = [
        name
        for name, spec in gym.registry.items()
        if name.endswith("-v5") and str(spec.entry_point).startswith("gymnasium.envs.mujoco.")
    ]
    return sorted(mujoco) + sorted(AGENTS)


def zoo_section(algo: str, env: str) -> dict[str, Any]:
    """Return the hyper-parameters of an environment under rl-zoo's names."""
    agent = AGENTS.get(env, DEFAULT_AGENT)
    known = load_tuned(algo, env, agent)
    left = resolve(algo, known.hyperparams)
    policy_kwargs = {"agent": agent}
    policy_kwargs |= {name: left.pop(name) for name in OF_POLICY if name in left}
    section: dict[str, Any] = {
        "n_timesteps": known.steps or STEPS,
        "policy": policy_path(algo),
        "policy_kwargs": policy_kwargs,
        "callback": NORMALISING,
    }
    if known.env_kwargs:
        assert known.env_kwargs == {"spike_coded": True}, "rl-zoo gives a file's env_kwargs to training alone"
        section["env_wrapper"] = SPIKE_CODED
    if left.get("train_env_kwargs"):
        section["env_kwargs"] = left.pop("train_env_kwargs")
    if left.pop("normalize_reward", False):
        section["normalize"] = {"norm_obs": False, "norm_reward": True}
    if "noise_std" in left:
        section["noise_type"] = "normal"
    return section | left


def zoo_text(algo: str) -> str:
    """Return the file of an algorithm: a section for each environment, and ``default`` for all others."""
    document = {"default": zoo_section(algo, "")} | {env: zoo_section(algo, env) for env in environments()}
    same = {
        env: document["default"] if section == document["default"] else section for env, section in document.items()
    }
    theirs = {"recurrent_ppo": "ppo_lstm"}.get(algo, algo)
    head = (
        f"# {algo.upper()} with spiking actors, in rl-zoo's form, for its own script or ours:\n"
        f"#   python -m rl_zoo3.train --algo {theirs} --env HalfCheetah-v5 --gym-packages homeo_rl -conf {algo}.yml\n"
        f"#   homeo-rl train --algo {algo} --env HalfCheetah-v5 -conf {algo}.yml\n"
        "# Written from the presets and tuned.yaml by `make zoo`; a test holds them together. Edit those.\n"
    )
    return head + yaml.dump(same, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=110)


def write_all(folder: Path = FOLDER) -> None:
    """Write the files of all algorithms."""
    folder.mkdir(exist_ok=True)
    for algo in WITH_FILES:
        (folder / f"{algo}.yml").write_text(zoo_text(algo), encoding="utf-8")


class _Dumper(yaml.SafeDumper):
    """Names the section that many environments share."""

    def generate_anchor(self, node: yaml.Node) -> str:
        return "default"

    def ignore_aliases(self, data: Any) -> bool:
        """Share sections, nothing smaller."""
        return not (isinstance(data, dict) and "policy" in data)
