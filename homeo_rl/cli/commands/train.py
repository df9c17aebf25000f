"""``homeo-rl train``."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from homeo_rl.cli.command import TRAIN, Command
from homeo_rl.cli.common import next_flags, print_next
from homeo_rl.cli.flags import Common, Flag, Progress, Short, Words
from homeo_rl.storage.user_paths import with_local_paths

COMMAND = Command(TRAIN, 1, "train an agent, or go on with a training")


@dataclass(frozen=True, kw_only=True)
class Train(Common):
    """Train an agent with Stable-Baselines3 and leave a run folder behind."""

    algo: str = "ppo"
    """ppo, a2c, sac, td3 or ddpg."""
    env: str = "InvertedPendulum-v5"
    """Gymnasium id; module:Id-v0 imports the module first."""
    agent: str = "popsan"
    """popsan, san, anytime (spiking), mlp (the control arm) or qcfs (to be converted)."""
    n_timesteps: Annotated[int | None, Short(("-n",))] = None
    """Environment steps; by default what is tuned for the environment, else 100000. With --out, a finished run goes on
    where it ended if this is more than it was trained for."""
    seed: int = 0
    """Root of all randomness."""
    log_folder: Annotated[Path, Short(("-f",))] = Path("runs")
    """The run goes to LOG_FOLDER/ALGO/ENV_n with the first free n."""
    out: Path | None = None
    """Put the run exactly here instead."""
    imp: str = ""
    """What membranes begin a decision with: rest (0), neuron or layer (learnable potentials), constant (the control);
    by default what the preset says."""
    readout: str = ""
    """What the action is read from: population, mean, last (spikes) or membrane; by default what the preset says."""
    tensorboard_log: Annotated[Path | None, Short(("-tb",))] = None
    """TensorBoard folder; by default tb inside the run."""
    hyperparams: Annotated[Words, Short(("-params",))] = ()
    """Hyper-parameters, name:value; agent_kwargs:"{hidden: [128, 128], steps: 8}" changes the network."""
    conf: Annotated[Path | None, Short(("-conf", "--conf-file"))] = None
    """YAML file {env: {name: value}} of hyper-parameters, as rl-zoo has them."""
    preset: Path | None = None
    """Training as a file, such as best.yml of homeo-rl tune; what the command line says wins."""
    env_kwargs: Words = ()
    """Arguments of the environment, name:value."""
    env_wrapper: Words = ()
    """Wrappers around the environment, innermost first, module.Name or with arguments
    'gymnasium.wrappers.RescaleAction:{min_action: -1, max_action: 1}'; every later command uses them too."""
    flatten_observations: Flag = False
    """Make observations that are tables, choices or dictionaries one row of numbers."""
    max_episode_steps: int | None = None
    """Steps after which an episode is truncated, in place of the environment's own limit."""
    gym_packages: Words = ()
    """Packages that register environments."""
    homeostasis_in_training: str = "none"
    """Let this arm adapt while rollouts are collected, e.g. dwam."""
    eval_freq: int = 10_000
    """Environment steps between evaluations; -1 for none."""
    eval_episodes: int = 5
    """Episodes of each evaluation."""
    save_freq: int = 10_000
    """Environment steps between checkpoints, from which the same command goes on; -1 for none but at a signal."""
    discard_checkpoints: Flag = False
    """Keep no checkpoint of the finished training: it saves disk, and a larger -n cannot go on from it."""
    trained_agent: Annotated[Path | None, Short(("-i",))] = None
    """Begin with the weights of this run, or of a zip that train left; its algorithm and architecture have to fit."""
    fresh: Flag = False
    """Begin anew instead of going on; what lies at --out is renamed."""
    dry_run: Flag = False
    """Check everything, show the configuration and what it will need, write nothing."""
    device: str = "cpu"
    """cpu, cuda or auto."""
    num_threads: int = 1
    """Threads of torch; results are repeatable for a given number."""
    vec_env: str = "dummy"
    """Where environments without a compiled form run: dummy (in turn) or workers (a process each, which is started
    again when it dies or hangs); does not change the results."""
    worker_timeout: float = 60.0
    """Seconds after which a worker that does not answer counts as hung."""
    progress: Progress = True
    """Show progress."""


def run(args: Train, words: list[str]) -> dict[str, Any]:
    """Train an agent."""
    from homeo_rl.cli.console import Bars, print_hint
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
    prepared = prepare(plan)  # what is wrong is told before torch is loaded, which takes seconds
    if args.dry_run:
        from homeo_rl.cli.dry_run import show

        return show(*prepared)

    from homeo_rl.training.train import train

    with Bars(enabled=args.progress).shown() as bars:
        bars.start(f"{args.algo} {args.agent} on {args.env}", prepared.spec.planned)
        run = train(
            prepared,
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
    from homeo_rl.cli.parsing import parse

    return with_local_paths(replace(parse(Train, words[1:], under), progress=args.progress))
