"""Build the report of evaluations: a Markdown page and pictures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from homeo_rl.errors import UsageError
from homeo_rl.report.baselines import Baseline, baseline_of
from homeo_rl.report.contrasts import Contrast, contrast_policies, contrast_rows, explain_contrasts
from homeo_rl.report.decimals import fixed, significant
from homeo_rl.report.evaluations import (
    Evaluation,
    by_package,
    read_evaluation,
    require_comparable,
    with_unique_names,
    without_copies,
)
from homeo_rl.report.statistics import REFERENCE, Cell, Difference, cells, differences, measures_of
from homeo_rl.report.tables import HARMED, cell_rows, difference_rows, drive_rows, legend_of, markdown, reflex_rows
from homeo_rl.storage import bundle


@dataclass(frozen=True)
class Report:
    """The result of `build`."""

    page: Path
    picture: Path
    paths: Path | None  # picture of the trajectories of navigation episodes, None without any
    cells: tuple[Cell, ...]
    differences: tuple[Difference, ...]
    # sentences on what was left out, in which respects joined runs differ, and the limits of the figures
    notes: tuple[str, ...] = ()
    contrasts: tuple[Contrast, ...] = ()  # with another policy, each with its own control


def build(
    folders: Sequence[Path], out: Path, *, conditions: Sequence[str] | None = None, against: Path | None = None
) -> Report:
    """Write ``report.md``, ``returns.png`` and ``paths.png`` into ``out`` for one or more evaluations of one suite.

    Paths are drawn for the first run.

    Args:
        folders: evaluation folders; several runs (training seeds) are joined, each as a stratum. A copy of a run counts
            once.
        out: a folder, created if it does not exist.
        conditions: labels that the paired comparison is restricted to.
        against: evaluation of another policy that the one of ``folders`` is compared with, each with its own control.

    Raises:
        UsageError: the evaluations are of different suites or environments, a policy was evaluated twice with different
            results, or a condition is not among theirs.
        StorageFault: a file is damaged; the message names it and, of scores, the line.
    """
    from homeo_rl.report.figures import draw_paths, draw_returns  # Matplotlib, which those who only count need not load

    every = [read_evaluation(folder) for folder in folders]
    require_comparable(every)
    single, notes = without_copies(every)
    evaluations = with_unique_names(single)
    rows = [row for evaluation in evaluations for row in evaluation.rows]
    labels = {row.label for row in rows}
    for label in conditions or ():
        if label not in labels:
            raise UsageError(f"--conditions: expected some of {', '.join(sorted(labels))}, got {label!r}")
    baseline = baseline_of(evaluations[0].environment)
    table = cells(rows, baseline)
    compared = differences(rows, conditions=conditions, measures=measures_of(table, baseline), baseline=baseline)
    notes += [*_differences_of_runs(evaluations), *_scale_note(table, baseline)]
    contrasts = () if against is None else tuple(contrast_evaluations(every, read_evaluation(against), conditions))
    document = evaluations[0].document
    title = (
        f"{', '.join(dict.fromkeys(row.run for row in rows))}: suite {document['suite']} "
        f"version {document['suite_version']} ({document['suite_hash']})"
        + (f", cut to T = {document['time_steps']}" if document.get("time_steps") else "")
    )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {out}: cannot be made ({error.strerror}); choose another folder") from None
    picture, page = out / "returns.png", out / "report.md"
    draw_returns(table, picture, title=title)
    paths = None
    if (evaluations[0].folder / "paths.json").exists():
        paths = out / "paths.png"
        draw_paths(bundle.read_json(evaluations[0].folder / "paths.json"), paths, title=title)
    report = Report(page, picture, paths, tuple(table), tuple(compared), tuple(notes), contrasts)
    bundle.replace(page, _page(title, [evaluation.document for evaluation in evaluations], report).encode())
    return report


def contrast_evaluations(
    evaluations: Sequence[Evaluation], other: Evaluation, conditions: Sequence[str] | None = None
) -> list[Contrast]:
    """Compare the one policy of ``evaluations`` with another, arm by arm, on the seeds that they share.

    Raises UsageError: there are several policies, or the evaluations have other suites, environments or seeds.
    """
    if len(evaluations) != 1:
        raise UsageError(f"--against: expected one run to compare, got {len(evaluations)}; report them in pairs")
    require_comparable([*evaluations, other])
    both = [{(r.arm, r.label, r.episode): r for r in one.rows} for one in (evaluations[0], other)]
    names = tuple(one.run.name for one in (evaluations[0], other))
    if any(both[0][key].seed != row.seed for key, row in both[1].items() if key in both[0]) or (
        evaluations[0].document["episodes"] != other.document["episodes"]
    ):
        raise UsageError(
            f"--against: expected episodes of the same seeds, got others for {names[0]} and {names[1]}; evaluate both "
            "with one --seed and --episodes"
        )
    clean = next((row.label for row in evaluations[0].rows if row.severity == 0.0), "")
    contrasts: list[Contrast] = []
    for arm in dict.fromkeys(row.arm for row in evaluations[0].rows):
        what = "return" if any(math.isnan(row.success) for each in both for row in each.values()) else "success"
        policies = [_episodes(each, arm, what, clean, conditions) for each in both]
        contrasts += contrast_policies((names[0], names[1]), arm, what, (policies[0], policies[1]), clean)
    if not contrasts:
        raise UsageError(f"--against: expected a mechanism and a damaged condition in both of {names}, found none")
    return contrasts


def _episodes(
    rows: dict[tuple[str, str, int], Any], arm: str, what: str, clean: str, conditions: Sequence[str] | None
) -> dict[str, np.ndarray]:
    """Return the figures of one arm by condition, in the order of the episodes."""
    figures: dict[str, list[float]] = {}
    for (of_arm, label, _), row in sorted(rows.items(), key=lambda item: item[0][2]):
        if of_arm == arm and (conditions is None or label == clean or label in conditions):
            figures.setdefault(label, []).append(float(row.success if what == "success" else row.total))
    return {label: np.array(values) for label, values in figures.items()}


_MEASURES = {
    "retention": "Retention: both returns are divided by none's clean mean return. ",
    "return": "Return: as it is; normalised: divided by what lies between random and the best known return. ",
}


def _differences_of_runs(evaluations: Sequence[Evaluation]) -> list[str]:
    """Return a sentence on each respect in which joined runs differ and which their table does not show."""
    arms = [{row.arm for row in evaluation.rows} for evaluation in evaluations]
    partial = [arm for arm in dict.fromkeys(a for known in arms for a in known) if not all(arm in k for k in arms)]
    notes = [
        f"{arm} was evaluated on {sum(arm in known for known in arms)} of {len(arms)} runs only."
        for arm in sorted(partial)
    ]
    for key, what in (("episodes", "episodes a cell"), ("policy", "policy")):
        values = list(dict.fromkeys(str(e.document[key]) for e in evaluations if e.document.get(key) is not None))
        if len(values) > 1:
            notes.append(f"The runs differ in their {what}: {', '.join(values)}.")
    return notes


def _scale_note(table: Sequence[Cell], baseline: Baseline | None) -> list[str]:
    untrained = next((cell for cell in table if cell.untrained), None)
    clean = min((cell for cell in table if cell.severity == 0.0), key=lambda cell: cell.arm != REFERENCE, default=None)
    if untrained is not None:
        lead = f"Not trained: {untrained.reason}. Retention would mislead and is not shown;"
    elif clean is not None and clean.retention is None:
        lead = f"The clean return {significant(clean.mean, 4, ',')} is not positive, so there is no retention;"
    else:
        return []
    if baseline is None:
        return [f"{lead} returns are compared as they are: no random and best return of this environment are known."]
    ends = "" if baseline.describe() in lead else f": {baseline.describe()}"
    return [f"{lead} returns are compared as they are and normalised (n is 0 at random, 1 at best){ends}."]


def _page(title: str, documents: Sequence[dict[str, Any]], report: Report) -> str:
    episodes, seeds = (
        ", ".join(dict.fromkeys(str(document[key]) for document in documents)) for key in ("episodes", "seed")
    )
    packages = by_package(document["versions"] for document in documents)
    versions = ", ".join(f"{name} {' and '.join(several)}" for name, several in packages.items())
    parts = [
        f"# {title}",
        f"{episodes} episodes a cell, seed {seeds}; the arms share episode seeds and damage draws.",
        f"Return per episode: interquartile mean [95 % stratified bootstrap interval]; {legend_of(report.cells)}.",
        markdown(*cell_rows(report.cells)),
        *report.notes,
        *_incidents(report.cells),
        *_sections(report),
        "![returns](returns.png)",
        f"Versions: {versions}.",
    ]
    return "\n\n".join(parts) + "\n"


def _sections(report: Report) -> list[str]:
    compared = report.differences
    against = (
        f"Mean difference over the damaged conditions, paired by episode. {_MEASURES.get(compared[0].what, '')}"
        f"{HARMED.capitalize()}. Conditions: {', '.join(compared[0].conditions)}."
        if compared
        else ""
    )
    navigation = (
        "Shares of the episodes (collisions with Wilson's 95 % interval); path length and time are means over the "
        "successful ones."
    )
    reflex = "Decisions that its specification forbids, judged by the reference machine on the observed events."
    parts = [
        *_section("Against none", against, difference_rows(compared)),
        *_section("Navigation episodes", navigation, drive_rows(report.cells)),
        *_section("Reflex", reflex, reflex_rows(report.cells)),
    ]
    for arm in dict.fromkeys(each.arm for each in report.contrasts):
        chosen = [each for each in report.contrasts if each.arm == arm]
        title = f"{chosen[0].first} minus {chosen[0].second}: {chosen[0].what}, {arm}"
        parts += _section(title, explain_contrasts(), contrast_rows(chosen))
        parts.append("\n".join(f"- {each.label}: {each.reading}." for each in chosen))
    if report.paths is not None:
        parts.append(f"![paths]({report.paths.name})")
    homeostasis = (
        "Mean firing rate and mean distance of a neuron's rate from the calibrated one, over the neurons of all "
        "layers together; weight drift at the end, norm of the change over norm of the trained weights of all "
        "layers together."
    )
    return parts + _section("Homeostasis", homeostasis, _homeostasis_rows(report.cells))


def _section(title: str, text: str, table: tuple[list[str], list[list[str]]]) -> list[str]:
    header, rows = table
    return [f"## {title}", text, markdown(header, rows)] if rows else []


def _homeostasis_rows(table: Sequence[Cell]) -> tuple[list[str], list[list[str]]]:
    rows = []
    for cell in table:
        if cell.rate_deviation is not None:
            figures = (cell.firing_rate, cell.rate_deviation, cell.weight_drift)
            rows.append([cell.arm, cell.label, *(fixed(value, 4) for value in figures if value is not None)])
    return ["arm", "condition", "firing rate", "rate deviation", "weight drift"], rows


def _incidents(table: Sequence[Cell]) -> list[str]:
    lines = []
    if unstable := sum(cell.unstable or 0 for cell in table):
        lines.append(
            f"Unstable simulations: {unstable} of {sum(cell.episodes for cell in table)} episodes "
            "ended where MuJoCo gave the simulation up, with the return they had until then "
            f"({_counts(table, 'unstable')})."
        )
    if counts := _counts(table, "rolled_back"):
        lines.append(f"Adaptations that went wrong and were started again: {counts}.")
    return lines


def _counts(table: Sequence[Cell], figure: str) -> str:
    return ", ".join(f"{cell.arm} {cell.label} {count}" for cell in table if (count := getattr(cell, figure)))
