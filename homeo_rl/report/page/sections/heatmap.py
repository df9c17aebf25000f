"""Every arm under every condition, as a heat map."""

from dataclasses import dataclass

from homeo_rl.report.decimals import fixed
from homeo_rl.report.page import phrasing
from homeo_rl.report.page.blocks import Section, block_section
from homeo_rl.report.page.context import PageContext
from homeo_rl.report.page.report_data import Comparison
from homeo_rl.report.statistics import Cell


@dataclass(frozen=True)
class Shade:
    """A cell of the heat map: its figure, smaller ones below it, and the strength of its colour (0 to 1)."""

    text: str
    more: tuple[str, ...]
    share: float


def heatmap(context: PageContext) -> Section | None:
    """Return the section with a cell for each condition and arm; None without evaluations."""
    blocks = []
    for comparison in context.data.comparisons:
        cells = {(cell.arm, cell.label): cell for cell in comparison.cells}
        damages = context.damages(comparison)
        means = [cell.iqm for cell in comparison.cells]
        rows = [
            {
                "label": label,
                "damage": damages[label].text if label in damages else "",
                "shades": [
                    _shade(comparison, cells.get((arm, label)), min(means), max(means)) for arm in comparison.arms
                ],
            }
            for label in comparison.labels
        ]
        episodes = min(cell.episodes for cell in comparison.cells)
        blocks.append({"name": comparison.name, "suite": comparison.suite, "arms": comparison.arms, "rows": rows,
                       "main": _main_figure(comparison), "episodes": episodes})  # fmt: skip
    how = (
        "One row per condition, one column per arm; darker is better. Below the main figure: the interquartile mean "
        "return with its 95 % stratified-bootstrap interval."
    )
    return block_section("robustness", "Robustness", how, "heatmap.html.j2", blocks)


def _main_figure(comparison: Comparison) -> str:
    if any(cell.success is not None for cell in comparison.cells):
        return "success"
    return "mean return / none's clean mean return" if comparison.clean is not None else "interquartile mean return"


def _shade(comparison: Comparison, cell: Cell | None, low: float, high: float) -> Shade | None:
    if cell is None:
        return None
    between = phrasing.plain_interval(cell.ci_low, cell.ci_high)
    iqm = f"{phrasing.plain(cell.iqm)} {between}"
    retention = None if comparison.clean is None else cell.mean / comparison.clean
    if cell.success is not None:
        more = (iqm,) if retention is None else (iqm, f"{phrasing.plain(retention)} of clean")
        return Shade(f"{fixed(100 * cell.success, 0)} %", more, cell.success)
    if retention is not None:
        return Shade(phrasing.plain(retention), (iqm,), min(max(retention, 0.0), 1.0))
    share = (cell.iqm - low) / (high - low) if high > low else 1.0
    normalised = () if cell.normalised is None else (f"normalised {phrasing.plain(cell.normalised)}",)
    return Shade(phrasing.plain(cell.iqm), (between, *normalised), share)
