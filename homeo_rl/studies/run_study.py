"""Carry out a study: evaluate every host by the plan of its group, and write all episodes into one table."""

import csv
import dataclasses
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from homeo_rl.agents.controller import Controller, load_controller
from homeo_rl.degradations.protocol import NetworkDegradation
from homeo_rl.degradations.suites import Suite, load_suite
from homeo_rl.errors import UsageError, unknown
from homeo_rl.evaluation.arm import Arm
from homeo_rl.evaluation.evaluate import digest_of, evaluate, find_finished
from homeo_rl.evaluation.plan import Plan
from homeo_rl.evaluation.progress import Progress
from homeo_rl.evaluation.routes import read_routes
from homeo_rl.homeostasis import split_observer
from homeo_rl.numerics.same_fields import make_plan
from homeo_rl.run import Run, copy_run, versions
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.storage import bundle
from homeo_rl.storage.locks import hold_lock
from homeo_rl.storage.pretrained import FOLDER, list_pretrained
from homeo_rl.studies.study import Group, Study, study_document
from homeo_rl.studies.tables import DOCUMENT, read_tables, unreadable, write_tables
from homeo_rl.workflows.hosts import FUNCTION, HostRequest, kind_of, make_host


@dataclass(frozen=True)
class Task:
    """One host of a group and its plan; ``entry`` is the index of the group in the file.

    ``run`` is None where an optional host is missing: its scores can only be earlier ones.
    """

    entry: int
    group: Group
    host: str
    run: Run | None
    plan: Plan


@dataclass(frozen=True)
class Part:
    """The scores of one arm of one host, as the tables have them."""

    host: str
    arm: str
    plan: str  # digest of everything that determines the scores, except for the policy
    policy: str  # digest of the policy
    env: str
    rows: tuple[tuple[str, ...], ...]
    courses: tuple[dict[str, Any], ...]  # time courses of damage in mid-episode, without the host

    def matches(self, task: Task, arm: str) -> bool:
        """Return whether evaluating an arm of the task again would give these scores."""
        if (self.host, self.arm) != (task.host, arm) or self.plan != digest_of(_alone(task.plan, arm)):
            return False
        return task.run is None or self.policy == task.run.policy_digest()


Parts = dict[tuple[int, str], Part]  # known scores, by index of the task and arm


def tasks_of(study: Study, base: Path, out: Path, *, scratch: Path | None = None) -> list[Task]:
    """Return every host with its plan, in the order of the file.

    Hosts are copied to ``out/hosts``, so that a study does not change the runs, and runs are made there of policies of
    other tools. With ``scratch`` nothing is written into ``out``: the originals stand for hosts that were not copied
    yet, and runs are made in that folder.

    Raises UsageError: a host is missing, two have the same name, or a group does not fit its hosts.
    """
    tasks, sources = [], dict[str, str]()
    for entry, group in enumerate(study.groups):
        suite = load_suite(group.suite if not (base / group.suite).is_file() else str(base / group.suite))
        routes = read_routes(base / group.routes) if group.routes else ()
        _check_conditions(study, group, suite)
        for host in group.hosts:
            name = Path(host).name
            source = host if kind_of(host) == FUNCTION else str(base / host)
            run = _open_host(host, group, base, out / "hosts" / name, scratch)
            arms = group.arms
            if run is not None:
                if (first := sources.setdefault(name, source)) != source:
                    raise UsageError(f"hosts: {first} and {source} are both called {name!r}; rename one")
                controller = load_controller(run)
                if not isinstance(controller.network, SpikingNetwork):
                    arms = tuple(arm for arm in arms if _needs_no_spikes(Arm.parse(arm), controller))
            episodes = group.episodes or study.episodes
            plan = make_plan(Plan, study, suite=suite, arms=arms, episodes=episodes, env=group.env, routes=routes)
            tasks.append(Task(entry, group, name, run, plan))
    return tasks


def _needs_no_spikes(arm: Arm, controller: Controller) -> bool:
    """Return whether an arm fits a policy without spikes.

    Raises:
        UsageError: it does not fit for another reason.
    """
    if split_observer(arm.plugin).network is not None:
        return False
    arm.require_fitting(controller)
    return True


def _open_host(host: str, group: Group, base: Path, target: Path, scratch: Path | None) -> Run | None:
    """Return the run of a host, at ``target`` unless nothing is to be written there; None where it is missing."""
    if kind_of(str(base / host)) is None and kind_of(host) is None:
        run = _find_host(host, group, base)
        if run is None:
            return None
        return copy_run(run, target) if scratch is None else Run.open(target if target.exists() else run.path)
    is_function = kind_of(host) == FUNCTION
    if group.optional and not is_function and not (base / host).exists():
        return None
    place = target if scratch is None or target.exists() else scratch / target.name
    request = HostRequest(env=group.env, env_kwargs=group.env_kwargs)
    try:
        return make_host(host if is_function else str(base / host), place, request)[0]
    except UsageError as error:
        advice = "" if group.env else "; give the group its env"
        if "; give --" in str(error) or "give these words" in str(error):
            advice = " to homeo-rl import, and name its run here"
        raise UsageError(f"host {host!r} of group {group.name!r}: {error}{advice}") from None


def _check_conditions(study: Study, group: Group, suite: Suite) -> None:
    labels = [condition.label for condition in suite.conditions if condition.severity > 0]
    users = [(f"subset {subset.name!r}", subset.group, subset.conditions) for subset in study.subsets]
    users += [(f"claim {claim.statement!r}", claim.group, claim.conditions) for claim in study.claims]
    for what, name, conditions in users:
        for condition in conditions:
            if name == group.name and condition not in labels:
                raise unknown(f"condition of {what}", condition, labels)


def _find_host(host: str, group: Group, base: Path) -> Run | None:
    if host in list_pretrained():
        return Run.open(FOLDER / host)
    if (base / host / "run.json").exists():
        return Run.open(base / host)
    if group.optional:
        return None
    raise UsageError(
        f"host {host!r} of group {group.name!r}: expected a run folder beside the file ({base / host}) or "
        f"one of {', '.join(list_pretrained())}; correct it, or set optional: true"
    )


def carry_out(
    study: Study, base: Path, out: Path, *, workers: int | None, progress: Progress, command: str = ""
) -> tuple[int, int]:
    """Evaluate what is missing and write the tables after every host; an interrupted study resumes cell by cell.

    Scores in the tables in ``out`` of the same policy, plan and versions are not evaluated again, so that a study can
    be extended from its published tables alone, by hosts, arms or groups.

    ``base``: folder that its paths are relative to. Returns how many hosts were evaluated now, and of how many. Raises
    UsageError: the study does not fit its hosts, the tables cannot be read, or another process carries it out.
    """
    with TemporaryDirectory() as scratch:
        tasks_of(study, base, out, scratch=Path(scratch))  # mistakes are reported before anything is written
    with _lock(out):
        tasks = tasks_of(study, base, out)
        header, parts = find_parts(out, tasks)
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
            columns, new = _parts_of(task, arms, folder)
            header = max(header, columns, key=len)  # later versions have more columns at the end
            parts |= _assign(new, tasks)
            _write(study, tasks, header, parts, out, command)
        if header:
            _write(study, tasks, header, parts, out, command)
    return done, sum(task.run is not None or not missing_arms(n, task, parts) for n, task in enumerate(tasks))


def missing_arms(number: int, task: Task, parts: Parts) -> tuple[str, ...]:
    """Return the arms of a task without scores."""
    return tuple(arm for arm in task.plan.arms if (number, arm) not in parts)


def find_parts(out: Path, tasks: list[Task]) -> tuple[list[str], Parts]:
    """Return the columns of the tables in ``out``, and their scores that belong to the tasks.

    Raises UsageError: there are tables, but they cannot be read.
    """
    if not (out / DOCUMENT).exists():
        return [], {}
    document, (header, *rows), courses = read_tables(out)
    try:
        parts = [_read_part(entry, document["envs"], header, rows, courses) for entry in document["parts"]]
    except (KeyError, TypeError, ValueError) as error:
        raise unreadable(out, error) from None
    return header[2:], _assign(parts, tasks)


def _assign(parts: Iterable[Part], tasks: list[Task]) -> Parts:
    return {
        (number, part.arm): part
        for part in parts
        for number, task in enumerate(tasks)
        if part.arm in task.plan.arms and part.matches(task, part.arm)
    }


def _read_part(
    part: dict[str, Any], envs: dict[str, str], header: list[str], rows: list[list[str]], courses: list[dict[str, Any]]
) -> Part:
    """Return what the tables hold of one arm of one host in one entry."""
    key = (part["entry"], part["host"], part["arm"])
    column = header.index("arm")
    return Part(
        part["host"],
        part["arm"],
        part["plan"],
        part["policy"],
        envs[part["host"]],
        tuple(tuple(row[2:]) for row in rows if (int(row[0]), row[1], row[column]) == key),
        tuple(
            {key: value for key, value in course.items() if key not in ("entry", "host")}
            for course in courses
            if (course["entry"], course["host"], course["arm"]) == key
        ),
    )


def _parts_of(task: Task, arms: tuple[str, ...], folder: Path) -> tuple[list[str], list[Part]]:
    """Return the columns and the scores of an evaluation, arm by arm."""
    assert task.run is not None
    with (folder / "scores.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    courses: list[dict[str, Any]] = []
    if (folder / "courses.json").exists():
        document = bundle.read_json(folder / "courses.json")
        episodes = document["episodes"]
        for course in document["courses"]:  # recovery is computed from these two, a tenth of it
            trace = [{key: entry[key] for key in ("episodes", "reward")} for entry in course["trace"]]
            courses.append({"episodes": episodes, **course, "trace": trace})
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


def _alone(plan: Plan, arm: str) -> Plan:
    return dataclasses.replace(plan, arms=(arm,))


def _write(study: Study, tasks: list[Task], header: list[str], parts: Parts, out: Path, command: str) -> None:
    present = [
        (task.entry, parts[number, arm])
        for number, task in enumerate(tasks)
        for arm in task.plan.arms
        if (number, arm) in parts
    ]
    rows = (
        [str(entry), part.host, *row, *[""] * (len(header) - len(row))] for entry, part in present for row in part.rows
    )
    courses = [{"entry": entry, "host": part.host, **course} for entry, part in present for course in part.courses]
    absent = [task for number, task in enumerate(tasks) if missing_arms(number, task, parts)]
    document: dict[str, Any] = {
        "study": study_document(study),
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
    damaged = {
        c.label: "network" if any(isinstance(d, NetworkDegradation) for d in c.degradations) else "surroundings"
        for c in suite.conditions
        if c.severity > 0
    }
    return {"name": suite.name, "version": suite.version, "hash": suite.hash, "conditions": damaged}


@contextmanager
def _lock(out: Path) -> Iterator[None]:
    out.mkdir(parents=True, exist_ok=True)
    with hold_lock(out / ".lock", wait=False) as is_first:
        if not is_first:
            raise UsageError(f"{out}: another process is at this study; wait for it, or choose another --out")
        yield
