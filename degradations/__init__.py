"""Degradations: ways a robot's sensors, actuators, body and chip fail, and the suites that try them."""

from homeo_rl.degradations.fault_model import FaultModel
from homeo_rl.degradations.protocol import Condition, Degradation, EnvDegradation, NetworkDamage, NetworkDegradation
from homeo_rl.degradations.schedule import Schedule
from homeo_rl.degradations.suites import DEGRADATIONS, Suite, build, load_suite, suite_names

__all__ = [
    "DEGRADATIONS",
    "Condition",
    "Degradation",
    "EnvDegradation",
    "FaultModel",
    "NetworkDamage",
    "NetworkDegradation",
    "Schedule",
    "Suite",
    "build",
    "load_suite",
    "suite_names",
]
