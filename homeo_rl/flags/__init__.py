"""Flags of the commands, as data; `homeo_rl.flags.parsing` reads them. Each is imported when it is first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from homeo_rl.lazy import import_on_use

if TYPE_CHECKING:
    from homeo_rl.flags.exchange import Export
    from homeo_rl.flags.health import Calibrate, Sleep
    from homeo_rl.flags.making import Compile, Compose, Convert, Import
    from homeo_rl.flags.runs import Enjoy, Evaluate, Inspect, Report
    from homeo_rl.flags.studies import Study
    from homeo_rl.flags.sweeps import Sweep
    from homeo_rl.flags.tools import Agents, Arms, Completion, Conditions, Doctor, Suites
    from homeo_rl.flags.training import Ablate, Distill, Train, VerifyResume, Vision
    from homeo_rl.flags.tuning import Tune

_HOME = {
    "Ablate": "training",
    "Agents": "tools",
    "Arms": "tools",
    "Calibrate": "health",
    "Compile": "making",
    "Completion": "tools",
    "Compose": "making",
    "Conditions": "tools",
    "Convert": "making",
    "Distill": "training",
    "Doctor": "tools",
    "Enjoy": "runs",
    "Evaluate": "runs",
    "Export": "exchange",
    "Import": "making",
    "Inspect": "runs",
    "Report": "runs",
    "Sleep": "health",
    "Study": "studies",
    "Suites": "tools",
    "Sweep": "sweeps",
    "Train": "training",
    "Tune": "tuning",
    "VerifyResume": "training",
    "Vision": "training",
}

__all__ = [
    "Ablate",
    "Agents",
    "Arms",
    "Calibrate",
    "Compile",
    "Completion",
    "Compose",
    "Conditions",
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
    "Suites",
    "Sweep",
    "Train",
    "Tune",
    "VerifyResume",
    "Vision",
]


if not TYPE_CHECKING:
    __getattr__ = import_on_use(__name__, _HOME)
