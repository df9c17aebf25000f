"""Comparison of a policy that is repaired with a twin that was trained to be robust."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from homeo_rl.report.contrasts import Estimate
from homeo_rl.report.statistics import bootstrap, interval
from homeo_rl.studies.results import CLEAN, DAMAGED, Cell, Results
from homeo_rl.studies.study import Twin


@dataclass(frozen=True)
class Comparison:
    """Returns as shares of the clean return of the policy that is repaired."""

    host: str  # the policy, or "all"
    twin: str  # the other one, or "all"
    conditions: int  # damaged cells that both were evaluated in
    clean: float  # of the twin, without damage
    frozen: float  # of the policy without the arm
    repaired: Estimate  # of the policy with the arm
    trained: Estimate  # of the twin, frozen
    difference: Estimate  # of the last two, paired by episode


def compare_twins(results: Results) -> list[Comparison]:
    """Return a comparison of each pair that was evaluated, and one of all pairs where there are several."""
    met = [
        (pair, conditions)
        for pair in (Twin(**entry) for entry in results.document["study"].get("twins", ()))
        if (conditions := _conditions(results, pair))
    ]
    comparisons = [_compare(pair.host, pair.twin, [conditions]) for pair, conditions in met]
    return [*comparisons, _compare("all", "all", [each for _, each in met])] if len(met) > 1 else comparisons


class _Condition(NamedTuple):
    """A condition that both met: returns [E] in clean returns of the policy, and the twin's clean return."""

    name: str
    frozen: np.ndarray
    repaired: np.ndarray
    trained: np.ndarray
    clean: float


def _conditions(results: Results, pair: Twin) -> list[_Condition]:
    entries = {group["name"]: group for group in results.document["study"]["groups"]}
    cells = (*results.cells, *results.raw)
    of_host = {cell.group for cell in cells if cell.host == pair.host and cell.arm == pair.arm}
    of_twin = {cell.group for cell in cells if cell.host == pair.twin}
    groups = [(one, other) for one in of_host for other in of_twin if entries[one]["suite"] == entries[other]["suite"]]
    if not groups:
        return []
    group, other = min(groups)
    frozen, repaired, trained = (
        {cell.condition: cell for cell in cells if (cell.group, cell.host, cell.arm) == key}
        for key in (
            (group, pair.host, str(entries[group]["arms"][0])),
            (group, pair.host, pair.arm),
            (other, pair.twin, str(entries[other]["arms"][0])),
        )
    )
    scale, clean = _clean_return(frozen), _clean_return(trained)
    if not scale > 0:
        return []

    def shares(table: dict[str, Cell], name: str) -> np.ndarray:
        return table[name].figures["return"] / scale

    return [
        _Condition(f"{pair.host} {n}", shares(frozen, n), shares(repaired, n), shares(trained, n), clean / scale)
        for n, cell in repaired.items()
        if cell.kind in DAMAGED and n in frozen and n in trained
    ]


def _clean_return(table: dict[str, Cell]) -> float:
    returns = [cell.figures["return"].mean() for cell in table.values() if cell.kind in CLEAN]
    return float(returns[0]) if returns else float("nan")


def _compare(host: str, twin: str, pairs: Sequence[list[_Condition]]) -> Comparison:
    every = [condition for conditions in pairs for condition in conditions]
    parts = [(c.repaired, c.trained, c.repaired[: len(c.trained)] - c.trained[: len(c.repaired)]) for c in every]
    return Comparison(
        host, twin, len(every), float(np.mean([conditions[0].clean for conditions in pairs])),
        float(np.mean([condition.frozen.mean() for condition in every])),
        *(_estimate(values, [condition.name for condition in every]) for values in zip(*parts, strict=True)),
    )  # fmt: skip


def _estimate(strata: Sequence[np.ndarray], names: Sequence[str]) -> Estimate:
    samples = np.mean([bootstrap([v], name).mean(1) for v, name in zip(strata, names, strict=True)], axis=0)
    return Estimate(float(np.mean([values.mean() for values in strata])), *interval(samples))
