"""The work on one trial: draw its parameters or take those that it had, train with every seed, evaluate, report."""

import contextlib
import time
from pathlib import Path
from typing import Any

import numpy as np
from optuna import Study
from optuna.trial import Trial, TrialState

from homeo_rl.degradations import load_suite
from homeo_rl.errors import NumericalFault
from homeo_rl.evaluation.evaluate import evaluate
from homeo_rl.evaluation.plan import Plan
from homeo_rl.processes.executor import JobResult, ProgressCallback
from homeo_rl.report.statistics import iqm
from homeo_rl.run import Run
from homeo_rl.storage import bundle
from homeo_rl.storage.locks import hold_lock
from homeo_rl.training.train import train
from homeo_rl.tuning.plan import TrialJob, TuningPlan
from homeo_rl.tuning.study_journal import ask_for_slot, find_ended, open_study
from homeo_rl.tuning.trials import best_of, rows_of


class _Pruned(Exception):
    """The pruner gave a trial up."""


def run_trial(job: TrialJob, report: ProgressCallback) -> JobResult:
    """Bring a slot to its end, wherever it was; the task of the executor.

    A trial whose weights or rewards stopped being finite counts as pruned: its parameters are at fault.

    Returns the slot's row and the best row so far. Raises HomeoError: as training and evaluation raise; the trial is
    marked as failed, its parameters are tried again.
    """
    begin, plan, slot = time.monotonic(), job.plan, job.slot
    with open_study(plan) as study, hold_lock(plan.out / "claims" / f"{slot:04d}.lock", wait=False) as claimed:
        if not claimed:
            return JobResult("locked_elsewhere")
        if slot in find_ended(study):
            return _result(study, slot, 0.0)
        trial = ask_for_slot(study, plan, slot)
        try:
            value = _Trial(plan, slot, trial, report).evaluate()
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
            study.tell(trial, value)
        return _result(study, slot, time.monotonic() - begin)


def _result(study: Study, slot: int, seconds: float) -> JobResult:
    rows = rows_of(study)
    row = next((row for row in rows if row.slot == slot), None)
    return JobResult("done", seconds=seconds, result=(row, best_of(rows)))


class _Trial:
    """One trial at work in its folder, ``trials/<slot>``."""

    def __init__(self, plan: TuningPlan, slot: int, trial: Trial, report: ProgressCallback) -> None:
        self.plan, self.trial, self.report = plan, trial, report
        self.folder = plan.out / "trials" / f"{slot:04d}"
        self.folder.mkdir(exist_ok=True)
        self.hyperparams = plan.hyperparams(trial.params)
        trial.set_user_attr("hyperparams", self.hyperparams)

    def evaluate(self) -> float:
        """Train with every seed and return the interquartile mean of the seeds' mean returns.

        Raises _Pruned: the pruner gave it up.
        """
        trainings = [self._train(index, seed) for index, seed in enumerate(self.plan.seed_numbers)]
        self.trial.set_user_attr("means", [training["mean"] for training in trainings])
        self.trial.set_user_attr("digests", [training["digest"] for training in trainings])
        return float(iqm(np.array([training["mean"] for training in trainings])))

    def _train(self, index: int, seed: int) -> dict[str, Any]:
        folder, marker = self.folder / f"seed-{seed}", self.folder / f"seed-{seed}.json"
        steps = self.plan.training.steps or 0
        evaluations = _Evaluations(self.trial, folder / "evaluations.npz", index * (self.plan.looks + 2))

        def report(done: int, mean: float | None) -> None:
            extra = "" if mean is None else f"return {mean:,.1f}"
            self.report("training", index * steps + min(done, steps), self.plan.seeds * steps, extra)
            evaluations.report_new()

        self.report("training", index * steps, self.plan.seeds * steps, "")
        if not marker.exists():
            run = train(self.plan.training_of(self.hyperparams, seed, folder), report=report)
            mean = self._mean_return(run)
            bundle.write_json(marker, {"mean": mean, "digest": run.spec.digest})
        evaluations.report_new()
        return bundle.read_json(marker)

    def _mean_return(self, run: Run) -> float:
        plan = Plan(
            suite=load_suite("clean"), arms=("none",), episodes=self.plan.episodes, seed=0, calibration_episodes=1
        )
        return float(np.mean([score.total for score in evaluate(run, plan, workers=1).scores]))


class _Evaluations:
    """The evaluations during a training so far; each is reported once, and may end the trial.

    ``path`` is SB3's evaluations.npz; ``offset`` is the step of the first one: the same evaluation of the same seed is
    the same step in every trial.
    """

    def __init__(self, trial: Trial, path: Path, offset: int) -> None:
        self.trial, self.path, self.offset = trial, path, offset
        self._written, self._reported = 0, 0

    def report_new(self) -> None:
        """Report what is new. Raises _Pruned: the pruner gave the trial up."""
        written = self.path.stat().st_mtime_ns if self.path.exists() else 0
        if written == self._written:
            return
        self._written = written
        with np.load(self.path, allow_pickle=False) as arrays:
            means = arrays["results"].mean(axis=1)
        for index in range(self._reported, len(means)):
            self.trial.report(float(means[index]), self.offset + index)
            self._reported = index + 1
            if self.trial.should_prune():
                raise _Pruned
