"""``homeo-rl train``."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

from homeo_rl.commands.common import next_flags, print_next
from homeo_rl.flags import Train
from homeo_rl.flags.parsing import parse
from homeo_rl.paths import with_local_paths


def run(args: Train, words: list[str]) -> dict[str, Any]:
    """Train an agent."""
    from homeo_rl.console import Bars, print_hint
    from homeo_rl.run import require_new
    from homeo_rl.training.params import environment_arguments, parse_params, read_config
    from homeo_rl.training.plan import TrainingPlan, prepare

    hyperparams: dict[str, Any] = {}
    env_kwargs: dict[str, Any] = {}
    under: dict[str, Any] = {}  # what files say in place of the flags' defaults; what the words say wins
    if args.preset is not None:
        from homeo_rl.tuning.preset import read_preset

        preset = read_preset(args.preset)
        under |= preset.flags
        args = _laid_over(args, under, words)
        hyperparams, env_kwargs = dict(preset.hyperparams), dict(preset.env_kwargs)
    if args.conf is not None:
        told = read_config(args.conf, args.env, args.algo)
        under |= told.flags
        args = _laid_over(args, under, words)
        hyperparams |= told.hyperparams
        env_kwargs |= told.env_kwargs
    hyperparams |= parse_params(args.hyperparams)
    changes: dict[str, Any] = {"initial": args.imp} if args.imp else {}
    if args.readout:
        changes["readout"] = {"kind": args.readout}
    if changes:
        hyperparams["agent_kwargs"] = {**hyperparams.get("agent_kwargs", {}), **changes}
    plan = TrainingPlan(
        algo=args.algo,
        env=args.env,
        agent=args.agent,
        steps=args.n_timesteps,
        seed=args.seed,
        env_kwargs=env_kwargs | environment_arguments(args, under=env_kwargs),
        hyperparams=hyperparams,
        homeostasis_in_training=args.homeostasis_in_training,
        modules=args.gym_packages,
        log_folder=args.log_folder,
        out=args.out,
        tensorboard=args.tensorboard_log,
        eval_freq=args.eval_freq,
        eval_episodes=args.eval_episodes,
        save_freq=args.save_freq,
        fresh=args.fresh,
        device=args.device,
        num_threads=args.num_threads,
        vec_env=args.vec_env,
        worker_timeout=args.worker_timeout,
        trained=args.trained_agent,
        keep_checkpoint=not args.discard_checkpoints,
        command=shlex.join(["homeo-rl", *words]),
    )
    if plan.out is not None and not plan.fresh and not (plan.out / "run.json").exists():
        require_new(plan.out)
    settled, spec = prepare(plan)  # what is wrong is told before torch is loaded, which takes seconds
    if args.dry_run:
        from homeo_rl.commands.dry_run import show

        return show(settled, spec)

    from homeo_rl.training.train import train

    with Bars(enabled=args.progress).shown() as bars:
        bars.start(f"{args.algo} {args.agent} on {args.env}", spec.planned)
        run = train(
            plan,
            report=lambda done, mean: bars.reach(done, "" if mean is None else f"return {mean:.1f}"),
            note=bars.note,
        )
    print(f"run: {run.path}")
    print(f"parameters: {run.spec.digest}")
    print_hint(
        f"watch it learn: {shlex.join(['tensorboard', '--logdir', str(args.tensorboard_log or run.path / 'tb')])}"
    )
    if args.agent == "qcfs":
        print_next("convert", run.path, "--out", f"{run.path}-spiking")
    else:
        print_next("evaluate", run.path, *next_flags(args.env, "quick"))
    return {
        "run": str(run.path),
        "env": run.spec.env,
        "algo": run.spec.algo,
        "agent": run.spec.agent,
        "steps": run.spec.steps,
        "digest": run.spec.digest,
    }


def _laid_over(args: Train, under: dict[str, Any], words: list[str]) -> Train:
    """Read the words again, with ``under`` in place of the flags' defaults."""
    return with_local_paths(replace(parse(Train, words[1:], under), progress=args.progress))
