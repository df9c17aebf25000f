"""What TensorBoard files tell of an evaluation: homeostasis and firing rates over the decisions of an episode."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from homeo_rl.report.page.report_data import Comparison
from homeo_rl.run import slug

Series = dict[int, float]
"""A figure, mean over layers, by decision."""

_MAX_EVENTS = 64 << 20

FIGURES = {
    "homeo/drift": (
        "Weight drift",
        "norm of the change over norm of the trained weights of each layer, mean over layers",
        "%",
    ),
    "homeo/rate_error": (
        "Distance from calibrated rates",
        "absolute distance of the mean rate so far from the healthy one, mean over each layer's neurons, then layers",
        "spikes a step",
    ),
    "snn/rate": ("Firing rate", "mean over each layer's neurons, then layers, at that decision", "spikes a step"),
    "episode/reward": ("Reward", "mean of all decisions until the next point", "reward a decision"),
}
"""Figures of a trace: what they are, how they are measured, and their unit."""


@dataclass(frozen=True)
class Trace:
    """What an arm did under a condition: a series a tag; ``written`` is when, in seconds since 1970."""

    series: dict[str, Series]
    written: float


def read_events(path: Path) -> tuple[dict[str, Series], float]:
    """Return the scalars of one event file, by tag, and the time of the last one; a file that ends early ends there."""
    # TensorBoard's accumulator would load TensorFlow where that is installed; its reader of records is plain Python.
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.tensorflow_stub import errors
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New

    found: dict[str, Series] = {}
    written = 0.0
    if path.is_symlink() or not path.is_file() or path.stat().st_size > _MAX_EVENTS:
        return found, written
    reader = PyRecordReader_New(str(path))
    while True:
        try:
            reader.GetNext()
            event = Event.FromString(reader.record())
        except errors.OutOfRangeError:
            return found, written
        except (errors.DataLossError, ValueError):  # what was written before it holds
            return found, written
        except Exception as error:  # protobuf's own error has no public name that all its versions share
            if type(error).__name__ != "DecodeError":
                raise
            return found, written
        written = max(written, event.wall_time)
        for value in event.summary.value:
            if value.HasField("simple_value") and math.isfinite(value.simple_value):
                found.setdefault(value.tag, {})[int(event.step)] = float(value.simple_value)


def read_trace(folder: Path, suite: str, label: str, arm: str) -> Trace | None:
    """Return the newest trace of an arm under a condition in a run's TensorBoard folder; None where there is none."""
    home = (folder / slug(suite) / label / arm.replace("/", "-")).resolve()
    if not home.is_relative_to(folder.resolve()) or not home.is_dir():  # names come from files of strangers
        return None
    events = sorted(home.glob("events.out.tfevents.*"), key=lambda path: (path.stat().st_mtime_ns, path.name))
    if not events:
        return None
    scalars, written = read_events(events[-1])
    series: dict[str, Series] = {}
    for tag in FIGURES:
        # Evaluations of earlier versions have the tags that trainings have.
        either = (f"{tag}/", f"within_episode/{tag.partition('/')[2]}/")
        layers = [one for name, one in scalars.items() if name.startswith(either)]
        shared = set.intersection(*(set(one) for one in layers)) if layers else set()
        if shared:
            series[tag] = {step: float(np.mean([one[step] for one in layers])) for step in sorted(shared)}
    return Trace(series, written) if series else None


class Traces:
    """The traces of all comparisons, read once each, averaged over the runs of a comparison."""

    def __init__(self) -> None:
        self._read: dict[tuple[Path, str, str, str], Trace | None] = {}

    def of(self, one: Comparison, label: str, arm: str) -> Trace | None:
        """Return the trace of an arm under a condition, or None."""
        suite = str(one.documents[0].get("suite", ""))
        found = []
        for member in one.members:
            key = (member.run.path / "tb", suite, label, arm)
            if key not in self._read:
                self._read[key] = read_trace(*key)
            trace = self._read[key]
            if trace is not None:
                found.append(trace)
        if not found:
            return None
        series = {}
        for tag in FIGURES:
            several = [trace.series[tag] for trace in found if tag in trace.series]
            steps = sorted({step for entry in several for step in entry})
            if several:
                series[tag] = {s: float(np.mean([entry[s] for entry in several if s in entry])) for s in steps}
        return Trace(series, max(trace.written for trace in found))


def latest(traces: Traces, comparisons: Sequence[Comparison]) -> float:
    """Return when the newest of the traces was written, in seconds since 1970; 0 where there are none."""
    found = [traces.of(one, label, arm) for one in comparisons for label in one.labels for arm in one.arms]
    return max((trace.written for trace in found if trace is not None), default=0.0)
