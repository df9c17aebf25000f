"""The trials of a tuning as plain data, for tables and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import optuna
from optuna.trial import TrialState

from homeo_rl.tuning.study_journal import ENDED, slot_of

FEWEST = 10
"""Completed trials without which nothing is said about what matters."""


@dataclass(frozen=True)
class Row:
    """One slot's trial.

    Attributes:
        slot: which.
        state: "complete", "pruned" or "diverged" (pruned for numbers that were not finite).
        value: the objective of a completed trial, the last evaluation of a pruned one.
        means: of a completed trial, the mean return of every seed.
        digests: of its trainings.
        hyperparams: what it was trained with.
        coordinates: what was drawn.
    """

    slot: int
    state: Literal["complete", "pruned", "diverged"]
    value: float | None
    means: tuple[float, ...]
    digests: tuple[str, ...]
    hyperparams: dict[str, Any]
    coordinates: dict[str, Any]


def rows_of(study: optuna.Study) -> list[Row]:
    """Return the trials that ended, by slot."""
    found = {}
    for trial in study.get_trials(deepcopy=False, states=ENDED):
        slot = slot_of(trial)
        if slot is None or slot in found:
            continue
        told = trial.user_attrs
        complete = trial.state is TrialState.COMPLETE
        found[slot] = Row(
            slot,
            "complete" if complete else "diverged" if "fault" in told else "pruned",
            trial.value if complete else list(trial.intermediate_values.values() or [None])[-1],
            tuple(told.get("means", ())),
            tuple(told.get("digests", ())),
            dict(told.get("hyperparams", {})),
            dict(trial.params),
        )
    return [found[slot] for slot in sorted(found)]


def best_of(rows: Sequence[Row]) -> Row | None:
    """Return the completed trial with the highest value, the first of equal ones."""
    complete = [row for row in rows if row.state == "complete" and row.value is not None]
    return max(complete, key=lambda row: (row.value or 0.0, -row.slot), default=None)


def importances(study: optuna.Study, rows: Sequence[Row]) -> dict[str, float]:
    """Return the share of every hyper-parameter in what tells good trials from others.

    PED-ANOVA (Watanabe et al., IJCAI 2023).

    Empty where too few trials were completed, or all have the same value.
    """
    values = {row.value for row in rows if row.state == "complete"}
    if sum(row.state == "complete" for row in rows) < FEWEST or len(values) < 2:
        return {}
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    told = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in told.items()}
