"""Build the report of evaluations: a Markdown page and a picture, beside the scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from homeo_rl.errors import UsageError
from homeo_rl.report.baselines import Baseline, baseline_of
from homeo_rl.report.decimals import fixed, significant
from homeo_rl.report.evaluations import (
    Evaluation,
    read_evaluation,
    require_comparable,
    with_unique_names,
    without_copies,
)
from homeo_rl.report.figures import draw_returns
from homeo_rl.report.statistics import REFERENCE, Cell, Difference, cells, differences, measures_of
from homeo_rl.report.tables import cell_rows, difference_rows, drive_rows, legend_of, markdown, reflex_rows
from homeo_rl.report.trajectories import draw_paths
from homeo_rl.storage import bundle


@dataclass(frozen=True)
class Report:
    """What was built.

    Attributes:
        page: report.md.
        picture: returns.png.
        paths: the picture of where the robots drove, None where nothing drove.
        cells: every arm under every condition.
        differences: to the reference arm.
        notes: sentences on what was left out, what was joined that differs, and what the figures cannot say.
    """

    page: Path
    picture: Path
    paths: Path | None
    cells: tuple[Cell, ...]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...] = ()


def build(folders: Sequence[Path], out: Path, *, conditions: Sequence[str] | None = None) -> Report:
    """Write ``report.md``, ``returns.png`` and ``paths.png`` into ``out`` for one or more evaluations of one suite.

    Paths are drawn for the first run.

    Args:
        folders: evaluation folders; several runs (training seeds) are joined, each a stratum of its own. A copy of a
            run counts once.
        out: a folder, which is made where it is not there.
        conditions: labels that the paired comparison is restricted to.

    Raises:
        UsageError: the evaluations are of different suites or environments, a policy was evaluated twice with different
            results, or a condition is not among theirs.
        StorageFault: a file is damaged; the message names it and, of scores, the line.
    """
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
    found = cells(rows, baseline)
    compared = differences(rows, conditions=conditions, measures=measures_of(found, baseline), baseline=baseline)
    notes += [*_joined(evaluations), *_scale(found, baseline)]
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
    draw_returns(found, picture, title=title)
    paths = None
    if (evaluations[0].folder / "paths.json").exists():
        paths = out / "paths.png"
        draw_paths(bundle.read_json(evaluations[0].folder / "paths.json"), paths, title=title)
    bundle.replace(page, _page(title, evaluations, found, compared, notes, paths).encode())
    return Report(page, picture, paths, tuple(found), tuple(compared), tuple(notes))


_MEASURES = {
    "retention": "Retention: both returns are divided by none's clean mean return. ",
    "return": "Return: as it is; normalised: divided by what lies between random and the best known return. ",
}


def _joined(evaluations: Sequence[Evaluation]) -> list[str]:
    """Return a sentence on each thing in which joined runs differ and which their table does not show."""
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


def _scale(found: Sequence[Cell], baseline: Baseline | None) -> list[str]:
    """Return a sentence on why shares of the clean return are not told, and on what returns are measured by instead."""
    untrained = next((cell for cell in found if cell.untrained), None)
    clean = min((cell for cell in found if cell.severity == 0.0), key=lambda cell: cell.arm != REFERENCE, default=None)
    if untrained is not None:
        lead = f"Not trained: {untrained.reason}. Retention would mislead and is not shown;"
    elif clean is not None and clean.retention is None:
        lead = f"The clean return {significant(clean.mean, 4, ',')} is not positive, so there is no retention;"
    else:
        return []
    if baseline is None:
        return [f"{lead} returns are compared as they are: no random and best return of this environment are known."]
    ends = "" if baseline.stated() in lead else f": {baseline.stated()}"
    return [f"{lead} returns are compared as they are and normalised (n is 0 at random, 1 at best){ends}."]


def _page(
    title: str,
    evaluations: Sequence[Evaluation],
    found: Sequence[Cell],
    compared: Sequence[Difference],
    notes: Sequence[str],
    paths: Path | None,
) -> str:
    documents = [evaluation.document for evaluation in evaluations]
    episodes, seeds = (
        ", ".join(dict.fromkeys(str(document[key]) for document in documents)) for key in ("episodes", "seed")
    )
    names = dict.fromkeys(name for document in documents for name in document["versions"])
    versions = ", ".join(
        f"{name} {' and '.join(dict.fromkeys(str(d['versions'][name]) for d in documents if name in d['versions']))}"
        for name in names
    )
    parts = [
        f"# {title}",
        f"{episodes} episodes a cell, seed {seeds}; the arms share episode seeds and damage draws.",
        f"Return per episode: interquartile mean [95 % stratified bootstrap interval]; {legend_of(found)}.",
        markdown(*cell_rows(found)),
        *notes,
        *_incidents(found),
    ]
    if compared:
        parts += [
            "## Against none",
            f"Mean difference over the damaged conditions, paired by episode. {_MEASURES.get(compared[0].what, '')}"
            f"Conditions: {', '.join(compared[0].conditions)}.",
            markdown(*difference_rows(compared)),
        ]
    header, drives = drive_rows(found)
    if drives:
        parts += [
            "## Drives",
            "Shares of the episodes (collisions with Wilson's 95 % interval); path length and time are means over the "
            "successful ones.",
            markdown(header, drives),
        ]
    header, reflexes = reflex_rows(found)
    if reflexes:
        parts += [
            "## Reflex",
            "Decisions that its specification forbids, judged by the reference machine on the events that were seen.",
            markdown(header, reflexes),
        ]
    if paths is not None:
        parts.append(f"![paths]({paths.name})")
    homeostasis = [cell for cell in found if cell.rate_deviation is not None]
    if homeostasis:
        parts += [
            "## Homeostasis",
            "Mean firing rate and mean distance of a neuron's rate from the calibrated one, over the neurons of all "
            "layers together; weight drift at the end, norm of the change over norm of the trained weights of all "
            "layers together.",
            markdown(
                ["arm", "condition", "firing rate", "rate deviation", "weight drift"],
                [
                    [
                        c.arm,
                        c.label,
                        *(fixed(v, 4) for v in (c.firing_rate, c.rate_deviation, c.weight_drift) if v is not None),
                    ]
                    for c in homeostasis
                ],
            ),
        ]
    parts += ["![returns](returns.png)", f"Versions: {versions}."]
    return "\n\n".join(parts) + "\n"


def _incidents(found: Sequence[Cell]) -> list[str]:
    """Return a line on unstable simulations and one on adaptations that were rolled back, where there were any."""
    lines = []
    unstable = [(f"{cell.arm} {cell.label}", cell.unstable) for cell in found if cell.unstable]
    if unstable:
        cells = ", ".join(f"{name} {count}" for name, count in unstable)
        lines.append(
            f"Unstable simulations: {sum(count for _, count in unstable)} of {sum(c.episodes for c in found)} episodes "
            f"ended where MuJoCo gave the simulation up, with the return they had until then ({cells})."
        )
    rolled_back = [(f"{cell.arm} {cell.label}", cell.rolled_back) for cell in found if cell.rolled_back]
    if rolled_back:
        cells = ", ".join(f"{name} {count}" for name, count in rolled_back)
        lines.append(f"Adaptations that went wrong and were started again: {cells}.")
    return lines
