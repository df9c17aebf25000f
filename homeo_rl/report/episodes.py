"""scores.csv: reading the episodes of an evaluation, and refusing what no evaluation writes.

A statistic over a NaN is NaN, and one over a damaged table is wrong without a word: every row is checked before the
first mean is taken, and an error names the file and the line.
"""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from homeo_rl.errors import StorageFault
from homeo_rl.evaluation.metrics import METRICS, Score, columns
from homeo_rl.numerics import limits
from homeo_rl.storage.files import printable

_AGAIN = "run homeo-rl evaluate again"

Row = Score  # one episode, as scores.csv has it; figures that do not exist are NaN, a missing outcome is ""


def read_scores(path: Path) -> list[Row]:
    """Read a scores.csv.

    Raises StorageFault: the file is missing, is no such table, or holds a row that no evaluation writes (a number that
    is not finite, a field too few, an episode twice); the message names the line.
    """
    rows: list[Row] = []
    first_lines: dict[tuple[str, str, int], int] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            header = tuple(next(reader, ()))
            if header not in {columns(version) for version in {metric.since for metric in METRICS.values()}}:
                raise StorageFault(
                    f"{path}: expected the columns {', '.join(columns())}; was it written by homeo-rl evaluate?"
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
    """Return a line as an episode. Raises ValueError: saying which column is wrong."""
    if len(fields) != len(header):
        raise ValueError(f"expected {len(header)} fields, got {len(fields)}")
    entry = dict(zip(header, fields, strict=True))
    length = _whole(entry, "length", 1)
    severity = _number(entry, "severity")
    if severity < 0.0:
        raise ValueError(f"severity: expected at least 0, got {entry['severity']!r}")
    values: dict[str, Any] = {}
    for metric in METRICS.values():
        text = entry.get(metric.name, "")
        if metric.kind == "text":
            values[metric.key] = text
        else:
            most = limits.LIMIT * length if metric.name == "return" else math.inf
            exists = text or metric.kind == "required"
            values[metric.key] = _number(entry, metric.name, most=most) if exists else math.nan
    return Score(
        run=entry["run"],
        arm=entry["arm"],
        condition=entry["condition"],
        severity=severity,
        episode=_whole(entry, "episode", 0),
        seed=_whole(entry, "seed", 0),
        values={**values, "length": length},
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
