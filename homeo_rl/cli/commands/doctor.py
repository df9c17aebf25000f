"""``homeo-rl doctor``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from homeo_rl.cli.command import TOOLS, Command
from homeo_rl.cli.flags import Common, Short, Words

COMMAND = Command(TOOLS, 4, "check this machine and time a training")


@dataclass(frozen=True, kw_only=True)
class Doctor(Common):
    """Look at packages, machine and rendering, measure a training, and say what will not work and what to do."""

    env: str = "InvertedPendulum-v5"
    """Environment of the training that is measured."""
    algo: str = "ppo"
    """Its algorithm."""
    agent: str = "popsan"
    """Its agent."""
    n_timesteps: Annotated[int | None, Short(("-n",))] = None
    """Its environment steps; by default as in train."""
    hyperparams: Annotated[Words, Short(("-params",))] = ()
    """Its hyper-parameters, name:value."""
    env_kwargs: Words = ()
    """Arguments of the environment, name:value."""
    gym_packages: Words = ()
    """Packages that register environments."""
    run: Path | None = None
    """A run whose training is measured instead; of an interrupted one, what is left."""
    log_folder: Annotated[Path, Short(("-f",))] = Path("runs")
    """Where runs go."""
    seconds: float = 5.0
    """How long the training is measured; 0 measures nothing."""


def run(args: Doctor, words: list[str]) -> dict[str, Any]:
    """Look at everything, and say what to do."""
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
        plan = TrainingPlan(
            algo=args.algo,
            env=args.env,
            agent=args.agent,
            steps=args.n_timesteps,
            env_kwargs=parse_params(args.env_kwargs, "--env-kwargs"),
            hyperparams=parse_params(args.hyperparams),
            modules=args.gym_packages,
            log_folder=args.log_folder,
        )
    found = Examination()
    for check in examine(plan, found, seconds=args.seconds, done=done):
        for line in check.lines:
            print(line, flush=True)
    if found.time is not None:
        print(f"time: {found.time.text}, evaluations included, checkpoints not")
    wrong = [check for check in found.checks if check.state == "fails"]
    told = {
        "ok": not wrong,
        "checks": [asdict(check) for check in found.checks],
        "rates": {name: list(rate) for name, rate in found.rates.items()},
        "seconds": None if found.time is None else asdict(found.time),
    }
    if wrong:
        names = ", ".join(check.name for check in wrong)
        raise Finding(
            f"{len(wrong)} of {len(found.checks)} checks failed ({names}); expected none; do what stands there",
            result=told,
        )
    return told
