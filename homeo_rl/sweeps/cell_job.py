"""A cell as a job, and what can be known of it before torch is loaded."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homeo_rl.degradations.suites import Suite
from homeo_rl.evaluation.plan import Plan
from homeo_rl.evaluation.routes import Route
from homeo_rl.numerics.same_fields import make_plan
from homeo_rl.sweeps.cells import Cell
from homeo_rl.sweeps.sweep_spec import Evaluation, Training
from homeo_rl.training.hyperparams import change_network
from homeo_rl.training.plan import TrainingPlan


@dataclass(frozen=True)
class CellJob:
    """What a process gets of a cell."""

    cell: Cell
    # evaluation, suite, routes: how it is evaluated
    evaluation: Evaluation
    suite: Suite
    routes: tuple[Route, ...]
    # folder, identity: of the sweep, where the driver sees it. A process that does not find it there works in a folder
    # of its own and sends the result and the run back
    folder: Path
    identity: str
    command: str = ""


@dataclass(frozen=True)
class Delivery:
    """What a process returns that does not see the sweep's folder: the result, and the run as an archive."""

    document: dict[str, Any]
    archive: bytes


def training_plan(training: Training, *, seed: int, out: Path, command: str = "") -> TrainingPlan:
    """Return the plan of a cell's training."""
    return make_plan(
        TrainingPlan,
        training,
        steps=training.n_timesteps,
        seed=seed,
        env_kwargs=copy.deepcopy(training.env_kwargs),
        hyperparams=change_network(copy.deepcopy(training.params), imp=training.imp, readout=training.readout),
        modules=training.gym_packages,
        out=out,
        command=command,
    )


def evaluation_plan(
    evaluation: Evaluation, suite: Suite, routes: tuple[Route, ...], arms: tuple[str, ...] | None = None
) -> Plan:
    """Return the plan of a cell's evaluation, with other ``arms`` if there are any."""
    return make_plan(
        Plan,
        evaluation,
        suite=suite,
        arms=evaluation.homeostasis if arms is None else arms,
        episodes=(len(routes) or 20) if evaluation.episodes is None else evaluation.episodes,
        which="best" if evaluation.best else "policy",
        routes=routes,
    )
