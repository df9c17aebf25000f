"""Evaluations in TensorBoard: means of every cell, a table a suite, and homeostasis over the decisions of an episode.

A cell is a run, so there is one card a figure, however many suites, conditions and arms there are; TensorBoard sorts
cards by tag, and these tags come after those of the training: ``eval/``, ``rollout/``, then ``suite/``, and last
``within_episode/``, whose horizontal axis counts decisions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from homeo_rl.evaluation.rollout import TRACE_EVERY
from homeo_rl.evaluation.scores import Score
from homeo_rl.run import slug
from homeo_rl.storage.event_files import quiet_writers

_NAMES = {"episodes": "running"}
"""Entries of a trace that have another name here."""


def log_evaluation(
    folder: Path,
    suite: str,
    step: int,
    scores: Sequence[Score],
    traces: Mapping[tuple[str, str], list[dict[str, Any]]],
) -> None:
    """Write an evaluation below ``folder``.

    Every cell is a run, ``<suite>/<condition>/<arm>``: its means are ``suite/...`` at the step that the policy was
    trained for, its trace is ``within_episode/<figure>/<layer>`` over decisions. The run ``evaluation`` has the mean
    returns of all cells as a table (tab "Text").

    Args:
        folder: the run's TensorBoard folder.
        suite: the suite's name.
        step: environment steps that the policy was trained for.
        scores: episodes.
        traces: for each (arm, condition label), entries of `homeo_rl.evaluation.rollout`.
    """
    from torch.utils.tensorboard import SummaryWriter  # half a second, for those who log only

    cells: dict[tuple[str, str], list[Score]] = {}
    for s in scores:
        label = s.condition if s.severity in (0.0, 1.0) else f"{s.condition}@{s.severity:g}"
        cells.setdefault((s.arm, label), []).append(s)
    with quiet_writers(), SummaryWriter(str(folder / "evaluation")) as writer:
        writer.add_text(f"suite/{slug(suite)}", _table(cells), step)
    for arm, label in dict.fromkeys((*cells, *traces)):
        with quiet_writers(), SummaryWriter(str(folder / slug(suite) / label / arm.replace("/", "-"))) as writer:
            for name, values in _figures(cells.get((arm, label), [])).items():
                if values:
                    writer.add_scalar(f"suite/{name}", float(np.mean(values)), step)
            for place, entry in enumerate(traces.get((arm, label), [])):
                for key, layers in entry.items():
                    for layer, value in enumerate(layers):
                        tag = f"within_episode/{_NAMES.get(key, key)}/{layer}"
                        writer.add_scalar(tag, value, place * TRACE_EVERY)


def _figures(mine: Sequence[Score]) -> dict[str, list[float]]:
    """Return the figures of a cell's episodes; those that an episode does not have are left out."""
    return {
        "return": [s.total for s in mine],
        "length": [float(s.length) for s in mine],
        "success": [float(s.success) for s in mine if s.success is not None],
        "firing_rate": [s.firing_rate for s in mine if s.firing_rate is not None],
        "rate_deviation": [s.rate_deviation for s in mine if s.rate_deviation is not None],
        "weight_drift": [s.weight_drift for s in mine],
        "synops": [s.synops for s in mine],
        "spikes": [s.spikes for s in mine if s.spikes is not None],
        "energy_nJ": [1e9 * s.energy for s in mine if s.energy is not None],
        "unstable": [float(s.unstable) for s in mine if s.unstable is not None],
        "rolled_back": [float(s.rolled_back) for s in mine if s.rolled_back is not None],
        "sleeps": [float(s.sleeps) for s in mine if s.sleeps is not None],
    }


def _table(cells: Mapping[tuple[str, str], Sequence[Score]]) -> str:
    """Return the mean return of every cell as Markdown, a row a condition and a column an arm."""
    arms, labels = (list(dict.fromkeys(pair[place] for pair in cells)) for place in (0, 1))
    means = {pair: f"{np.mean([s.total for s in mine]):,.1f}" for pair, mine in cells.items()}
    rows = [["mean return", *arms], ["---"] * (1 + len(arms))]
    rows += [[label, *(means.get((arm, label), "") for arm in arms)] for label in labels]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
