"""Comparison of two groups of a study whose hosts stand in pairs, such as spiking policies and their MLP twins."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from homeo_rl.report.contrasts import Estimate
from homeo_rl.studies.results import CLEAN, DAMAGED, Cell, Results, difference_of, harms_of, mean_of

Pairs = list[tuple[Cell, np.ndarray]]


@dataclass(frozen=True)
class GroupContrast:
    """The first group minus the second, over the cells of a kind or under a condition; both frozen."""

    what: str  # which cells
    cells: int  # pairs of cells, one a pair of hosts and condition
    first: float  # mean retention of the first group, as a share of each host's own clean return
    second: float  # of the second
    difference: Estimate  # of the two, paired by episode
    returns: Estimate  # the difference of the returns as they are, in clean returns of the first group's host
    worse: int  # pairs of cells in which the first group retains less at the 5 % level, after Holm's correction
    better: int  # those in which it retains more


def pair_groups(results: Results, cells: Sequence[Cell], other: str) -> list[tuple[Cell, Cell]]:
    """Return the cells with those of the group ``other`` under the same condition: its host at the same place."""
    partners = dict(zip(_hosts(results, cells[0].group), _hosts(results, other), strict=False)) if cells else {}
    arm = results.reference(other) if results.of(other) else ""
    there = {(cell.host, cell.condition): cell for cell in results.of(other, arm)}
    pairs = ((cell, there.get((partners.get(cell.host, ""), cell.condition))) for cell in cells)
    return [(cell, partner) for cell, partner in pairs if partner is not None]


def differences(pairs: Sequence[tuple[Cell, Cell]]) -> Pairs:
    """Return the cells of the first group with the differences of retention, episode by episode [E]."""
    return [(first, first.value - second.value) for first, second in pairs]


def contrast_groups(results: Results, first: str, second: str) -> list[GroupContrast]:
    """Return the contrasts of all damaged cells, of each kind of damage, and of each condition.

    Cells are corrected for all damaged cells together. Empty where the groups share no damaged cell yet.
    """
    cells = results.of(first, results.reference(first)) if results.of(first) else []
    pairs = pair_groups(results, cells, second)
    damaged = [pair for pair in pairs if pair[0].kind in DAMAGED]
    if not damaged:
        return []
    clean = {pair[0].host: pair[0].figures["return"].mean() for pair in pairs if pair[0].kind in CLEAN}
    gaps = differences(damaged)
    worse = {id(harm.cell) for harm in harms_of(gaps) if harm.corrected < 0.05}
    better = {id(harm.cell) for harm in harms_of([(cell, -gap) for cell, gap in gaps]) if harm.corrected < 0.05}

    def contrast(what: str, some: list[tuple[Cell, Cell]]) -> GroupContrast:
        returns = [(a, (a.figures["return"] - b.figures["return"]) / clean[a.host]) for a, b in some]
        return GroupContrast(
            what, len(some), mean_of([a for a, _ in some]).mean, mean_of([b for _, b in some]).mean,
            difference_of(differences(some)), difference_of(returns),
            sum(id(a) in worse for a, _ in some), sum(id(a) in better for a, _ in some),
        )  # fmt: skip

    kinds = {"all damage": DAMAGED, "network": ("network",), "surroundings": ("surroundings",)}
    parts = [(what, [pair for pair in damaged if pair[0].kind in kinds]) for what, kinds in kinds.items()]
    labels = dict.fromkeys(pair[0].condition for pair in damaged)
    parts += [(label, [pair for pair in damaged if pair[0].condition == label]) for label in labels]
    return [contrast(what, some) for what, some in parts if some]


def mean_energy(results: Results, group: str) -> float:
    """Return the mean energy of a decision (J) over the clean episodes of a group's hosts; NaN where it is unknown."""
    cells = results.of(group, results.reference(group), kinds=CLEAN)
    return float(np.mean([cell.figures["energy"].mean() for cell in cells])) if cells else float("nan")


def _hosts(results: Results, group: str) -> list[str]:
    entries = results.document["study"]["groups"]
    return [Path(host).name for entry in entries if entry["name"] == group for host in entry["hosts"]]
