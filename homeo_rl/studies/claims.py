"""Judgement of a study's pre-registered criteria by its figures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from homeo_rl.studies.results import (
    CLEAN,
    DAMAGED,
    ENVIRONMENT,
    NETWORK,
    Cell,
    Estimate,
    Results,
    difference_of,
    harms_of,
    mean_of,
)
from homeo_rl.studies.study import Claim, claim_fields

_KINDS = {"damaged": DAMAGED, "network": NETWORK, "environment": ENVIRONMENT, "clean": CLEAN}


@dataclass(frozen=True)
class Verdict:
    """A claim and its outcome."""

    claim: Claim
    # the mean with its interval, for an equivalence that of the worst host; for harm, the number of cells
    value: Estimate | int
    where: str  # that host, or the harmed cells
    holds: bool  # whether the claim is fulfilled


def judge(results: Results) -> list[Verdict]:
    """Return a verdict on every claim for which there are cells; means and intervals are those of the page."""
    claims = [Claim(**claim_fields(entry)) for entry in results.document["study"]["claims"]]
    return [verdict for claim in claims if (verdict := _judge(claim, results)) is not None]


def _judge(claim: Claim, results: Results) -> Verdict | None:
    cells = results.of(claim.group, claim.arm, kinds=_KINDS[claim.under], among=claim.conditions)
    if claim.min_retention is not None:
        return Verdict(claim, mean := mean_of(cells), "", mean.mean >= claim.min_retention) if cells else None
    if claim.max_harmed_cells is not None:
        cells = results.of(claim.group, claim.arm)
    pairs = results.pairs(cells, claim.versus)
    if not pairs:
        return None
    if claim.max_harmed_cells is not None:
        harmed = [harm.cell for harm in harms_of(pairs) if harm.corrected < 0.05]
        where = ", ".join(f"{cell.host} {cell.condition}" for cell in harmed)
        return Verdict(claim, len(harmed), where, len(harmed) <= claim.max_harmed_cells)
    if claim.equivalence_margin is not None:
        return _judge_every_host(claim, pairs, claim.equivalence_margin)
    assert claim.min_gain is not None
    gain = difference_of(pairs)
    return Verdict(claim, gain, "", (gain.low if claim.require_significance else gain.mean) >= claim.min_gain)


def _judge_every_host(claim: Claim, pairs: Sequence[tuple[Cell, np.ndarray]], margin: float) -> Verdict:
    """Return the verdict of the worst host, whose interval has to reach the margin."""
    hosts = dict.fromkeys(cell.host for cell, _ in pairs)
    gains = {host: difference_of([pair for pair in pairs if pair[0].host == host]) for host in hosts}
    worst = min(gains, key=lambda host: gains[host].high)
    return Verdict(claim, gains[worst], worst, gains[worst].high >= margin)
