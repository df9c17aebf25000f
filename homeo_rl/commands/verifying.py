"""``homeo-rl verify-resume``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from homeo_rl.commands.common import open_run
from homeo_rl.errors import Finding
from homeo_rl.flags import VerifyResume


def run(args: VerifyResume, words: list[str]) -> dict[str, Any]:
    """Compare a training that was cut with one that was not."""
    run = open_run(args.run)

    from homeo_rl.console import Bars
    from homeo_rl.training.verify import verify_resume

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
