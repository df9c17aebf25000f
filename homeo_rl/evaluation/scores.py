"""scores.csv: one row an episode, the same bytes for the same command."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from homeo_rl.evaluation.rollout import Episode
from homeo_rl.numerics.energy import joules
from homeo_rl.storage import bundle


@dataclass(frozen=True, kw_only=True)
class Score:
    """One episode of one cell. Figures that do not exist (spikes of an MLP, success of HalfCheetah) are None.

    Attributes:
        firing_rate: spikes / (neurons * spike steps), mean over the episode.
        rate_deviation: mean over neurons of abs(rate - calibrated rate).
        weight_drift: norm(delta) / norm(trained) over all layers at the end.
        synops: synaptic operations a decision (multiply-accumulates for an MLP).
        outcome: "success", "collision" or "overtime" (navigation).
        path_length: metres driven.
        time: seconds driven.
        reflex: share of the decisions in which an output of the reflex was on.
        violations: decisions that its specification forbids: judged by the reference machine on the events that were
        seen.
        unstable: whether MuJoCo gave the simulation up, which ended the episode (None without a simulation).
        rolled_back: how often an adaptation went wrong and was started again (None where nothing adapts).
        spikes: of inputs and neurons, a decision (None for an MLP).
        energy: joules a decision, of its arithmetic (`homeo_rl.numerics.energy`).
        sleeps: how often it slept or rehearsed (None where nothing does).
        rate_spread: standard deviation over neurons of their mean rates.
    """

    run: str
    arm: str
    condition: str
    severity: float
    episode: int
    seed: int
    total: float
    length: int
    success: bool | None
    firing_rate: float | None
    rate_deviation: float | None
    weight_drift: float
    synops: float
    outcome: str | None
    path_length: float | None
    time: float | None
    reflex: float | None = None
    violations: int | None = None
    unstable: bool | None = None
    rolled_back: int | None = None
    spikes: float | None = None
    energy: float | None = None
    sleeps: int | None = None
    rate_spread: float | None = None


_HEADERS = {"total": "return"}
COLUMNS = tuple(_HEADERS.get(field.name, field.name) for field in fields(Score))


def score(
    episode: Episode,
    *,
    run: str,
    arm: str,
    condition: str,
    severity: float,
    normal: Sequence[np.ndarray],
    layer_norms: Sequence[float],
    violations: int | None = None,
) -> Score:
    """Condense an episode.

    Args:
        episode: what the loop left.
        run: the run's name.
        arm: the homeostasis arm.
        condition: the condition's name.
        severity: its severity.
        normal: calibrated mean rates [N] of each spiking layer; empty for an MLP.
        layer_norms: Frobenius norms of the trained weights.
        violations: decisions against the reflex's specification, where there is a reflex.
    """
    rate = deviation = spread = None
    if normal:
        means, _ = episode.rates.means()
        rate, spread = float(np.concatenate(means).mean()), float(np.concatenate(means).std())
        deviation = float(np.abs(np.concatenate(means) - np.concatenate(list(normal))).mean())
    norms = np.asarray(layer_norms)
    moved = np.asarray(episode.drift) * norms
    spikes, additions, products = episode.operations
    return Score(
        run=run,
        arm=arm,
        condition=condition,
        severity=severity,
        episode=episode.index,
        seed=episode.seed,
        total=episode.total,
        length=episode.length,
        success=episode.success,
        firing_rate=rate,
        rate_deviation=deviation,
        weight_drift=float(np.sqrt((moved**2).sum() / (norms**2).sum())),
        synops=float(additions + products) / episode.length,
        outcome=episode.outcome,
        path_length=episode.path_length,
        time=episode.time,
        reflex=float(np.mean([on.any() for _, on, _ in episode.reflex])) if episode.reflex else None,
        violations=violations,
        unstable=episode.unstable,
        rolled_back=episode.rolled_back,
        spikes=float(spikes) / episode.length if normal else None,
        energy=joules(float(additions), float(products)) / episode.length,
        sleeps=episode.sleeps,
        rate_spread=spread,
    )


def write_scores(path: Path, scores: Sequence[Score]) -> None:
    """Write the table; floats in full precision, None as an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in scores:
        writer.writerow([_text(getattr(row, field.name)) for field in fields(Score)])
    bundle.replace(path, text.getvalue().encode())


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    return repr(value) if isinstance(value, float) else str(value)
