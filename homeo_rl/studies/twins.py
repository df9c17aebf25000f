"""Comparison of a policy that is repaired with a twin that was trained to be robust."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from homeo_rl.report.statistics import bootstrap, interval
from homeo_rl.studies.results import CLEAN, DAMAGED, Cell, Estimate, Results
from homeo_rl.studies.study import Twin


@dataclass(frozen=True)
class Comparison:
    """Returns as shares of the clean return of the policy that is repaired.

    Attributes:
        host: the policy, or "all".
        twin: the other one, or "all".
        conditions: damaged cells that both were evaluated in.
        clean: of the twin, without damage.
        frozen: of the policy without the arm.
        repaired: of the policy with the arm.
        trained: of the twin, frozen.
        difference: of the last two, paired by episode.
    """

    host: str
    twin: str
    conditions: int
    clean: float
    frozen: float
    repaired: Estimate
    trained: Estimate
    difference: Estimate


@dataclass(frozen=True)
class _Strata:
    """What a comparison is computed from: one array of episodes [E] a condition."""

    clean: float
    frozen: list[np.ndarray]
    repaired: list[np.ndarray]
    trained: list[np.ndarray]
    names: list[str]


def compare_twins(results: Results) -> list[Comparison]:
    """Return a comparison of each pair that was evaluated, and one of all pairs where there are several."""
    comparisons, every = [], []
    for pair in (Twin(**entry) for entry in results.document["study"].get("twins", ())):
        strata = _strata_of(results, pair)
        if strata is not None:
            comparisons.append(_compare(pair.host, pair.twin, [strata]))
            every.append(strata)
    return [*comparisons, _compare("all", "all", every)] if len(every) > 1 else comparisons


def _strata_of(results: Results, pair: Twin) -> _Strata | None:
    suites = {group["name"]: group["suite"] for group in results.document["study"]["groups"]}
    cells = (*results.cells, *results.raw)
    of_host = {cell.group for cell in cells if cell.host == pair.host and cell.arm == pair.arm}
    of_twin = {cell.group for cell in cells if cell.host == pair.twin}
    groups = [(one, other) for one in of_host for other in of_twin if suites[one] == suites[other]]
    if not groups:
        return None
    group, other = min(groups)
    repaired, frozen, trained = (
        {cell.condition: cell for cell in cells if (cell.group, cell.host, cell.arm) == key}
        for key in (
            (group, pair.host, pair.arm),
            (group, pair.host, _first_arm(results, group)),
            (other, pair.twin, _first_arm(results, other)),
        )
    )
    scale = _clean_return(frozen)
    names = [name for name, cell in repaired.items() if cell.kind in DAMAGED and name in frozen and name in trained]
    if not names or not scale > 0:
        return None

    def shares(table: dict[str, Cell]) -> list[np.ndarray]:
        return [table[name].figures["return"] / scale for name in names]

    return _Strata(
        _clean_return(trained) / scale, shares(frozen), shares(repaired), shares(trained),
        [f"{pair.host} {name}" for name in names],
    )  # fmt: skip


def _first_arm(results: Results, group: str) -> str:
    return next(str(entry["arms"][0]) for entry in results.document["study"]["groups"] if entry["name"] == group)


def _clean_return(table: dict[str, Cell]) -> float:
    returns = [cell.figures["return"].mean() for cell in table.values() if cell.kind in CLEAN]
    return float(returns[0]) if returns else float("nan")


def _compare(host: str, twin: str, strata: Sequence[_Strata]) -> Comparison:
    names = [name for each in strata for name in each.names]
    frozen, repaired, trained = (
        [values for each in strata for values in getattr(each, part)] for part in ("frozen", "repaired", "trained")
    )
    gaps = [a[: len(b)] - b[: len(a)] for a, b in zip(repaired, trained, strict=True)]
    return Comparison(
        host, twin, len(names), float(np.mean([each.clean for each in strata])),
        float(np.mean([values.mean() for values in frozen])),
        *(_estimate(values, names) for values in (repaired, trained, gaps)),
    )  # fmt: skip


def _estimate(strata: Sequence[np.ndarray], names: Sequence[str]) -> Estimate:
    samples = np.mean([bootstrap([v], name).mean(1) for v, name in zip(strata, names, strict=True)], axis=0)
    return Estimate(float(np.mean([values.mean() for values in strata])), *interval(samples))
