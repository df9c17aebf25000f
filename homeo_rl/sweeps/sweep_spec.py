"""What the file of a sweep may say, as validated frozen data; `homeo_rl.sweeps.read_sweep` reads it.

train: {algo: td3, env: Pendulum-v1, n_timesteps: 20000, params: {learning_rate: 1e-3}}
grid: {agent: [popsan, mlp], params.learning_rate: [1e-3, 3e-4]}    # every combination
zip: {params.batch_size: [100, 256], params.gamma: [0.99, 0.98]}    # these go together
seeds: 5
evaluate: {suite: quick, homeostasis: [none, dwam], episodes: 20}
resources: {cpus: 1, gpus: 0, memory_gb: 2}
"""

from dataclasses import dataclass, field
from typing import Any

import pydantic

from homeo_rl.processes.executor import Resources

_STRICT = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class Training:
    """What a cell trains; the fields are the flags of ``homeo-rl train``, ``params`` is its ``-params``."""

    algo: str = "ppo"
    env: str = "InvertedPendulum-v5"
    agent: str = "popsan"
    n_timesteps: int | None = None
    params: dict[str, Any] = field(default_factory=dict)
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    gym_packages: tuple[str, ...] = ()
    imp: str = ""
    readout: str = ""
    homeostasis_in_training: str = "none"
    eval_freq: int = 10_000
    eval_episodes: int = 5
    save_freq: int = 10_000
    device: str = "cpu"
    num_threads: int = 1
    vec_env: str = "dummy"
    engine: str = "gymnasium"


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How a trained policy is judged; the fields are the flags of ``homeo-rl evaluate``.

    Plug-ins need spikes: of ``homeostasis``, policies without them get the arm ``none`` only.
    """

    suite: str = "clean"
    homeostasis: tuple[str, ...] = ("none",)
    episodes: int | None = None
    seed: int = 0
    env: str = ""
    routes: str = ""
    calibration_episodes: int = 5
    best: bool = False


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class Sweep:
    """The file. Keys of ``grid`` and ``zip`` are names of `Training`, dotted for what lies deeper."""

    train: Training = Training()
    grid: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    zip: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    evaluate: Evaluation = Evaluation()
    resources: Resources = field(default_factory=Resources)


@dataclass(frozen=True)
class Combination:
    """One choice of everything that varies but the seed: its values by dotted name, and the training they make."""

    choice: dict[str, Any]
    training: Training
