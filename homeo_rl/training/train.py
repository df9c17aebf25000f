"""Train an agent with Stable-Baselines3 and leave a run folder behind."""

import contextlib
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from homeo_rl import homeostasis
from homeo_rl.agents.controller import save_controller
from homeo_rl.agents.sb3.policies import policy_of
from homeo_rl.errors import BadUpdate, StorageFault
from homeo_rl.processes.signals import Stopped
from homeo_rl.run import Run, slug
from homeo_rl.spec import RunSpec
from homeo_rl.storage.event_files import quiet_writers
from homeo_rl.training.callbacks import (
    EvaluationCallback,
    IncidentCallback,
    NormaliserCallback,
    RandomiseCallback,
    ReportCallback,
    SpikeCallback,
)
from homeo_rl.training.environments import check_contract, make_evaluation_envs, write_monitors
from homeo_rl.training.experience import ExperienceCallback, keep_experience, rows_for
from homeo_rl.training.hyperparams import SCHEDULED
from homeo_rl.training.logger import LoggerCallback
from homeo_rl.training.model import build_model, parameter_digest
from homeo_rl.training.plan import Prepared, TrainingPlan, prepare, whole_steps
from homeo_rl.training.resume.checkpointer import Checkpointer
from homeo_rl.training.resume.find_unfinished import find_unfinished, is_longer, purge_events_after, rename_existing
from homeo_rl.training.rl_zoo.writer import write_run_files
from homeo_rl.training.starting import begin_with
from homeo_rl.training.update_guard import UpdateGuard

Report = Callable[[int, float | None], None]


def train(
    plan: TrainingPlan | Prepared, *, report: Report | None = None, note: Callable[[str], None] = lambda text: None
) -> Run:
    """Train as ``plan`` says, or resume an interrupted training of the same plan; return the finished run.

    A checkpoint is written once in ``plan.save_freq`` environment steps, between two iterations, and when a signal asks
    to stop. Resuming from it gives the same parameters, to the last bit, as if nothing had happened. A finished run in
    ``plan.out`` that kept its checkpoint is resumed in the same way where the plan has more steps.

    Args:
        plan: what to train, or what `prepare` returned for it.
        report: called with the environment steps done and the mean return of recent episodes.
        note: called with what is worth a line.

    Raises:
        UsageError: the plan does not fit; nothing was written.
        NumericalFault: an environment or a weight was not finite; the last saved policy is kept.
        StorageFault: a checkpoint could not be written; the earlier one is kept.
        Stopped: a signal; the same plan resumes the training.
    """
    plan, spec = plan if isinstance(plan, Prepared) else prepare(plan)
    torch.set_num_threads(plan.num_threads)
    earlier = None if plan.fresh else find_unfinished(plan, spec)
    longer = earlier is not None and is_longer(earlier.spec, spec)
    if earlier is not None and earlier.spec.digest and not longer:
        note(f"{earlier.path}: finished before, nothing is left to do; --fresh begins anew")
        return earlier
    for name, reason in spec.randomise.get("skipped", {}).items():
        note(f"randomise: {name} skipped: {reason}")
    if whole_steps(spec) > spec.planned:
        note(f"{spec.planned:,} steps become {whole_steps(spec):,}: rollouts (n_steps x n_envs steps) are not cut")
    model = build_model(plan, spec)
    try:
        mechanism = homeostasis.make(plan.homeostasis_in_training)
        if mechanism is not None:
            policy_of(model).adapt_online(mechanism)
        if earlier is None:
            run = _create_run(plan, spec, model, note)
        else:
            run = _extend(earlier, spec, note) if longer else earlier
        # Nothing was written until here, where everything is known to fit.
        with run.hold():
            if longer:
                run.write_spec()
            if earlier is None or longer:
                write_run_files(plan, run)
            return _learn(plan, run, model, report, note)
    finally:
        if model.env is not None:
            model.env.close()


def _create_run(plan: TrainingPlan, spec: RunSpec, model: BaseAlgorithm, note: Callable[[str], None]) -> Run:
    check_contract(plan, spec)
    if plan.trained is not None:
        begin_with(model.policy, plan.trained, note)
    if plan.out is None:
        return Run.create_numbered(plan.log_folder / plan.algo, spec)
    if plan.fresh:
        rename_existing(plan.out)
    return Run.create(plan.out, spec)


def _extend(run: Run, spec: RunSpec, note: Callable[[str], None]) -> Run:
    falling = [name for name in SCHEDULED if isinstance(spec.hyperparams.get(name), str)]
    message = f"; {', '.join(falling)} falls over all {spec.planned} steps from now on" if falling else ""
    note(f"{run.path}: was planned for {run.spec.planned} steps, going on to {spec.planned}{message}")
    return Run(run.path, replace(spec, steps=run.spec.steps))


def _learn(
    plan: TrainingPlan, run: Run, model: BaseAlgorithm, report: Report | None, note: Callable[[str], None]
) -> Run:
    model.tensorboard_log = str(plan.tensorboard if plan.tensorboard is not None else run.path / "tb")
    stopping = False

    def report_progress(done: int, mean: float | None) -> None:
        nonlocal stopping
        try:
            if checkpointer.signals.number is not None and not stopping:
                stopping = True
                note("stopping: saving at the end of this iteration (Ctrl-C again to kill)")
            if report is not None:
                report(done, mean)
        except BrokenPipeError:  # the reader has left: as a signal
            checkpointer.signals.ask(signal.SIGPIPE)

    experience = ExperienceCallback(rows_for(model, run))
    callbacks = [*_make_callbacks(plan, run, model, report_progress), experience]
    checkpointer = Checkpointer(model, callbacks, run, every=plan.save_freq, stop_at=plan.stop_at)
    resumed = checkpointer.restore_latest(note)
    write_monitors(model.env, run, checkpointer.file_sizes if resumed else None)
    if resumed:
        purge_events_after(Path(model.tensorboard_log), model.num_timesteps)
    model.at_boundary = checkpointer  # type: ignore[attr-defined]  # of `model.resumable`
    try:
        with checkpointer.signals.listening(), quiet_writers(), contextlib.ExitStack() as stack:
            for callback in callbacks:
                if isinstance(callback, EvaluationCallback):
                    stack.callback(callback.eval_env.close)  # it may have processes
            left = max(run.spec.planned - model.num_timesteps, 0)
            model.learn(left, callback=callbacks, reset_num_timesteps=not resumed)
            end = checkpointer.end() if plan.keep_checkpoint and plan.save_freq > 0 else None
    except (Stopped, BadUpdate):  # what was saved is better than what there is now
        raise
    except BaseException:
        run = Run(run.path, replace(run.spec, steps=model.num_timesteps))
        run.write_spec()
        with contextlib.suppress(StorageFault):  # weights that are not finite are not stored; the fault is raised
            save_controller(run, policy_of(model).controller())
        raise
    save_controller(run, policy_of(model).controller())
    keep_experience(model, run, experience)
    model.save(run.path / f"{slug(plan.env)}.zip")
    if end is not None:
        checkpointer.keep(end)
    run = Run(run.path, replace(run.spec, steps=run.spec.planned, digest=parameter_digest(model)))
    run.write_spec()
    if end is None:
        shutil.rmtree(run.path / "checkpoints", ignore_errors=True)  # last: until here the same command resumes
    return run


def _make_callbacks(plan: TrainingPlan, run: Run, model: BaseAlgorithm, report: Report) -> list[BaseCallback]:
    # Their order is stored in checkpoints. The normaliser comes after the others, which see the statistics that the
    # rollout was collected with.
    callbacks: list[BaseCallback] = [
        LoggerCallback(run.spec.planned), UpdateGuard(), SpikeCallback(1000), IncidentCallback(),
    ]  # fmt: skip
    if plan.eval_freq > 0:
        callbacks.append(
            EvaluationCallback(
                run,
                make_evaluation_envs(plan, model.env),
                seed=plan.seed,
                eval_freq=max(plan.eval_freq // model.n_envs, 1),
                n_eval_episodes=plan.eval_episodes,
                best_model_save_path=str(run.path),
                log_path=str(run.path),
                deterministic=True,
                verbose=0,
            )
        )
    randomise = [RandomiseCallback()] if run.spec.randomise else []
    return [*callbacks, *randomise, ReportCallback(report), NormaliserCallback()]
