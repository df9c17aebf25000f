"""``homeo-rl report``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from homeo_rl.commands.common import print_report
from homeo_rl.errors import UsageError
from homeo_rl.flags import Report


def run(args: Report, words: list[str]) -> dict[str, Any]:
    """Join evaluations into a page."""
    from homeo_rl.report import build, latest_evaluation
    from homeo_rl.run import Run

    if not args.runs:
        raise UsageError("report: expected at least one run folder, got none; give the runs to report")
    runs = [Run.open(path) for path in args.runs]
    folders = [latest_evaluation(run, args.suite) for run in runs]
    out = args.out or runs[0].path / "report"
    conditions = [part.strip() for part in args.conditions.split(",")] if args.conditions else None
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {out}: cannot be made ({error.strerror}); choose another folder") from None
    report = build(folders, out, conditions=conditions)
    print_report(report, ", ".join(run.name for run in runs))
    print(f"page: {report.page}")
    print(f"picture: {report.picture}")
    return {
        "page": str(report.page),
        "picture": str(report.picture),
        "paths": None if report.paths is None else str(report.paths),
        "cells": [asdict(cell) for cell in report.cells],
        "differences": [asdict(difference) for difference in report.differences],
    }
