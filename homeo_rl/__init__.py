"""homeo_rl: reinforcement learning with homeostatic spiking agents that stay alive when they are damaged.

The names below are the front door. Each is imported when it is first used, so ``import homeo_rl`` is cheap; all it
does is to register the environments ``homeo_rl/...`` with Gymnasium.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from homeo_rl.imports.aliases import install_aliases
from homeo_rl.imports.lazy import import_on_use

if TYPE_CHECKING:
    from homeo_rl.agents.controller import Controller, load_controller, save_controller
    from homeo_rl.agents.sb3.policies import SpikingActorCriticPolicy, SpikingSACPolicy, SpikingTD3Policy
    from homeo_rl.agents.sb3.vec_env import GymVecEnv
    from homeo_rl.agents.session import Session
    from homeo_rl.degradations.protocol import Condition, EnvDegradation, NetworkDegradation
    from homeo_rl.degradations.suites import Suite, load_suite
    from homeo_rl.envs.make import make_env
    from homeo_rl.errors import HomeoError
    from homeo_rl.evaluation.calibrate import calibration_of, session_of
    from homeo_rl.evaluation.evaluate import evaluate
    from homeo_rl.evaluation.plan import Plan
    from homeo_rl.homeostasis import (
        BDETT,
        DWAM,
        Homeostasis,
        LinearHomeostat,
        PaperDWAM,
        SleepHomeostat,
        make_homeostasis,
    )
    from homeo_rl.run import Run
    from homeo_rl.snn.network import SpikingNetwork
    from homeo_rl.spec import ControllerSpec, NetworkSpec
    from homeo_rl.training.plan import TrainingPlan
    from homeo_rl.training.train import train

__version__ = "0.1.0"

_HOME = {
    "BDETT": "homeostasis",
    "DWAM": "homeostasis",
    "Condition": "degradations",
    "Controller": "agents.controller",
    "ControllerSpec": "spec",
    "EnvDegradation": "degradations",
    "GymVecEnv": "agents.sb3.vec_env",
    "Homeostasis": "homeostasis",
    "HomeoError": "errors",
    "LinearHomeostat": "homeostasis",
    "NetworkDegradation": "degradations",
    "NetworkSpec": "spec",
    "PaperDWAM": "homeostasis",
    "Plan": "evaluation.plan",
    "Run": "run",
    "Session": "agents.session",
    "SleepHomeostat": "homeostasis",
    "SpikingActorCriticPolicy": "agents.sb3.policies",
    "SpikingNetwork": "snn",
    "SpikingSACPolicy": "agents.sb3.policies",
    "SpikingTD3Policy": "agents.sb3.policies",
    "Suite": "degradations",
    "TrainingPlan": "training.plan",
    "calibration_of": "evaluation.calibrate",
    "evaluate": "evaluation.evaluate",
    "load_controller": "agents.controller",
    "load_suite": "degradations",
    "make_env": "envs",
    "make_homeostasis": "homeostasis",
    "save_controller": "agents.controller",
    "session_of": "evaluation.calibrate",
    "train": "training.train",
}

__all__ = [
    "BDETT",
    "DWAM",
    "Condition",
    "Controller",
    "ControllerSpec",
    "EnvDegradation",
    "GymVecEnv",
    "HomeoError",
    "Homeostasis",
    "LinearHomeostat",
    "NetworkDegradation",
    "NetworkSpec",
    "PaperDWAM",
    "Plan",
    "Run",
    "Session",
    "SleepHomeostat",
    "SpikingActorCriticPolicy",
    "SpikingNetwork",
    "SpikingSACPolicy",
    "SpikingTD3Policy",
    "Suite",
    "TrainingPlan",
    "calibration_of",
    "evaluate",
    "load_controller",
    "load_suite",
    "make_env",
    "make_homeostasis",
    "save_controller",
    "session_of",
    "train",
]


if not TYPE_CHECKING:
    __getattr__ = import_on_use(__name__, _HOME)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))


install_aliases()

if Path(sys.argv[0]).name != "homeo-rl":  # the command line does it once a command is to be run: it costs .25 s
    from homeo_rl.envs.registration import register_environments

    register_environments()
