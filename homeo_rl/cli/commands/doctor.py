"""The command ``homeo-rl doctor``."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from homeo_rl.cli.command import TOOLS, Command
from homeo_rl.cli.common import make_plan
from homeo_rl.cli.flags import Common, Hyperparams, Short, Timesteps, Words

COMMAND = Command(TOOLS, 4, "check this machine and time a training")


@dataclass(frozen=True, kw_only=True)
class Doctor(Common):
    """Check packages, machine and rendering, time a training, and report what will not work and how to fix it."""

    env: str = "InvertedPendulum-v5"
    """Environment of the training that is timed."""
    algo: str = "ppo"
    """Its algorithm."""
    agent: str = "popsan"
    """Its agent."""
    n_timesteps: Timesteps = None
    """Its environment steps; by default as in train."""
    hyperparams: Hyperparams = ()
    """Its hyper-parameters, name:value."""
    env_kwargs: Words = ()
    """Arguments of the environment, name:value."""
    gym_packages: Words = ()
    """Packages that register environments."""
    run: Path | None = None
    """Run whose training is timed instead; of an interrupted one, the remaining part."""
    log_folder: Annotated[Path, Short(("-f",))] = Path("runs")
    """Folder of the runs."""
    seconds: float = 5.0
    """Duration of the measurement; 0 measures nothing."""


def run(args: Doctor, words: list[str]) -> dict[str, Any]:
    """Check everything, and print how to fix what will not work.

    The JSON of a check has ``severity`` (ok, warning, error) and ``fix``, and beside them the names of version 0.1,
    ``state`` (ok, note, fails) and ``do``, for one more version.
    """
    from homeo_rl.errors import Finding, UsageError
    from homeo_rl.health.examine import Examination, examine
    from homeo_rl.training.params import parse_params
    from homeo_rl.training.plan import TrainingPlan

    if not 0 <= args.seconds <= 600:
        raise UsageError(f"--seconds: expected 0 to 600, got {args.seconds:g}")
    done = 0
    if args.run is not None:
        from homeo_rl.health.dry_run import plan_of

        plan, done = plan_of(args.run)
    else:
        plan = make_plan(
            TrainingPlan,
            args,
            steps=args.n_timesteps,
            env_kwargs=parse_params(args.env_kwargs, "--env-kwargs"),
            hyperparams=parse_params(args.hyperparams),
            modules=args.gym_packages,
        )
    examination = Examination()
    for check in examine(plan, examination, seconds=args.seconds, done=done):
        for line in check.lines:
            print(line, flush=True)
    time = examination.time
    if time is not None:
        print(f"time: {time.text}, including evaluations, without checkpoints")
    failed = [check.name for check in examination.checks if check.severity == "error"]
    result = {
        "ok": not failed,
        "checks": [{**asdict(check), "severity": check.severity, "fix": check.do} for check in examination.checks],
        "rates": {name: list(rate) for name, rate in examination.rates.items()},
        "seconds": None if time is None else asdict(time),
    }
    if failed:
        raise Finding(
            f"{len(failed)} of {len(examination.checks)} checks failed ({', '.join(failed)}); expected none; follow "
            "the instructions above",
            result=result,
        )
    return result
