"""The forward model and the remembered sequences of a run: stored beside its policy, or practised and fitted."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from homeo_rl.agents.controller import Controller
from homeo_rl.agents.session import Session
from homeo_rl.envs.frame_stack import KEY as FRAMES
from homeo_rl.envs.make import make_env
from homeo_rl.errors import UsageError
from homeo_rl.evaluation.plan import EvaluationPlan
from homeo_rl.evaluation.practice import practise
from homeo_rl.evaluation.progress import NullProgress, Progress
from homeo_rl.evaluation.rollout import one_thread
from homeo_rl.observer.memory import LENGTH, ObserverMemory
from homeo_rl.observer.recording import Recording
from homeo_rl.run import Run

STEPS = 60_000
"""Steps of practice: 40 minutes of a robot that decides 25 times a second."""

EPOCHS = 40
"""Passes over the recording; a minute on one core."""


def observer_memory_for(
    plan: EvaluationPlan, run: Run, controller: Controller, progress: Progress | None = None
) -> ObserverMemory | None:
    """Return what the observers among the arms of a plan need; None where no arm needs a forward model."""
    if not any(arm.needs_observer_memory for arm in plan.parsed_arms):
        return None
    env = plan.env_of(plan.suite.conditions[0], run)
    return load_observer(run, which=plan.which, env=env) or fit_observer(
        run, controller, which=plan.which, env=env, progress=progress
    )


def load_observer(
    run: Run | Path | str, *, which: str = "policy", env: tuple[str, dict[str, Any]] | None = None
) -> ObserverMemory | None:
    """Return the stored memory of a run's observer.

    None where there is none, or it belongs to another policy or environment.

    Raises:
        StorageFault: what is stored is not such a memory.
    """
    run = Run.of(run)
    stored = run.load_observer()
    if stored is None or {**_document(run, which, env), **stored[1]} != stored[1]:
        return None
    return ObserverMemory.from_bundle(*stored, where=str(run.path / "observer"))


def fit_observer(
    run: Run | Path | str,
    controller: Controller,
    *,
    which: str = "policy",
    env: tuple[str, dict[str, Any]] | None = None,
    steps: int | None = None,
    recording: Recording | None = None,
    progress: Progress | None = None,
) -> ObserverMemory:
    """Practise, fit a forward model, and store it with the run.

    Args:
        env: environment and arguments where the robot is healthy; None is the run's own.
        steps: steps of practice; None is `STEPS`, and 0 takes the sample of its training that the run holds.
        recording: the log of a robot, in place of practice.

    Raises:
        UsageError: the policy's actions are choices, it sees a stack of observations, the recording is too short to
            fit, or the run holds no sample.
    """
    from homeo_rl.observer.fit_forward_model import fit_forward_model

    run, progress = Run.of(run), progress or NullProgress()
    if controller.spec.discrete:
        raise UsageError("observer: expected a policy with continuous actions, got one that chooses")
    document = _document(run, which, env)
    name, kwargs = env or (run.spec.env, run.spec.env_kwargs)
    if kwargs.get(FRAMES, 1) != 1:
        raise UsageError(
            f"observer: expected a policy that sees one observation, got one that sees {kwargs[FRAMES]} side by side; "
            "use a mechanism without +observer"
        )
    if recording is None and steps == 0:
        recording = read_sample(run, name)
    elif recording is None:
        steps = STEPS if steps is None else steps
        progress.start("practice", steps)
        recording = practise(
            lambda slots: Session(controller, slots), lambda: make_env(name, kwargs), steps, on_step=progress.advance
        )
    progress.start("forward model", EPOCHS)
    bounds = np.array(controller.spec.low), np.array(controller.spec.high)
    with one_thread():  # products this small wait for threads longer than they take
        model = fit_forward_model(recording, *bounds, epochs=EPOCHS, on_epoch=lambda _: progress.advance())
    memory = ObserverMemory.of(model, recording)
    if not len(memory.observations):
        progress.note(f"observer: no clean episode has {LENGTH} steps to rehearse on, so no estimate will be used")
    if os.access(run.path, os.W_OK):  # it is a cache: where it cannot be kept it is made anew
        tensors, fitted = memory.to_bundle()
        run.save_observer(tensors, {**fitted, **document})
    return memory


def read_sample(run: Run, env: str) -> Recording:
    """Return the steps that a training left in a run.

    Raises:
        UsageError: it left none, or was in another environment than ``env``.
        StorageFault: what is stored is not such a sample.
    """
    stored = run.load_experience()
    if stored is None or env != run.spec.env:
        raise UsageError(
            f"{run.path}: expected a sample of its training in {env}, found none; give steps of practice (--practice "
            f"{STEPS}) or a log (--from)"
        )
    return Recording.from_tensors(stored[0], where=str(run.path / "experience"))


def _document(run: Run, which: str, env: tuple[str, dict[str, Any]] | None) -> dict[str, Any]:
    return {"policy": run.policy_digest(which=which), "env": env[0] if env else run.spec.env}
