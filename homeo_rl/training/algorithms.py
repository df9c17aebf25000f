"""Algorithms by name; nothing here loads torch until a class is asked for.

Which arguments an algorithm takes is read from its source, because importing Stable-Baselines3 takes seconds that
somebody with a typing error should not wait.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homeo_rl.errors import UsageError, unknown

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """An algorithm with Stable-Baselines3's interface, and the policy that carries a spiking actor into it."""

    source: str  # "package.module:Class" of the algorithm
    policy: str  # the same of the policy
    derived: str = ""  # the same of ours under it: the same gradient steps in less time, or with a state
    off_policy: bool  # whether it learns from a replay buffer, and so wants continuous actions
    # hyper-parameters where neither user nor environment say otherwise
    defaults: dict[str, Any] = field(default_factory=dict)
    # names in `homeo_rl.training.hyperparams.OURS` that it takes besides those that all do
    ours: frozenset[str] = frozenset()

    @property
    def is_installed(self) -> bool:
        """Whether its package is there."""
        return importlib.util.find_spec(self.source.partition(".")[0]) is not None

    def arguments(self) -> dict[str, str]:
        """Return the arguments of its constructor with their annotations, as they are written.

        Raises UsageError: its package is not installed.
        """
        module, _, name = self.source.partition(":")
        package, *inside = module.split(".")
        spec = importlib.util.find_spec(package)  # of the package alone: of a module in it would import the package
        if spec is None or spec.origin is None:
            raise UsageError(f"{name}: expected the package {package}, found none; pip install 'homeo-rl[contrib]'")
        path = Path(spec.origin)
        if inside:
            path = path.parent.joinpath(*inside).with_suffix(".py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and node.name == name:
                for part in node.body:
                    if isinstance(part, ast.FunctionDef) and part.name == "__init__":
                        parameters = [*part.args.args, *part.args.kwonlyargs]
                        return {arg.arg: ast.unparse(arg.annotation) if arg.annotation else "" for arg in parameters}
        raise AssertionError(f"{path}: no class {name} with an __init__ of its own")

    def classes(self) -> tuple[type[BaseAlgorithm], type[Any]]:
        """Return algorithm and policy."""
        return _import(self.derived or self.source), _import(self.policy)


_ON, _SAC, _TD3 = (f"homeo_rl.agents.sb3.policies:Spiking{name}Policy" for name in ("ActorCritic", "SAC", "TD3"))
_FASTER = "homeo_rl.agents.sb3.algorithms"
_CONTRIB = "homeo_rl.agents.sb3.contrib"
_RECURRENT = "homeo_rl.agents.sb3.recurrent_replay"
_REPLAY = {"learning_rate": 1e-3, "buffer_size": 200_000}
_DETERMINISTIC = {**_REPLAY, "batch_size": 100, "learning_starts": 10_000, "noise_std": 0.1}

ALGORITHMS: dict[str, Algorithm] = {
    "a2c": Algorithm(
        source="stable_baselines3.a2c.a2c:A2C", policy=_ON, off_policy=False, ours=frozenset({"log_std_init"}),
        defaults={"n_envs": 8, "n_steps": 16, "learning_rate": "lin_1e-3"},
    ),
    "batchnorm_td3": Algorithm(
        source="stable_baselines3.td3.td3:TD3", derived="homeo_rl.agents.sb3.batch_norm:BatchNormTD3",
        policy="homeo_rl.agents.sb3.batch_norm:SpikingBatchNormTD3Policy", off_policy=True,
        ours=frozenset({"noise_std"}), defaults=_DETERMINISTIC,
    ),
    "crossq": Algorithm(
        source="sb3_contrib.crossq.crossq:CrossQ", policy=f"{_CONTRIB}:SpikingCrossQPolicy", off_policy=True,
        defaults={**_REPLAY, "batch_size": 256, "learning_starts": 1000},
    ),
    "ddpg": Algorithm(
        source="stable_baselines3.ddpg.ddpg:DDPG", derived=f"{_FASTER}:DDPG", policy=_TD3, off_policy=True,
        ours=frozenset({"noise_std"}), defaults=_DETERMINISTIC,
    ),
    # The rate falls to 0: at a constant 1e-3 the policy goes on jumping between 200 and 1000 on InvertedPendulum.
    "ppo": Algorithm(
        source="stable_baselines3.ppo.ppo:PPO", policy=_ON, off_policy=False, ours=frozenset({"log_std_init"}),
        defaults={"n_envs": 4, "n_steps": 512, "batch_size": 256, "learning_rate": "lin_1e-3", "n_epochs": 10},
    ),
    "proxy_td3": Algorithm(
        source="stable_baselines3.td3.td3:TD3", derived="homeo_rl.agents.sb3.proxy_target:ProxyTD3",
        policy="homeo_rl.agents.sb3.proxy_target:SpikingProxyTD3Policy", off_policy=True,
        ours=frozenset({"noise_std"}), defaults=_DETERMINISTIC,
    ),
    "recurrent_ppo": Algorithm(
        source="sb3_contrib.ppo_recurrent.ppo_recurrent:RecurrentPPO",
        policy="homeo_rl.agents.sb3.recurrent:SpikingRecurrentPolicy",
        off_policy=False,
        ours=frozenset({"log_std_init"}),
        defaults={"n_envs": 8, "n_steps": 128, "batch_size": 256, "learning_rate": "lin_1e-3", "n_epochs": 10},
    ),
    "recurrent_sac": Algorithm(
        source="stable_baselines3.sac.sac:SAC", derived=f"{_RECURRENT}:RecurrentSAC",
        policy=f"{_RECURRENT}:SpikingRecurrentSACPolicy", off_policy=True,
        ours=frozenset({"window"}), defaults={**_REPLAY, "batch_size": 100, "learning_starts": 1000},
    ),
    "recurrent_td3": Algorithm(
        source="stable_baselines3.td3.td3:TD3", derived=f"{_RECURRENT}:RecurrentTD3",
        policy=f"{_RECURRENT}:SpikingRecurrentTD3Policy", off_policy=True,
        ours=frozenset({"noise_std", "window"}), defaults=_DETERMINISTIC,
    ),
    "sac": Algorithm(
        source="stable_baselines3.sac.sac:SAC", derived=f"{_FASTER}:SAC", policy=_SAC, off_policy=True,
        defaults={**_REPLAY, "batch_size": 256, "learning_starts": 1000},
    ),
    "tqc": Algorithm(
        source="sb3_contrib.tqc.tqc:TQC", policy=f"{_CONTRIB}:SpikingTQCPolicy", off_policy=True,
        defaults={**_REPLAY, "batch_size": 256, "learning_starts": 1000},
    ),
    "td3": Algorithm(
        source="stable_baselines3.td3.td3:TD3", derived=f"{_FASTER}:TD3", policy=_TD3, off_policy=True,
        ours=frozenset({"noise_std"}), defaults=_DETERMINISTIC,
    ),
}  # fmt: skip
"""All algorithms; a new one is offered by the command line once it is here."""


def algorithm(name: str) -> Algorithm:
    """Return an algorithm. Raises UsageError: there is none of this name."""
    if name not in ALGORITHMS:
        raise unknown("algorithm", name, ALGORITHMS)
    return ALGORITHMS[name]


def _import(source: str) -> Any:
    module, _, name = source.partition(":")
    return getattr(importlib.import_module(module), name)
