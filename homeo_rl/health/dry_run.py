"""What a training would do and need, without doing it: nothing is written but a measurement's temporary folder."""

from __future__ import annotations

import fcntl
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from homeo_rl.envs.make import make_env
from homeo_rl.errors import UsageError
from homeo_rl.health.eta import Work
from homeo_rl.run import Run, slug
from homeo_rl.spec import RunSpec, dump
from homeo_rl.storage.yaml_file import read_yaml
from homeo_rl.training.algorithms import algorithm
from homeo_rl.training.estimate import Estimate, estimate
from homeo_rl.training.plan import TrainingPlan
from homeo_rl.training.resume.find_unfinished import differences, find_unfinished


@dataclass(frozen=True)
class DryRun:
    """What would happen.

    Attributes:
        folder: of the run.
        going_on: environment steps that an interrupted training of the same plan has behind it; None for a new one.
        needed: memory and disk.
        work: what is left to do.
        config: everything that was resolved, as plain data.
    """

    folder: Path
    going_on: int | None
    needed: Estimate
    work: Work
    config: dict[str, Any]


def dry_run(plan: TrainingPlan, spec: RunSpec) -> DryRun:
    """Find out what a training would do.

    Args:
        plan: as `homeo_rl.training.plan.prepare` returned it.
        spec: the same.

    Raises:
        UsageError: there is another run in ``plan.out``.
    """
    there = None if plan.fresh else _unfinished(plan, spec)
    folder = there.path if there is not None else plan.out or _next_numbered(plan)
    done = 0 if there is None else there.spec.steps
    return DryRun(
        folder, None if there is None else done, estimate_needs(plan, spec), work(plan, spec, done), config(plan, spec)
    )


def plan_of(path: Path) -> tuple[TrainingPlan, int]:
    """Return the plan of a run that was trained here, and the environment steps that it has behind it.

    Raises:
        UsageError: there is no such run.
    """
    run = Run.open(path)
    spec, told = run.spec, run.export_folder / "args.yml"
    if spec.origin != "train":
        raise UsageError(f"{path}: expected a run that was trained here, this one is of origin {spec.origin!r}")
    plan = TrainingPlan(
        algo=spec.algo,
        env=spec.env,
        agent=spec.agent,
        steps=spec.planned,
        seed=spec.seed,
        env_kwargs=spec.env_kwargs,
        hyperparams=spec.hyperparams,
        homeostasis_in_training=spec.homeostasis_in_training or "none",
        modules=spec.modules,
        out=path,
    )
    given = read_yaml(told).data if told.exists() else {}
    known = {name: given[name] for name in ("eval_freq", "eval_episodes") if isinstance(given.get(name), int)}
    plan = replace(plan, **known)
    return plan, spec.steps if spec.steps < spec.planned else 0


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
    looks = left // plan.eval_freq if plan.eval_freq > 0 else 0
    return Work(left, max(starts - done, 0), looks * plan.eval_episodes)


def config(plan: TrainingPlan, spec: RunSpec) -> dict[str, Any]:
    """Return what was resolved, in the fields of a preset and some more."""
    told = dump(spec)
    return {
        "algo": plan.algo,
        "env": plan.env,
        "agent": plan.agent,
        "n_timesteps": spec.planned,
        "hyperparams": told["hyperparams"],
        "env_kwargs": told["env_kwargs"],
        "gym_packages": list(plan.modules),
        "homeostasis_in_training": plan.homeostasis_in_training,
        "eval_freq": plan.eval_freq,
        "eval_episodes": plan.eval_episodes,
    }


def _unfinished(plan: TrainingPlan, spec: RunSpec) -> Run | None:
    """Return the run that the training would go on with, as `training.resume.find_unfinished` finds it.

    That one tries a numbered run's lock, and leaves its name there.
    """
    if plan.out is not None:
        return find_unfinished(plan, spec)
    numbered = [path.parent for path in (plan.log_folder / plan.algo).glob(f"{slug(plan.env)}_*/run.json")]
    for path in sorted(numbered, key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            run = Run.open(path)
        except UsageError:
            continue
        going = run.spec.steps < run.spec.planned and (path / "checkpoints").is_dir()
        if going and not differences(run.spec, spec) and _free(path / ".lock"):
            return run
    return None


def _free(lock: Path) -> bool:
    """Whether no process holds a lock, which is left as it is."""
    try:
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _next_numbered(plan: TrainingPlan) -> Path:
    folder, stem = plan.log_folder / plan.algo, slug(plan.env)
    taken = [path.name.rpartition("_")[2] for path in folder.glob(f"{stem}_*")]
    return folder / f"{stem}_{max((int(n) for n in taken if n.isdigit()), default=0) + 1}"
