"""Safe and atomic storage of named arrays with a JSON document; nothing in a bundle is ever executed.

A bundle is a folder of three files: ``tensors.safetensors``, ``document.json`` and ``manifest.json``, which holds the
SHA-256 and the size of the other two. It is written under a temporary name, synced, and only then renamed, so a
reader finds the old bundle or the new one, never half of one.
"""

import errno
import hashlib
import io
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from homeo_rl.errors import StorageFault
from homeo_rl.storage import files, safetensors_file, strict_json

MAX_BYTES = 2 << 30  # a bundle file larger than this is refused before it is read

_SMALL = ("run.json", "manifest.json", "document.json", "evaluation.json")
"""Files whose size does not grow with the length of a run; those of untrusted sources are among them."""

_MAX_MANIFEST, _QUICKLY_HASHED = 64 << 10, 64 << 20

_FORMAT = "homeo-rl bundle 1"
_TENSORS, _DOCUMENT, _MANIFEST = "tensors.safetensors", "document.json", "manifest.json"


def save(folder: Path, tensors: Mapping[str, np.ndarray], document: Mapping[str, Any]) -> None:
    """Write a bundle, replacing an earlier one of the same name.

    Tensors are finite arrays of any shape, the document is plain JSON data; the parent of ``folder`` must exist.

    Raises StorageFault: an array is not finite, of a kind or number that `load` refuses, or the disk refused.
    """
    for name, array in tensors.items():
        if not np.all(np.isfinite(array)):
            raise StorageFault(f"{folder}: tensor {name!r} holds NaN or infinity; not saved, the old bundle is kept")
    fresh, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        blobs = {
            _TENSORS: safetensors.numpy.save({k: np.asarray(v, order="C") for k, v in tensors.items()}),
            _DOCUMENT: _encode(document),
        }
        # What could not be loaded again must not replace what can.
        safetensors_file.read_table(io.BytesIO(blobs[_TENSORS]), len(blobs[_TENSORS]), folder / _TENSORS)
        strict_json.decode(blobs[_DOCUMENT], folder / _DOCUMENT)
        manifest = {
            "format": _FORMAT,
            "files": {
                name: {"bytes": len(blob), "sha256": hashlib.sha256(blob).hexdigest()} for name, blob in blobs.items()
            },
        }
        fresh.mkdir()
        for name, blob in {**blobs, _MANIFEST: _encode(manifest)}.items():
            write_synced(fresh / name, blob)
        sync_folder(fresh)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)  # from here to the next line only the old bundle exists; `load` falls back to it
        fresh.rename(folder)
        sync_folder(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise StorageFault(f"{folder}: could not be written ({error.strerror}); free space or permission?") from error


def load(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read a bundle and check every byte of it against its manifest.

    Whatever lies there, a refusal costs less than 100 MB, and no more time than hashing the file takes.

    Returns the arrays by name, which own their memory and can be written to, and the document. Raises StorageFault:
    naming the file and the reason.
    """
    if not os.path.lexists(folder) and folder.with_name(folder.name + ".old").exists():
        folder = folder.with_name(folder.name + ".old")
    with ExitStack() as stack:
        # All are opened before one is read: a training that replaces the bundle meanwhile cannot mix old and new.
        inside = stack.enter_context(files.open_folder(folder))
        parts = {
            name: stack.enter_context(files.open_regular(folder / name, limit, folder=inside))
            for name, limit in ((_MANIFEST, _MAX_MANIFEST), (_DOCUMENT, strict_json.SMALL.size), (_TENSORS, MAX_BYTES))
        }
        before = [_state(part) for part in parts.values()]
        result = read_bundle(parts, folder)
        if [_state(part) for part in parts.values()] != before:
            raise StorageFault(f"{folder}: was changed while it was read; read it again when no process writes there")
        return result


def read_bundle(
    parts: Mapping[str, safetensors_file.Readable], folder: Path
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read a bundle from its open files, by name; ``folder`` is for messages only.

    Raises StorageFault: naming the file and the reason.
    """
    entries = _files_of(strict_json.decode(parts[_MANIFEST].read(_MAX_MANIFEST) or b"", folder / _MANIFEST), folder)
    for name, entry in entries.items():
        size = parts[name].seek(0, os.SEEK_END)
        parts[name].seek(0)
        if size != entry["bytes"]:
            raise StorageFault(
                f"{folder / name}: {size} bytes, its manifest says {entry['bytes']}; the file was damaged or edited"
            )
    blob = parts[_DOCUMENT].read(entries[_DOCUMENT]["bytes"]) or b""
    if hashlib.sha256(blob).hexdigest() != entries[_DOCUMENT]["sha256"]:
        raise _damage(folder / _DOCUMENT)
    document = strict_json.decode(blob, folder / _DOCUMENT)
    size, digest = entries[_TENSORS]["bytes"], entries[_TENSORS]["sha256"]
    return _tensors(parts[_TENSORS], size, digest, folder / _TENSORS), document


def read_json(path: Path, limits: strict_json.Limits | None = None) -> dict[str, Any]:
    """Read a JSON object; refuse links, oversized files, duplicate keys, NaN and deep nesting.

    By default little is accepted of what is written once (`strict_json.SMALL`), and `strict_json.LARGE` of the rest.

    Raises StorageFault: naming the file and the reason.
    """
    limits = limits or (strict_json.SMALL if path.name in _SMALL else strict_json.LARGE)
    with files.open_regular(path, limits.size) as file:
        return strict_json.decode(file.readall(), path, limits)


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON object so that a crash leaves the old file or the new one."""
    replace(path, _encode(document))


def replace(path: Path, blob: bytes) -> None:
    """Write ``blob`` to ``path`` through a temporary file beside it, synced before the rename."""
    fresh = path.with_name(path.name + ".new")
    try:
        write_synced(fresh, blob)
        fresh.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise StorageFault(f"{path}: could not be written ({error.strerror}); free space or permission?") from error


def write_synced(path: Path, blob: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(blob)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names of a folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems of a network that sync files alone
            raise
    finally:
        os.close(handle)


def _encode(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def _files_of(manifest: dict[str, Any], folder: Path) -> dict[str, dict[str, Any]]:
    """Return size and SHA-256 of the two files that a manifest has to tell of."""
    entries = manifest.get("files")
    if (
        set(manifest) == {"format", "files"}
        and manifest["format"] == _FORMAT
        and isinstance(entries, dict)
        and set(entries) == {_TENSORS, _DOCUMENT}
        and all(isinstance(entry, dict) and set(entry) == {"bytes", "sha256"} for entry in entries.values())
        and all(type(entry["bytes"]) is int and isinstance(entry["sha256"], str) for entry in entries.values())
    ):
        return entries
    raise StorageFault(f"{folder / _MANIFEST}: expected the manifest of a {_FORMAT!r}; was it written by homeo-rl?")


def _tensors(file: safetensors_file.Readable, size: int, sha256: str, where: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file whose size was compared; it is read twice, so that a bad one never fills memory."""
    try:
        entries = safetensors_file.read_table(file, size, where)
    except StorageFault:
        if size <= _QUICKLY_HASHED:
            file.seek(0)
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise _damage(where) from None
        raise
    begin = file.tell()
    file.seek(0)
    digest = hashlib.sha256(file.read(begin) or b"")
    fault = safetensors_file.check(file, where, entries, digest)
    if digest.hexdigest() != sha256:
        raise _damage(where)
    if fault is not None:
        raise fault
    file.seek(begin)
    return safetensors_file.read(file, entries, where)


def _damage(path: Path) -> StorageFault:
    return StorageFault(f"{path}: its SHA-256 differs from the manifest's; the file was damaged or edited")


def _state(file: io.FileIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns
