"""The folder of a sweep, which several drivers and machines may share: claims, results, a journal.

sweep.json           which sweep's folder it is
cells/<key>.json     results; made by a link, so the first one stands and is never half of one
claims/<key>.lock    held (flock) by whoever works on the cell; the lock dies with its process
runs/<key>/          the run: where a cell that was interrupted is resumed
failures/<key>.txt   why a cell failed, with the traceback
log/<host>-<pid>.jsonl   what each process did when; nothing reads it but people and benchmarks
summary.csv, summary.md, cells.csv
"""

import contextlib
import json
import os
import platform
import time
import uuid
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from homeo_rl.errors import Finding, StorageFault, UsageError
from homeo_rl.storage import bundle
from homeo_rl.storage.locks import hold_lock
from homeo_rl.sweeps.cells import Cell

_FORMAT = "homeo-rl sweep 1"
_FOLDERS = ("cells", "claims", "runs", "failures", "log")


class DeterminismAlarm(Finding):
    """The same code gave two results for the same cell."""


class Store:
    """The folder ``path`` of a sweep."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self) -> str:
        """Make the folder, or take one that is a sweep's; return its identity.

        Raises:
            UsageError: something else is there.
            StorageFault: it cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if self.identity() is None:
                foreign = any(not entry.name.startswith(".sweep.json") for entry in self.path.iterdir())
                if foreign and self.identity() is None:  # no other driver has made it one meanwhile
                    raise UsageError(
                        f"{self.path}: expected a new folder, or a sweep's, found other files; choose another --out"
                    )
                self._link("sweep.json", _encode({"format": _FORMAT, "id": uuid.uuid4().hex}))
            for name in _FOLDERS:
                (self.path / name).mkdir(exist_ok=True)
        except OSError as error:
            raise StorageFault(
                f"{self.path}: cannot be a sweep's folder ({error.strerror}); expected a file system that can be "
                "written to and has hard links; choose another --out"
            ) from error
        identity = self.identity()
        assert identity is not None
        return identity

    def identity(self) -> str | None:
        """Return what tells this folder from every other, wherever it is mounted; None if it is not a sweep's."""
        if not (self.path / "sweep.json").exists():
            return None
        document = bundle.read_json(self.path / "sweep.json")
        if document.get("format") != _FORMAT:
            raise StorageFault(f"{self.path / 'sweep.json'}: expected {_FORMAT!r}, got {document.get('format')!r}")
        return str(document.get("id"))

    def run_folder(self, key: str) -> Path:
        """Where the run of a cell lies."""
        return self.path / "runs" / key

    def result(self, cell: Cell) -> dict[str, Any] | None:
        """Return the result of a cell; None if there is none yet.

        Raises StorageFault: the file is damaged, or of another cell.
        """
        path = self.path / "cells" / f"{cell.key}.json"
        if not path.exists():
            return None
        document = bundle.read_json(path)
        if document.get("config") != cell.config or document.get("code") != cell.code:
            raise StorageFault(f"{path}: expected the result of {cell.title}, found another one's; was it edited?")
        return document

    def commit(self, cell: Cell, document: Mapping[str, Any]) -> bool:
        """Put a result in its place, unless there is one already; return whether it was this one.

        ``document``: plain data without anything that another execution would have otherwise, such as times.

        Raises:
            DeterminismAlarm: there is a result, and it is another one; both are kept.
            StorageFault: the disk refused.
        """
        blob = _encode(document)
        name = f"cells/{cell.key}.json"
        try:
            if self._link(name, blob):
                return True
            if (self.path / name).read_bytes() == blob:
                return False
            other = f"cells/{cell.key}.differs-{platform.node()}-{os.getpid()}.json"
            self._link(other, blob)
        except OSError as error:
            raise StorageFault(f"{self.path / name}: could not be written ({error.strerror}); free space?") from error
        raise DeterminismAlarm(
            f"determinism alarm: cell {cell.key} ({cell.title}) was executed twice with the same code and gave two "
            f"results: expected {name}, got {other} in {self.path}; different processors, or an environment that draws "
            "from a generator of its own?"
        )

    def claim(self, key: str) -> AbstractContextManager[bool]:
        """Lock a cell inside a with block; yields whether that succeeded, or another process works on it."""
        return hold_lock(self.path / "claims" / f"{key}.lock", wait=False)

    def writing(self) -> AbstractContextManager[bool]:
        """Let one process at a time write summaries."""
        return hold_lock(self.path / "claims" / "summary.lock", wait=True)

    def log(self, event: str, key: str, **fields: Any) -> None:
        """Append a line to this process's journal."""
        entry = {"time": round(time.time(), 3), "event": event, "cell": key, "process": os.getpid(), **fields}
        with (self.path / "log" / f"{platform.node()}-{os.getpid()}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def write_failure(self, key: str, message: str, trace: str) -> None:
        """Keep why a cell failed; a result makes it void."""
        bundle.replace(self.path / "failures" / f"{key}.txt", f"{message}\n\n{trace}".encode())

    def forgive(self, key: str) -> None:
        """Forget that a cell failed."""
        (self.path / "failures" / f"{key}.txt").unlink(missing_ok=True)

    def _link(self, name: str, blob: bytes) -> bool:
        path = self.path / name
        fresh = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
        try:
            bundle.write_synced(fresh, blob)
            try:
                os.link(fresh, path)
            except FileExistsError:
                # Over a network the answer to a link that was made can be lost, and asking again finds it there.
                return fresh.stat().st_nlink == 2
        finally:
            fresh.unlink(missing_ok=True)
        bundle.sync_folder(path.parent)
        return True


def journal(folder: Path) -> list[dict[str, Any]]:
    """Return what all processes wrote into their journals, in the order of time; halves of lines are passed over."""
    entries = []
    for path in sorted((folder / "log").glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):
                entries.append(json.loads(line))
    return sorted(entries, key=lambda entry: entry["time"])


def _encode(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()
