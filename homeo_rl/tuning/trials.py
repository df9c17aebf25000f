"""The trials of a tuning as plain data, for tables and pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import optuna
from optuna.trial import TrialState

from homeo_rl.tuning.study_journal import ENDED, slot_of

MIN_COMPLETED = 10  # completed trials below which no importances are computed


@dataclass(frozen=True)
class Row:
    """One slot's trial."""

    slot: int
    # "complete", "pruned" or "diverged" (pruned for numbers that were not finite)
    state: Literal["complete", "pruned", "diverged"]
    value: float | None  # the objective of a completed trial, the last evaluation of a pruned one
    means: tuple[float, ...]  # of a completed trial, the mean return of every seed
    digests: tuple[str, ...]  # of its trainings
    hyperparams: dict[str, Any]
    coordinates: dict[str, Any]  # what was drawn


def rows_of(study: optuna.Study) -> list[Row]:
    """Return the trials that ended, by slot."""
    rows: dict[int, Row] = {}
    for trial in study.get_trials(deepcopy=False, states=ENDED):
        slot = slot_of(trial)
        if slot is None or slot in rows:
            continue
        attributes = trial.user_attrs
        complete = trial.state is TrialState.COMPLETE
        rows[slot] = Row(
            slot,
            "complete" if complete else "diverged" if "fault" in attributes else "pruned",
            trial.value if complete else list(trial.intermediate_values.values() or [None])[-1],
            tuple(attributes.get("means", ())),
            tuple(attributes.get("digests", ())),
            dict(attributes.get("hyperparams", {})),
            dict(trial.params),
        )
    return [rows[slot] for slot in sorted(rows)]


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
    if sum(row.state == "complete" for row in rows) < MIN_COMPLETED or len(values) < 2:
        return {}
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in shares.items()}
