"""The command ``homeo-rl sweep``."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from homeo_rl.cli.command import TOOLS, Command
from homeo_rl.cli.common import command_line
from homeo_rl.cli.flags import Flag, Positional, WithProgress

COMMAND = Command(TOOLS, 1, "train and evaluate a grid of settings")


@dataclass(frozen=True, kw_only=True)
class Sweep(WithProgress):
    """Train and evaluate every combination of a grid with every seed, each once; the same command resumes."""

    grid: Positional[Path]
    """YAML file: train, grid, zip, seeds, evaluate, resources (docs/sweeps.md)."""
    out: Path
    """Folder of the sweep; several commands, also on several machines, may share it."""
    workers: int | None = None
    """Parallel cells; by default as many as cores (or the cluster), memory and GPUs allow."""
    ray: str = ""
    """Use a Ray cluster: local (of this machine, for this command), auto, or its address host:port."""
    dry_run: Flag = False
    """List the cells and their state, train nothing."""


def run(args: Sweep, words: list[str]) -> dict[str, Any]:
    """Train and evaluate a grid of settings.

    The JSON has ``completed_now``, and beside it ``ran``, its name of version 0.1, for one more version.

    Raises Finding: a cell failed.
    """
    from homeo_rl.sweeps.read_sweep import read_sweep

    read_sweep(args.grid)  # errors in the file are reported before torch is imported

    from homeo_rl.cli.console import print_table
    from homeo_rl.errors import Finding
    from homeo_rl.sweeps.live_table import LiveTable
    from homeo_rl.sweeps.store import Store
    from homeo_rl.sweeps.sweep import check_all, executor_of, plan_of, summarise
    from homeo_rl.sweeps.sweep import run as run_sweep

    plan, store = plan_of(args.grid), Store(args.out)
    if args.dry_run:
        check_all(plan, list(plan.cells), store)
        missing = {cell.key for cell in plan.missing(store)}
        lines = [[cell.title, cell.key, "missing" if cell.key in missing else "done"] for cell in plan.cells]
        print_table(f"{args.grid}: {len(lines)} cells, {len(missing)} missing", ["cell", "key", "result"], lines)
        listed = [{"cell": c.key, **c.choice, "seed": c.seed, "done": c.key not in missing} for c in plan.cells]
        return {"out": str(args.out), "cells": len(lines), "missing": len(missing), "list": listed}
    completed, failed = 0, {}
    if plan.missing(store):
        board = LiveTable({cell.key: cell for cell in plan.cells}, enabled=args.progress)
        with executor_of(plan, workers=args.workers, ray=args.ray, observer=board) as executor, board.display():
            outcome = run_sweep(plan, store, executor, board, command=command_line(words))
        rows, completed, failed = outcome.rows, outcome.ran, outcome.failed
    else:
        rows = summarise(plan, store)
    from homeo_rl.sweeps.table import table

    names = list(plan.combinations[0].choice)
    print_table(f"{plan.title}: return over {len(plan.sweep.seeds)} seeds", *table(names, rows))
    print(f"summary: {args.out / 'summary.md'}, {args.out / 'summary.csv'}; trainings: {args.out / 'cells.csv'}")
    result = {
        "out": str(args.out),
        "cells": len(plan.cells),
        "done": len(plan.cells) - len(failed),
        "completed_now": completed,
        "ran": completed,
        "failed": failed,
        "summary": str(args.out / "summary.csv"),
        "rows": [asdict(row) for row in rows],
    }
    if failed:
        raise Finding(
            f"{len(failed)} of {len(plan.cells)} cells failed; expected none; tracebacks are in "
            f"{args.out / 'failures'}; the same command tries them again",
            result=result,
        )
    return result
