"""scores.csv: reading the episodes of an evaluation, and refusing what no evaluation writes.

A statistic over a NaN is NaN, and one over a damaged table is wrong without a word: every row is checked before the
first mean is taken, and an error names the file and the line.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from homeo_rl.errors import StorageFault
from homeo_rl.numerics import limits
from homeo_rl.storage.files import printable

_OLDER = (23, 22, 20, 18, 16)
"""Numbers of columns of tables from before there were these figures: rate_spread, sleeps, spikes and energy,
unstable and rolled_back, reflexes."""

COLUMNS = (
    "run", "arm", "condition", "severity", "episode", "seed", "return", "length", "success",
    "firing_rate", "rate_deviation", "weight_drift", "synops", "outcome", "path_length", "time", "reflex", "violations",
    "unstable", "rolled_back", "spikes", "energy", "sleeps",
    "rate_spread",
)  # fmt: skip

_FIGURES = (
    "success", "firing_rate", "rate_deviation", "weight_drift", "synops", "path_length", "time", "reflex",
    "violations", "unstable", "rolled_back", "spikes", "energy", "sleeps", "rate_spread",
)  # fmt: skip
"""Columns that may be empty: not every policy has spikes, not every environment a goal."""

_AGAIN = "run homeo-rl evaluate again"


@dataclass(frozen=True)
class Row:
    """One episode, as scores.csv has it; figures that do not exist are NaN."""

    run: str
    arm: str
    condition: str
    severity: float
    episode: int
    total: float
    length: int
    success: float
    firing_rate: float
    rate_deviation: float
    weight_drift: float
    synops: float
    outcome: str
    path_length: float
    time: float
    reflex: float
    violations: float
    unstable: float
    rolled_back: float
    spikes: float
    energy: float
    sleeps: float
    rate_spread: float

    @property
    def label(self) -> str:
        """Name of the condition with its severity, where that is neither 0 nor 1."""
        return label_of(self.condition, self.severity)


def label_of(condition: str, severity: float) -> str:
    """Return the name of a condition with its severity, where that is neither 0 nor 1."""
    return condition if severity in (0.0, 1.0) else f"{condition}@{severity:g}"


def read_scores(path: Path) -> list[Row]:
    """Read a scores.csv.

    Raises:
        StorageFault: the file is missing, is no such table, or holds a row that no evaluation writes (a number that is
            not finite, a field too few, an episode twice); the message names the line.
    """
    rows: list[Row] = []
    first_lines: dict[tuple[str, str, int], int] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            header = tuple(next(reader, ()))
            if header not in (COLUMNS, *(COLUMNS[:count] for count in _OLDER)):
                raise StorageFault(
                    f"{path}: expected the columns {', '.join(COLUMNS)}; was it written by homeo-rl evaluate?"
                )
            for fields in reader:
                try:
                    row = _row(header, fields)
                    first = first_lines.setdefault((row.arm, row.label, row.episode), reader.line_num)
                    if first != reader.line_num:
                        raise ValueError(f"expected each episode once, got that of line {first} again")
                except ValueError as error:
                    raise StorageFault(f"{path}: line {reader.line_num}: {printable(error, 300)}; {_AGAIN}") from None
                rows.append(row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StorageFault(f"{path}: cannot be read ({error}); give a scores.csv of homeo-rl evaluate") from None
    if not rows:
        raise StorageFault(f"{path}: expected episodes, found none; {_AGAIN}")
    return rows


def _row(header: Sequence[str], fields: Sequence[str]) -> Row:
    """Return a line as an episode.

    Raises:
        ValueError: saying which column is wrong.
    """
    if len(fields) != len(header):
        raise ValueError(f"expected {len(header)} fields, got {len(fields)}")
    entry = dict(zip(header, fields, strict=True))
    length = _whole(entry, "length", 1)
    severity = _number(entry, "severity")
    if severity < 0.0:
        raise ValueError(f"severity: expected at least 0, got {entry['severity']!r}")
    _whole(entry, "seed", 0)
    return Row(
        run=entry["run"],
        arm=entry["arm"],
        condition=entry["condition"],
        severity=severity,
        episode=_whole(entry, "episode", 0),
        total=_number(entry, "return", most=limits.LIMIT * length),
        length=length,
        outcome=entry["outcome"],
        **{name: _number(entry, name) if entry.get(name) else math.nan for name in _FIGURES},
    )


def _number(entry: dict[str, str], name: str, *, most: float = math.inf) -> float:
    """Return a figure that is finite and no larger than an episode can give."""
    try:
        value = float(entry[name])
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or abs(value) > most:
        raise ValueError(f"{name}: expected a finite number, got {entry[name]!r}")
    return value


def _whole(entry: dict[str, str], name: str, least: int) -> int:
    text = entry[name]
    if not text.isdecimal() or len(text) > 20 or int(text) < least:  # 20 digits: a seed of 64 bits
        raise ValueError(f"{name}: expected a whole number from {least} on, got {text!r}")
    return int(text)
