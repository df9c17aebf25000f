"""Flags of the commands, as data; `homeo_rl.cli` parses them."""

from homeo_rl.flags.exchange import Export
from homeo_rl.flags.health import Calibrate, Sleep
from homeo_rl.flags.making import Compile, Compose, Convert, Import
from homeo_rl.flags.runs import Enjoy, Evaluate, Inspect, Report
from homeo_rl.flags.studies import Study
from homeo_rl.flags.sweeps import Sweep
from homeo_rl.flags.tools import Completion, Doctor
from homeo_rl.flags.training import Ablate, Distill, Train, VerifyResume, Vision
from homeo_rl.flags.tuning import Tune

__all__ = [
    "Ablate",
    "Calibrate",
    "Compile",
    "Completion",
    "Compose",
    "Convert",
    "Distill",
    "Doctor",
    "Enjoy",
    "Evaluate",
    "Export",
    "Import",
    "Inspect",
    "Report",
    "Sleep",
    "Study",
    "Sweep",
    "Train",
    "Tune",
    "VerifyResume",
    "Vision",
]
