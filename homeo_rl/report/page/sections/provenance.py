"""What a page says of its own sources: title, facts, commands, versions, seeds, hashes."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from homeo_rl.report.page import phrasing
from homeo_rl.report.page.blocks import Section, Table
from homeo_rl.report.page.report_data import Comparison, Group, ReportData
from homeo_rl.report.page.sections.curves import read_training
from homeo_rl.report.page.sections.traces import Traces, latest

_DIGITS = 12  # of a digest


def title(material: ReportData) -> str:
    """Return the page's title."""
    environments = list(dict.fromkeys(member.run.spec.env for member in material.members if member.run.spec.env))
    places = ", ".join(environments) if len(environments) <= 2 else f"{len(environments)} environments"
    where = f" on {places}" if environments else ""
    agents = list(dict.fromkeys(m.run.spec.agent or m.run.spec.source or m.run.spec.origin for m in material.members))
    return (", ".join(agents) if len(agents) <= 4 else f"{len(agents)} agents") + where


def facts(material: ReportData, traces: Traces) -> list[tuple[str, list[str]]]:
    """Return what stands under the title: names and lines of text; dates are those of the data, not of the page."""
    members = material.members
    trainings = [training for m in members if (training := read_training(m.run.path)) is not None]
    written = latest(traces, material.comparisons)
    found = [
        (
            "Runs",
            [f"{len(members)}: " + ", ".join(m.name for m in members[:12]) + (", ..." if len(members) > 12 else "")],
        ),
        ("Agents", [_agent(group) for group in material.groups]),
        ("Suites", list(dict.fromkeys(_suite(one) for one in material.comparisons))),
    ]
    if trainings:
        days = list(
            dict.fromkeys(
                [phrasing.day(min(t.began for t in trainings)), phrasing.day(max(t.ended for t in trainings))]
            )
        )
        found.append(("Trained", [" to ".join(days) + " (UTC)"]))
    if written:
        found.append(("Evaluated", [f"{phrasing.day(written)} (UTC)"]))
    if not trainings and not written:
        found.append(("Date", ["not recorded in these runs"]))
    return [(name, lines) for name, lines in found if lines]


def provenance(material: ReportData, notes: Sequence[str]) -> Section:
    """Return the section on sources.

    Args:
        material: the runs.
        notes: sentences on what was left out.
    """
    commands = list(dict.fromkeys(m.run.spec.command for m in material.members if m.run.spec.command))
    evaluations = [
        _evaluated(one, folder_name, document)
        for one in material.comparisons
        for folder_name, document in zip([member.name for member in one.members], one.documents, strict=True)
    ]
    data = {
        "runs": _runs(material),
        "evaluations": _evaluations(material),
        "versions": _versions(material),
        "commands": commands,
        "rebuilt": list(dict.fromkeys(text for text, rebuilt in evaluations if rebuilt)),
        "typed": list(dict.fromkeys(text for text, rebuilt in evaluations if not rebuilt)),
        "notes": list(notes),
    }
    how = "Everything that is needed to get these figures again. Digests are SHA-256, cut to twelve digits."
    return Section("provenance", "Provenance", how, "provenance.html.j2", data)


def _agent(group: Group) -> str:
    spec = group.members[0].run.spec
    parts = [spec.agent or spec.source or spec.origin]
    if spec.algo:
        parts.append(spec.algo)
    if spec.controller is not None:
        network = spec.controller.network
        parts.append("-".join(str(width) for width in network.widths))
        if network.body != "mlp":
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


def _suite(one: Comparison) -> str:
    document = one.documents[0]
    return f"{one.suite}, {document.get('episodes', '?')} episodes a cell, seed {document.get('seed', '?')}"


def _runs(material: ReportData) -> Table:
    rows = []
    for member in material.members:
        spec = member.run.spec
        steps = f"{spec.steps:,}" + (f" of {spec.planned:,}" if spec.planned > spec.steps else "")
        rows.append(
            [member.name, spec.env, spec.agent, spec.algo, spec.origin, str(spec.seed), steps, spec.digest[:_DIGITS]]
        )
    header = ["run", "environment", "agent", "algorithm", "origin", "seed", "steps", "parameters"]
    return Table("Runs", header, rows, 5)


def _evaluations(material: ReportData) -> Table:
    rows = []
    for one in material.comparisons:
        for member, folder, told in zip(one.members, one.folders, one.documents, strict=True):
            texts = [str(told.get(key, "?")) for key in ("suite_version", "suite_hash", "episodes", "seed", "policy")]
            suite = str(told.get("suite", "?"))
            digest = str(told.get("policy_digest", "?"))[:_DIGITS]
            rows.append([member.name, folder.name, suite, *texts, digest])
    header = ["run", "evaluation", "suite", "version", "hash", "episodes", "seed", "policy", "policy digest"]
    return Table("Evaluations", header, rows, 3)


def _versions(material: ReportData) -> Table:
    found: dict[str, dict[str, None]] = {}
    documents = [document for one in material.comparisons for document in one.documents]
    several = [member.run.spec.versions for member in material.members]
    several += [told for document in documents if isinstance(told := document.get("versions"), dict)]
    for versions in several:
        for name, version in versions.items():
            found.setdefault(str(name), {})[str(version)] = None
    return Table("Versions", ["package", "version"], [[name, ", ".join(known)] for name, known in found.items()], 1)


def _evaluated(one: Comparison, name: str, told: dict[str, Any]) -> tuple[str, bool]:
    """Return the command of an evaluation, and whether it had to be rebuilt from what is stored."""
    command = told.get("command")
    if isinstance(command, str) and command:
        return command, False
    arms = told.get("arms")
    parts = ["homeo-rl", "evaluate", name, "--suite", str(told.get("suite", "?"))]
    parts += ["--homeostasis", ",".join(str(arm) for arm in arms) if isinstance(arms, list) else ",".join(one.arms)]
    parts += ["--episodes", str(told.get("episodes", "?")), "--seed", str(told.get("seed", "?"))]
    parts += ["--env", str(told["env"])] if told.get("env") else []
    modules = told.get("modules")
    parts += ["--gym-packages", *map(str, modules)] if isinstance(modules, list) and modules else []
    parts += ["--time-steps", str(told["time_steps"])] if told.get("time_steps") else []
    parts += ["--best"] if told.get("policy") == "best" else []
    parts += ["--routes", "ROUTES.json"] if told.get("routes") else []
    return shlex.join(parts), True
