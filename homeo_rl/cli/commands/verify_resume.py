"""The command ``homeo-rl verify-resume``."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from homeo_rl.cli.command import TRAIN, Command
from homeo_rl.cli.common import open_run
from homeo_rl.cli.flags import Positional, Short, WithProgress
from homeo_rl.errors import Finding

COMMAND = Command(TRAIN, 5, "check that a resumed training is bit-identical")


@dataclass(frozen=True, kw_only=True)
class VerifyResume(WithProgress):
    """Repeat a training twice, once interrupted and once not, and compare all parameters bit for bit."""

    run: Positional[Path]
    """Run folder of a training."""
    env_steps: Annotated[int, Short(("--steps",))] = 5000
    """Environment steps before the interruption, and after it."""


def run(args: VerifyResume, words: list[str]) -> dict[str, Any]:
    """Compare an interrupted training with an uninterrupted one."""
    run = open_run(args.run)

    from homeo_rl.cli.console import Bars
    from homeo_rl.training.resume.verify import verify_resume

    with Bars(enabled=args.progress).show() as bars:
        verdict = verify_resume(run, args.env_steps, note=bars.note)
    print(f"uninterrupted:    {verdict.whole}")
    print(f"interrupted once: {verdict.cut}")
    if not verdict.equal:
        raise Finding(
            f"{run.path}: expected equal parameters, they differ; is {run.spec.env} deterministic for the same "
            "generator and actions?"
        )
    print("bit-identical")
    return {"run": str(run.path), **asdict(verdict), "equal": verdict.equal}
