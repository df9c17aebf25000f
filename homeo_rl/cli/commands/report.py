"""``homeo-rl report``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from homeo_rl.cli.command import EVALUATE, Command
from homeo_rl.cli.common import print_report
from homeo_rl.cli.flags import Common, Positional, Progress, Words
from homeo_rl.errors import Finding, HomeoError, UsageError
from homeo_rl.storage.files import printable

COMMAND = Command(EVALUATE, 2, "join evaluations into a page")


@dataclass(frozen=True, kw_only=True)
class Report(Common):
    """Join runs into a page: a folder with report.md and pictures, or one HTML file that needs nothing else."""

    runs: Positional[tuple[Path, ...]]
    """Run folders; several training seeds become strata of one table."""
    suite: str | None = None
    """Suite to report, for HTML also its YAML file; by default that of the latest evaluation."""
    conditions: str | None = None
    """Conditions, separated by commas, that the paired comparison is restricted to."""
    out: Path | None = None
    """A name that ends in .html, or a folder for report.md and returns.png; by default report inside the first run."""
    play: bool = True
    """HTML: play a few episodes again for spikes and films; this imports the packages that these runs were given."""
    gym_packages: Words = ()
    """Packages to import besides: evaluations of earlier versions do not name those that they were given."""
    progress: Progress = True
    """Show progress."""


_FILES = (".pdf", ".md", ".htm", ".png", ".svg", ".csv", ".txt", ".json", ".tex", ".docx", ".zip", ".ipynb")
"""Endings of files that somebody could take a report for; a folder is hardly called so."""


def run(args: Report, words: list[str]) -> dict[str, Any]:
    """Join evaluations into a folder with a Markdown page, or into one HTML file."""
    from homeo_rl.report import build, latest_evaluation
    from homeo_rl.run import Run

    if not args.runs:
        raise UsageError("report: expected at least one run folder, got none; give the runs to report")
    runs = [Run.open(path) for path in args.runs]
    conditions = [part.strip() for part in args.conditions.split(",")] if args.conditions else None
    if args.out is not None and args.out.suffix.lower() == ".html":
        return _page(args, runs, args.out, conditions)
    out = args.out or runs[0].path / "report"
    if out.suffix.lower() in _FILES:
        raise UsageError(f"--out {out}: expected a name that ends in .html, or a folder, got another file's name")
    folders = [latest_evaluation(run, args.suite) for run in runs]
    report = build(folders, out, conditions=conditions)
    print_report(report, ", ".join(run.name for run in runs))
    print(f"page: {report.page}")
    print(f"picture: {report.picture}")
    return {
        "page": str(report.page),
        "picture": str(report.picture),
        "paths": None if report.paths is None else str(report.paths),
        "cells": [asdict(cell) for cell in report.cells],
        "differences": [asdict(difference) for difference in report.differences],
        "notes": list(report.notes),
    }


def _page(args: Report, runs: list[Any], out: Path, conditions: list[str] | None) -> dict[str, Any]:
    """Write one file of HTML.

    Raises:
        Finding: the page was written without episodes of evaluations that cannot be played here.
    """
    from homeo_rl.cli.console import Bars
    from homeo_rl.report.page import collect, episode_requests, write_page

    if out.is_dir():
        raise UsageError(f"--out {out}: expected a file's name, found a folder; give another name")
    given = _suite(args.suite) if args.suite and Path(args.suite).suffix in (".yaml", ".yml") else None
    material = collect(runs, suite=args.suite if given is None else given.name, conditions=conditions)
    absent = _load_packages(material, args.gym_packages) if args.play else {}
    suites = dict(_suites(material, given))
    specimens: list[Any] = []
    damages = {key: _damages(suite) for key, suite in suites.items()}
    lost = [f"package {name!r} is missing: {printable(why, 300)}" for name, why in absent.items()]
    wanted, unplayed = episode_requests(material, damages) if args.play else ([], [])
    with Bars(enabled=args.progress).shown() as bars:
        bars.start("episodes", len(wanted))
        for wish in wanted:
            try:
                specimens.append(_played(wish, suites.get(str(wish.document.get("suite_hash")))))
            except HomeoError as error:
                unplayed.append(f"{wish.member.name}: episodes were not played: {printable(error, 300)}.")
                if wish.document:  # it was evaluated, so it could be played where that was done
                    lost.append(unplayed[-1])
            bars.advance()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {out}: cannot be made ({error.strerror}); choose another folder") from None
    notes = [*lost[: len(absent)], *dict.fromkeys(unplayed)]
    page = write_page(material, out, suites=damages, specimens=specimens, notes=notes)
    for note in (*material.notes, *notes):
        print(f"left out: {printable(note, 400)}")
    print(f"page: {page.path} ({page.size / 1e6:.2f} MB, {len(page.sections)} sections)")
    if lost:
        more = f" (and {len(set(lost)) - 1} more)" if len(set(lost)) > 1 else ""
        raise Finding(
            f"{page.path}: written without spikes and films of some episodes: {lost[0].rstrip('.')}{more}; give "
            "--gym-packages and --suite as evaluate was given them, or --no-play"
        )
    return {"page": str(page.path), "bytes": page.size, "sections": list(page.sections)}


def _load_packages(material: Any, more: tuple[str, ...]) -> dict[str, str]:
    """Import what the runs and their evaluations were given; return what cannot be imported, and why."""
    from homeo_rl.envs.make import load_modules
    from homeo_rl.evaluation.recorded_episode import modules_of

    load_modules(more)
    named = [member.run.spec.modules for member in material.members]
    named += [modules_of(document) for comparison in material.comparisons for document in comparison.documents]
    absent = {}
    for name in dict.fromkeys(name for names in named for name in names):
        try:
            load_modules([name])
        except UsageError as error:
            absent[name] = str(error)
    return absent


def _suite(name: str) -> Any:
    from homeo_rl.degradations import load_suite

    return load_suite(name)


def _suites(material: Any, given: Any) -> Iterator[tuple[str, Any]]:
    """Yield the suites that evaluations were made with, by content hash, where they are at hand."""
    from homeo_rl.degradations.suites import rebuilt, suite_names

    for one in material.comparisons:
        told, digest = one.documents[0], one.suite_hash
        name = str(told.get("suite"))
        if isinstance(conditions := told.get("conditions"), list):  # evaluations of earlier versions do not tell them
            try:
                suite = rebuilt(name, int(told.get("suite_version", 0)), conditions, where=f"suite {name}")
            except (HomeoError, TypeError, ValueError):  # a degradation of a package that is not here
                suite = None
        else:
            own = given is not None and given.name == name
            suite = given if own else _suite(name) if name in suite_names() else None
        if suite is not None and suite.hash == digest:
            yield digest, suite


def _played(wish: Any, suite: Any) -> Any:
    """Play an episode that the page would like to show.

    Raises:
        HomeoError: the policy, the environment or the condition is not at hand.
    """
    from homeo_rl.evaluation.recorded_episode import CLEAN, plan_of, play

    conditions = {c.label: c for c in suite.conditions} if suite is not None else {}
    condition = conditions.get(wish.condition)
    if not wish.document:
        condition = CLEAN  # never evaluated: no suite says what clean means
    if condition is None:
        raise UsageError("the suite is not at hand; give its YAML file as --suite")
    plan = plan_of(wish.document, suite)
    return play(wish.member.run, plan, wish.arm, condition, name=wish.member.name, film=wish.film)


def _damages(suite: Any) -> dict[str, Any]:
    """Return what a suite does in each of its conditions, in words."""
    from homeo_rl.degradations.protocol import fields_of
    from homeo_rl.report.page import Damage

    found = {}
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
        found[condition.label] = Damage(condition.onset, "; ".join(parts))
    return found


def _brief(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).replace("(", "").replace(")", "")
