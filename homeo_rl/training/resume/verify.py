"""Show that a run resumes exactly: train it for k + k steps with a cut between, and for 2k without one."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from homeo_rl.errors import UsageError
from homeo_rl.processes.signals import Stopped
from homeo_rl.run import Run
from homeo_rl.training.plan import TrainingPlan
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

    Args:
        run: a run of origin "train".
        steps: k environment steps before the cut, and k after it.
        note: told what is being done.

    Raises:
        UsageError: the run was not trained, or nothing is saved within k steps.
    """
    spec = run.spec
    if spec.origin != "train":
        raise UsageError(f"{run.path}: expected a run that was trained here, this one is of origin {spec.origin!r}")
    if steps < 1:
        raise UsageError(f"--steps: expected at least 1, got {steps}")
    folder = Path(tempfile.mkdtemp(prefix="verify-resume-"))
    plan = TrainingPlan(
        algo=spec.algo,
        env=spec.env,
        agent=spec.agent,
        steps=2 * steps,
        seed=spec.seed,
        env_kwargs=spec.env_kwargs,
        hyperparams=spec.hyperparams,
        homeostasis_in_training=spec.homeostasis_in_training or "none",
        modules=spec.modules,
        eval_freq=-1,
        save_freq=steps,
    )
    try:
        note(f"{2 * steps} steps without a cut")
        whole = train(replace(plan, out=folder / "whole")).spec.digest
        note(f"{steps} steps, cut, {steps} steps")
        mine = replace(plan, out=folder / "cut")
        with contextlib.suppress(Stopped):
            train(replace(mine, stop_at=steps))
        told: list[str] = []
        cut = train(mine, note=told.append).spec.digest
        if not any("going on at step" in line for line in told):
            raise UsageError(f"--steps: expected steps left after the cut, got {steps}; give more")
        return Verdict(whole, cut, not any("did not come back" in line for line in told))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
