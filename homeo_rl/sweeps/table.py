"""The results of a sweep: a row a combination, arm and condition, the interquartile mean over seeds with its interval.

The same results give the same bytes, in whatever order and on whatever machine they were made.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from homeo_rl.report.decimals import fixed
from homeo_rl.report.statistics import bootstrap, interval, iqm
from homeo_rl.report.tables import markdown, number
from homeo_rl.storage import bundle
from homeo_rl.sweeps.cells import Cell, short_names, text


@dataclass(frozen=True)
class Row:
    """One combination under one arm and condition. A training counts as one number: the mean return of its episodes."""

    choice: dict[str, Any]
    arm: str
    condition: str
    seeds: int  # how many trainings there are
    # iqm, ci_low, ci_high: over seeds, with a 95 % bootstrap interval
    iqm: float
    ci_low: float
    ci_high: float
    mean: float
    least: float
    most: float
    success: float | None  # mean share of successful episodes, where the environment reports it


FIGURES = ("seeds", "iqm", "ci_low", "ci_high", "mean", "least", "most", "success")


def rows_of(cells: Sequence[Cell], results: Mapping[str, dict[str, Any]]) -> list[Row]:
    """Condense results."""
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(json.dumps(cell.choice, sort_keys=True), []).append(cell)
    rows = []
    for name, group in groups.items():
        measured: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for cell in sorted(group, key=lambda cell: cell.seed):
            for entry in results.get(cell.key, {}).get("evaluation", {}).get("cells", ()):
                measured.setdefault((entry["arm"], entry["label"]), []).append(entry)
        rows += [_row(group[0].choice, name, *shown, entries) for shown, entries in measured.items()]
    return rows


def write(folder: Path, title: str, cells: Sequence[Cell], results: Mapping[str, dict[str, Any]]) -> list[Row]:
    """Write ``summary.csv``, ``summary.md`` and ``cells.csv``, a row a training, arm and condition; return the rows."""
    rows = rows_of(cells, results)
    names = list(cells[0].choice) if cells else []
    bundle.replace(folder / "summary.csv", _summary_csv(names, rows))
    bundle.replace(folder / "cells.csv", _cells_csv(names, cells, results))
    bundle.replace(folder / "summary.md", _page(title, names, cells, results, rows).encode())
    return rows


def table(names: Sequence[str], rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows for people."""
    short = short_names(names)
    with_success = any(row.success is not None for row in rows)
    header = [*(short[name] for name in names), "arm", "condition", "seeds", "return: IQM [95 %]", "mean"]
    lines = []
    for row in rows:
        estimate = f"{number(row.iqm)} [{number(row.ci_low)}, {number(row.ci_high)}]"
        line = [*(text(row.choice[name]) for name in names), row.arm, row.condition, str(row.seeds), estimate]
        success = [] if not with_success else ["" if row.success is None else f"{fixed(100 * row.success, 0)} %"]
        lines.append([*line, number(row.mean), *success])
    return header + (["success"] if with_success else []), lines


def _row(choice: dict[str, Any], name: str, arm: str, condition: str, entries: list[dict[str, Any]]) -> Row:
    returns = np.array([entry["mean"] for entry in entries])
    low, high = interval(iqm(bootstrap([returns], f"sweep {name} {arm} {condition}"), axis=1))
    successes = [entry["success"] for entry in entries if entry["success"] is not None]
    return Row(
        choice=choice,
        arm=arm,
        condition=condition,
        seeds=len(entries),
        iqm=float(iqm(returns)),
        ci_low=low,
        ci_high=high,
        mean=float(returns.mean()),
        least=float(returns.min()),
        most=float(returns.max()),
        success=float(np.mean(successes)) if successes else None,
    )


def _summary_csv(names: Sequence[str], rows: Sequence[Row]) -> bytes:
    lines = [
        [*(row.choice[name] for name in names), row.arm, row.condition, *(getattr(row, name) for name in FIGURES)]
        for row in rows
    ]
    return _csv([*names, "arm", "condition", *FIGURES], lines)


def _cells_csv(names: Sequence[str], cells: Sequence[Cell], results: Mapping[str, dict[str, Any]]) -> bytes:
    lines = []
    for cell in cells:
        document = results.get(cell.key)
        if document is None:
            continue
        varied = [cell.choice[name] for name in names]
        for entry in document["evaluation"]["cells"]:
            figures = [entry["episodes"], entry["mean"], entry["success"]]
            digest = document["training"]["digest"]
            lines.append(
                [cell.key, *varied, cell.seed, entry["arm"], entry["label"], *figures, digest, f"runs/{cell.key}"]
            )
    return _csv(["cell", *names, "seed", "arm", "condition", "episodes", "return", "success", "digest", "run"], lines)


def _csv(header: Sequence[str], lines: Sequence[Sequence[Any]]) -> bytes:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    for line in lines:
        writer.writerow(
            ["" if value is None else text(value) if not isinstance(value, float) else repr(value) for value in line]
        )
    return file.getvalue().encode()


def _page(
    title: str,
    names: Sequence[str],
    cells: Sequence[Cell],
    results: Mapping[str, dict[str, Any]],
    rows: Sequence[Row],
) -> str:
    done = sum(cell.key in results for cell in cells)
    seeds = sorted({cell.seed for cell in cells})
    parts = [
        f"# {title}",
        f"{done} of {len(cells)} cells, seeds {', '.join(str(seed) for seed in seeds)}. A training is one figure, the "
        "mean return of its episodes; over the seeds: interquartile mean with a 95 % bootstrap interval.",
        markdown(*table(names, rows)),
    ]
    codes = {cell.code["homeo_rl"][:12] for cell in cells}
    versions = {f"{name.removeprefix('package ')} {value}" for cell in cells for name, value in cell.code.items()
                if name.startswith("package ")}  # fmt: skip
    parts.append(f"Code {', '.join(sorted(codes))}; {', '.join(sorted(versions))}.")
    return "\n\n".join(parts) + "\n"
