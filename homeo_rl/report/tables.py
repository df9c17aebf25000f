"""Robustness tables in Markdown."""

import math
from collections.abc import Sequence

from homeo_rl.evaluation.metrics import METRICS, Figure
from homeo_rl.report.decimals import fixed, stable
from homeo_rl.report.statistics import Cell, Difference, unique


def cell_rows(cells: Sequence[Cell]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the table: one row a condition, one column an arm."""
    arms, labels = unique(cell.arm for cell in cells), unique(cell.label for cell in cells)
    by_place = {(cell.arm, cell.label): cell for cell in cells}
    rows = [[label, *(_entry(by_place.get((arm, label))) for arm in arms)] for label in labels]
    return ["condition", *arms], rows


HARMED = "harmed episodes end worse than those of none by a tenth of the clean return or more"
"""What a column of `difference_rows` means."""


def difference_rows(differences: Sequence[Difference]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the paired comparison."""
    rows = [
        [
            each.arm,
            each.what,
            format_difference(each, each.mean),
            _interval(each),
            f"{fixed(100 * each.harmed, 0)} %, {format_difference(each, each.worst)}",
            str(len(each.conditions)),
        ]
        for each in differences
    ]
    return ["arm", "what", "minus none's", "95 % interval", "harmed, worst", "conditions"], rows


def _interval(difference: Difference) -> str:
    low, high = (format_difference(difference, bound) for bound in (difference.ci_low, difference.ci_high))
    return f"[{low}, {high}]"


def format_difference(difference: Difference, value: float) -> str:
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
    return _figure_rows([cell for cell in cells if cell.collision is not None], "drives")


def reflex_rows(cells: Sequence[Cell]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of what a reflex did; no rows where there is none."""
    cells = [cell for cell in cells if cell.violations is not None]
    header, rows = _figure_rows(cells, "reflex")
    ordered = sorted(cells, key=lambda cell: unique(each.label for each in cells).index(cell.label))
    rows = [[*row, f"{cell.decisions:,}"] for row, cell in zip(rows, ordered, strict=True)]
    return [*header, "decisions"], rows


def _figure_rows(cells: Sequence[Cell], table: str) -> tuple[list[str], list[list[str]]]:
    figures = [figure for metric in METRICS.values() for figure in metric.figures if figure.table == table]
    rows = [
        [cell.label, cell.arm, *(_text_of(cell, figure) for figure in figures)]
        for label in unique(cell.label for cell in cells)
        for cell in cells
        if cell.label == label
    ]
    return ["condition", "arm", *(figure.title or figure.name for figure in figures)], rows


def _text_of(cell: Cell, figure: Figure) -> str:
    value = cell.figures[figure.name]
    if value is None:
        return ""
    if figure.unit == "count":
        return f"{value:,}"
    text = f"{fixed(100 * value, 1)} %" if figure.unit == "share" else f"{fixed(value, 1)} {figure.unit}".rstrip()
    if figure.name == "collision" and cell.collision_interval is not None:
        text += " [" + ", ".join(fixed(100 * end, 1) for end in cell.collision_interval) + "]"
    return text


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
