"""A tuning from its plan to its preset: the driver, which gives slots to processes and loads no torch."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from homeo_rl.processes.executor import Executor, JobResult, Resources
from homeo_rl.processes.local import LocalExecutor
from homeo_rl.processes.progress import Bar, BarObserver, ProgressObserver, State
from homeo_rl.processes.scheduler import drive
from homeo_rl.processes.slots import local_slots
from homeo_rl.report.tables import number
from homeo_rl.storage import bundle
from homeo_rl.training.estimate import available_memory
from homeo_rl.training.plan import prepare
from homeo_rl.tuning.page import draw_history, page
from homeo_rl.tuning.plan import TrialJob, TuningPlan
from homeo_rl.tuning.preset import Preset, text_of
from homeo_rl.tuning.study_journal import find_ended, open_study, prepare_folders
from homeo_rl.tuning.trials import Row, best_of, importances, rows_of


class TrialProgress(BarObserver):
    """Shows trials."""

    def __init__(self, bar: Bar, *, before: int, verbose: bool) -> None:
        super().__init__(bar, before=before)
        self.verbose = verbose

    def show_result(self, key: str, state: State, result: JobResult) -> None:
        """Show how a trial ended."""
        if result.state == "failed":
            self.bar.note(f"trial {int(key)} failed: {result.message}")
            return
        row, best = result.result
        if best is not None:
            self.best = f"best {number(best.value)} (trial {best.slot})"
        if self.verbose and row is not None:
            value = "" if row.value is None else f" {number(row.value)}"
            self.bar.note(f"trial {row.slot}: {row.state}{value}; {self.best or 'none completed yet'}")


@dataclass(frozen=True)
class Outcome:
    """What a tuning has by now."""

    rows: list[Row]
    best: Row | None
    importances: dict[str, float]
    ran: int
    failed: dict[str, str]


def executor_of(workers: int | None, missing: int, observer: ProgressObserver) -> LocalExecutor:
    """Return processes of this machine, each with one thread, as many as asked for and of use.

    Raises UsageError: there is no room for one.
    """
    slots, _ = local_slots(workers, Resources(), available_memory(), observer.note)
    return LocalExecutor("homeo_rl.tuning.run_trial:run_trial", max(min(slots, missing), 1))


def missing_slots(plan: TuningPlan) -> list[int]:
    """Return the slots that no trial has ended, after making the tuning's folder if there is none."""
    prepare_folders(plan)
    with open_study(plan) as study:
        done = find_ended(study)
    return [slot for slot in range(plan.trials) if slot not in done]


def tune(plan: TuningPlan, missing: Sequence[int], executor: Executor, observer: ProgressObserver) -> Outcome:
    """Carry out the missing slots, and write preset, summary and picture.

    Raises:
        Stopped: a signal; the same command resumes.
        StorageFault: folder or journal cannot be written or read.
    """
    jobs = {f"{slot:04d}": TrialJob(plan, slot) for slot in missing}
    state = State(plan.trials, executor.slots, done=plan.trials - len(missing))

    def tidy(key: str, result: JobResult) -> None:
        if result.state == "done":
            with open_study(plan) as study:
                _tidy(plan, rows_of(study))

    try:
        drive(jobs, executor, state, observer, tidy)
    finally:
        outcome = write_outcome(plan, state.failed, state.done - (plan.trials - len(missing)))
    return outcome


def write_outcome(plan: TuningPlan, failed: dict[str, str] | None = None, ran: int = 0) -> Outcome:
    """Write the state of the journal: ``best.yml``, ``summary.md`` and ``history.png``."""
    with open_study(plan) as study:
        rows = rows_of(study)
        shares = importances(study, rows)
    best = best_of(rows)
    _tidy(plan, rows)
    outcome = Outcome(rows, best, shares, ran, dict(failed or {}))
    if rows:
        training = plan.training
        title = f"{training.algo} {training.agent} on {training.env}, {training.steps:,} steps"
        draw_history(rows, shares, plan.out / "history.png", title=title)
        bundle.replace(plan.out / "summary.md", page(plan, rows, shares, outcome.failed).encode())
    if best is not None:
        bundle.replace(plan.out / "best.yml", text_of(preset_of(plan, best), _comments(plan, best)).encode())
    return outcome


def preset_of(plan: TuningPlan, row: Row) -> Preset:
    """Return a trial as a training with all its hyper-parameters, whatever defaults may become later."""
    training = plan.training
    _, spec = prepare(plan.training_of(row.hyperparams, training.seed, plan.out))
    return Preset(
        algo=training.algo,
        env=training.env,
        agent=training.agent,
        n_timesteps=training.steps,
        hyperparams=spec.hyperparams,
        env_kwargs=training.env_kwargs,
        gym_packages=training.modules,
        homeostasis_in_training=training.homeostasis_in_training,
    )


def _comments(plan: TuningPlan, row: Row) -> list[str]:
    seeds, means = plan.seed_numbers, ", ".join(f"{mean:,.4g}" for mean in row.means)
    return [
        f"Trial {row.slot} of {plan.trials} of {plan.storage.name}: mean returns {means} of seeds "
        f"{seeds[0]} to {seeds[-1]}.",
        f"The trial was evaluated with --eval-freq {plan.training.eval_freq} --eval-episodes "
        f"{plan.training.eval_episodes}, for the pruner; give them to repeat it to the last bit.",
        "homeo-rl train --preset FILE --seed N; words on the command line win. -conf FILE reads the last section.",
    ]


def _tidy(plan: TuningPlan, rows: Sequence[Row]) -> None:
    best = best_of(rows)
    for row in rows:
        if not plan.keep and (best is None or row.slot != best.slot):
            shutil.rmtree(plan.out / "trials" / f"{row.slot:04d}", ignore_errors=True)
