"""Show that a run resumes exactly: train it for k + k steps with a cut between, and for 2k without one."""

import contextlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from homeo_rl.errors import UsageError
from homeo_rl.processes.signals import Stopped
from homeo_rl.run import Run
from homeo_rl.training.plan import plan_of_run
from homeo_rl.training.train import train


@dataclass(frozen=True)
class Verdict:
    """Digests of all parameters, never cut and cut once; ``exact``: every environment came back to the same bits."""

    whole: str
    cut: str
    exact: bool

    @property
    def equal(self) -> bool:
        """Whether the two trainings ended with the same bits."""
        return self.whole == self.cut and self.exact


def verify_resume(run: Run, steps: int, *, note: Callable[[str], None] = lambda text: None) -> Verdict:
    """Train what ``run`` is anew, twice, in a temporary folder.

    The cut comes after ``steps`` environment steps, and as many follow it.

    Raises UsageError: the run was not trained, or nothing is saved within k steps.
    """
    plan = plan_of_run(run)
    if steps < 1:
        raise UsageError(f"--env-steps: expected at least 1, got {steps}")
    plan = replace(plan, steps=2 * steps, eval_freq=-1, save_freq=steps)
    folder = Path(tempfile.mkdtemp(prefix="verify-resume-"))
    try:
        note(f"{2 * steps} steps without a cut")
        whole = train(replace(plan, out=folder / "whole")).spec.digest
        note(f"{steps} steps, cut, {steps} steps")
        plan = replace(plan, out=folder / "cut")
        with contextlib.suppress(Stopped):
            train(replace(plan, stop_at=steps))
        notes: list[str] = []
        cut = train(plan, note=notes.append).spec.digest
        if not any("going on at step" in line for line in notes):
            raise UsageError(f"--steps: expected steps left after the cut, got {steps}; give more")
        return Verdict(whole, cut, not any("did not come back" in line for line in notes))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
