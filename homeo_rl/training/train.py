"""Train an agent with Stable-Baselines3 and leave a run folder behind."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import ResultsWriter
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecMonitor, VecNormalize

from homeo_rl import homeostasis
from homeo_rl.agents.controller import save_controller
from homeo_rl.agents.sb3.bounded_monitor import Monitored
from homeo_rl.agents.sb3.policies import SpikingPolicyMixin
from homeo_rl.agents.sb3.vec_env import GymVecEnv
from homeo_rl.agents.workers.supervised import SupervisedVecEnv
from homeo_rl.envs.contract import try_out
from homeo_rl.envs.env_factory import Recipe
from homeo_rl.envs.make import make_env, make_vector
from homeo_rl.envs.protocol import is_driving
from homeo_rl.envs.replayable import Recorded
from homeo_rl.errors import BadUpdate, StorageFault, UsageError
from homeo_rl.evaluation.tensorboard import quiet_writers
from homeo_rl.processes.signals import Stopped
from homeo_rl.run import Run, slug
from homeo_rl.seeding import derive
from homeo_rl.spec import RunSpec, dump
from homeo_rl.training.algorithms import ALGORITHMS
from homeo_rl.training.callbacks import (
    EvaluationCallback,
    NormaliserCallback,
    ReportCallback,
    SpikeCallback,
)
from homeo_rl.training.fault_counters import IncidentCallback
from homeo_rl.training.hyperparams import OURS, SCHEDULED, schedule
from homeo_rl.training.logger import LoggerCallback
from homeo_rl.training.plan import TrainingPlan, prepare, whole_steps
from homeo_rl.training.resume.checkpointer import Keeper
from homeo_rl.training.resume.find_unfinished import forget_later_events, is_longer, set_aside, unfinished
from homeo_rl.training.resume.resumable import resumable
from homeo_rl.training.starting import begin_with
from homeo_rl.training.update_guard import UpdateGuard


def train(
    plan: TrainingPlan,
    *,
    report: Callable[[int, float | None], None] | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> Run:
    """Train as ``plan`` says, or go on with a training of the same plan that was interrupted.

    A checkpoint is written once in ``plan.save_freq`` environment steps, between two iterations, and when a signal asks
    to stop. Going on from it gives the same parameters, to the last bit, as if nothing had happened. A finished run in
    ``plan.out`` that kept its checkpoint goes on in the same way where the plan has more steps.

    Args:
        plan: what to train.
        report: told environment steps done and the mean return of recent episodes.
        note: told what is worth a line.

    Returns:
        the finished run.

    Raises:
        UsageError: the plan does not fit; nothing was written.
        NumericalFault: an environment or a weight was not finite; the last saved policy is kept.
        StorageFault: a checkpoint could not be written; the earlier one is kept.
        Stopped: a signal; the same plan goes on.
    """
    plan, spec = prepare(plan)
    plugin = homeostasis.make(plan.homeostasis_in_training)
    torch.set_num_threads(plan.num_threads)
    found = None if plan.fresh else unfinished(plan, spec)
    longer = found is not None and is_longer(found.spec, spec)
    if found is not None and found.spec.digest and not longer:
        note(f"{found.path}: finished before, nothing is left to do; --fresh begins anew")
        return found
    if whole_steps(spec) > spec.planned:
        note(f"{spec.planned:,} steps become {whole_steps(spec):,}: rollouts (n_steps x n_envs steps) are not cut")
    model = _model(plan, spec)
    policy = model.policy
    assert isinstance(policy, SpikingPolicyMixin)
    try:
        if plugin is not None:
            policy.adapt_online(plugin)
        if found is None:
            _try_out(plan, spec)
            if plan.trained is not None:
                begin_with(policy, plan.trained, note if found is None else lambda text: None)
            if plan.fresh and plan.out is not None:
                set_aside(plan.out)
            folder = plan.log_folder / plan.algo
            run = Run.create_numbered(folder, spec) if plan.out is None else Run.create(plan.out, spec)
        else:
            run = found
            if longer:
                note(_lengthening(found, spec))
                run = Run(found.path, replace(spec, steps=found.spec.steps))
        # Nothing was written until here, where everything is known to fit.
        with run.held():
            if longer:
                run.write_spec()
            if found is None or longer:
                _write_configuration(plan, run)
            return _learn(plan, run, model, report, note)
    finally:
        _close(model)


def _try_out(plan: TrainingPlan, spec: RunSpec) -> None:
    """Take one step in an environment of others, so that one that breaks the contract leaves no run behind.

    Workers are left to find out for themselves: they may be there because the environment kills its process.
    """
    env = make_env(plan.env, {**plan.env_kwargs, **spec.hyperparams.get("train_env_kwargs", {})})
    with contextlib.closing(env):
        theirs = not type(env.unwrapped).__module__.startswith(("gymnasium.envs.", "homeo_rl."))
        if theirs and plan.vec_env == "dummy":
            try_out(env)


def _learn(
    plan: TrainingPlan,
    run: Run,
    model: BaseAlgorithm,
    report: Callable[[int, float | None], None] | None,
    note: Callable[[str], None],
) -> Run:
    """Learn until the planned steps are done, from the newest checkpoint if there is one."""
    policy = model.policy
    assert isinstance(policy, SpikingPolicyMixin)
    model.tensorboard_log = str(plan.tensorboard if plan.tensorboard is not None else run.path / "tb")

    heard = False

    def told(done: int, mean: float | None) -> None:
        nonlocal heard
        try:
            if keeper.signals.number is not None and not heard:
                heard = True
                note("stopping: saving at the end of this iteration (Ctrl-C again to kill)")
            if report is not None:
                report(done, mean)
        except BrokenPipeError:  # nobody listens any more: as a signal
            keeper.signals.ask(signal.SIGPIPE)

    callbacks = _callbacks(plan, run, model, told)
    keeper = Keeper(model, callbacks, run, every=plan.save_freq, stop_at=plan.stop_at)
    resumed = keeper.bring_back(note)
    _write_monitors(model, run, keeper.kept_sizes if resumed else None)
    if resumed:
        forget_later_events(Path(model.tensorboard_log), model.num_timesteps)
    model.at_boundary = keeper  # type: ignore[attr-defined]  # of `boundary.resumable`
    try:
        with keeper.signals.listening(), quiet_writers(), _closing(callbacks):
            left = max(run.spec.planned - model.num_timesteps, 0)
            model.learn(left, callback=callbacks, reset_num_timesteps=not resumed)
            end = keeper.end() if plan.keep_checkpoint and plan.save_freq > 0 else None
    except (Stopped, BadUpdate):  # what was saved is better than what there is now
        raise
    except BaseException:
        run = Run(run.path, replace(run.spec, steps=model.num_timesteps))
        run.write_spec()
        with contextlib.suppress(StorageFault):  # weights that are not finite are not stored; the fault goes on
            save_controller(run, policy.controller())
        raise
    save_controller(run, policy.controller())
    model.save(run.path / f"{slug(plan.env)}.zip")
    if end is not None:
        keeper.keep(end)
    run = Run(run.path, replace(run.spec, steps=run.spec.planned, digest=parameter_digest(model)))
    run.write_spec()
    if end is None:
        shutil.rmtree(run.path / "checkpoints", ignore_errors=True)  # last: until here the same command goes on
    return run


def _lengthening(found: Run, spec: RunSpec) -> str:
    """Say what becomes of a training that is to be longer than it was planned."""
    falling = [name for name in SCHEDULED if isinstance(spec.hyperparams.get(name), str)]
    told = f"; {', '.join(falling)} falls over all {spec.planned} steps from now on" if falling else ""
    return f"{found.path}: was planned for {found.spec.planned} steps, going on to {spec.planned}{told}"


def parameter_digest(model: BaseAlgorithm) -> str:
    """Return the SHA-256 of all parameters of the policy, critics and targets included."""
    found = hashlib.sha256()
    for name, value in sorted(model.policy.state_dict().items()):
        array = np.ascontiguousarray(value.detach().cpu().numpy())
        found.update(f"{name} {array.dtype} {array.shape} ".encode() + array.tobytes())
    return found.hexdigest()


def _model(plan: TrainingPlan, spec: RunSpec) -> BaseAlgorithm:
    kind, policy = ALGORITHMS[plan.algo].classes()
    hyperparams = dict(spec.hyperparams)
    ours = {name: hyperparams.pop(name) for name in OURS if name in hyperparams}
    count = int(ours.get("n_envs", 1))
    kwargs = {**plan.env_kwargs, **ours.get("train_env_kwargs", {})}
    envs = _environments(plan, kwargs, count, count, endless=True)
    if ours.get("normalize_reward"):
        envs = VecNormalize(envs, norm_obs=False, gamma=float(hyperparams.get("gamma", 0.99)))
    envs.seed(derive(plan.seed, "training") % 2**31)
    policy_kwargs: dict[str, Any] = {"agent": plan.agent}
    policy_kwargs |= {name: ours[name] for name in ("agent_kwargs", "net_arch", "log_std_init") if name in ours}
    for name in SCHEDULED:
        if isinstance(hyperparams.get(name), str):
            hyperparams[name] = LinearSchedule(schedule(name, hyperparams[name]), 0.0, 1.0)
    if isinstance(hyperparams.get("train_freq"), list):
        hyperparams["train_freq"] = tuple(hyperparams["train_freq"])  # as Stable-Baselines3 wants [1, "episode"]
    if ours.get("noise_std"):
        size = int(np.prod(envs.action_space.shape or (1,)))
        hyperparams["action_noise"] = NormalActionNoise(np.zeros(size), np.full(size, float(ours["noise_std"])))
    try:
        return resumable(kind)(
            policy,
            envs,
            seed=plan.seed,
            device=plan.device,
            policy_kwargs=policy_kwargs,
            **hyperparams,
        )
    except (TypeError, ValueError, AssertionError) as error:
        envs.close()
        raise UsageError(
            f"{plan.algo} cannot be built for {plan.env}: {' '.join(str(error).split()) or type(error).__name__}; "
            "check -params and that the algorithm fits the action space"
        ) from None


def _environments(
    plan: TrainingPlan, kwargs: dict[str, Any], together: int, apart: int, *, endless: bool = False
) -> VecEnv:
    """Make environments for SB3: ``together`` of them in compiled loops where there are any, else ``apart``.

    Those apart take their turns in this process or, as the plan says, have one each; the numbers are the same.
    ``endless``: their episodes may go on for ever.
    """
    vector = make_vector(plan.env, together, kwargs)
    if vector is not None:
        _, infos = vector.reset(seed=0)  # SB3 seeds and resets it again before the first step
        told = is_driving(vector) and "is_success" in infos
        return VecMonitor(GymVecEnv(vector), info_keywords=("is_success",) if told else ())
    if plan.vec_env == "workers":
        recipe = Recipe(plan.env, kwargs, plan.modules, endless=endless)
        return SupervisedVecEnv(recipe, apart, timeout=plan.worker_timeout)
    return DummyVecEnv([lambda: Recorded(Monitored(make_env(plan.env, kwargs, endless=endless)))] * apart)


def _close(model: BaseAlgorithm) -> None:
    if model.env is not None:
        model.env.close()


@contextlib.contextmanager
def _closing(callbacks: list[BaseCallback]) -> Iterator[None]:
    """Close the environments of evaluations at the end of a with block: they may have processes."""
    try:
        yield
    finally:
        for callback in callbacks:
            if isinstance(callback, EvaluationCallback):
                callback.eval_env.close()


def _write_monitors(model: BaseAlgorithm, run: Run, sizes: dict[str, int] | None) -> None:
    """Let the environments' monitors write ``<i>.monitor.csv`` into the run.

    ``sizes`` are those of files to go on with: what was written after the checkpoint happens again.
    """
    envs = model.env.venv if isinstance(model.env, VecNormalize) else model.env
    assert envs is not None
    starts = [envs.t_start] if isinstance(envs, VecMonitor) else envs.get_attr("t_start")
    for index, start in enumerate(starts):
        path = run.path / f"{index}.monitor.csv"
        header: dict[str, float | str] = {"t_start": start, "env_id": run.spec.env}
        going_on = sizes is not None and path.name in sizes and path.exists()
        if going_on and sizes is not None:
            os.truncate(path, min(sizes[path.name], path.stat().st_size))
        if isinstance(envs, SupervisedVecEnv):  # a worker that is started again has to be told again
            envs.monitor_to(index, str(path.absolute()), header, append=going_on)
        elif isinstance(envs, VecMonitor):
            envs.results_writer = ResultsWriter(
                str(path), header=header, extra_keys=envs.info_keywords, override_existing=not going_on
            )
        else:
            envs.env_method("monitor_to", str(path), header, going_on, indices=index)


def _callbacks(
    plan: TrainingPlan, run: Run, model: BaseAlgorithm, report: Callable[[int, float | None], None] | None
) -> list[BaseCallback]:
    # The normaliser comes last: the others see the statistics that the rollout was collected with.
    callbacks: list[BaseCallback] = [
        LoggerCallback(run.spec.planned),
        UpdateGuard(),
        SpikeCallback(),
        IncidentCallback(),
    ]
    per_step = model.n_envs
    if plan.eval_freq > 0:
        # Side by side where that is cheap; SB3 takes care that environments with short episodes do not count more.
        envs = _environments(plan, plan.env_kwargs, plan.eval_episodes, 1)
        if isinstance(model.env, VecNormalize):  # SB3 wants both wrapped alike; evaluations see plain rewards
            envs = VecNormalize(envs, norm_obs=False, norm_reward=False, training=False)
        callbacks.append(
            EvaluationCallback(
                run,
                envs,
                seed=plan.seed,
                eval_freq=max(plan.eval_freq // per_step, 1),
                n_eval_episodes=plan.eval_episodes,
                best_model_save_path=str(run.path),
                log_path=str(run.path),
                deterministic=True,
                verbose=0,
            )
        )
    if report is not None:
        callbacks.append(ReportCallback(report))
    return [*callbacks, NormaliserCallback()]


def _write_configuration(plan: TrainingPlan, run: Run) -> None:
    """Write what rl-zoo's scripts read, by `yaml.safe_dump`."""
    folder = run.export_folder
    folder.mkdir(exist_ok=True)
    arguments = {
        "algo": plan.algo,
        "env": plan.env,
        "agent": plan.agent,
        "n_timesteps": run.spec.planned,
        "seed": plan.seed,
        "env_kwargs": plan.env_kwargs,
        "eval_freq": plan.eval_freq,
        "eval_episodes": plan.eval_episodes,
        "save_freq": plan.save_freq,
        "device": plan.device,
        "num_threads": plan.num_threads,
        "homeostasis_in_training": plan.homeostasis_in_training,
    }
    hyperparams = dump(run.spec)["hyperparams"]
    policy_class = ALGORITHMS[plan.algo].classes()[1]
    config = {**hyperparams, "policy": f"homeo_rl.agents.{policy_class.__name__}"}
    (folder / "args.yml").write_text(yaml.safe_dump(arguments), encoding="utf-8")
    (folder / "config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (folder / "command.txt").write_text(plan.command + "\n", encoding="utf-8")
