"""``homeo-rl tune``."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from homeo_rl.cli.command import TRAIN, Command
from homeo_rl.cli.common import print_next
from homeo_rl.cli.flags import Common, Flag, Progress, Short, Words

COMMAND = Command(TRAIN, 2, "search for hyper-parameters")


@dataclass(frozen=True, kw_only=True)
class Tune(Common):
    """Look for hyper-parameters with Optuna; the same command goes on, and the best trial becomes a preset."""

    algo: str = "ppo"
    """ppo, a2c, sac, td3 or ddpg."""
    env: str = "InvertedPendulum-v5"
    """Gymnasium id; module:Id-v0 imports the module first."""
    agent: str = "popsan"
    """popsan, san, anytime (spiking), mlp (the control arm) or qcfs (to be converted)."""
    n_trials: int = 50
    """Trials in all; those in the journal count."""
    n_timesteps: Annotated[int | None, Short(("-n",))] = None
    """Environment steps of each training; by default as in train."""
    storage: Path | None = None
    """Optuna's journal, a file of this machine (not sqlite:///... or another data base); by default study.journal in
    OUT."""
    out: Path | None = None
    """Folder of best.yml, summary.md, history.png and the best trial's runs; by default STORAGE without its ending,
    else runs/tune/ALGO-AGENT-ENV."""
    space: Path | None = None
    """YAML file of what to look for, {learning_rate: {low: 1e-4, high: 1e-2, scale: log}, ...}; by default the
    package's, tuning/spaces.yaml."""
    hyperparams: Annotated[Words, Short(("-params",))] = ()
    """Hyper-parameters that are fixed, name:value; nobody looks for them."""
    env_kwargs: Words = ()
    """Arguments of the environment, name:value."""
    env_wrapper: Words = ()
    """Wrappers around the environment, as in train."""
    flatten_observations: Flag = False
    """Make observations that are tables, choices or dictionaries one row of numbers."""
    max_episode_steps: int | None = None
    """Steps after which an episode is truncated, in place of the environment's own limit."""
    gym_packages: Words = ()
    """Packages that register environments."""
    seeds: int = 3
    """Trainings of each trial; their seeds are SEED, SEED + 1, ..."""
    seed: int = 0
    """The first training's seed, and the root of the sampler's randomness."""
    episodes: int = 20
    """Episodes after each training; their mean return is what a training is worth."""
    pruner: str = "median"
    """median gives trials up that lie behind (after five complete ones), none does not."""
    sampler: str = "tpe"
    """tpe or random."""
    eval_freq: int = -1
    """Environment steps between the evaluations that the pruner looks at; by default a tenth of a training."""
    eval_episodes: int = 5
    """Episodes of each of them."""
    workers: int | None = None
    """Trials side by side, by default one a core; several commands may also share a journal and a folder."""
    keep_runs: Flag = False
    """Keep the runs of all trials."""
    progress: Progress = True
    """Show progress."""


def run(args: Tune, words: list[str]) -> dict[str, Any]:
    """Look for hyper-parameters."""
    from homeo_rl.tuning.optuna_support import require_journal, require_optuna

    require_optuna()

    from homeo_rl.errors import Finding
    from homeo_rl.run import slug
    from homeo_rl.training.params import environment_arguments, parse_params
    from homeo_rl.training.plan import TrainingPlan
    from homeo_rl.tuning.plan import TuningPlan, prepare_plan
    from homeo_rl.tuning.space import default_space, read_space

    if args.storage is not None:
        require_journal(args.storage)
    if args.out is not None:
        out = args.out
    elif args.storage is not None:
        out = args.storage.with_suffix("") if args.storage.suffix else args.storage.with_name(f"{args.storage.name}.d")
    else:
        out = Path("runs/tune") / f"{args.algo}-{args.agent}-{slug(args.env)}"
    training = TrainingPlan(
        algo=args.algo,
        env=args.env,
        agent=args.agent,
        steps=args.n_timesteps,
        seed=args.seed,
        env_kwargs=environment_arguments(args),
        hyperparams=parse_params(args.hyperparams),
        modules=args.gym_packages,
        eval_freq=args.eval_freq,
        eval_episodes=args.eval_episodes,
        command=shlex.join(["homeo-rl", *words]),
    )
    plan = prepare_plan(
        TuningPlan(
            training=training,
            space=default_space(args.algo, args.agent) if args.space is None else read_space(args.space),
            out=out,
            storage=out / "study.journal" if args.storage is None else args.storage,
            trials=args.n_trials,
            seeds=args.seeds,
            episodes=args.episodes,
            pruner=args.pruner,
            sampler=args.sampler,
            keep=args.keep_runs,
        )
    )  # what is wrong is told before anything is written or heavy is loaded

    from homeo_rl.cli.console import Bars, print_table
    from homeo_rl.report.tables import number
    from homeo_rl.sweeps.cells import text
    from homeo_rl.tuning.progress import TrialProgress
    from homeo_rl.tuning.space import lookup
    from homeo_rl.tuning.tune import executor_of, missing_slots, tune, write_outcome

    missing = missing_slots(plan)
    if missing:
        bars = Bars(enabled=args.progress)
        before = plan.trials - len(missing)
        watch = TrialProgress(bars, before=before, verbose=args.progress)
        with executor_of(args.workers, len(missing), watch) as executor, bars.shown():
            ended = f" ({before} trials ended before)" if before else ""
            bars.start(f"{args.algo} {args.agent} on {args.env}{ended}", len(missing))
            found = tune(plan, missing, executor, watch)
    else:
        found = write_outcome(plan)
    best = found.best
    told: dict[str, Any] = {
        "out": str(out),
        "storage": str(plan.storage),
        "trials": len(found.rows),
        "states": {s: sum(row.state == s for row in found.rows) for s in ("complete", "pruned", "diverged")},
        "ran": found.ran,
        "failed": found.failed,
        "importances": found.importances,
        "best": None,
    }
    if best is not None and best.value is not None:
        lines = [
            [name, text(lookup(best.hyperparams, name))]
            + ([f"{found.importances.get(name, 0.0):.2f}"] if found.importances else [])
            for name in plan.space
        ]
        title = f"trial {best.slot}: {number(best.value)} (seeds: {', '.join(number(mean) for mean in best.means)})"
        print_table(title, ["hyper-parameter", "best", *(["importance"] if found.importances else [])], lines)
        print(f"preset: {out / 'best.yml'}")
        print(f"summary: {out / 'summary.md'}, {out / 'history.png'}")
        print_next("train", "--preset", out / "best.yml", "--seed", plan.seed_numbers[-1] + 1)
        told["best"] = {
            "trial": best.slot,
            "value": best.value,
            "means": list(best.means),
            "digests": list(best.digests),
            "hyperparams": best.hyperparams,
            "preset": str(out / "best.yml"),
        }
    if best is None or found.failed:
        if found.failed:
            key, why = next(iter(found.failed.items()))
            raise Finding(
                f"{len(found.failed)} of {plan.trials} trials failed; expected none; trial {int(key)}: {why}; the same "
                "command tries them again",
                result=told,
            )
        raise Finding(
            f"no trial of {plan.trials} was completed; expected one at least; look at {out / 'summary.md'}", result=told
        )
    return told
