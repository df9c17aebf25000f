"""The files that a study leaves behind: all episodes, the courses of damage in mid-episode, and what they are of."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path
from typing import Any

from homeo_rl import checkpoint, files
from homeo_rl.errors import StorageFault, UsageError

TABLE, DOCUMENT, COURSES = "scores.csv.gz", "study.json", "courses.json"

_LARGEST = 1 << 28


def read_tables(folder: Path) -> tuple[dict[str, Any], list[list[str]], list[dict[str, Any]]]:
    """Return the document, the rows of the scores (the first are the columns' names), and the courses.

    Raises:
        UsageError: one is missing, or something else.
    """
    try:
        document = checkpoint.read_json(folder / DOCUMENT)
        courses = checkpoint.read_json(folder / COURSES)["courses"]
        with files.opened((folder / TABLE).resolve(), _LARGEST) as file:
            unpacked = gzip.GzipFile(fileobj=io.BytesIO(file.readall())).read(_LARGEST + 1)
        if len(unpacked) > _LARGEST:
            raise ValueError(f"{TABLE} unpacks to more than the {_LARGEST} bytes that are accepted")
        rows = list(csv.reader(io.StringIO(unpacked.decode("utf-8"))))
        if not rows or any(len(row) != len(rows[0]) for row in rows) or not all(isinstance(c, dict) for c in courses):
            raise ValueError("the tables are damaged")
        return document, rows, courses
    except (StorageFault, OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise unreadable(folder, error) from None


def unreadable(folder: Path, error: Exception) -> UsageError:
    """Return what is to be told of tables that say something else than they should."""
    return UsageError(
        f"{folder}: expected the results of a study ({TABLE}, {DOCUMENT}, {COURSES}), cannot read them ({error}); "
        "run homeo-rl study again, with another --out"
    )
