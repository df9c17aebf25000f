"""Carry a study out: evaluate every host as its group says, and put all episodes into one table."""

from __future__ import annotations

import csv
import dataclasses
import fcntl
import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homeo_rl import checkpoint
from homeo_rl.agents.controller import load_controller
from homeo_rl.agents.shipped import FOLDER, copy_run, pretrained_names
from homeo_rl.degradations.protocol import NetworkDegradation
from homeo_rl.degradations.suites import Suite, load_suite
from homeo_rl.errors import UsageError
from homeo_rl.evaluation.evaluate import Progress, evaluate, finished
from homeo_rl.evaluation.plan import Plan
from homeo_rl.evaluation.routes import read_routes
from homeo_rl.run import Run, versions
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.studies.study import Group, Study

TABLE, DOCUMENT, COURSES = "scores.csv.gz", "study.json", "courses.json"


@dataclass(frozen=True)
class Task:
    """One host of a group, and how it is evaluated; ``entry`` is the group's place in the file."""

    entry: int
    group: Group
    host: str
    run: Run
    plan: Plan


def tasks_of(study: Study, base: Path, out: Path, *, copy: bool = True) -> tuple[list[Task], list[str]]:
    """Return every host with its plan, in the order of the file, and the optional ones that are not there.

    Hosts are copied to ``out/hosts``, so that a study leaves the runs alone; without ``copy`` nothing is written, and
    those that are not there yet are the originals.

    Raises:
        UsageError: a host is missing, two are called the same, or a group does not fit its hosts.
    """
    tasks, missing, sources = [], [], dict[str, Path]()
    for entry, group in enumerate(study.groups):
        suite = load_suite(group.suite if not (base / group.suite).is_file() else str(base / group.suite))
        routes = read_routes(base / group.routes) if group.routes else ()
        for host in group.hosts:
            name = Path(host).name
            target = out / "hosts" / name
            if host in pretrained_names():
                source = Run.open(FOLDER / host)
            elif (base / host / "run.json").exists():
                source = Run.open(base / host)
            elif group.optional:
                missing.append(host)
                continue
            else:
                raise UsageError(
                    f"host {host!r} of group {group.name!r}: expected a run folder beside the file ({base / host}) or "
                    f"one of {', '.join(pretrained_names())}; correct it, or set optional: true"
                )
            if sources.setdefault(name, source.path) != source.path:
                raise UsageError(f"hosts: {sources[name]} and {source.path} are both called {name!r}; rename one")
            run = _copied(source, target) if copy else Run.open(target if target.exists() else source.path)
            spiking = isinstance(load_controller(run).network, SpikingNetwork)
            plan = Plan(
                suite=suite,
                arms=group.arms if spiking else ("none",),
                episodes=group.episodes or study.episodes,
                seed=study.seed,
                calibration_episodes=study.calibration_episodes,
                env=group.env,
                routes=routes,
            )
            tasks.append(Task(entry, group, name, run, plan))
    return tasks, missing


def carry_out(
    study: Study, base: Path, out: Path, *, workers: int | None, progress: Progress, command: str = ""
) -> tuple[int, int]:
    """Evaluate what is missing and write the tables; a study that was cut goes on cell by cell.

    Args:
        study: what to do.
        base: folder that its paths are relative to.
        out: folder of the results.
        workers: processes; None is one a core.
        progress: where to report.
        command: what was asked for, to be kept beside the scores.

    Returns:
        how many hosts were evaluated now, and of how many.

    Raises:
        UsageError: the study does not fit its hosts, or another process is at it.
    """
    tasks_of(study, base, out, copy=False)  # a mistake is told before anything is written
    with _held(out):
        tasks, missing = tasks_of(study, base, out)
        for host in missing:
            progress.note(f"left out, not there: {host}")
        done = 0
        for number, task in enumerate(tasks, start=1):
            if finished(task.run, task.plan) is None:
                progress.note(f"{number} of {len(tasks)}: {task.group.name}, {task.host}")
                evaluate(task.run, task.plan, workers=workers, progress=progress, command=command)
                done += 1
        _write(study, tasks, missing, out, command)
    return done, len(tasks)


def _write(study: Study, tasks: list[Task], missing: list[str], out: Path, command: str) -> None:
    """Join the scores of all hosts; those of equal content are the same bytes."""
    text, header, courses = io.StringIO(), list[str](), []
    writer = csv.writer(text, lineterminator="\n")
    for number, task in enumerate(tasks):
        folder = finished(task.run, task.plan)
        assert folder is not None
        with (folder / "scores.csv").open(newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            columns = next(rows)
            if not number:
                header = columns
                writer.writerow(["entry", "host", *header[1:]])
            writer.writerows([str(task.entry), task.host, *row[1:]] for row in rows)
        if (folder / COURSES).exists():
            found = checkpoint.read_json(folder / COURSES)
            told = {"entry": task.entry, "host": task.host, "episodes": found["episodes"]}
            courses += [{**told, **course} for course in found["courses"]]
    with io.BytesIO() as packed:
        with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as file:
            file.write(text.getvalue().encode())
        checkpoint.replace(out / TABLE, packed.getvalue())
    checkpoint.write_json(out / COURSES, {"courses": courses})
    suites = {task.group.suite: _kinds(task.plan.suite) for task in tasks}
    document: dict[str, Any] = {
        "study": dataclasses.asdict(study),
        "command": command,
        "missing": missing,
        "hosts": {task.host: task.run.policy_digest() for task in tasks},
        "envs": {task.host: task.group.env or task.run.spec.env for task in tasks},
        "suites": suites,
        "versions": versions(),
    }
    checkpoint.write_json(out / DOCUMENT, document)


def _kinds(suite: Suite) -> dict[str, Any]:
    """Return what each condition damages: the network, or its surroundings."""
    damaged = {
        c.label: "network" if any(isinstance(d, NetworkDegradation) for d in c.degradations) else "surroundings"
        for c in suite.conditions
        if c.severity > 0
    }
    return {"name": suite.name, "version": suite.version, "hash": suite.hash, "conditions": damaged}


def _copied(source: Run, target: Path) -> Run:
    if not (target / "run.json").exists():
        copy_run(source, target)
    run = Run.open(target)
    if run.policy_digest() != source.policy_digest():
        raise UsageError(f"{target}: is a copy of another policy than {source.path} has now; choose another --out")
    return run


@contextmanager
def _held(out: Path) -> Iterator[None]:
    """Keep other processes from carrying out the same study."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"{out}: another process is at this study; wait for it, or choose another --out") from None
        yield
