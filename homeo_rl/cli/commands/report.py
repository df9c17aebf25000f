"""``homeo-rl report``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from homeo_rl.cli.command import EVALUATE, Command
from homeo_rl.cli.common import print_report
from homeo_rl.cli.flags import Common, Positional, Progress, Words
from homeo_rl.errors import Finding, HomeoError, UsageError
from homeo_rl.storage.files import printable

if TYPE_CHECKING:  # commands import what is heavy when they run
    from homeo_rl.degradations.suites import Suite
    from homeo_rl.report.page import Damage, EpisodeRequest, RecordedEpisode, ReportData
    from homeo_rl.report.page.report_data import Suites
    from homeo_rl.run import Run

COMMAND = Command(EVALUATE, 2, "join evaluations into a page")


@dataclass(frozen=True, kw_only=True)
class Report(Common):
    """Join runs into a page: a folder with report.md and pictures, or one HTML file that needs nothing else."""

    runs: Positional[tuple[Path, ...]]
    """Run folders, or policies that evaluate was given; several training seeds become strata of one table."""
    suite: str | None = None
    """Suite to report, for HTML also its YAML file; by default that of the latest evaluation."""
    conditions: str | None = None
    """Conditions, separated by commas, that the paired comparison is restricted to."""
    against: Path | None = None
    """Another run or policy that the one of this report is compared with under damage, each with its own control."""
    out: Path | None = None
    """A name that ends in .html, or a folder for report.md and returns.png; by default report inside the first run."""
    play: bool = True
    """HTML: play a few episodes again for spikes and videos; this imports the packages that these runs were given."""
    gym_packages: Words = ()
    """Packages to import besides: evaluations of earlier versions do not name those that they were given."""
    progress: Progress = True
    """Show progress."""


_FILES = (".pdf", ".md", ".htm", ".png", ".svg", ".csv", ".txt", ".json", ".tex", ".docx", ".zip", ".ipynb")
"""Suffixes that indicate a file of another format rather than a folder."""


def run(args: Report, words: list[str]) -> dict[str, Any]:
    """Join evaluations into a folder with a Markdown page, or into one HTML file."""
    from homeo_rl.report import build, latest_evaluation

    if not args.runs:
        raise UsageError("report: expected at least one run folder, got none; give the runs to report")
    runs = [_open(path) for path in args.runs]
    conditions = [part.strip() for part in args.conditions.split(",")] if args.conditions else None
    if args.out is not None and args.out.suffix.lower() == ".html":
        if args.against is not None:
            raise UsageError("--against: expected with a folder as --out, got a page of HTML; leave one of the two out")
        return _write_html(args, runs, args.out, conditions)
    out = args.out or runs[0].path / "report"
    if out.suffix.lower() in _FILES:
        raise UsageError(f"--out {out}: expected a name that ends in .html, or a folder, got another file's name")
    folders = [latest_evaluation(run, args.suite) for run in runs]
    against = None if args.against is None else latest_evaluation(_open(args.against), args.suite)
    report = build(folders, out, conditions=conditions, against=against)
    print_report(report, ", ".join(run.name for run in runs))
    print(f"page: {report.page}")
    print(f"picture: {report.picture}")
    return {
        "page": str(report.page),
        "picture": str(report.picture),
        "paths": None if report.paths is None else str(report.paths),
        "cells": [cell.to_dict() for cell in report.cells],
        "differences": [asdict(difference) for difference in report.differences],
        "notes": list(report.notes),
        **({"contrasts": [asdict(contrast) for contrast in report.contrasts]} if report.contrasts else {}),
    }


def _open(path: Path) -> Run:
    """Return a run, or that which was made of a policy when it was evaluated."""
    from homeo_rl.run import Run
    from homeo_rl.workflows.hosts import find_host, kind_of

    return Run.open(path) if kind_of(str(path)) is None else find_host(str(path), Path("runs"))


def _write_html(args: Report, runs: list[Run], out: Path, conditions: list[str] | None) -> dict[str, Any]:
    """Write one HTML file.

    Raises Finding: the page was written without episodes of evaluations that cannot be played here.
    """
    from homeo_rl.degradations import load_suite
    from homeo_rl.report.page import collect, write_page

    if out.is_dir():
        raise UsageError(f"--out {out}: expected a file's name, found a folder; give another name")
    suite_file = load_suite(args.suite) if args.suite and Path(args.suite).suffix in (".yaml", ".yml") else None
    data = collect(runs, suite=args.suite if suite_file is None else suite_file.name, conditions=conditions)
    missing = _load_packages(data, args.gym_packages) if args.play else {}
    suites = dict(_suites(data, suite_file))
    damages = {key: _describe_damages(suite) for key, suite in suites.items()}
    lost = [f"package {name!r} is missing: {printable(why, 300)}" for name, why in missing.items()]
    episodes, skipped, failed = _play_episodes(args, data, suites, damages) if args.play else ([], [], [])
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {out}: cannot be made ({error.strerror}); choose another folder") from None
    notes = [*lost, *dict.fromkeys(skipped)]
    page = write_page(data, out, suites=damages, episodes=episodes, notes=notes)
    for note in (*data.notes, *notes):
        print(f"left out: {printable(note, 400)}")
    print(f"page: {page.path} ({page.size / 1e6:.2f} MB, {len(page.sections)} sections)")
    lost += failed
    if lost:
        more = f" (and {len(set(lost)) - 1} more)" if len(set(lost)) > 1 else ""
        raise Finding(
            f"{page.path}: written without spikes and videos of some episodes: {lost[0].rstrip('.')}{more}; give "
            "--gym-packages and --suite as evaluate was given them, or --no-play"
        )
    return {"page": str(page.path), "bytes": page.size, "sections": list(page.sections)}


def _play_episodes(
    args: Report, data: ReportData, suites: dict[str, Suite], damages: Suites
) -> tuple[list[RecordedEpisode], list[str], list[str]]:
    """Play the episodes that the page would show.

    Returns episodes, sentences on those that were not played, and those of them that had been evaluated.
    """
    from homeo_rl.cli.console import Bars
    from homeo_rl.report.page import request_episodes

    episodes: list[RecordedEpisode] = []
    failed = []
    requests, skipped = request_episodes(data, damages)
    with Bars(enabled=args.progress).show() as bars:
        bars.start("episodes", len(requests))
        for request in requests:
            try:
                episodes.append(_play(request, suites.get(str(request.document.get("suite_hash")))))
            except HomeoError as error:
                skipped.append(f"{request.member.name}: episodes were not played: {printable(error, 300)}.")
                if request.document:  # it was evaluated, so it can be played where that was done
                    failed.append(skipped[-1])
            bars.advance()
    return episodes, skipped, failed


def _load_packages(data: ReportData, more: tuple[str, ...]) -> dict[str, str]:
    """Import the packages of the runs and of their evaluations; return the errors of those that cannot be imported."""
    from homeo_rl.envs.make import load_modules
    from homeo_rl.evaluation.recorded_episode import modules_of

    load_modules(more)
    modules = [name for member in data.members for name in member.run.spec.modules]
    documents = [document for comparison in data.comparisons for document in comparison.documents]
    modules += [name for document in documents for name in modules_of(document)]
    errors = {}
    for name in dict.fromkeys(modules):
        try:
            load_modules([name])
        except UsageError as error:
            errors[name] = str(error)
    return errors


def _suites(data: ReportData, suite_file: Suite | None) -> Iterator[tuple[str, Suite]]:
    """Yield the suites of the evaluations by content hash, where they are available."""
    from homeo_rl.degradations.suites import load_suite, suite_from_dicts, suite_names

    for comparison in data.comparisons:
        document, digest = comparison.documents[0], comparison.suite_hash
        name = str(document.get("suite"))
        suite: Suite | None = None
        if isinstance(conditions := document.get("conditions"), list):  # absent in evaluations of earlier versions
            # A degradation may belong to a package that is not installed here.
            with suppress(HomeoError, TypeError, ValueError):
                suite = suite_from_dicts(name, int(document.get("suite_version", 0)), conditions, where=f"suite {name}")
        elif suite_file is not None and suite_file.name == name:
            suite = suite_file
        elif name in suite_names():
            suite = load_suite(name)
        if suite is not None and suite.hash == digest:
            yield digest, suite


def _play(request: EpisodeRequest, suite: Suite | None) -> RecordedEpisode:
    """Play an episode. Raises HomeoError: the policy, the environment or the condition is not available."""
    from homeo_rl.evaluation.recorded_episode import CLEAN, plan_of, play

    conditions = {c.label: c for c in suite.conditions} if suite is not None else {}
    # Without an evaluation no suite defines the clean condition.
    condition = conditions.get(request.condition) if request.document else CLEAN
    if condition is None:
        raise UsageError("the suite is not at hand; give its YAML file as --suite")
    plan = plan_of(request.document, suite)
    member = request.member
    return play(member.run, plan, request.arm, condition, name=member.name, film=request.video)


def _describe_damages(suite: Suite) -> dict[str, Damage]:
    from homeo_rl.degradations.protocol import fields_of
    from homeo_rl.report.page import Damage

    damages = {}
    for condition in suite.conditions:
        parts = []
        for degradation in condition.degradations:
            fields = fields_of(degradation)
            kind = fields.pop("kind")
            parts.append(f"{kind}: {', '.join(f'{name} {_brief(value)}' for name, value in fields.items())}")
        if condition.severity not in (0.0, 1.0):
            parts.append(f"times {condition.severity:g}")
        if condition.onset:
            parts.append(f"from step {condition.onset} on")
        if condition.env and condition.env != suite.conditions[0].env:
            parts.append(f"in {condition.env}")
        damages[condition.label] = Damage(condition.onset, "; ".join(parts))
    return damages


def _brief(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).replace("(", "").replace(")", "")
