"""Safe and atomic storage of named arrays with a JSON document; nothing in a bundle is ever executed.

A bundle is a folder of three files: ``tensors.safetensors``, ``document.json`` and ``manifest.json``, which holds the
SHA-256 and the size of the other two. It is written under a temporary name, synced, and only then renamed, so a
reader finds the old bundle or the new one, never half of one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from homeo_rl.errors import StorageFault

MAX_BYTES = 2 << 30
"""A bundle file larger than this is refused before it is read."""

MAX_JSON_BYTES = 64 << 20

_FORMAT = "homeo-rl bundle 1"
_TENSORS, _DOCUMENT, _MANIFEST = "tensors.safetensors", "document.json", "manifest.json"


def save(folder: Path, tensors: Mapping[str, np.ndarray], document: Mapping[str, Any]) -> None:
    """Write a bundle, replacing an earlier one of the same name.

    Args:
        folder: where the bundle goes; its parent must exist.
        tensors: finite arrays of any shape.
        document: plain JSON data without NaN.

    Raises:
        StorageFault: an array is not finite, or the disk refused.
    """
    for name, array in tensors.items():
        if not np.all(np.isfinite(array)):
            raise StorageFault(f"{folder}: tensor {name!r} holds NaN or infinity; not saved, the old bundle is kept")
    fresh, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        blobs = {
            _TENSORS: safetensors.numpy.save({k: np.asarray(v, order="C") for k, v in tensors.items()}),
            _DOCUMENT: _encode(document),
        }
        manifest = {
            "format": _FORMAT,
            "files": {
                name: {"bytes": len(blob), "sha256": hashlib.sha256(blob).hexdigest()} for name, blob in blobs.items()
            },
        }
        for name, blob in {**blobs, _MANIFEST: _encode(manifest)}.items():
            write_synced(fresh / name, blob)
        _sync_folder(fresh)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)  # from here to the next line only the old bundle exists; `load` falls back to it
        fresh.rename(folder)
        _sync_folder(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise StorageFault(f"{folder}: could not be written ({error.strerror}); free space or permission?") from error


def load(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read a bundle and check every byte of it against its manifest.

    Returns:
        the arrays by name, and the document.

    Raises:
        StorageFault: naming the file and the reason.
    """
    if not folder.exists() and folder.with_name(folder.name + ".old").exists():
        folder = folder.with_name(folder.name + ".old")
    manifest = read_json(folder / _MANIFEST)
    files = manifest.get("files")
    if manifest.get("format") != _FORMAT or not isinstance(files, dict) or set(files) != {_TENSORS, _DOCUMENT}:
        raise StorageFault(f"{folder / _MANIFEST}: expected the manifest of a {_FORMAT!r}; was it written by homeo-rl?")
    blobs = {}
    for name, entry in files.items():
        blob = _read(folder / name, MAX_BYTES)
        if not isinstance(entry, dict) or hashlib.sha256(blob).hexdigest() != entry.get("sha256"):
            raise StorageFault(
                f"{folder / name}: its SHA-256 differs from the manifest's; the file was damaged or edited"
            )
        blobs[name] = blob
    try:
        tensors = safetensors.numpy.load(blobs[_TENSORS])
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise StorageFault(f"{folder / _TENSORS}: not a readable safetensors file ({error})") from None
    for name, array in tensors.items():
        if not np.all(np.isfinite(array)):
            raise StorageFault(f"{folder / _TENSORS}: tensor {name!r} holds NaN or infinity")
    return tensors, _decode(blobs[_DOCUMENT], folder / _DOCUMENT)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; refuse links, oversized files, duplicate keys and NaN.

    Raises:
        StorageFault: naming the file and the reason.
    """
    return _decode(_read(path, MAX_JSON_BYTES), path)


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON object so that a crash leaves the old file or the new one."""
    replace(path, _encode(document))


def replace(path: Path, blob: bytes) -> None:
    """Write ``blob`` to ``path`` through a temporary file beside it, synced before the rename."""
    fresh = path.with_name(path.name + ".new")
    try:
        write_synced(fresh, blob)
        fresh.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise StorageFault(f"{path}: could not be written ({error.strerror}); free space or permission?") from error


def write_synced(path: Path, blob: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(blob)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(path: Path, limit: int) -> bytes:
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise StorageFault(f"{path}: expected a regular file, found a link or a special file")
        if status.st_size > limit:
            raise StorageFault(f"{path}: {status.st_size} bytes; more than the {limit} that are accepted")
        return path.read_bytes()
    except OSError as error:
        raise StorageFault(f"{path}: cannot be read ({error.strerror})") from None


def _encode(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def _decode(blob: bytes, path: Path) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        if len(set(keys)) != len(keys):
            raise ValueError("a key appears twice")
        return dict(pairs)

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is not a number")

    try:
        document = json.loads(blob, object_pairs_hook=unique, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise StorageFault(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(document, dict):
        raise StorageFault(f"{path}: expected a JSON object, found a {type(document).__name__}")
    return document
