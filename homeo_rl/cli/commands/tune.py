"""The command ``homeo-rl tune``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from homeo_rl.cli.command import TRAIN, Command
from homeo_rl.cli.common import command_line, make_plan, print_next
from homeo_rl.cli.flags import Flag, Hyperparams, Short, Timesteps, WithEnvironment, WithProgress
from homeo_rl.errors import Finding

COMMAND = Command(TRAIN, 2, "search for hyper-parameters")


@dataclass(frozen=True, kw_only=True)
class Tune(WithEnvironment, WithProgress):
    """Search for hyper-parameters with Optuna; the same command resumes, and the best trial becomes a preset."""

    algo: str = "ppo"
    """ppo, a2c, sac, td3, ddpg, tqc, crossq, proxy_td3, batchnorm_td3, recurrent_ppo, recurrent_sac, recurrent_td3."""
    env: str = "InvertedPendulum-v5"
    """Gymnasium id; module:Id-v0 imports the module first."""
    agent: str = "popsan"
    """popsan, san, anytime (spiking), mlp (the baseline) or qcfs (for convert)."""
    n_trials: int = 50
    """Total number of trials, including those in the journal."""
    n_timesteps: Timesteps = None
    """Environment steps of each training; by default as in train."""
    storage: Path | None = None
    """Optuna's journal, a file of this machine (not sqlite:///... or another data base); by default study.journal in
    OUT."""
    out: Path | None = None
    """Folder of best.yml, summary.md, history.png and the runs of the best trial; by default STORAGE without its
    suffix, else runs/tune/ALGO-AGENT-ENV."""
    space: Path | None = None
    """YAML file of the search space, {learning_rate: {low: 1e-4, high: 1e-2, scale: log}, ...}; by default
    tuning/spaces.yaml of the package."""
    hyperparams: Hyperparams = ()
    """Fixed hyper-parameters, name:value, which are not searched."""
    num_seeds: Annotated[int, Short(("--seeds",))] = 3
    """Trainings per trial, with seeds SEED, SEED + 1, ..."""
    seed: int = 0
    """Seed of the first training and of the sampler."""
    episodes: int = 20
    """Episodes after each training; their mean return is the value of the training."""
    pruner: str = "median"
    """median stops trials below the median (after five complete ones), none does not."""
    sampler: str = "tpe"
    """tpe or random."""
    eval_freq: int = -1
    """Environment steps between the evaluations for the pruner; by default a tenth of a training."""
    eval_episodes: int = 5
    """Episodes of each of these evaluations."""
    workers: int | None = None
    """Parallel trials, by default one per core; several commands may also share a journal and a folder."""
    keep_runs: Flag = False
    """Keep the runs of all trials."""


def run(args: Tune, words: list[str]) -> dict[str, Any]:
    """Search for hyper-parameters.

    The JSON has ``completed_now``, and beside it ``ran``, its name of version 0.1, for one more version.

    Raises Finding: a trial failed, or none was completed.
    """
    from homeo_rl.tuning.optuna_support import require_journal, require_optuna

    require_optuna()
    if args.storage is not None:
        require_journal(args.storage)
    plan = _plan(args, words)  # errors in it are reported before anything is written or torch is imported

    from homeo_rl.cli.console import Bars
    from homeo_rl.tuning.tune import TrialProgress, executor_of, missing_slots, tune, write_outcome

    missing = missing_slots(plan)
    if missing:
        bars = Bars(enabled=args.progress)
        before = plan.trials - len(missing)
        watch = TrialProgress(bars, before=before, verbose=args.progress)
        with executor_of(args.workers, len(missing), watch) as executor, bars.show():
            finished = f" ({before} trials finished before)" if before else ""
            bars.start(f"{args.algo} {args.agent} on {args.env}{finished}", len(missing))
            outcome = tune(plan, missing, executor, watch)
    else:
        outcome = write_outcome(plan)
    best = outcome.best if outcome.best is not None and outcome.best.value is not None else None
    result = _result(plan, outcome, best)
    if best is not None:
        _print_best(plan, outcome, best)
    if outcome.failed:
        key, why = next(iter(outcome.failed.items()))
        message = f"{len(outcome.failed)} of {plan.trials} trials failed; expected none; trial {int(key)}: {why}; the "
        raise Finding(f"{message}same command tries them again", result=result)
    if outcome.best is None:
        message = f"no trial of {plan.trials} was completed; expected one at least; look at {plan.out / 'summary.md'}"
        raise Finding(message, result=result)
    return result


def _plan(args: Tune, words: list[str]) -> Any:
    from homeo_rl.run import slug
    from homeo_rl.training.params import environment_arguments, parse_params
    from homeo_rl.training.plan import TrainingPlan
    from homeo_rl.tuning.plan import TuningPlan, prepare_plan
    from homeo_rl.tuning.space import default_space, read_space

    out = args.out or Path("runs/tune") / f"{args.algo}-{args.agent}-{slug(args.env)}"
    if args.out is None and args.storage is not None:
        journal = args.storage
        out = journal.with_suffix("") if journal.suffix else journal.with_name(f"{journal.name}.d")
    training = make_plan(
        TrainingPlan,
        args,
        out=None,
        steps=args.n_timesteps,
        env_kwargs=environment_arguments(args),
        hyperparams=parse_params(args.hyperparams),
        modules=args.gym_packages,
        command=command_line(words),
    )
    space = default_space(args.algo, args.agent) if args.space is None else read_space(args.space)
    storage = args.storage or out / "study.journal"
    plan = make_plan(
        TuningPlan, args, training=training, space=space, out=out, storage=storage, trials=args.n_trials,
        seeds=args.num_seeds, keep=args.keep_runs,
    )  # fmt: skip
    return prepare_plan(plan)


def _result(plan: Any, outcome: Any, best: Any) -> dict[str, Any]:
    states = {state: sum(row.state == state for row in outcome.rows) for state in ("complete", "pruned", "diverged")}
    trial = None
    if best is not None:
        trial = {"trial": best.slot, "value": best.value, "means": list(best.means), "digests": list(best.digests)}
        trial |= {"hyperparams": best.hyperparams, "preset": str(plan.out / "best.yml")}
    return {
        "out": str(plan.out),
        "storage": str(plan.storage),
        "trials": len(outcome.rows),
        "states": states,
        "completed_now": outcome.ran,
        **{key: getattr(outcome, key) for key in ("ran", "failed", "importances")},
        "best": trial,
    }


def _print_best(plan: Any, outcome: Any, best: Any) -> None:
    from homeo_rl.cli.console import print_table
    from homeo_rl.report.tables import number
    from homeo_rl.sweeps.cells import text
    from homeo_rl.tuning.space import lookup

    shares = outcome.importances
    rows = [
        [name, text(lookup(best.hyperparams, name)), *([f"{shares.get(name, 0.0):.2f}"] if shares else [])]
        for name in plan.space
    ]
    title = f"trial {best.slot}: {number(best.value)} (seeds: {', '.join(number(mean) for mean in best.means)})"
    print_table(title, ["hyper-parameter", "best", *(["importance"] if shares else [])], rows)
    print(f"preset: {plan.out / 'best.yml'}")
    print(f"summary: {plan.out / 'summary.md'}, {plan.out / 'history.png'}")
    print_next("train", "--preset", plan.out / "best.yml", "--seed", plan.seed_numbers[-1] + 1)
