"""Hyper-parameters of the presets, and the checking of those a user gives; nothing here loads torch.

Stable-Baselines3's own defaults hold where nothing is written here. Which arguments its algorithms take is read from
its source, because importing it takes seconds that somebody with a typing error should not wait.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from homeo_rl.errors import UsageError, unknown

ALGORITHMS = ("a2c", "ddpg", "ppo", "sac", "td3")

DEFAULTS: dict[str, dict[str, Any]] = {
    # The rate falls to 0: at a constant 1e-3 the policy goes on jumping between 200 and 1000 on InvertedPendulum.
    "ppo": {"n_envs": 4, "n_steps": 512, "batch_size": 256, "learning_rate": "lin_1e-3", "n_epochs": 10},
    "a2c": {"n_envs": 8, "n_steps": 16, "learning_rate": "lin_1e-3"},
    "sac": {"batch_size": 256, "learning_rate": 1e-3, "learning_starts": 1000, "buffer_size": 200_000},
    "td3": {
        "batch_size": 100,
        "learning_rate": 1e-3,
        "learning_starts": 10_000,
        "buffer_size": 200_000,
        "noise_std": 0.1,
    },
    "ddpg": {
        "batch_size": 100,
        "learning_rate": 1e-3,
        "learning_starts": 10_000,
        "buffer_size": 200_000,
        "noise_std": 0.1,
    },
}

OURS = {
    "n_envs": int,
    "noise_std": float,
    "agent_kwargs": dict,
    "net_arch": list,
    "log_std_init": float,
    "train_env_kwargs": dict,
    "normalize_reward": bool,
}
"""Hyper-parameters that are not arguments of an SB3 algorithm: environments side by side, Gaussian action noise of TD3
and DDPG, fields of the policy, arguments that the environment gets in training only (a curriculum), and whether
rewards are divided by the running standard deviation of returns while learning (SB3's VecNormalize)."""

_RESERVED = {
    "self", "policy", "env", "seed", "device", "tensorboard_log", "verbose", "policy_kwargs", "action_noise",
    "use_sde", "sde_sample_freq", "use_sde_at_warmup", "_init_setup_model",
    "replay_buffer_class", "rollout_buffer_class", "replay_buffer_kwargs", "rollout_buffer_kwargs",
}  # fmt: skip


def known(algo: str) -> list[str]:
    """Names that ``-params`` takes for an algorithm.

    Raises:
        UsageError: there is no such algorithm.
    """
    if algo not in ALGORITHMS:
        raise unknown("algorithm", algo, ALGORITHMS)
    names = set(arguments(algo)) - _RESERVED
    ours = set(OURS) - ({"noise_std"} if algo not in ("td3", "ddpg") else set())
    return sorted(names | (ours - ({"log_std_init"} if algo not in ("ppo", "a2c") else set())))


def arguments(algo: str) -> dict[str, str]:
    """Return the arguments of SB3's algorithm with their annotations, as they are written.

    Args:
        algo: one of `ALGORITHMS`.
    """
    package = importlib.util.find_spec("stable_baselines3")
    assert package is not None
    assert package.origin is not None
    source = (Path(package.origin).parent / algo / f"{algo}.py").read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and node.name == algo.upper():
            for part in node.body:
                if isinstance(part, ast.FunctionDef) and part.name == "__init__":
                    own = [*part.args.args, *part.args.kwonlyargs]
                    return {arg.arg: ast.unparse(arg.annotation) if arg.annotation else "" for arg in own}
    raise AssertionError(f"stable_baselines3/{algo}/{algo}.py: no class {algo.upper()} with an __init__")


@dataclass(frozen=True)
class Tuned:
    """Defaults for one environment; all empty where there are none."""

    steps: int | None = None
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    hyperparams: dict[str, Any] = field(default_factory=dict)


def tuned(algo: str, env: str, agent: str) -> Tuned:
    """Look up ``tuned.yaml``: what holds for the algorithm, and over it what holds for the agent."""
    document = yaml.safe_load((Path(__file__).parent / "tuned.yaml").read_text(encoding="utf-8"))
    found = document.get(env.rpartition(":")[2], {}).get(algo, {})
    layers = [found.get("all", {}), found.get(agent, {})] if agent in found else []
    merged: dict[str, Any] = {}
    for layer in layers:
        merged |= layer
    return Tuned(merged.pop("n_timesteps", None), merged.pop("env_kwargs", {}), merged)


def resolve(algo: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the preset of ``algo`` with ``given`` laid over it.

    Raises:
        UsageError: an unknown name, or a value of the wrong type.
    """
    names = known(algo)
    kinds = {name: _KINDS.get(text) for name, text in arguments(algo).items()} | OURS
    for name, value in given.items():
        if name not in names:
            raise unknown(f"hyper-parameter of {algo}", name, names)
        if name in SCHEDULED and isinstance(value, str):
            schedule(name, value)
            continue
        if name == "train_freq":
            _check_train_freq(value)
        kind = kinds[name]
        if kind is not None and not _fits(value, kind):
            raise UsageError(f"hyper-parameter {name}: expected {kind.__name__}, got {value!r}; correct it")
    return {**DEFAULTS[algo], **given}


SCHEDULED = ("learning_rate", "clip_range")
"""Hyper-parameters that may fall linearly to 0 over the training, written ``lin_3e-4`` as in rl-zoo's files."""


def schedule(name: str, text: str) -> float:
    """Return where the schedule that ``text`` stands for begins.

    Raises:
        UsageError: it is not ``lin_`` and a number.
    """
    kind, _, start = text.partition("_")
    try:
        if kind != "lin":
            raise ValueError
        return float(start)
    except ValueError:
        raise UsageError(f"hyper-parameter {name}: expected a number or lin_NUMBER, got {text!r}; correct it") from None


_KINDS = {"int": int, "float": float, "bool": bool}
"""Annotations that a value of a file or a command line can be compared with."""


def _check_train_freq(value: Any) -> None:
    """Check what SB3 would refuse much later."""
    several = isinstance(value, list | tuple) and len(value) == 2 and value[1] in ("step", "episode")
    count = value[0] if several else value
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise UsageError(
            f'hyper-parameter train_freq: expected a number of steps, [N, "step"] or [N, "episode"], got {value!r}'
        )


def _fits(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
