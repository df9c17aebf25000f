"""Judgement of a study's pre-registered criteria by its figures."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from homeo_rl.report.contrasts import Estimate
from homeo_rl.studies.group_contrasts import differences, pair_groups
from homeo_rl.studies.results import (
    CLEAN,
    DAMAGED,
    ENVIRONMENT,
    NETWORK,
    Cell,
    Results,
    difference_of,
    harms_of,
    mean_of,
    mean_of_figure,
    share_of_gain,
)
from homeo_rl.studies.study import Claim, claim_fields

_NAMED = 6  # cells that a verdict names
_KINDS = {"damaged": DAMAGED, "network": NETWORK, "environment": ENVIRONMENT, "clean": CLEAN}


@dataclass(frozen=True)
class Verdict:
    """A claim and its outcome."""

    claim: Claim
    # the mean with its interval, for an equivalence that of the worst host; for harm, the number of cells, for changes
    # of episodes; a total
    value: Estimate | int
    where: str  # that host, or the harmed cells
    holds: bool  # whether the claim is fulfilled


def judge(results: Results) -> list[Verdict]:
    """Return a verdict on every claim for which there are cells; means and intervals are those of the page."""
    claims = [Claim(**claim_fields(entry)) for entry in results.document["study"]["claims"]]
    return [verdict for claim in claims if (verdict := _judge(claim, results)) is not None]


def _judge(claim: Claim, results: Results) -> Verdict | None:
    cells = _cells_of(claim, results)
    if claim.figure:
        return _judge_figure(claim, cells)
    if claim.min_share_of_gain is not None:
        share = share_of_gain(results.pairs(cells), results, claim.versus)
        return None if share is None else Verdict(claim, share, "", share.mean >= claim.min_share_of_gain)
    if claim.min_retention is not None:
        return Verdict(claim, mean := mean_of(cells), "", mean.mean >= claim.min_retention) if cells else None
    if claim.max_harmed_cells is not None:
        cells = results.of(claim.group, claim.arm)
    if claim.versus_group:
        pairs = differences(pair_groups(results, cells, claim.versus_group))
    else:
        pairs = results.pairs(cells, claim.versus)
    if not pairs:
        return None
    if claim.max_harmed_cells is not None:
        harmed = [harm.cell for harm in harms_of(pairs) if harm.corrected < 0.05]
        where = _list(f"{cell.host} {cell.condition}" for cell in harmed)
        return Verdict(claim, len(harmed), where, len(harmed) <= claim.max_harmed_cells)
    if claim.max_changed_episodes is not None:
        changed = {f"{cell.host} {cell.condition}": int((gap != 0).sum()) for cell, gap in pairs if gap.any()}
        return Verdict(claim, total := sum(changed.values()), _list(changed), total <= claim.max_changed_episodes)
    if claim.equivalence_margin is not None:
        return _judge_every_host(claim, pairs, claim.equivalence_margin)
    assert claim.min_gain is not None
    gain = difference_of(pairs)
    return Verdict(claim, gain, "", (gain.low if claim.require_significance else gain.mean) >= claim.min_gain)


def _list(names: Iterable[str]) -> str:
    first, others = (known := list(names))[:_NAMED], known[_NAMED:]
    return ", ".join(first) + (f" and {len(others)} more" if others else "")


def _cells_of(claim: Claim, results: Results) -> list[Cell]:
    """Return the cells that a claim is about."""
    cells = results.of(claim.group, claim.arm, kinds=_KINDS[claim.under], among=claim.conditions)
    reference = results.reference(claim.group) if cells else ""
    if claim.min_loss is not None:
        clean = {c.host: c.value.mean() for c in results.of(claim.group, reference, kinds=CLEAN)}
        damaged = {(c.host, c.condition): c.value.mean() for c in results.of(claim.group, reference)}
        cells = [c for c in cells if clean[c.host] - damaged[c.host, c.condition] >= claim.min_loss]
    if claim.min_other_gain is not None:
        gains = results.pairs(results.of(claim.group, claim.versus))
        large = {(c.host, c.condition) for c, gap in gains if gap.mean() >= claim.min_other_gain}
        cells = [c for c in cells if (c.host, c.condition) in large]
    return cells


def _judge_figure(claim: Claim, cells: Sequence[Cell]) -> Verdict | None:
    values = [cell.figures[claim.figure] for cell in cells]
    if not any(np.isfinite(value).any() for value in values):
        return None
    if claim.max_total is not None:
        total = int(sum(np.nansum(value) for value in values))
        where = _list(f"{c.host} {c.condition}" for c, v in zip(cells, values, strict=True) if np.nansum(v))
        return Verdict(claim, total, where, total <= claim.max_total)
    mean = mean_of_figure(cells, claim.figure)
    if claim.min_mean is not None:
        return Verdict(claim, mean, "", mean.mean >= claim.min_mean)
    assert claim.max_mean is not None
    return Verdict(claim, mean, "", mean.mean <= claim.max_mean)


def _judge_every_host(claim: Claim, pairs: Sequence[tuple[Cell, np.ndarray]], margin: float) -> Verdict:
    """Return the verdict of the worst host, whose interval has to reach the margin."""
    hosts = dict.fromkeys(cell.host for cell, _ in pairs)
    gains = {host: difference_of([pair for pair in pairs if pair[0].host == host]) for host in hosts}
    worst = min(gains, key=lambda host: gains[host].high)
    return Verdict(claim, gains[worst], worst, gains[worst].high >= margin)
