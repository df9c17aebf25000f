"""Untrusted HDF5 files, read in a process apart, as plain dictionaries, texts and arrays.

The HDF5 library was not written for untrusted files: damaged ones make it run for ever or crash. So a process with
little time and memory opens the file (`homeo_rl.exchange.hdf5_walk`), and what it sends back is checked as any
untrusted file is.
"""

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from homeo_rl.errors import StorageFault
from homeo_rl.imports.optional_import import require
from homeo_rl.storage import files, safetensors_file, strict_json

MAX_FILE = 256 << 20
"""Bytes of a file; it is read as a whole."""

CPU_SECONDS = 20
"""Time that reading a file may take; a sound one of 100 MB takes two seconds."""

_WALL_SECONDS = 300


def read(path: Path) -> dict[str, Any]:
    """Return what a file holds: groups as dictionaries, numbers as arrays, texts as they are or in arrays of objects.

    Raises:
        StorageFault: it is missing, damaged or beyond the limits; naming the object and the reason.
        UsageError: h5py is not installed.
    """
    require("h5py", "nir")
    with files.open_regular(path, MAX_FILE) as handle:
        blob = handle.readall() or b""
    return _decode(_read_apart(blob, path), path)


def _read_apart(blob: bytes, path: Path) -> bytes:
    """Let a process apart read a file; return what it sends."""
    # By its path and with -P: modules that lie in the folder where a user happens to be are not looked for.
    words = [sys.executable, "-P", str(Path(__file__).with_name("hdf5_walk.py")), str(CPU_SECONDS)]
    alone = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "HDF5_PLUGIN_PRELOAD": "::"}
    try:
        done = subprocess.run(
            words, input=blob, capture_output=True, timeout=_WALL_SECONDS, check=False, env={**os.environ, **alone}
        )
    except subprocess.TimeoutExpired:
        raise _gave_up(path) from None
    if done.returncode != 0:
        raise _gave_up(path)
    return done.stdout


def _gave_up(path: Path) -> StorageFault:
    return StorageFault(
        f"{path}: the HDF5 library crashed, or took more than {CPU_SECONDS} s or the memory that it is given; the file "
        "is damaged or hostile"
    )


def _decode(sent: bytes, path: Path) -> dict[str, Any]:
    """Put together what the process sent: the length of a JSON text, the text, and a safetensors file."""
    size = int.from_bytes(sent[:8], "little")
    document = strict_json.decode(sent[8 : 8 + size], path)
    if "fault" in document:
        raise StorageFault(f"{path}: {files.printable(document['fault'], 300)}")
    rest = io.BytesIO(sent[8 + size :])
    entries = safetensors_file.read_table(rest, len(sent) - 8 - size, path)
    arrays = safetensors_file.read(rest, entries, path)
    tree = _restore(document["tree"], arrays)
    assert isinstance(tree, dict)
    return tree


def _restore(node: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    kind, value = node["kind"], node["value"]
    if kind == "group":
        return {name: _restore(inner, arrays) for name, inner in value.items()}
    if kind == "array":
        return arrays[value]
    if kind == "texts":
        texts = np.empty(len(value), dtype=object)
        texts[:] = value
        return texts.reshape(node["shape"])
    return value
