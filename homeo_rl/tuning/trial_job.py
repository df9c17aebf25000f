"""What a process is told of a trial; it loads torch and Optuna, the driver does without torch."""

from __future__ import annotations

from dataclasses import dataclass

from homeo_rl.processes.executor import Answer, Tell
from homeo_rl.tuning.plan import TuningPlan


@dataclass(frozen=True)
class Job:
    """The trial of one slot."""

    plan: TuningPlan
    slot: int


def run_trial(job: Job, tell: Tell) -> Answer:
    """Bring a slot to its end, wherever it was; the task of the executor. See `homeo_rl.tuning.run_trial`."""
    from homeo_rl.tuning.run_trial import carry_out

    return carry_out(job, tell)
