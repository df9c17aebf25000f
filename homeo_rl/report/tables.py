"""Robustness tables in Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from homeo_rl.report.decimals import fixed, stable
from homeo_rl.report.statistics import Cell, Difference


def cell_rows(cells: Sequence[Cell]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the table: one row a condition, one column an arm."""
    arms = list(dict.fromkeys(cell.arm for cell in cells))
    labels = list(dict.fromkeys(cell.label for cell in cells))
    found = {(cell.arm, cell.label): cell for cell in cells}
    rows = [[label, *(_entry(found.get((arm, label))) for arm in arms)] for label in labels]
    return ["condition", *arms], rows


def difference_rows(differences: Sequence[Difference]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the paired comparison."""
    rows = [
        [d.arm, d.what, signed(d, d.mean), f"[{signed(d, d.ci_low)}, {signed(d, d.ci_high)}]", str(len(d.conditions))]
        for d in differences
    ]
    return ["arm", "what", "minus none's", "95 % interval", "conditions"], rows


def signed(difference: Difference, value: float) -> str:
    """Return a difference with its sign: a share to the thousandth, a return with few digits, whatever its size."""
    if difference.what != "return":
        return fixed(value, 3, "+")
    return fixed(value, 0 if abs(value) >= 1000 else 1 if abs(value) >= 10 else 2, "+,")


def legend_of(cells: Sequence[Cell]) -> str:
    """Return what the letters of the table mean, those that occur."""
    entries = " ".join(_entry(cell) for cell in cells)
    letters = {
        "r": "r is retention, the mean return divided by the same arm's clean mean return",
        "n": "n is the normalised mean return, 0 for random and 1 for the best known",
        "s": "s is success",
    }
    return "; ".join(text for letter, text in letters.items() if f" {letter} " in entries) or "higher is better"


def drive_rows(cells: Sequence[Cell]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of how drives ended; no rows where nothing drove."""

    def percent(share: float | None) -> str:
        return "" if share is None else f"{fixed(100 * share, 1)} %"

    def collisions(cell: Cell) -> str:
        low, high = cell.collision_interval or (0.0, 0.0)
        return f"{percent(cell.collision)} [{fixed(100 * low, 1)}, {fixed(100 * high, 1)}]"

    rows = [
        [
            cell.label,
            cell.arm,
            percent(cell.success),
            collisions(cell),
            percent(cell.overtime),
            "" if cell.path_length is None else f"{fixed(cell.path_length, 1)} m",
            "" if cell.time is None else f"{fixed(cell.time, 1)} s",
        ]
        for label in dict.fromkeys(cell.label for cell in cells)
        for cell in cells
        if cell.label == label and cell.collision is not None
    ]
    return ["condition", "arm", "success", "collision", "overtime", "path length", "time"], rows


def reflex_rows(cells: Sequence[Cell]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of what a reflex did; no rows where there is none."""
    rows = [
        [
            cell.label,
            cell.arm,
            f"{fixed(100 * (cell.reflex or 0.0), 1)} %",
            f"{cell.violations:,}",
            f"{cell.decisions:,}",
        ]
        for label in dict.fromkeys(cell.label for cell in cells)
        for cell in cells
        if cell.label == label and cell.violations is not None
    ]
    return ["condition", "arm", "reflex on", "against its specification", "decisions"], rows


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def _entry(cell: Cell | None) -> str:
    if cell is None:
        return ""
    text = f"{number(cell.iqm)} [{number(cell.ci_low)}, {number(cell.ci_high)}]"
    shares = cell.retention if not cell.untrained else None
    if shares is not None and cell.severity > 0:
        text += f" r {fixed(shares, 2)}"
    if shares is None and cell.normalised is not None:
        text += f" n {fixed(cell.normalised, 2)}"
    if cell.success is not None:
        text += f" s {fixed(100 * cell.success, 0)} %"
    return text


def number(value: float) -> str:
    """Return a figure short enough for a table."""
    size = abs(stable(value)) if math.isfinite(value) else math.inf
    return fixed(value, 0, ",") if size >= 1000 else fixed(value, 1) if size >= 10 else fixed(value, 2)
