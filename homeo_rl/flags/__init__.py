"""Flags of the commands, as data; `homeo_rl.cli` parses them."""

from homeo_rl.flags.making import Compile, Compose, Convert, Import
from homeo_rl.flags.runs import Enjoy, Evaluate, Inspect, Report
from homeo_rl.flags.training import Ablate, Distill, Train, VerifyResume, Vision

__all__ = [
    "Ablate",
    "Compile",
    "Compose",
    "Convert",
    "Distill",
    "Enjoy",
    "Evaluate",
    "Import",
    "Inspect",
    "Report",
    "Train",
    "VerifyResume",
    "Vision",
]
