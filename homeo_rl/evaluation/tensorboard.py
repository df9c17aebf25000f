"""Evaluations in TensorBoard: means of every cell, a table a suite, and homeostasis over the decisions of an episode.

A cell is a run, so there is one card a figure, however many suites, conditions and arms there are; TensorBoard sorts
cards by tag, and these tags come after those of the training: ``eval/``, ``rollout/``, then ``suite/``, and last
``within_episode/``, whose horizontal axis counts decisions.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from homeo_rl.evaluation.metrics import METRICS, Score, existing
from homeo_rl.evaluation.recorders import TRACE_EVERY
from homeo_rl.run import slug
from homeo_rl.storage.event_files import quiet_writers

_NAMES = {"episodes": "running"}  # entries of a trace that have another name here


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

    ``traces``: for each (arm, condition label), entries of `homeo_rl.evaluation.recorders`.
    """
    from torch.utils.tensorboard import SummaryWriter  # half a second, for those who log only

    cells: dict[tuple[str, str], list[Score]] = {}
    for score in scores:
        cells.setdefault((score.arm, score.label), []).append(score)
    with quiet_writers(), SummaryWriter(str(folder / "evaluation")) as writer:
        writer.add_text(f"suite/{slug(suite)}", _table(cells), step)
    for arm, label in dict.fromkeys((*cells, *traces)):
        with quiet_writers(), SummaryWriter(str(folder / slug(suite) / label / arm.replace("/", "-"))) as writer:
            for metric in (metric for metric in METRICS.values() if metric.tag):
                values = [metric.scale * value for value in existing(cells.get((arm, label), ()), metric.key)]
                if values:
                    writer.add_scalar(f"suite/{metric.tag}", float(np.mean(values)), step)
            for index, entry in enumerate(traces.get((arm, label), [])):
                for key, layers in entry.items():
                    for layer, value in enumerate(layers):
                        tag = f"within_episode/{_NAMES.get(key, key)}/{layer}"
                        writer.add_scalar(tag, value, index * TRACE_EVERY)


def _table(cells: Mapping[tuple[str, str], Sequence[Score]]) -> str:
    arms, labels = (list(dict.fromkeys(pair[part] for pair in cells)) for part in (0, 1))
    means = {pair: f"{np.mean([score.total for score in scores]):,.1f}" for pair, scores in cells.items()}
    rows = [["mean return", *arms], ["---"] * (1 + len(arms))]
    rows += [[label, *(means.get((arm, label), "") for arm in arms)] for label in labels]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
