"""Build the report of evaluations: a Markdown page and a picture, beside the scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homeo_rl import checkpoint
from homeo_rl.errors import UsageError
from homeo_rl.report.decimals import fixed
from homeo_rl.report.figures import draw_returns
from homeo_rl.report.paths import draw_paths
from homeo_rl.report.statistics import Cell, Difference, Row, cells, differences, read_scores
from homeo_rl.report.tables import cell_rows, difference_rows, drive_rows, markdown, reflex_rows
from homeo_rl.run import Run


@dataclass(frozen=True)
class Report:
    """What was built; ``paths`` is the picture of where the robots drove, None where nothing drove."""

    page: Path
    picture: Path
    paths: Path | None
    cells: tuple[Cell, ...]
    differences: tuple[Difference, ...]


def latest_evaluation(run: Run, suite: str | None = None) -> Path:
    """Return the newest finished evaluation of a run.

    Raises:
        UsageError: there is none.
    """
    found = [
        path
        for path in run.evaluations()
        if suite is None or checkpoint.read_json(path / "evaluation.json")["suite"] == suite
    ]
    if not found:
        what = "evaluation" if suite is None else f"evaluation of suite {suite!r}"
        raise UsageError(f"{run.path}: expected a finished {what}, found none; run homeo-rl evaluate {run.path}")
    return found[-1]


def build(folders: Sequence[Path], out: Path, *, conditions: Sequence[str] | None = None) -> Report:
    """Write ``report.md``, ``returns.png`` and ``paths.png`` into ``out`` for one or more evaluations of one suite.

    Paths are drawn for the first run.

    Args:
        folders: evaluation folders; several runs (training seeds) are joined, each a stratum of its own.
        out: an existing folder.
        conditions: labels that the paired comparison is restricted to.

    Raises:
        UsageError: the evaluations are of different suites, or a condition is not among theirs.
    """
    documents = [checkpoint.read_json(folder / "evaluation.json") for folder in folders]
    hashes = {
        " ".join(str(document.get(key) or "") for key in ("suite_hash", "env", "time_steps")).strip()
        for document in documents
    }
    if len(hashes) > 1:
        got = ", ".join(sorted(hashes))
        raise UsageError(f"expected evaluations of one suite, got content hashes {got}; report them apart")
    rows: list[Row] = [row for folder in folders for row in read_scores(folder / "scores.csv")]
    labels = {row.label for row in rows}
    for label in conditions or ():
        if label not in labels:
            raise UsageError(f"--conditions: expected some of {', '.join(sorted(labels))}, got {label!r}")
    found = cells(rows)
    compared = differences(rows, conditions=conditions)
    document = documents[0]
    title = (
        f"{', '.join(dict.fromkeys(row.run for row in rows))}: suite {document['suite']} "
        f"version {document['suite_version']} ({document['suite_hash']})"
        + (f", cut to T = {document['time_steps']}" if document.get("time_steps") else "")
    )
    picture, page = out / "returns.png", out / "report.md"
    draw_returns(found, picture, title=title)
    paths = None
    if (folders[0] / "paths.json").exists():
        paths = out / "paths.png"
        draw_paths(checkpoint.read_json(folders[0] / "paths.json"), paths, title=title)
    checkpoint.replace(page, _page(title, document, found, compared, paths).encode())
    return Report(page, picture, paths, tuple(found), tuple(compared))


def _page(
    title: str,
    document: dict[str, Any],
    found: Sequence[Cell],
    compared: Sequence[Difference],
    paths: Path | None,
) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    parts = [
        f"# {title}",
        f"{document['episodes']} episodes a cell, seed {document['seed']}; "
        "the arms share episode seeds and damage draws.",
        "Return per episode: interquartile mean [95 % stratified bootstrap interval]; r is retention, the mean return "
        "divided by the same arm's clean mean return; s is success.",
        markdown(*cell_rows(found)),
        *_incidents(found),
    ]
    if compared:
        parts += [
            "## Against none",
            "Mean difference over the damaged conditions, paired by episode. Retention: both returns are divided by "
            f"none's clean mean return. Conditions: {', '.join(compared[0].conditions)}.",
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
            "Mean firing rate, mean distance of a neuron's rate from the calibrated one, weight drift at the end.",
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
