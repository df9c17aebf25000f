"""Resolved hyper-parameters as the arguments of Stable-Baselines3's constructors."""

from collections.abc import Mapping
from typing import Any

from stable_baselines3.common.utils import LinearSchedule

from homeo_rl.training.hyperparams import OF_POLICY, OURS, SCHEDULED, schedule


def split_hyperparams(hyperparams: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return the arguments of an SB3 algorithm, those of its policy, and all that are ours (`OURS`)."""
    arguments = dict(hyperparams)
    ours = {name: arguments.pop(name) for name in OURS if name in arguments}
    policy_kwargs = {name: ours[name] for name in OF_POLICY if name in ours}
    for name in SCHEDULED:
        if isinstance(arguments.get(name), str):
            arguments[name] = LinearSchedule(schedule(name, arguments[name]), 0.0, 1.0)
    if isinstance(arguments.get("train_freq"), list):
        arguments["train_freq"] = tuple(arguments["train_freq"])  # as Stable-Baselines3 wants [1, "episode"]
    return arguments, policy_kwargs, ours
