"""The sources of a page: title, facts, commands, versions, seeds, hashes."""

import shlex
from typing import Any

from homeo_rl.report.evaluations import by_package
from homeo_rl.report.page import phrasing
from homeo_rl.report.page.blocks import Section, Table
from homeo_rl.report.page.context import PageContext
from homeo_rl.report.page.report_data import Comparison, Group, ReportData
from homeo_rl.report.page.sections.curves import read_training

_DIGITS = 12  # of a digest


def title(data: ReportData) -> str:
    """Return the page's title."""
    envs = list(dict.fromkeys(member.run.spec.env for member in data.members if member.run.spec.env))
    where = f" on {', '.join(envs) if len(envs) <= 2 else f'{len(envs)} environments'}" if envs else ""
    agents = list(dict.fromkeys(m.run.spec.agent or m.run.spec.source or m.run.spec.origin for m in data.members))
    return (", ".join(agents) if len(agents) <= 4 else f"{len(agents)} agents") + where


def facts(context: PageContext) -> list[tuple[str, list[str]]]:
    """Return what stands under the title: names and lines of text; dates are those of the data, not of the page."""
    data = context.data
    names = [member.name for member in data.members]
    trainings = [training for m in data.members if (training := read_training(m.run.path)) is not None]
    evaluated = context.traces.latest(data.comparisons)
    entries = [
        ("Runs", [f"{len(names)}: " + ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")]),
        ("Agents", [_agent(group) for group in data.groups]),
        ("Suites", list(dict.fromkeys(_suite(comparison) for comparison in data.comparisons))),
    ]
    if trainings:
        ends = (min(training.began for training in trainings), max(training.ended for training in trainings))
        entries.append(("Trained", [" to ".join(dict.fromkeys(map(phrasing.day, ends))) + " (UTC)"]))
    if evaluated:
        entries.append(("Evaluated", [f"{phrasing.day(evaluated)} (UTC)"]))
    if not trainings and not evaluated:
        entries.append(("Date", ["not recorded in these runs"]))
    return [(name, lines) for name, lines in entries if lines]


def provenance(context: PageContext) -> Section:
    """Return the section on sources."""
    data = context.data
    commands = [
        _evaluation_command(comparison, member.name, document)
        for comparison in data.comparisons
        for member, document in zip(comparison.members, comparison.documents, strict=True)
    ]
    content = {
        "runs": _runs(data),
        "evaluations": _evaluations(data),
        "versions": _versions(data),
        "commands": list(dict.fromkeys(m.run.spec.command for m in data.members if m.run.spec.command)),
        "rebuilt": list(dict.fromkeys(command for command, rebuilt in commands if rebuilt)),
        "typed": list(dict.fromkeys(command for command, rebuilt in commands if not rebuilt)),
        "notes": [*data.notes, *context.notes],
    }
    how = "What is needed to reproduce these figures. Digests are SHA-256, the first twelve digits."
    return Section("provenance", "Provenance", how, "provenance.html.j2", content)


def _agent(group: Group) -> str:
    spec = group.members[0].run.spec
    parts = [spec.agent or spec.source or spec.origin]
    if spec.algo:
        parts.append(spec.algo)
    if spec.controller is not None:
        network = spec.controller.network
        parts.append("-".join(str(width) for width in network.widths))
        if network.is_spiking:
            parts.append(f"{network.steps} spike steps")
    if spec.steps:
        parts.append(f"{spec.steps:,} steps")
    seeds = sorted({member.run.spec.seed for member in group.members})
    if spec.algo:
        parts.append(f"seed{'s' if len(seeds) > 1 else ''} {', '.join(str(seed) for seed in seeds)}")
    digests = list(dict.fromkeys(m.run.spec.digest[:_DIGITS] for m in group.members if m.run.spec.digest))
    if digests:
        parts.append("parameters " + ", ".join(digests[:3]) + (", ..." if len(digests) > 3 else ""))
    return " \u00b7 ".join(parts)


def _suite(comparison: Comparison) -> str:
    document = comparison.documents[0]
    return f"{comparison.suite}, {document.get('episodes', '?')} episodes per cell, seed {document.get('seed', '?')}"


def _runs(data: ReportData) -> Table:
    rows = []
    for member in data.members:
        spec = member.run.spec
        steps = f"{spec.steps:,}" + (f" of {spec.planned:,}" if spec.planned > spec.steps else "")
        rows.append(
            [member.name, spec.env, spec.agent, spec.algo, spec.origin, str(spec.seed), steps, spec.digest[:_DIGITS]]
        )
    header = ["run", "environment", "agent", "algorithm", "origin", "seed", "steps", "parameters"]
    return Table("Runs", header, rows, 5)


def _evaluations(data: ReportData) -> Table:
    keys = ("suite", "suite_version", "suite_hash", "episodes", "seed", "policy")
    rows = [
        [
            member.name,
            folder.name,
            *(str(document.get(key, "?")) for key in keys),
            str(document.get("policy_digest", "?"))[:_DIGITS],
        ]
        for comparison in data.comparisons
        for member, folder, document in zip(comparison.members, comparison.folders, comparison.documents, strict=True)
    ]
    header = ["run", "evaluation", "suite", "version", "hash", "episodes", "seed", "policy", "policy digest"]
    return Table("Evaluations", header, rows, 3)


def _versions(data: ReportData) -> Table:
    sources = [member.run.spec.versions for member in data.members]
    documents = [document for comparison in data.comparisons for document in comparison.documents]
    sources += [versions for document in documents if isinstance(versions := document.get("versions"), dict)]
    rows = [[name, ", ".join(versions)] for name, versions in by_package(sources).items()]
    return Table("Versions", ["package", "version"], rows, 1)


def _evaluation_command(comparison: Comparison, name: str, document: dict[str, Any]) -> tuple[str, bool]:
    """Return the command of an evaluation, and whether it had to be rebuilt from its document."""
    command = document.get("command")
    if isinstance(command, str) and command:
        return command, False
    arms, modules = document.get("arms"), document.get("modules")
    parts = ["homeo-rl", "evaluate", name, "--suite", str(document.get("suite", "?"))]
    parts += ["--homeostasis", ",".join(map(str, arms if isinstance(arms, list) else comparison.arms))]
    parts += ["--episodes", str(document.get("episodes", "?")), "--seed", str(document.get("seed", "?"))]
    parts += ["--env", str(document["env"])] if document.get("env") else []
    parts += ["--gym-packages", *map(str, modules)] if isinstance(modules, list) and modules else []
    parts += ["--spike-steps", str(document["time_steps"])] if document.get("time_steps") else []
    parts += ["--best"] if document.get("policy") == "best" else []
    parts += ["--routes", "ROUTES.json"] if document.get("routes") else []
    return shlex.join(parts), True
