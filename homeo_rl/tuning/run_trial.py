"""The work on one trial: draw its parameters or take those that it had, train with every seed, judge, tell."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

import numpy as np
from optuna.trial import Trial, TrialState

from homeo_rl.degradations import load_suite
from homeo_rl.errors import NumericalFault
from homeo_rl.evaluation.evaluate import evaluate
from homeo_rl.evaluation.plan import Plan
from homeo_rl.processes.executor import Answer, Tell
from homeo_rl.report.statistics import iqm
from homeo_rl.run import Run
from homeo_rl.storage import bundle
from homeo_rl.storage.locks import hold_lock
from homeo_rl.training.train import train
from homeo_rl.tuning.plan import TuningPlan
from homeo_rl.tuning.study_journal import drawn, ended_slots, opened
from homeo_rl.tuning.trial_job import Job


class _Pruned(Exception):
    """The pruner gave a trial up."""


def carry_out(job: Job, tell: Tell) -> Answer:
    """Bring a slot to its end.

    A trial whose weights or rewards stopped being finite counts as pruned: its parameters are at fault.

    Raises:
        HomeoError: as training and evaluation raise; the trial is marked as failed, its parameters are tried again.
    """
    begin, plan, slot = time.monotonic(), job.plan, job.slot
    with opened(plan) as study, hold_lock(plan.out / "claims" / f"{slot:04d}.lock", wait=False) as mine:
        if not mine:
            return Answer("held")
        if slot in ended_slots(study):
            return Answer("done")
        trial = drawn(study, plan, slot)
        try:
            found = _Trial(plan, slot, trial, tell).judged()
        except _Pruned:
            study.tell(trial, state=TrialState.PRUNED)
        except NumericalFault as fault:
            trial.set_user_attr("fault", str(fault))
            study.tell(trial, state=TrialState.PRUNED)
        except BaseException as error:
            with contextlib.suppress(Exception):  # the error goes on, whatever the journal says
                trial.set_user_attr("fault", str(error) or type(error).__name__)
                study.tell(trial, state=TrialState.FAIL)
            raise
        else:
            study.tell(trial, found)
    return Answer("done", seconds=time.monotonic() - begin)


class _Trial:
    """One trial at work in its folder, ``trials/<slot>``."""

    def __init__(self, plan: TuningPlan, slot: int, trial: Trial, tell: Tell) -> None:
        self.plan, self.trial, self.tell = plan, trial, tell
        self.folder = plan.out / "trials" / f"{slot:04d}"
        self.folder.mkdir(exist_ok=True)
        self.hyperparams = plan.hyperparams(trial.params)
        trial.set_user_attr("hyperparams", self.hyperparams)

    def judged(self) -> float:
        """Train with every seed and return the interquartile mean of the seeds' mean returns.

        Raises:
            _Pruned: the pruner gave it up.
        """
        told = [self._seed(place, seed) for place, seed in enumerate(self.plan.seed_numbers)]
        self.trial.set_user_attr("means", [one["mean"] for one in told])
        self.trial.set_user_attr("digests", [one["digest"] for one in told])
        return float(iqm(np.array([one["mean"] for one in told])))

    def _seed(self, place: int, seed: int) -> dict[str, Any]:
        """Train with one seed and evaluate, or take what an earlier process found."""
        folder, marker = self.folder / f"seed-{seed}", self.folder / f"seed-{seed}.json"
        steps = self.plan.training.steps or 0
        watched = _Evaluations(self.trial, folder / "evaluations.npz", place * (self.plan.looks + 2))

        def report(done: int, mean: float | None) -> None:
            extra = "" if mean is None else f"return {mean:,.1f}"
            self.tell("training", place * steps + min(done, steps), self.plan.seeds * steps, extra)
            watched.look()

        self.tell("training", place * steps, self.plan.seeds * steps, "")
        if not marker.exists():
            run = train(self.plan.training_of(self.hyperparams, seed, folder), report=report)
            mean = self._mean_return(run)
            bundle.write_json(marker, {"mean": mean, "digest": run.spec.digest})
        watched.look()
        return bundle.read_json(marker)

    def _mean_return(self, run: Run) -> float:
        """Return the mean return of a finished run; all runs meet the same episodes."""
        plan = Plan(
            suite=load_suite("clean"), arms=("none",), episodes=self.plan.episodes, seed=0, calibration_episodes=1
        )
        return float(np.mean([score.total for score in evaluate(run, plan, workers=1).scores]))


class _Evaluations:
    """What the evaluations during a training told so far; each is reported once, and may end the trial.

    Args:
        trial: what is told.
        path: SB3's evaluations.npz.
        offset: step of the first one; the same evaluation of the same seed is the same step in every trial.
    """

    def __init__(self, trial: Trial, path: Path, offset: int) -> None:
        self.trial, self.path, self.offset = trial, path, offset
        self._seen, self._reported = 0, 0

    def look(self) -> None:
        """Report what is new.

        Raises:
            _Pruned: the pruner gave the trial up.
        """
        written = self.path.stat().st_mtime_ns if self.path.exists() else 0
        if written == self._seen:
            return
        self._seen = written
        with np.load(self.path, allow_pickle=False) as told:
            means = told["results"].mean(axis=1)
        for index in range(self._reported, len(means)):
            self.trial.report(float(means[index]), self.offset + index)
            self._reported = index + 1
            if self.trial.should_prune():
                raise _Pruned
