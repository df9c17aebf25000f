"""The command ``homeo-rl train``."""

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from homeo_rl.cli.command import TRAIN, Command
from homeo_rl.cli.common import command_line, make_plan, next_flags, print_doubt, print_next
from homeo_rl.cli.flags import Flag, Hyperparams, Short, Timesteps, WithEnvironment, WithProgress
from homeo_rl.storage.user_paths import with_local_paths

COMMAND = Command(TRAIN, 1, "train an agent, or resume a training")


@dataclass(frozen=True, kw_only=True)
class Train(WithEnvironment, WithProgress):
    """Train an agent with Stable-Baselines3, and store it as a run folder."""

    algo: str = "ppo"
    """ppo, a2c, sac, td3, ddpg, tqc, crossq, proxy_td3, batchnorm_td3, recurrent_ppo, recurrent_sac, recurrent_td3."""
    env: str = "InvertedPendulum-v5"
    """Gymnasium id; module:Id-v0 imports the module first."""
    agent: str = "popsan"
    """popsan, san, anytime (spiking), mlp (the baseline) or qcfs (for convert)."""
    n_timesteps: Timesteps = None
    """Environment steps; by default the tuned number for the environment, else 100000. With --out, a finished run is
    continued if this is more than it was trained for."""
    seed: int = 0
    """Seed of all random numbers."""
    log_folder: Annotated[Path, Short(("-f",))] = Path("runs")
    """The run folder is LOG_FOLDER/ALGO/ENV_n, with the first free n."""
    out: Path | None = None
    """Run folder, in place of the one in LOG_FOLDER."""
    imp: str = ""
    """Initial membrane potentials of a decision: rest (0), neuron or layer (learnable), constant (the baseline); by
    default those of the preset."""
    readout: str = ""
    """Readout of the action: population, mean, last (spikes) or membrane; by default that of the preset."""
    tensorboard_log: Annotated[Path | None, Short(("-tb",))] = None
    """TensorBoard folder; by default tb inside the run."""
    hyperparams: Hyperparams = ()
    """Hyper-parameters, name:value; agent_kwargs:"{hidden: [128, 128], steps: 8}" changes the network."""
    conf: Annotated[Path | None, Short(("-conf", "--conf-file"))] = None
    """YAML file {env: {name: value}} of hyper-parameters, in the format of rl-zoo."""
    preset: Path | None = None
    """YAML file of a training, such as best.yml of homeo-rl tune; the command line takes precedence."""
    homeostasis_in_training: str = "none"
    """Mechanism that adapts the policy during rollouts, e.g. dwam-paper."""
    randomise: str = "none"
    """Faults that the episodes of a training draw: senses, all, or a suite file; one in four has none. Evaluations
    during the training have none."""
    eval_freq: int = 10_000
    """Environment steps between evaluations; -1 for none."""
    eval_episodes: int = 5
    """Episodes of each evaluation."""
    save_freq: int = 10_000
    """Environment steps between checkpoints, from which the same command resumes; -1 for none but on a signal."""
    discard_checkpoints: Flag = False
    """Delete the checkpoint of the finished training: this saves disk space, but a larger -n cannot continue it."""
    trained_agent: Annotated[Path | None, Short(("-i",))] = None
    """Run, or zip of a training, whose weights are the initial ones; its algorithm and architecture must match."""
    fresh: Flag = False
    """Start a new training instead of resuming; an existing --out is renamed."""
    dry_run: Flag = False
    """Check everything, print the configuration and the required resources, write nothing."""
    device: str = "cpu"
    """cpu, cuda or auto."""
    num_threads: int = 1
    """Threads of torch; results are reproducible for a given number."""
    vec_env: str = "dummy"
    """Environments without a compiled form run in turn (dummy) or each in its process (workers), which is restarted
    when it dies or hangs; does not change the results."""
    engine: str = "gymnasium"
    """gymnasium, or rollout: HalfCheetah, Hopper, Walker2d and Ant are stepped as rows of one MuJoCo batch on threads;
    does not change the results."""
    worker_timeout: float = 60.0
    """Seconds after which a worker that does not reply is considered hung."""


def run(args: Train, words: list[str]) -> dict[str, Any]:
    """Train an agent."""
    from homeo_rl.cli.console import Bars, print_hint
    from homeo_rl.run import require_new
    from homeo_rl.training.plan import prepare

    args, plan = _plan(args, words)
    if plan.out is not None and not plan.fresh and not (plan.out / "run.json").exists():
        require_new(plan.out)
    prepared = prepare(plan)  # errors in the plan are reported before torch is imported, which takes seconds
    if args.dry_run:
        from homeo_rl.cli.dry_run import show

        return show(*prepared)

    import numpy as np

    from homeo_rl.training.train import train

    with Bars(enabled=args.progress).show() as bars:
        bars.start(f"{args.algo} {args.agent} on {args.env}", prepared.spec.planned)
        run = train(
            prepared,
            report=lambda done, mean: bars.reach(done, "" if mean is None else f"return {mean:.1f}"),
            note=bars.note,
        )
    print(f"run: {run.path}")
    print(f"parameters: {run.spec.digest}")
    if (evaluations := run.path / "evaluations.npz").exists():
        with np.load(evaluations, allow_pickle=False) as arrays:
            print_doubt(args.env, arrays["results"][-1].tolist())
    tensorboard = args.tensorboard_log or run.path / "tb"
    print_hint(f"learning curves: {shlex.join(['tensorboard', '--logdir', str(tensorboard)])}")
    if args.agent == "qcfs":
        print_next("convert", run.path, "--out", f"{run.path}-spiking")
    else:
        print_next("evaluate", run.path, *next_flags(args.env, "quick"))
    return {
        "run": str(run.path),
        **{name: getattr(run.spec, name) for name in ("env", "algo", "agent", "steps", "digest")},
    }


def _plan(args: Train, words: list[str]) -> tuple[Train, Any]:
    """Return the flags and the plan, with the values of the files below those of the command line."""
    from homeo_rl.training.hyperparams import change_network
    from homeo_rl.training.params import environment_arguments, parse_params, read_config
    from homeo_rl.training.plan import TrainingPlan

    hyperparams: dict[str, Any] = {}
    env_kwargs: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    if args.preset is not None:
        from homeo_rl.tuning.preset import read_preset

        preset = read_preset(args.preset)
        defaults |= preset.flags
        args = _parse_again(args, defaults, words)
        hyperparams, env_kwargs = dict(preset.hyperparams), dict(preset.env_kwargs)
    if args.conf is not None:
        section = read_config(args.conf, args.env, args.algo)
        defaults |= section.flags
        args = _parse_again(args, defaults, words)
        hyperparams |= section.hyperparams
        env_kwargs |= section.env_kwargs
    hyperparams |= parse_params(args.hyperparams)
    return args, make_plan(
        TrainingPlan,
        args,
        steps=args.n_timesteps,
        env_kwargs=env_kwargs | environment_arguments(args, under=env_kwargs),
        hyperparams=change_network(hyperparams, imp=args.imp, readout=args.readout),
        modules=args.gym_packages,
        tensorboard=args.tensorboard_log,
        trained=args.trained_agent,
        keep_checkpoint=not args.discard_checkpoints,
        command=command_line(words),
    )


def _parse_again(args: Train, defaults: dict[str, Any], words: list[str]) -> Train:
    from homeo_rl.cli.parsing import parse

    return with_local_paths(replace(parse(Train, words[1:], defaults), progress=args.progress))
