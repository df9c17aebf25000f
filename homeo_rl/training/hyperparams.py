"""Hyper-parameters of the presets, and the checking of those a user gives; nothing here loads torch.

Stable-Baselines3's own defaults hold where neither `homeo_rl.training.algorithms` nor ``tuned.yaml`` says otherwise.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from homeo_rl.errors import UsageError, unknown
from homeo_rl.numerics.limits import LIMIT
from homeo_rl.storage.files import printable
from homeo_rl.training.algorithms import algorithm

OURS = {
    "n_envs": int,
    "noise_std": float,
    "agent_kwargs": dict,
    "net_arch": list,
    "log_std_init": float,
    "window": int,
    "train_env_kwargs": dict,
    "normalize_reward": bool,
}
"""Hyper-parameters that are not arguments of an SB3 algorithm: environments side by side, Gaussian action noise of TD3
and DDPG, fields of the policy, arguments that the environment gets in training only (a curriculum), and whether
rewards are divided by the running standard deviation of returns while learning (SB3's VecNormalize). ``window`` counts
the decisions through which recurrent off-policy actors learn."""

OF_POLICY = ("agent_kwargs", "net_arch", "log_std_init", "window")
"""Those of them that are arguments of the policy."""

_SOME = {"noise_std", "log_std_init", "window"}  # those of them that an algorithm has to name (`Algorithm.ours`)

_RESERVED = {
    "self", "policy", "env", "seed", "device", "tensorboard_log", "verbose", "policy_kwargs", "action_noise",
    "use_sde", "sde_sample_freq", "use_sde_at_warmup", "_init_setup_model",
    "replay_buffer_class", "rollout_buffer_class", "replay_buffer_kwargs", "rollout_buffer_kwargs",
}  # fmt: skip


def param_names(algo: str) -> list[str]:
    """Names that ``-params`` takes for an algorithm. Raises UsageError: there is no such algorithm."""
    chosen = algorithm(algo)
    return sorted(set(chosen.arguments()) - _RESERVED | set(OURS) - _SOME | chosen.ours)


@dataclass(frozen=True)
class Tuned:
    """Defaults for one environment; all empty where there are none."""

    steps: int | None = None
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    hyperparams: dict[str, Any] = field(default_factory=dict)


def load_tuned(algo: str, env: str, agent: str) -> Tuned:
    """Look up ``tuned.yaml``: what holds for the algorithm, and over it what holds for the agent."""
    document = yaml.safe_load((Path(__file__).parent / "tuned.yaml").read_text(encoding="utf-8"))
    entry = document.get(env.rpartition(":")[2], {}).get(algo, {})
    layers = [entry.get("all", {}), entry.get(agent, {})] if agent in entry else []
    merged: dict[str, Any] = {}
    for layer in layers:
        merged |= layer
    return Tuned(merged.pop("n_timesteps", None), merged.pop("env_kwargs", {}), merged)


def resolve(algo: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the preset of ``algo`` with ``given`` laid over it.

    Raises UsageError: an unknown name, or a value of the wrong type.
    """
    names = param_names(algo)
    kinds = {name: _KINDS.get(text) for name, text in algorithm(algo).arguments().items()} | OURS
    resolved = {**algorithm(algo).defaults, **params}
    for name, value in params.items():
        if name not in names:
            raise unknown(f"hyper-parameter of {algo}", name, names)
        if kinds[name] is int and isinstance(value, float) and value.is_integer():
            resolved[name] = value = int(value)  # 1e6, which YAML takes for a float
        if name in SCHEDULED and isinstance(value, str):
            schedule(name, value)
            continue
        if name == "train_freq":
            _check_train_freq(value)
        kind = kinds[name]
        if kind is not None and not _fits(value, kind):
            got = printable(repr(value), 60)
            raise UsageError(f"hyper-parameter {name}: expected {kind.__name__}, got {got}; correct it")
        _check_range(name, value)
    return resolved


def change_network(hyperparams: dict[str, Any], *, imp: str, readout: str) -> dict[str, Any]:
    """Return hyper-parameters with the network's initial potentials and read-out; "" leaves them as they are."""
    changes: dict[str, Any] = {"initial": imp} if imp else {}
    if readout:
        changes["readout"] = {"kind": readout}
    agent_kwargs = {**hyperparams.get("agent_kwargs", {}), **changes}
    return {**hyperparams, "agent_kwargs": agent_kwargs} if changes else hyperparams


SCHEDULED = ("learning_rate", "clip_range", "clip_range_vf")
"""Hyper-parameters that may fall linearly to 0 over the training, written ``lin_3e-4`` as in rl-zoo's files."""


def schedule(name: str, text: str) -> float:
    """Return where the schedule that ``text`` stands for begins. Raises UsageError: it is not ``lin_`` and a number."""
    kind, _, start = text.partition("_")
    try:
        value = float(start)
        if kind != "lin" or not 0 <= value <= LIMIT:
            raise ValueError
        return value
    except ValueError:
        got = printable(repr(text), 60)
        raise UsageError(
            f"hyper-parameter {name}: expected a number or lin_NUMBER, got {got}; write lin_3e-4"
        ) from None


_COUNTS = (
    "n_envs", "n_steps", "batch_size", "n_epochs", "buffer_size", "policy_delay", "target_update_interval",
    "stats_window_size", "window",
)  # fmt: skip
_RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(_COUNTS, (1, LIMIT)),
    **dict.fromkeys(("gamma", "gae_lambda", "tau"), (0, 1)),
    **dict.fromkeys(("learning_starts", "learning_rate", "clip_range", "clip_range_vf", "vf_coef"), (0, math.inf)),
    **dict.fromkeys(("max_grad_norm", "target_kl", "noise_std", "rms_prop_eps"), (0, math.inf)),
    **dict.fromkeys(("target_policy_noise", "target_noise_clip"), (0, math.inf)),
    "gradient_steps": (-1, LIMIT),
}
"""Least and largest value of numbers with which Stable-Baselines3 fails late, or learns nothing without a word."""


def _check_range(name: str, value: Any) -> None:
    if name in _RANGES and isinstance(value, str):
        raise UsageError(f"hyper-parameter {name}: expected a number, got {printable(repr(value), 60)}; correct it")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    low, high = _RANGES.get(name, (-math.inf, math.inf))
    if not (math.isfinite(value) and low <= value <= high):
        ends = f"{low:g} to {high:g}" if high < LIMIT else f"at least {low:g}" if low > -math.inf else "a finite number"
        raise UsageError(f"hyper-parameter {name}: expected {ends}, got {printable(value, 30)}; correct it")


_KINDS = {"int": int, "float": float, "bool": bool}
"""Annotations that a value of a file or a command line can be compared with."""


def _check_train_freq(value: Any) -> None:
    """Check what SB3 would refuse much later."""
    several = isinstance(value, list | tuple) and len(value) == 2 and value[1] in ("step", "episode")
    count = value[0] if several else value
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise UsageError(
            f'hyper-parameter train_freq: expected a number of steps, [N, "step"] or [N, "episode"], got '
            f"{printable(repr(value), 60)}"
        )


def _fits(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
