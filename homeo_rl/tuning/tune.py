"""A tuning from its plan to its preset: the driver, which gives slots to processes and loads no torch."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from homeo_rl.processes.executor import Answer, Executor
from homeo_rl.processes.local import LocalExecutor
from homeo_rl.processes.scheduler import State, Watcher, drive
from homeo_rl.processes.slots import local_places
from homeo_rl.storage import bundle
from homeo_rl.sweeps.sweep_spec import Resources
from homeo_rl.training.plan import prepare
from homeo_rl.tuning.figures import draw_history
from homeo_rl.tuning.page import page
from homeo_rl.tuning.plan import TuningPlan
from homeo_rl.tuning.preset import Preset, text_of
from homeo_rl.tuning.study_journal import ended_slots, made_ready, opened
from homeo_rl.tuning.trial_job import Job, run_trial
from homeo_rl.tuning.trials import Row, best_of, importances, rows_of


@dataclass(frozen=True)
class Outcome:
    """What a tuning found so far.

    Attributes:
        rows: trials that ended.
        best: the best of them.
        importances: shares by coordinate.
        ran: trials that this command ended.
        failed: why others failed, by key.
    """

    rows: list[Row]
    best: Row | None
    importances: dict[str, float]
    ran: int
    failed: dict[str, str]


@contextlib.contextmanager
def executor_of(workers: int | None, missing: int, watcher: Watcher) -> Iterator[Executor]:
    """Yield processes of this machine, each with one thread, as many as asked for and of use.

    Raises:
        UsageError: there is no room for one.
    """
    notes: list[str] = []
    places, _ = local_places(workers, Resources(), notes)
    for text in notes:
        watcher.note(text)
    with LocalExecutor(run_trial, max(min(places, missing), 1)) as processes:
        yield processes


def missing_slots(plan: TuningPlan) -> list[int]:
    """Return the slots that no trial has ended, after making the tuning's folder if there is none."""
    made_ready(plan)
    with opened(plan) as study:
        done = ended_slots(study)
    return [slot for slot in range(plan.trials) if slot not in done]


def tune(plan: TuningPlan, missing: Sequence[int], executor: Executor, watcher: Watcher) -> Outcome:
    """Carry out the missing slots, and write preset, summary and picture.

    Args:
        plan: a checked one.
        missing: slots to be ended.
        executor: what carries them out.
        watcher: is told.

    Raises:
        Stopped: a signal; the same command goes on.
        StorageFault: folder or journal cannot be written or read.
    """
    jobs = {f"{slot:04d}": Job(plan, slot) for slot in missing}
    state = State(plan.trials, executor.places, done=plan.trials - len(missing))
    try:
        drive(jobs, executor, state, _Tidy(plan, watcher))
    finally:
        outcome = written(plan, state.failed, state.done - (plan.trials - len(missing)))
    return outcome


def written(plan: TuningPlan, failed: dict[str, str] | None = None, ran: int = 0) -> Outcome:
    """Write what the journal tells by now: ``best.yml``, ``summary.md`` and ``history.png``."""
    with opened(plan) as study:
        rows = rows_of(study)
        shares = importances(study, rows)
    best = best_of(rows)
    _tidy(plan, rows)
    outcome = Outcome(rows, best, shares, ran, dict(failed or {}))
    if rows:
        draw_history(rows, shares, plan.out / "history.png", title=_title(plan))
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
    seeds = plan.seed_numbers
    return [
        f"Trial {row.slot} of {plan.trials} of {plan.storage.name}: mean returns {_figures(row.means)} of seeds "
        f"{seeds[0]} to {seeds[-1]}.",
        f"The trial was evaluated with --eval-freq {plan.training.eval_freq} --eval-episodes "
        f"{plan.training.eval_episodes}, for the pruner; give them to repeat it to the last bit.",
        "homeo-rl train --preset FILE --seed N; words on the command line win. -conf FILE reads the last section.",
    ]


def _figures(means: Sequence[float]) -> str:
    return ", ".join(f"{mean:,.4g}" for mean in means)


def _title(plan: TuningPlan) -> str:
    return f"{plan.training.algo} {plan.training.agent} on {plan.training.env}, {plan.training.steps:,} steps"


def _tidy(plan: TuningPlan, rows: Sequence[Row]) -> None:
    """Remove the runs of trials that ended and are not the best one."""
    best = best_of(rows)
    for row in rows:
        if not plan.keep and (best is None or row.slot != best.slot):
            shutil.rmtree(plan.out / "trials" / f"{row.slot:04d}", ignore_errors=True)


class _Tidy:
    """A watcher that hears from another one's journal: it tells values, and keeps the disk from filling."""

    def __init__(self, plan: TuningPlan, watcher: Watcher) -> None:
        self.plan, self.watcher = plan, watcher

    def show(self, state: State) -> None:
        """Pass on."""
        self.watcher.show(state)

    def ended(self, key: str, state: State, answer: Answer) -> None:
        """Tell how the trial ended, and what is best now."""
        told: Any = None
        if answer.state == "done":
            with opened(self.plan) as study:
                rows = rows_of(study)
            _tidy(self.plan, rows)
            told = (next((row for row in rows if row.slot == int(key)), None), best_of(rows))
        self.watcher.ended(key, state, Answer(answer.state, answer.message, answer.trace, answer.seconds, told))

    def note(self, text: str) -> None:
        """Pass on."""
        self.watcher.note(text)
