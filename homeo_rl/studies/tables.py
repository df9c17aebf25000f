"""The files of a study: all episodes, the time courses of damage in mid-episode, and the document on both."""

import csv
import gzip
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from homeo_rl.errors import StorageFault, UsageError
from homeo_rl.storage import bundle, files, strict_json

TABLE, DOCUMENT, COURSES = "scores.csv.gz", "study.json", "courses.json.gz"

_LARGEST = 1 << 28


def read_tables(folder: Path) -> tuple[dict[str, Any], list[list[str]], list[dict[str, Any]]]:
    """Return the document, the rows of the scores (the first are the columns' names), and the courses.

    Raises UsageError: a file is missing, or of another kind.
    """
    try:
        document = bundle.read_json(folder / DOCUMENT)
        courses = strict_json.decode(_decompress(folder / COURSES), folder / COURSES, strict_json.LARGE)["courses"]
        rows = list(csv.reader(io.StringIO(_decompress(folder / TABLE).decode("utf-8"))))
        if not rows or any(len(row) != len(rows[0]) for row in rows) or not all(isinstance(c, dict) for c in courses):
            raise ValueError("the tables are damaged")
        return document, rows, courses
    except (StorageFault, OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise unreadable(folder, error) from None


def write_tables(
    folder: Path, document: dict[str, Any], rows: Iterable[Sequence[str]], courses: list[dict[str, Any]]
) -> None:
    """Write what `read_tables` reads; the same content gives the same bytes."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    # The document describes the tables: there is none while they are written.
    (folder / DOCUMENT).unlink(missing_ok=True)
    bundle.replace(folder / TABLE, _compress(text.getvalue()))
    bundle.replace(folder / COURSES, _compress(json.dumps({"courses": courses}, allow_nan=False)))
    bundle.write_json(folder / DOCUMENT, document)


def _compress(text: str) -> bytes:
    with io.BytesIO() as packed:
        with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as file:
            file.write(text.encode())
        return packed.getvalue()


def _decompress(path: Path) -> bytes:
    with files.open_regular(path.resolve(), _LARGEST) as file:
        unpacked = gzip.GzipFile(fileobj=io.BytesIO(file.readall())).read(_LARGEST + 1)
    if len(unpacked) > _LARGEST:
        raise ValueError(f"{path.name} unpacks to more than the {_LARGEST} bytes that are accepted")
    return unpacked


def unreadable(folder: Path, error: Exception) -> UsageError:
    """Return the error for tables that cannot be read."""
    return UsageError(
        f"{folder}: expected the results of a study ({TABLE}, {DOCUMENT}, {COURSES}), cannot read them ({error}); "
        "run homeo-rl study again, with another --out"
    )
