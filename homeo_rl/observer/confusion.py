"""Confusion of fault kinds: what was broken and what an observer identified, over draws of a fault."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from homeo_rl.observer.diagnosis import KINDS
from homeo_rl.storage import bundle

IDENTIFIED = ("nothing", "latency", *KINDS, "gain", "alarm only")
"""What a diagnosis is condensed to: no alarm; the latency; the kind of most sensors at fault, without latency; the gain
of an actuator where no sensor is at fault; an alarm alone."""

GAIN_ERROR = 0.2
"""Distance of an actuator's gain from 1 from which on it counts as identified: twice the error that is allowed."""

TRUE_KINDS = {
    **dict.fromkeys(("obs-gaussian", "obs-gaussian-normalised", "lidar-gaussian", "pose", "velocity"), "noise"),
    **dict.fromkeys(("obs-stuck", "lidar-stuck"), "stuck"),
    **dict.fromkeys(("obs-dropped", "obs-markov"), "dropped"),
    **dict.fromkeys(("obs-delayed", "action-delay"), "latency"),
    **dict.fromkeys(("action-gain", "actuator-gain"), "gain"),
    **dict.fromkeys(("obs-offset", "obs-drift"), "offset"),
    "obs-scale": "scale",
}
"""The kind that is right for a degradation, by its own kind; others are no kind that an observer identifies."""


@dataclass(frozen=True)
class Draw:
    """One episode under a fault."""

    true: str  # kind of the fault, as `name_true_kind` gives it
    identified: str  # one of `IDENTIFIED`
    # entries of the observation that were wrong; None where that is not known, or all are late
    broken: frozenset[int] | None = None
    reported: frozenset[int] = frozenset()  # entries that the diagnosis names


@dataclass(frozen=True)
class ConfusionRow:
    """All draws of one true kind."""

    true: str  # the kind
    counts: dict[str, int]  # draws by what was identified, in the order of `IDENTIFIED`, without zeros
    draws: int  # how many
    right: int | None  # how many were identified as what they are; None where an observer does not identify this kind
    # broken sensors over all draws whose broken sensors are known; None where there are no such draws
    broken: int | None
    reported: int  # sensors that were found in these
    both: int  # sensors that were broken and reported

    @property
    def precision(self) -> float | None:
        """Share of the found sensors that were broken; None where none was reported."""
        return self.both / self.reported if self.reported else None

    @property
    def recall(self) -> float | None:
        """Share of the broken sensors that were found; None where none was broken."""
        return self.both / self.broken if self.broken else None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {**vars(self), "precision": self.precision, "recall": self.recall}


def name_true_kind(degradations: Sequence[str], severity: float) -> str:
    """Return what is broken under degradations of these kinds: "nothing", a kind of `TRUE_KINDS`, or their own kinds.

    Several are joined by "+".
    """
    if severity == 0 or not degradations:
        return IDENTIFIED[0]
    return "+".join(dict.fromkeys(TRUE_KINDS.get(kind, kind) for kind in degradations))


def condense_diagnosis(alarmed: bool, latency: int, kinds: Iterable[str], gains: np.ndarray) -> str:
    """Condense a diagnosis to one of `IDENTIFIED`.

    Args:
        alarmed: whether there was an alarm since the onset.
        kinds: of the sensors at fault, the worst first; the most frequent one counts, of equals the first.
        gains: of the actuators [K]; NaN where one is not known.
    """
    if not alarmed:
        return "nothing"
    if latency:
        return "latency"
    if counted := Counter(kinds).most_common(1):
        return counted[0][0]
    return "gain" if (np.abs(gains - 1.0) > GAIN_ERROR).any() else "alarm only"


def confuse(draws: Iterable[Draw]) -> list[ConfusionRow]:
    """Count draws by their true kind, in the order of first appearance."""
    by_kind: dict[str, list[Draw]] = {}
    for draw in draws:
        by_kind.setdefault(draw.true, []).append(draw)
    rows = []
    for true, group in by_kind.items():
        counts = Counter(draw.identified for draw in group)
        known = [(draw.broken, draw.reported) for draw in group if draw.broken is not None]
        rows.append(
            ConfusionRow(
                true=true,
                counts={kind: counts[kind] for kind in IDENTIFIED if counts[kind]},
                draws=len(group),
                right=counts[true] if true in IDENTIFIED else None,
                broken=sum(len(broken) for broken, _ in known) if known else None,
                reported=sum(len(reported) for _, reported in known),
                both=sum(len(broken & reported) for broken, reported in known),
            )
        )
    return rows


def kind_table(rows: Sequence[ConfusionRow]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the table of kinds: true kinds in rows, identified ones in columns, with counts."""
    shown = [kind for kind in IDENTIFIED if any(kind in row.counts for row in rows)]
    body = [
        [row.true, *(str(row.counts.get(kind, 0)) for kind in shown), "" if row.right is None else str(row.right)]
        for row in rows
    ]
    return ["true", *shown, "right"], body


def sensor_table(rows: Sequence[ConfusionRow]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the table of sensors, which were broken and which found; no rows where none is known."""
    body = [
        [row.true, str(row.broken), str(row.reported), str(row.both), _share(row.precision), _share(row.recall)]
        for row in rows
        if row.broken is not None
    ]
    return ["true", "broken", "reported", "both", "precision", "recall"], body


def write_table(rows: Sequence[ConfusionRow], path: Path) -> None:
    """Write counts of all identified kinds and the figures of sensors as a table with commas; "" where none exists.

    Raises StorageFault: it cannot be written.
    """
    head = ["true", *IDENTIFIED, "draws", "right", "broken", "reported", "both", "precision", "recall"]
    lines = [[{**row.to_dict(), **dict.fromkeys(IDENTIFIED, 0), **row.counts}[name] for name in head] for row in rows]
    lines = [["" if value is None else value for value in line] for line in lines]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *lines])
    bundle.replace(path, text.getvalue().encode())


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
