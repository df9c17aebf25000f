"""Evaluations in TensorBoard: a scalar per cell, and homeostasis over the decisions of an episode."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from homeo_rl.evaluation.rollout import TRACE_EVERY
from homeo_rl.evaluation.scores import Score
from homeo_rl.run import slug

_TAGS = {
    "drift": "homeo/drift", "theta": "homeo/theta", "rate_error": "homeo/rate_error", "rate": "snn/rate",
    "reward": "episode/reward", "episodes": "episode/running",
}  # fmt: skip


@contextmanager
def quiet_writers() -> Iterator[None]:
    """Let TensorBoard's writing threads end without a traceback inside a with block.

    What a thread met (a full disk) is raised again where the next figure is written, and is told from there.
    """
    from tensorboard.summary.writer.event_file_writer import _AsyncWriterThread

    before = threading.excepthook

    def told(what: threading.ExceptHookArgs) -> None:
        if not (isinstance(what.thread, _AsyncWriterThread) and isinstance(what.exc_value, OSError)):
            before(what)

    threading.excepthook = told
    try:
        yield
    finally:
        threading.excepthook = before


def log_evaluation(
    folder: Path,
    suite: str,
    step: int,
    scores: Sequence[Score],
    traces: Mapping[tuple[str, str], list[dict[str, Any]]],
) -> None:
    """Write an evaluation below ``folder``.

    Means go under ``eval/<suite>/<condition>/<arm>/...`` at the run's training step. Traces are runs of their own,
    ``<suite>/<condition>/<arm>``, over decisions, so that TensorBoard draws the arms of a condition together.

    Args:
        folder: the run's TensorBoard folder.
        suite: the suite's name.
        step: environment steps that the policy was trained for.
        scores: episodes.
        traces: for each (arm, condition label), entries of `homeo_rl.evaluation.rollout`.
    """
    from torch.utils.tensorboard import SummaryWriter  # half a second, for those who log only

    with quiet_writers(), SummaryWriter(str(folder / "evaluation")) as writer:
        for cell in dict.fromkeys((s.arm, s.condition, s.severity) for s in scores):
            mine = [s for s in scores if (s.arm, s.condition, s.severity) == cell]
            arm, condition, severity = cell
            label = condition if severity in (0.0, 1.0) else f"{condition}@{severity:g}"
            tag = f"eval/{slug(suite)}/{label}/{arm}"
            figures: dict[str, list[float]] = {
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
            for name, values in figures.items():
                if values:
                    writer.add_scalar(f"{tag}/{name}", float(np.mean(values)), step)
    for (arm, label), trace in traces.items():
        with quiet_writers(), SummaryWriter(str(folder / slug(suite) / label / arm.replace("/", "-"))) as writer:
            for place, entry in enumerate(trace):
                for key, values in entry.items():
                    for layer, value in enumerate(values):
                        writer.add_scalar(f"{_TAGS[key]}/{layer}", value, place * TRACE_EVERY)
