"""homeo_rl: reinforcement learning with spiking agents that adapt to damage by homeostasis.

The names below are the public interface. Each is imported when it is first used, so ``import homeo_rl`` is cheap. The
environments ``homeo_rl/...`` are registered as soon as Gymnasium is imported, before this package or after it.
"""

from typing import TYPE_CHECKING

from homeo_rl.imports.aliases import install_aliases
from homeo_rl.imports.lazy import call_after_import, import_on_use

if TYPE_CHECKING:
    from homeo_rl.agents.controller import Controller, load_controller, save_controller
    from homeo_rl.agents.sb3.policies import SpikingActorCriticPolicy, SpikingSACPolicy, SpikingTD3Policy
    from homeo_rl.agents.sb3.vec_env import GymVecEnv
    from homeo_rl.agents.session import Session
    from homeo_rl.degradations.protocol import Condition, EnvDegradation, NetworkDegradation
    from homeo_rl.degradations.suites import Suite, load_suite
    from homeo_rl.envs.make import make_env
    from homeo_rl.errors import HomeoError
    from homeo_rl.evaluation.calibrate import calibrate, calibration_of, make_session, session_of
    from homeo_rl.evaluation.evaluate import evaluate
    from homeo_rl.evaluation.plan import EvaluationPlan, Plan
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

__version__ = "0.2.0"

_HOME = {
    "agents.controller": "Controller load_controller save_controller",
    "agents.sb3.policies": "SpikingActorCriticPolicy SpikingSACPolicy SpikingTD3Policy",
    "agents.sb3.vec_env": "GymVecEnv",
    "agents.session": "Session",
    "degradations": "Condition EnvDegradation NetworkDegradation Suite load_suite",
    "envs": "make_env",
    "errors": "HomeoError",
    "evaluation.calibrate": "calibrate calibration_of make_session session_of",
    "evaluation.evaluate": "evaluate",
    "evaluation.plan": "EvaluationPlan Plan",
    "homeostasis": "BDETT DWAM Homeostasis LinearHomeostat PaperDWAM SleepHomeostat make_homeostasis",
    "run": "Run",
    "snn": "SpikingNetwork",
    "spec": "ControllerSpec NetworkSpec",
    "training.plan": "TrainingPlan",
    "training.train": "train",
}

__all__ = [
    "BDETT",
    "DWAM",
    "Condition",
    "Controller",
    "ControllerSpec",
    "EnvDegradation",
    "EvaluationPlan",
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
    "calibrate",
    "calibration_of",
    "evaluate",
    "load_controller",
    "load_suite",
    "make_env",
    "make_homeostasis",
    "make_session",
    "save_controller",
    "session_of",
    "train",
]


if not TYPE_CHECKING:
    __getattr__ = import_on_use(__name__, _HOME)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))


def _register() -> None:
    from homeo_rl.envs.registration import register_environments

    register_environments()


install_aliases()
call_after_import("gymnasium", _register)
