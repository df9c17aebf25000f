"""What a training would do and need, without doing it: nothing is written but a measurement's temporary folder."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from homeo_rl.envs.make import make_env
from homeo_rl.health.eta import Work
from homeo_rl.run import Run, next_numbered, slug
from homeo_rl.spec import RunSpec, dump
from homeo_rl.storage.yaml_file import read_yaml
from homeo_rl.training.algorithms import algorithm
from homeo_rl.training.estimate import Estimate, estimate
from homeo_rl.training.plan import TrainingPlan, plan_of_run
from homeo_rl.training.resume.find_unfinished import find_unfinished


@dataclass(frozen=True)
class DryRun:
    """What would happen."""

    folder: Path
    going_on: int | None  # environment steps that an interrupted training of the same plan has done; None for a new one
    needed: Estimate
    work: Work
    config: dict[str, Any]  # everything that was resolved, as plain data


def dry_run(plan: TrainingPlan, spec: RunSpec) -> DryRun:
    """Find out what a training would do. Raises UsageError: there is another run in ``plan.out``."""
    earlier = None if plan.fresh else find_unfinished(plan, spec)
    done = None if earlier is None else earlier.spec.steps
    folder = plan.out or next_numbered(plan.log_folder / plan.algo, slug(plan.env))
    return DryRun(
        earlier.path if earlier is not None else folder, done, estimate_needs(plan, spec), work(plan, spec, done or 0),
        config(plan, spec),
    )  # fmt: skip


def plan_of(path: Path) -> tuple[TrainingPlan, int]:
    """Return the plan of a run that was trained here, and the environment steps that it has done.

    Raises UsageError: there is no such run.
    """
    run = Run.open(path)
    file = run.export_folder / "args.yml"
    arguments = read_yaml(file).data if file.exists() else {}
    changes = {name: arguments[name] for name in ("eval_freq", "eval_episodes") if isinstance(arguments.get(name), int)}
    plan = replace(plan_of_run(run), out=path, **changes)
    return plan, run.spec.steps if run.spec.steps < run.spec.planned else 0


def estimate_needs(plan: TrainingPlan, spec: RunSpec) -> Estimate:
    """Return the memory and the disk that a training takes."""
    assert spec.controller is not None
    env = make_env(plan.env, plan.env_kwargs)
    spaces = env.observation_space, env.action_space
    env.close()
    return estimate(plan.algo, spec.hyperparams, spaces, spec.controller)


def work(plan: TrainingPlan, spec: RunSpec, done: int = 0) -> Work:
    """Return what is left to do after ``done`` environment steps."""
    left = max(spec.planned - done, 0)
    starts = int(spec.hyperparams.get("learning_starts", 100)) if algorithm(plan.algo).off_policy else 0
    evaluations = left // plan.eval_freq if plan.eval_freq > 0 else 0
    return Work(left, max(starts - done, 0), evaluations * plan.eval_episodes)


def config(plan: TrainingPlan, spec: RunSpec) -> dict[str, Any]:
    """Return what was resolved, in the fields of a preset and some more."""
    resolved = dump(spec)
    return {
        "algo": plan.algo,
        "env": plan.env,
        "agent": plan.agent,
        "n_timesteps": spec.planned,
        "hyperparams": resolved["hyperparams"],
        "env_kwargs": resolved["env_kwargs"],
        "gym_packages": list(plan.modules),
        "homeostasis_in_training": plan.homeostasis_in_training,
        **({"randomise": plan.randomise} if spec.randomise else {}),
        "eval_freq": plan.eval_freq,
        "eval_episodes": plan.eval_episodes,
    }
