"""``homeo-rl verify-resume``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from homeo_rl.cli.command import TRAIN, Command
from homeo_rl.cli.common import open_run
from homeo_rl.cli.flags import Common, Positional, Progress
from homeo_rl.errors import Finding

COMMAND = Command(TRAIN, 5, "check that resuming changes no bit")


@dataclass(frozen=True, kw_only=True)
class VerifyResume(Common):
    """Train a run anew twice, once cut in the middle and once not, and compare all parameters bit for bit."""

    run: Positional[Path]
    """Run folder of a training."""
    steps: int = 5000
    """Environment steps before the cut, and after it."""
    progress: Progress = True
    """Show progress."""


def run(args: VerifyResume, words: list[str]) -> dict[str, Any]:
    """Compare a training that was cut with one that was not."""
    run = open_run(args.run)

    from homeo_rl.cli.console import Bars
    from homeo_rl.training.resume.verify import verify_resume

    with Bars(enabled=args.progress).shown() as bars:
        verdict = verify_resume(run, args.steps, note=bars.note)
    print(f"never cut: {verdict.whole}")
    print(f"cut once:  {verdict.cut}")
    if not verdict.equal:
        raise Finding(
            f"{run.path}: expected equal parameters, they differ; does {run.spec.env} repeat itself from the same "
            "generator and actions?"
        )
    print("equal to the last bit")
    return {"run": str(run.path), **asdict(verdict), "equal": verdict.equal}
