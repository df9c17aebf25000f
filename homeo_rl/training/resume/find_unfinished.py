"""Which run a training command resumes, and what of its past has to be discarded."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from homeo_rl.errors import UsageError
from homeo_rl.run import Run, slug
from homeo_rl.spec import RunSpec, dump

if TYPE_CHECKING:
    from homeo_rl.training.plan import TrainingPlan

_MAY_DIFFER = ("command", "versions", "steps", "digest")
"""Fields of a run that another command of the same plan may have otherwise."""


def find_unfinished(plan: TrainingPlan, spec: RunSpec) -> Run | None:
    """Return the interrupted training of the same plan: in ``plan.out``, or the newest among the numbered runs.

    In ``plan.out`` it may also be finished (a command that was killed as it ended, and repeated, has nothing left to
    do), or planned for fewer steps (`is_longer`). Nothing is written.

    Raises UsageError: there is a run in ``plan.out`` that is another one, or a shorter one that kept no checkpoint.
    """
    if plan.out is not None:
        if not (plan.out / "run.json").exists():
            return None
        run = Run.open(plan.out)
        if is_longer(run.spec, spec):
            _require_state(run)
            return run
        differing = differences(run.spec, spec)
        if differing:
            raise UsageError(
                f"{plan.out}: holds a run of another plan ({differing[0]}); expected the same plan to go on with, or a "
                "new folder; choose another --out, or --fresh to begin anew"
            )
        return run
    folder = plan.log_folder / plan.algo
    numbered = [path.parent for path in folder.glob(f"{slug(plan.env)}_*/run.json")]
    for path in sorted(numbered, key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            run = Run.open(path)
        except UsageError:
            continue
        begun = run.spec.steps < run.spec.planned and (path / "checkpoints").is_dir()
        if begun and not differences(run.spec, spec) and not run.is_held:
            return run
    return None


def differences(had: RunSpec, asked: RunSpec) -> list[str]:
    """Return the fields in which two plans differ, with both values."""
    old, new = dump(had), dump(asked)
    names = [field.name for field in dataclasses.fields(RunSpec) if field.name not in _MAY_DIFFER]
    return [
        f"{name}: {_short(old[name])} there, {_short(new[name])} asked for" for name in names if old[name] != new[name]
    ]


def is_longer(had: RunSpec, asked: RunSpec) -> bool:
    """Whether the plan asked for is the one there with more steps."""
    return had.planned < asked.planned and not differences(replace(had, planned=asked.planned), asked)


def _require_state(run: Run) -> None:
    """Refuse to resume a finished training of which no checkpoint was kept."""
    if run.spec.digest and not (run.path / "checkpoints").is_dir():
        raise UsageError(
            f"{run.path}: finished after {run.spec.planned} steps and kept no checkpoint to go on from; train anew, or "
            f"begin a new run with its weights: -i {run.path}"
        )


def rename_existing(path: Path) -> None:
    """Rename what lies at ``path``, so that a fresh training can have the name and nothing is lost."""
    if path.exists() and any(path.iterdir()):
        number = next(n for n in range(1, 10_000) if not path.with_name(f"{path.name}.before-{n}").exists())
        path.rename(path.with_name(f"{path.name}.before-{number}"))


def purge_events_after(folder: Path, step: int) -> None:
    """Let TensorBoard discard what was logged after ``step``: it will be logged again."""
    from torch.utils.tensorboard import SummaryWriter  # before torch's compiler, its import has crashed triton's

    for path in folder.glob("*"):
        if path.is_dir():
            SummaryWriter(str(path), purge_step=step + 1).close()


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
