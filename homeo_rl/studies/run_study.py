"""Carry a study out: evaluate every host as its group says, and put all episodes into one table."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homeo_rl.agents.controller import load_controller
from homeo_rl.degradations.protocol import NetworkDegradation
from homeo_rl.degradations.suites import Suite, load_suite
from homeo_rl.errors import UsageError, unknown
from homeo_rl.evaluation.evaluate import Progress, digest_of, evaluate, find_finished
from homeo_rl.evaluation.plan import Plan
from homeo_rl.evaluation.routes import read_routes
from homeo_rl.run import Run, copy_run, versions
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.storage import bundle
from homeo_rl.storage.locks import hold_lock
from homeo_rl.storage.pretrained import FOLDER, list_pretrained
from homeo_rl.studies.study import Group, Study
from homeo_rl.studies.tables import DOCUMENT, read_tables, unreadable, write_tables


@dataclass(frozen=True)
class Task:
    """One host of a group, and how it is evaluated; ``entry`` is the group's place in the file.

    ``run`` is None where an optional host is not there: its scores can only be earlier ones.
    """

    entry: int
    group: Group
    host: str
    run: Run | None
    plan: Plan


@dataclass(frozen=True)
class Part:
    """The scores of one arm of one host, as they lie in the tables.

    Attributes:
        host: name of the host.
        arm: name of the arm.
        plan: digest of everything but the policy that decides the scores.
        policy: digest of the policy.
        env: the host's environment.
        rows: of scores.csv, without the name of the run.
        courses: of damage in mid-episode, without the host.
    """

    host: str
    arm: str
    plan: str
    policy: str
    env: str
    rows: tuple[tuple[str, ...], ...]
    courses: tuple[dict[str, Any], ...]

    def answers(self, task: Task, arm: str) -> bool:
        """Tell whether evaluating an arm of the task again would give these scores."""
        if (self.host, self.arm) != (task.host, arm) or self.plan != digest_of(_alone(task.plan, arm)):
            return False
        return task.run is None or self.policy == task.run.policy_digest()


Parts = dict[tuple[int, str], Part]
"""What is known, by the task's place and the arm."""


def tasks_of(study: Study, base: Path, out: Path, *, copy: bool = True) -> list[Task]:
    """Return every host with its plan, in the order of the file.

    Hosts are copied to ``out/hosts``, so that a study leaves the runs alone; without ``copy`` nothing is written, and
    those that are not there yet are the originals.

    Raises:
        UsageError: a host is missing, two are called the same, or a group does not fit its hosts.
    """
    tasks, sources = [], dict[str, Path]()
    for entry, group in enumerate(study.groups):
        suite = load_suite(group.suite if not (base / group.suite).is_file() else str(base / group.suite))
        routes = read_routes(base / group.routes) if group.routes else ()
        labels = [condition.label for condition in suite.conditions if condition.severity > 0]
        named = [(f"subset {subset.name!r}", subset.group, subset.conditions) for subset in study.subsets]
        named += [(f"claim {claim.say!r}", claim.group, claim.conditions) for claim in study.claims]
        for what, where, conditions in named:
            wrong = [c for c in conditions if c not in labels] if where == group.name else []
            if wrong:
                raise unknown(f"condition of {what}", wrong[0], labels)
        for host in group.hosts:
            name = Path(host).name
            target = out / "hosts" / name
            run, arms = None, group.arms
            if host in list_pretrained():
                source = Run.open(FOLDER / host)
            elif (base / host / "run.json").exists():
                source = Run.open(base / host)
            elif group.optional:
                source = None
            else:
                raise UsageError(
                    f"host {host!r} of group {group.name!r}: expected a run folder beside the file ({base / host}) or "
                    f"one of {', '.join(list_pretrained())}; correct it, or set optional: true"
                )
            if source is not None:
                if sources.setdefault(name, source.path) != source.path:
                    raise UsageError(f"hosts: {sources[name]} and {source.path} are both called {name!r}; rename one")
                run = copy_run(source, target) if copy else Run.open(target if target.exists() else source.path)
                if not isinstance(load_controller(run).network, SpikingNetwork):
                    arms = ("none",)
            plan = Plan(
                suite=suite,
                arms=arms,
                episodes=group.episodes or study.episodes,
                seed=study.seed,
                calibration_episodes=study.calibration_episodes,
                env=group.env,
                routes=routes,
            )
            tasks.append(Task(entry, group, name, run, plan))
    return tasks


def carry_out(
    study: Study, base: Path, out: Path, *, workers: int | None, progress: Progress, command: str = ""
) -> tuple[int, int]:
    """Evaluate what is missing and write the tables after every host; a study that was cut goes on cell by cell.

    What the tables in ``out`` say already, of the same policy, plan and versions, is not evaluated again, so that a
    study grows: from published tables alone, by hosts, arms or groups that its file did not have before.

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
        UsageError: the study does not fit its hosts, the tables cannot be read, or another process is at it.
    """
    tasks_of(study, base, out, copy=False)  # a mistake is told before anything is written
    with _held(out):
        tasks = tasks_of(study, base, out)
        header, parts = known_parts(out, tasks)
        absent = [task for number, task in enumerate(tasks) if task.run is None and missing_arms(number, task, parts)]
        if absent:
            progress.note(f"left out, not there: {', '.join(_names(absent))}")
        done = 0
        for number, task in enumerate(tasks):
            arms = missing_arms(number, task, parts)
            if task.run is None or not arms:
                continue
            progress.note(f"{number + 1} of {len(tasks)}: {task.group.name}, {task.host}")
            plan = dataclasses.replace(task.plan, arms=arms)
            folder = find_finished(task.run, plan)
            if folder is None:
                folder = evaluate(task.run, plan, workers=workers, progress=progress, command=command).folder
                done += 1
            header, found = _parts_of(task, arms, folder)
            for place, other in enumerate(tasks):  # another entry may ask for the same
                parts |= {(place, p.arm): p for p in found if p.arm in other.plan.arms and p.answers(other, p.arm)}
            _write(study, tasks, header, parts, out, command)
        if header:
            _write(study, tasks, header, parts, out, command)
    return done, sum(task.run is not None or not missing_arms(n, task, parts) for n, task in enumerate(tasks))


def missing_arms(number: int, task: Task, parts: Parts) -> tuple[str, ...]:
    """Return the arms of a task that nothing is known of."""
    return tuple(arm for arm in task.plan.arms if (number, arm) not in parts)


def known_parts(out: Path, tasks: list[Task]) -> tuple[list[str], Parts]:
    """Return the columns of the tables in ``out``, and what they say of the tasks.

    Raises:
        UsageError: there are tables, but they cannot be read.
    """
    if not (out / DOCUMENT).exists():
        return [], {}
    document, (header, *rows), courses = read_tables(out)
    try:
        known = [_known(told, document["envs"], header, rows, courses) for told in document["parts"]]
    except (KeyError, TypeError, ValueError) as error:
        raise unreadable(out, error) from None
    return header[2:], {
        (number, part.arm): part
        for part in known
        for number, task in enumerate(tasks)
        if part.arm in task.plan.arms and part.answers(task, part.arm)
    }


def _known(
    told: dict[str, Any], envs: dict[str, str], header: list[str], rows: list[list[str]], courses: list[dict[str, Any]]
) -> Part:
    """Return what the tables hold of one arm of one host in one entry."""
    place = (told["entry"], told["host"], told["arm"])
    column = header.index("arm")
    return Part(
        told["host"],
        told["arm"],
        told["plan"],
        told["policy"],
        envs[told["host"]],
        tuple(tuple(row[2:]) for row in rows if (int(row[0]), row[1], row[column]) == place),
        tuple(
            {key: value for key, value in course.items() if key not in ("entry", "host")}
            for course in courses
            if (course["entry"], course["host"], course["arm"]) == place
        ),
    )


def _parts_of(task: Task, arms: tuple[str, ...], folder: Path) -> tuple[list[str], list[Part]]:
    """Return the columns and the scores of an evaluation, arm by arm."""
    assert task.run is not None
    with (folder / "scores.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    courses: list[dict[str, Any]] = []
    if (folder / "courses.json").exists():
        found = bundle.read_json(folder / "courses.json")
        courses = [{"episodes": found["episodes"], **course, "trace": _slim(course)} for course in found["courses"]]
    env, policy, column = task.group.env or task.run.spec.env, task.run.policy_digest(), header.index("arm")
    return header[1:], [
        Part(
            task.host,
            arm,
            digest_of(_alone(task.plan, arm)),
            policy,
            env,
            tuple(tuple(row[1:]) for row in rows if row[column] == arm),
            tuple(course for course in courses if course["arm"] == arm),
        )
        for arm in arms
    ]


def _slim(course: dict[str, Any]) -> list[dict[str, Any]]:
    """Return of a course what recovery is told from; rates and thresholds layer by layer are ten times as much."""
    return [{key: entry[key] for key in ("episodes", "reward")} for entry in course["trace"]]


def _alone(plan: Plan, arm: str) -> Plan:
    """Return the plan with one arm: what others are evaluated beside it does not change its scores."""
    return dataclasses.replace(plan, arms=(arm,))


def _write(study: Study, tasks: list[Task], header: list[str], parts: Parts, out: Path, command: str) -> None:
    """Join the scores of all hosts; those of equal content are the same bytes."""
    present = [
        (task.entry, parts[number, arm])
        for number, task in enumerate(tasks)
        for arm in task.plan.arms
        if (number, arm) in parts
    ]
    rows = ([str(entry), part.host, *row] for entry, part in present for row in part.rows)
    courses = [{"entry": entry, "host": part.host, **course} for entry, part in present for course in part.courses]
    absent = [task for number, task in enumerate(tasks) if missing_arms(number, task, parts)]
    document: dict[str, Any] = {
        "study": dataclasses.asdict(study),
        "command": command,
        "missing": _names(task for task in absent if task.run is None),
        "unfinished": _names(task for task in absent if task.run is not None),
        "parts": [
            {"entry": entry, "host": part.host, "arm": part.arm, "plan": part.plan, "policy": part.policy}
            for entry, part in present
        ],
        "envs": {part.host: part.env for _, part in present},
        "suites": {task.group.suite: _kinds(task.plan.suite) for task in tasks},
        "versions": versions(),
    }
    write_tables(out, document, [["entry", "host", *header], *rows], courses)


def _names(tasks: Iterable[Task]) -> list[str]:
    return list(dict.fromkeys(task.host for task in tasks))


def _kinds(suite: Suite) -> dict[str, Any]:
    """Return what each condition damages: the network, or its surroundings."""
    damaged = {
        c.label: "network" if any(isinstance(d, NetworkDegradation) for d in c.degradations) else "surroundings"
        for c in suite.conditions
        if c.severity > 0
    }
    return {"name": suite.name, "version": suite.version, "hash": suite.hash, "conditions": damaged}


@contextmanager
def _held(out: Path) -> Iterator[None]:
    """Keep other processes from carrying out the same study."""
    out.mkdir(parents=True, exist_ok=True)
    with hold_lock(out / ".lock", wait=False) as mine:
        if not mine:
            raise UsageError(f"{out}: another process is at this study; wait for it, or choose another --out")
        yield
