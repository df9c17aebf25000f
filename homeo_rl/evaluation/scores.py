"""scores.csv: one row an episode, the same bytes for the same command."""

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from homeo_rl.degradations.protocol import Condition
from homeo_rl.evaluation.episode import Episode
from homeo_rl.evaluation.metrics import IDENTITY, METRICS, Measurement, Score, columns
from homeo_rl.storage import bundle


def score(
    episode: Episode,
    run: str,
    arm: str,
    condition: Condition,
    reference_rates: Sequence[np.ndarray],
    layer_norms: Sequence[float],
    judge: Callable[[Episode], int],
) -> Score:
    """Condense an episode of a run, with one arm under one condition; see `Measurement` for the other arguments."""
    measurement = Measurement(episode, reference_rates, layer_norms, judge)
    values = {metric.key: metric.of_episode(measurement) for metric in METRICS.values()}
    return Score(run, arm, condition.name, condition.severity, episode.index, episode.seed, values)


def write_scores(path: Path, scores: Sequence[Score]) -> None:
    """Write the table; floats in full precision, None as an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns())
    keys = (*IDENTITY, *(metric.key for metric in METRICS.values()))
    writer.writerows([_text(getattr(row, key)) for key in keys] for row in scores)
    bundle.replace(path, text.getvalue().encode())


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    return repr(value) if isinstance(value, float) else str(value)
