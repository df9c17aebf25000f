"""What several commands share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from homeo_rl.errors import UsageError


def open_run(path: Path, modules: tuple[str, ...] = (), *, out: Path | None = None, which: str = "policy") -> Any:
    """Open a run folder, or a copy of an agent that comes with the package.

    With ``out`` it is a copy of the run's policies there, ``which`` among them: nothing is written into the run. Its
    modules and ``modules`` are loaded: they may register environments, degradations and plug-ins.
    """
    from homeo_rl.agents.shipped import FOLDER, copied, pretrained_names
    from homeo_rl.envs.making import load_modules
    from homeo_rl.run import Run

    shipped = not (path / "run.json").exists() and str(path) in pretrained_names()
    run = Run.open(FOLDER / path if shipped else path)
    if out is not None or shipped:
        run.load_policy(which=which)  # there is one
        run = copied(run, Path("runs") / path if out is None else out, which=which if out is not None else "policy")
    run = Run(run.path, replace(run.spec, modules=tuple(dict.fromkeys((*run.spec.modules, *modules)))))
    load_modules(run.spec.modules)
    return run


def next_flags(env: str, suite: str) -> str:
    """Return flags that suit an environment."""
    if env.startswith("homeo_rl/Navigation"):
        return "--suite navigation-paper --homeostasis none,dwam"
    return f"--suite {suite} --homeostasis none,dwam"


def print_report(report: Any, title: str) -> None:
    """Print the tables of an evaluation."""
    from homeo_rl.console import print_table
    from homeo_rl.report.tables import cell_rows, difference_rows, drive_rows, reflex_rows

    print_table(f"{title}; return: IQM [95 % interval], r retention, s success", *cell_rows(report.cells))
    header, drives = drive_rows(report.cells)
    if drives:
        print_table("how the drives ended", header, drives)
    header, reflexes = reflex_rows(report.cells)
    if reflexes:
        print_table("what the reflex did", header, reflexes)
    if report.differences:
        print_table("against none, paired by episode, all damaged conditions", *difference_rows(report.differences))


def whole_numbers(text: str, flag: str) -> tuple[int, ...]:
    """Return the numbers of a flag such as ``1,2,4``.

    Raises:
        UsageError: it is something else.
    """
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise UsageError(f"{flag}: expected whole numbers separated by commas, got {text!r}") from None
