"""The plan of a tuning, and everything that can be known of it before torch is loaded."""

import copy
import itertools
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from homeo_rl.agents.presets import PRESETS
from homeo_rl.errors import UsageError, unknown
from homeo_rl.spec import dump
from homeo_rl.training.algorithms import algorithm
from homeo_rl.training.hyperparams import load_tuned, param_names, resolve
from homeo_rl.training.plan import TrainingPlan, prepare
from homeo_rl.tuning.space import Entry, Space, lay_out, lookup, without

PRUNERS = ("median", "none")
SAMPLERS = ("tpe", "random")

DEFAULT_EVALUATIONS = 10  # evaluations during a training, which the pruner looks at, unless their interval is given


@dataclass(frozen=True, kw_only=True)
class TuningPlan:
    """What is tuned."""

    training: TrainingPlan  # what all trainings share; its hyper-parameters are fixed, its seed is the first one's
    space: Space
    out: Path  # folder of runs, summary and preset
    storage: Path  # Optuna's journal
    # trials, seeds, episodes: trials, trainings of each, and episodes that judge a training
    trials: int = 50
    seeds: int = 3
    episodes: int = 20
    # pruner, sampler: names
    pruner: str = "median"
    sampler: str = "tpe"
    keep: bool = False  # whether the runs of all trials are kept, not only the best one's
    base: dict[str, Any] = field(default_factory=dict)
    """Hyper-parameters that lie under those that are drawn; `prepare_plan` fills it in."""

    @property
    def decisive(self) -> dict[str, Any]:
        """Plain data: all that decides what is drawn and how it is evaluated."""
        training = self.training
        return {
            "algo": training.algo,
            "env": training.env,
            "agent": training.agent,
            "n_timesteps": training.steps,
            "seed": training.seed,
            "env_kwargs": training.env_kwargs,
            "gym_packages": list(training.modules),
            "params": training.hyperparams,
            "eval_freq": training.eval_freq,
            "eval_episodes": training.eval_episodes,
            "seeds": self.seeds,
            "episodes": self.episodes,
            "pruner": self.pruner,
            "sampler": self.sampler,
            "space": {name: dump(entry) for name, entry in self.space.items()},
        }

    @property
    def seed_numbers(self) -> range:
        """Seeds of a trial's trainings."""
        return range(self.training.seed, self.training.seed + self.seeds)

    @property
    def looks(self) -> int:
        """How many evaluations a training has."""
        return max((self.training.steps or 0) // self.training.eval_freq, 1)

    def hyperparams(self, coordinates: dict[str, Any]) -> dict[str, Any]:
        """Return what ``-params`` would be given for drawn coordinates.

        A batch of an on-policy algorithm is never larger than its rollout.
        """
        params, algo = lay_out(self.space, coordinates, self.base), self.training.algo
        if not algorithm(algo).off_policy and "batch_size" in params:
            under = load_tuned(algo, self.training.env, self.training.agent).hyperparams
            resolved = {"n_steps": params["batch_size"], "n_envs": 1, **resolve(algo, {**under, **params})}
            params["batch_size"] = min(resolved["batch_size"], resolved["n_steps"] * resolved["n_envs"])
        return params

    def first(self) -> dict[str, Any]:
        """Return the coordinates of the first trial: what a training without tuning has, where entries hold it."""
        under = load_tuned(self.training.algo, self.training.env, self.training.agent).hyperparams
        coordinates = {}
        for name, entry in self.space.items():
            coordinate = entry.coordinate(lookup(under, name))
            if coordinate is None and entry.first is not None:
                coordinate = entry.coordinate(entry.first)
            if coordinate is not None:
                coordinates[name] = coordinate
        return coordinates

    def training_of(self, hyperparams: dict[str, Any], seed: int, out: Path) -> TrainingPlan:
        """Return the plan of one training."""
        return replace(self.training, hyperparams=copy.deepcopy(hyperparams), seed=seed, out=out)


@dataclass(frozen=True)
class TrialJob:
    """The trial of one slot, as a process gets it."""

    plan: TuningPlan
    slot: int


def prepare_plan(plan: TuningPlan) -> TuningPlan:
    """Check everything about a plan that can be wrong before the first trial, without writing anything.

    Returns the plan with the space that the fixed hyper-parameters leave open, and steps and evaluations filled in.
    Raises UsageError: it does not fit; of the space, an entry at whose ends or choices a training could not begin.
    """
    _check_numbers(plan)
    training = plan.training
    names = param_names(training.algo)
    if training.agent not in PRESETS:
        raise unknown("agent preset", training.agent, PRESETS)
    for name in plan.space:
        if name.partition(".")[0] not in names:
            raise unknown(f"hyper-parameter of {training.algo} in the space", name.partition(".")[0], names)
    settled, spec = prepare(replace(training, out=plan.out))
    steps = spec.planned
    freq = training.eval_freq if training.eval_freq > 0 else max(steps // DEFAULT_EVALUATIONS, 1)
    under = load_tuned(training.algo, training.env, training.agent).hyperparams
    nested = {name: value for name, value in under.items() if isinstance(value, dict)}
    plan = replace(
        plan,
        training=replace(training, steps=steps, env_kwargs=settled.env_kwargs, eval_freq=freq, out=None),
        space=without(plan.space, training.hyperparams),
        base={**nested, **training.hyperparams},
    )
    if not plan.space:
        raise UsageError("space: expected something to look for, -params fixes all of it; leave some out")
    starts = spec.hyperparams.get("learning_starts", 100)  # SB3's own default
    if algorithm(training.algo).off_policy and starts >= steps:
        raise UsageError(
            f"--n-timesteps: expected more than learning_starts ({starts}), got {steps}: "
            "nothing would be learned; give more, or -params learning_starts:N"
        )
    for corner in _corners(plan.space):
        params = plan.hyperparams(corner)
        try:
            prepare(plan.training_of(params, training.seed, plan.out))
        except UsageError as error:
            values = ", ".join(f"{name} {lookup(params, name)!r}" for name in plan.space)
            raise UsageError(f"space: {error} (with {values})") from None
    return plan


def _check_numbers(plan: TuningPlan) -> None:
    for flag, value in (("--n-trials", plan.trials), ("--num-seeds", plan.seeds), ("--episodes", plan.episodes)):
        if value < 1:
            raise UsageError(f"{flag}: expected at least 1, got {value}")
    if plan.pruner not in PRUNERS:
        raise unknown("--pruner", plan.pruner, PRUNERS)
    if plan.sampler not in SAMPLERS:
        raise unknown("--sampler", plan.sampler, SAMPLERS)
    if plan.training.seed + plan.seeds > 2**32:
        raise UsageError(f"--seed: expected 0 to {2**32 - plan.seeds}, got {plan.training.seed}")


def _corners(space: Space) -> list[dict[str, Any]]:
    """Return sets of coordinates in which every choice and every limit appears, and a value between the limits."""
    extremes = {name: _extremes(entry) for name, entry in space.items()}
    count = max(len(values) for values in extremes.values())
    cycles = {name: itertools.cycle(values) for name, values in extremes.items()}
    return [{name: next(values) for name, values in cycles.items()} for _ in range(count)]


def _extremes(entry: Entry) -> list[Any]:
    if entry.choices:
        return [entry.coordinate(choice) for choice in entry.choices]
    low, high = entry.limits
    # Where whole limits stand for floats, a hyper-parameter of whole numbers would take them and nothing in between.
    between = [] if entry.whole or entry.scale == "power-of-two" else [low + 0.3819 * (high - low)]
    return [low, *between, high]
