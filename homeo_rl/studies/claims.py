"""What a study set out to show, held against its figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from homeo_rl.studies.results import (
    CLEAN,
    DAMAGED,
    NETWORK,
    SURROUNDINGS,
    Cell,
    Estimate,
    Results,
    difference_of,
    harms_of,
    mean_of,
)
from homeo_rl.studies.study import Claim

KINDS = {"damaged": DAMAGED, "network": NETWORK, "surroundings": SURROUNDINGS, "clean": CLEAN}


@dataclass(frozen=True)
class Verdict:
    """A claim, what was found, and whether it holds.

    Attributes:
        found: mean and interval of what is claimed about; of a claim of ties, of the host that comes off worst; of a
            claim of harm, the number of cells.
        where: that host, or the cells that are harmed.
    """

    claim: Claim
    found: Estimate | int
    where: str
    holds: bool


def judge(results: Results) -> list[Verdict]:
    """Return a verdict on every claim that there are cells for; their means and intervals are those of the page."""
    claims = [Claim(**entry) for entry in results.document["study"]["claims"]]
    return [verdict for claim in claims if (verdict := _judged(claim, results)) is not None]


def _judged(claim: Claim, results: Results) -> Verdict | None:
    mine = results.of(claim.group, claim.arm, kinds=KINDS[claim.under], among=claim.conditions)
    if claim.kept is not None:
        return Verdict(claim, kept := mean_of(mine), "", kept.mean >= claim.kept) if mine else None
    if claim.harmed is not None:
        mine = results.of(claim.group, claim.arm)
    pairs = results.pairs(mine, claim.than)
    if not pairs:
        return None
    if claim.harmed is not None:
        bad = [harm.cell for harm in harms_of(pairs) if harm.corrected < 0.05]
        where = ", ".join(f"{cell.host} {cell.condition}" for cell in bad)
        return Verdict(claim, len(bad), where, len(bad) <= claim.harmed)
    if claim.tied is not None:
        return _on_every_host(claim, pairs, claim.tied)
    assert claim.gained is not None
    found = difference_of(pairs)
    return Verdict(claim, found, "", (found.low if claim.surely else found.mean) >= claim.gained)


def _on_every_host(claim: Claim, pairs: Sequence[tuple[Cell, np.ndarray]], least: float) -> Verdict:
    """Return the verdict of the host that comes off worst: its interval has to reach what is asked."""
    hosts = dict.fromkeys(cell.host for cell, _ in pairs)
    each = {host: difference_of([pair for pair in pairs if pair[0].host == host]) for host in hosts}
    worst = min(each, key=lambda host: each[host].high)
    return Verdict(claim, each[worst], worst, each[worst].high >= least)
