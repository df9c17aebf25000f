"""What several commands share."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

from homeo_rl.errors import UsageError
from homeo_rl.storage.files import printable


def open_run(path: Path, modules: tuple[str, ...] = (), *, out: Path | None = None, which: str = "policy") -> Any:
    """Open a run folder, or a copy of an agent that comes with the package.

    With ``out`` it is a copy of the run's policies there, ``which`` among them: nothing is written into the run. Its
    modules and ``modules`` are loaded: they may register environments, degradations and plug-ins.
    """
    from homeo_rl.envs.make import load_modules
    from homeo_rl.run import Run, copy_run
    from homeo_rl.storage.pretrained import FOLDER, list_pretrained

    shipped = not (path / "run.json").exists() and str(path) in list_pretrained()
    run = Run.open(FOLDER / path if shipped and out is not None else path)
    if out is not None:
        run.load_policy(which=which)  # there is one
        run = copy_run(run, out, which=which)
    run = Run(run.path, replace(run.spec, modules=tuple(dict.fromkeys((*run.spec.modules, *modules)))))
    load_modules(run.spec.modules)
    return run


def next_flags(env: str, suite: str) -> list[str]:
    """Return flags of an evaluation that suit an environment."""
    suite = "navigation-paper" if env.startswith("homeo_rl/Navigation") else suite
    return ["--suite", suite, "--homeostasis", "none,dwam"]


def print_next(*words: object) -> None:
    """Print the command that people want next, so that a shell understands it."""
    from homeo_rl.cli.console import print_hint

    print_hint(f"next: {shlex.join(['homeo-rl', *map(str, words)])}")


def print_report(report: Any, title: str) -> None:
    """Print the tables of an evaluation."""
    from homeo_rl.cli.console import print_table
    from homeo_rl.report.tables import cell_rows, difference_rows, drive_rows, legend_of, reflex_rows

    print_table(f"{title}; return: IQM [95 % interval]", *cell_rows(report.cells))
    print(f"{legend_of(report.cells)}.")
    for note in report.notes:
        print(f"note: {printable(note, 600)}")
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
