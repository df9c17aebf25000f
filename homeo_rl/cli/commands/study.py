"""``homeo-rl study``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homeo_rl.cli.command import TOOLS, Command
from homeo_rl.cli.common import command_line
from homeo_rl.cli.flags import Common, Flag, Positional, Progress

COMMAND = Command(TOOLS, 2, "evaluate many policies, write a page")


@dataclass(frozen=True, kw_only=True)
class Study(Common):
    """Evaluate many policies under many kinds of damage, each cell once, and write a page; the command resumes."""

    study: Positional[str]
    """YAML file (docs/studies.md), the name of a study that comes with the package (robustness, senses, repairs,
    network-twins, million-steps, quick), or a folder of results (./quick, if it is called as a study is), of which
    only page and pictures are made anew."""
    out: Path
    """Folder of the results."""
    workers: int | None = None
    """Processes; by default one a core. Results do not depend on it."""
    dry_run: Flag = False
    """List hosts and what is done, evaluate nothing."""
    progress: Progress = True
    """Show progress."""


def run(args: Study, words: list[str]) -> dict[str, Any]:
    """Carry out a study, or write the page of a finished one."""
    from homeo_rl.cli.console import Bars, print_table
    from homeo_rl.evaluation.plan import check_sizes
    from homeo_rl.studies.study import read_study, study_names

    check_sizes(1, args.workers)
    done = total = 0
    source = Path(args.study)
    if args.study in study_names() or not (source / "study.json").exists():
        study, base = read_study(args.study)  # mistakes in the file are reported before anything heavy is imported

        from homeo_rl.studies.run_study import carry_out

        if args.dry_run:
            return _list_tasks(study, base, args.out)
        with Bars(enabled=args.progress).show() as bars:
            command = command_line(words)
            done, total = carry_out(study, base, args.out, workers=args.workers, progress=bars, command=command)
        source = args.out

    from homeo_rl.studies.page import returns_of, table_of, write_page
    from homeo_rl.studies.results import beside_retention, find_untrained, read_results

    results = read_results(source)
    args.out.mkdir(parents=True, exist_ok=True)
    page = write_page(results, args.out)
    for group, (header, rows) in ((group, table_of(results, group)) for group in results.groups):
        if rows:  # a group of clean cells has none
            print_table(group, header, rows)
    raw = beside_retention(results)
    for group, host in dict.fromkeys((cell.group, cell.host) for cell in raw.cells):
        print_table(f"{group}: returns of {host}, which has no retention", *returns_of(raw, group, host))
    untrained = find_untrained(results)
    for host, why in untrained.items():
        print(f"note: {host} is not trained: {why}")
    print(f"page: {page}")
    return {"out": str(args.out), "page": str(page), "evaluated": done, "hosts": total, "untrained": untrained}


def _list_tasks(study: Any, base: Path, out: Path) -> dict[str, Any]:
    from tempfile import TemporaryDirectory

    from homeo_rl.cli.console import print_table
    from homeo_rl.studies.run_study import find_parts, missing_arms, tasks_of

    with TemporaryDirectory() as scratch:
        tasks = tasks_of(study, base, out, scratch=Path(scratch))
        _, parts = find_parts(out, tasks)
    arms = [missing_arms(number, task, parts) for number, task in enumerate(tasks)]
    present = [(task, rest) for task, rest in zip(tasks, arms, strict=True) if task.run is not None or not rest]
    absent = [task.host for task, rest in zip(tasks, arms, strict=True) if task.run is None and rest]
    rows = [
        [t.group.name, t.host, t.plan.suite.name, str(t.plan.episodes), str(len(t.plan.arms)), _shorten(rest)]
        for t, rest in present
    ]
    header = ["group", "host", "suite", "episodes", "arms", "to be done"]
    print_table(f"{study.name}: {len(present)} hosts", header, rows)
    return {"hosts": len(present), "missing": sum(bool(rest) for _, rest in present), "left_out": absent}


def _shorten(arms: tuple[str, ...]) -> str:
    text = ", ".join(arms)
    return text if len(text) <= 70 else f"{len(arms)} arms"
