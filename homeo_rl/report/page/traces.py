"""Traces of an evaluation in its TensorBoard files: homeostasis and firing rates over the decisions of an episode."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from homeo_rl.report.page.report_data import Comparison
from homeo_rl.run import slug

Series = dict[int, float]  # a figure, averaged over layers, by decision

_MAX_BYTES = 64 << 20

FIGURES = {
    "homeo/drift": (
        "Weight drift",
        "norm of the change over norm of the trained weights of each layer, mean over layers",
        "%",
    ),
    "homeo/rate_error": (
        "Distance from calibrated rates",
        "absolute distance of the mean rate so far from the calibrated one, mean over neurons, then layers",
        "spikes per step",
    ),
    "snn/rate": ("Firing rate", "mean over each layer's neurons, then layers, at that decision", "spikes per step"),
    "episode/reward": ("Reward", "mean of all decisions until the next point", "reward per decision"),
}
"""Figures of a trace by tag: title, definition and unit."""


@dataclass(frozen=True)
class Trace:
    """An arm under a condition: one series per tag; ``written`` is in seconds since 1970."""

    series: dict[str, Series]
    written: float


def read_events(path: Path) -> tuple[dict[str, Series], float]:
    """Return the scalars of an event file by tag, and the time of the last one; a truncated file is read to its end."""
    # TensorBoard's accumulator would load TensorFlow where that is installed; its reader of records is plain Python.
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.tensorflow_stub import errors
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New

    scalars: dict[str, Series] = {}
    written = 0.0
    if path.is_symlink() or not path.is_file() or path.stat().st_size > _MAX_BYTES:
        return scalars, written
    reader = PyRecordReader_New(str(path))
    while True:
        try:
            reader.GetNext()
            event = Event.FromString(reader.record())
        except (errors.OutOfRangeError, errors.DataLossError, ValueError):  # what precedes damage is valid
            return scalars, written
        except Exception as error:  # protobuf's own error has no public name that all its versions share
            if type(error).__name__ != "DecodeError":
                raise
            return scalars, written
        written = max(written, event.wall_time)
        for value in event.summary.value:
            if value.HasField("simple_value") and math.isfinite(value.simple_value):
                scalars.setdefault(value.tag, {})[int(event.step)] = float(value.simple_value)


def read_trace(folder: Path, suite: str, label: str, arm: str) -> Trace | None:
    """Return the newest trace of an arm under a condition in a run's TensorBoard folder, or None."""
    arm_folder = (folder / slug(suite) / label / arm.replace("/", "-")).resolve()
    if not arm_folder.is_relative_to(folder.resolve()) or not arm_folder.is_dir():  # names come from untrusted files
        return None
    events = sorted(arm_folder.glob("events.out.tfevents.*"), key=lambda path: (path.stat().st_mtime_ns, path.name))
    if not events:
        return None
    scalars, written = read_events(events[-1])
    series: dict[str, Series] = {}
    for tag in FIGURES:
        # Evaluations of earlier versions have the tags that trainings have.
        either = (f"{tag}/", f"within_episode/{tag.partition('/')[2]}/")
        layers = [points for name, points in scalars.items() if name.startswith(either)]
        shared = set.intersection(*(set(points) for points in layers)) if layers else set()
        if shared:
            series[tag] = {step: float(np.mean([points[step] for points in layers])) for step in sorted(shared)}
    return Trace(series, written) if series else None


class Traces:
    """Reader of traces, averaged over the runs of a comparison; each file is read once."""

    def __init__(self) -> None:
        self._read: dict[tuple[Path, str, str, str], Trace | None] = {}

    def of(self, comparison: Comparison, label: str, arm: str) -> Trace | None:
        """Return the trace of an arm under a condition, or None."""
        suite = str(comparison.documents[0].get("suite", ""))
        traces = []
        for member in comparison.members:
            key = (member.run.path / "tb", suite, label, arm)
            if key not in self._read:
                self._read[key] = read_trace(*key)
            trace = self._read[key]
            if trace is not None:
                traces.append(trace)
        if not traces:
            return None
        series = {}
        for tag in FIGURES:
            several = [trace.series[tag] for trace in traces if tag in trace.series]
            steps = sorted({step for points in several for step in points})
            if several:
                series[tag] = {s: float(np.mean([points[s] for points in several if s in points])) for s in steps}
        return Trace(series, max(trace.written for trace in traces))

    def latest(self, comparisons: Sequence[Comparison]) -> float:
        """Return when the newest trace was written, in seconds since 1970; 0 without traces."""
        traces = [self.of(each, label, arm) for each in comparisons for label in each.labels for arm in each.arms]
        return max((trace.written for trace in traces if trace is not None), default=0.0)
