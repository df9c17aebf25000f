"""Untrusted safetensors files: the table at their head is checked entry by entry before an array is made.

A file is 8 bytes (little-endian length of the table), the table (a JSON object: name -> dtype, shape, place of its
bytes), and the bytes of all tensors, one after another without a gap.
"""

from __future__ import annotations

import hashlib
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from homeo_rl.errors import StorageFault
from homeo_rl.storage import strict_json

MAX_TENSORS = 20_000  # a file of more tensors is refused

_MAX_NAME, _MAX_AXES, _MAX_ELEMENTS = 512, 16, 1 << 40

_TABLE = strict_json.Limits(size=4 << 20, values=20 * MAX_TENSORS, containers=3 * MAX_TENSORS + 1, depth=3)

_TYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8",
    "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8",
}  # fmt: skip
_DTYPES = {name: np.dtype(code) for name, code in _TYPES.items()}

_CHUNK = 1 << 20

Readable = io.FileIO | io.BytesIO


@dataclass(frozen=True)
class Entry:
    """A tensor of the file: its ``size`` bytes come right after those of the entry before it."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    size: int


def read_table(file: Readable, size: int, where: Path) -> list[Entry]:
    """Return the entries of a file of ``size`` bytes in the order of their bytes; ``file`` then stands at the first.

    Raises StorageFault: naming the first entry that is not as it should be.
    """
    length = int.from_bytes(file.read(8), "little") if size >= 8 else 0
    if not 2 <= length <= min(size - 8, _TABLE.size):
        raise StorageFault(
            f"{where}: not a readable safetensors file (a table of {length} bytes in a file of {size}; "
            f"at most {_TABLE.size} are accepted)"
        )
    table = strict_json.decode(file.read(length), f"{where}: table of tensors", _TABLE)
    if len(table) > MAX_TENSORS:
        raise StorageFault(f"{where}: {len(table)} tensors; more than the {MAX_TENSORS} that are accepted")
    placed = sorted(
        (_entry(name, entry, where) for name, entry in table.items()), key=lambda placed_entry: placed_entry[:2]
    )
    reached = 0
    for begin, end, entry in placed:
        if begin != reached:
            raise StorageFault(f"{where}: {_name(entry.name)} begins at byte {begin}; expected {reached}, without gaps")
        reached = end
    if reached != size - 8 - length:
        raise StorageFault(f"{where}: its tensors end at byte {reached} of {size - 8 - length}; expected the last one")
    return [entry for _, _, entry in placed]


def check(file: Readable, where: Path, entries: list[Entry], digest: hashlib._Hash) -> StorageFault | None:
    """Read all values once, in little memory; return the fault of the first tensor with one that is not sound.

    ``file`` stands where `read_table` left it; ``digest`` is fed with every byte.
    """
    fault = None
    buffer = memoryview(bytearray(min(_CHUNK, max((entry.size for entry in entries), default=0))))
    for entry in entries:
        for begin in range(0, entry.size, _CHUNK):
            chunk = buffer[: min(_CHUNK, entry.size - begin)]
            _fill(file, chunk, where)
            digest.update(chunk)
            if fault is not None:
                continue
            if entry.dtype.kind == "f" and not np.isfinite(np.frombuffer(chunk, entry.dtype)).all():
                fault = StorageFault(f"{where}: {_name(entry.name)} holds NaN or infinity")
            if entry.dtype.kind == "b" and np.frombuffer(chunk, np.uint8).max() > 1:
                fault = StorageFault(f"{where}: {_name(entry.name)} holds a truth value that is neither 0 nor 1")
    return fault


def read(file: Readable, entries: list[Entry], where: Path) -> dict[str, np.ndarray]:
    """Return the arrays, which own their memory and can be written to; ``file`` stands at the first one's bytes.

    Raises StorageFault: the file ends early.
    """
    arrays = {}
    for entry in entries:
        array = np.empty(entry.shape, entry.dtype)
        _fill(file, array.reshape(-1).view(np.uint8).data, where)
        arrays[entry.name] = array
    return arrays


def _entry(name: str, entry: Any, where: Path) -> tuple[int, int, Entry]:
    """Return the first byte of a tensor, the one behind its last, and what it is."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"} or len(name) > _MAX_NAME:
        raise StorageFault(f"{where}: {_name(name)}: expected dtype, shape and data_offsets, found another entry")
    shape, offsets = entry["shape"], entry["data_offsets"]
    dtype = _DTYPES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if dtype is None:
        got = str(entry["dtype"])[:20]
        raise StorageFault(f"{where}: {_name(name)}: expected a dtype of {', '.join(_DTYPES)}, found {got!r}")
    if not _counts(shape) or not _counts(offsets) or len(offsets) != 2 or len(shape) > _MAX_AXES:
        raise StorageFault(f"{where}: {_name(name)}: expected a shape and two offsets of whole numbers from 0 on")
    # Where an axis is 0 the others are checked all the same: numpy multiplies them.
    if math.prod(max(axis, 1) for axis in shape) > _MAX_ELEMENTS:
        raise StorageFault(f"{where}: {_name(name)}: shape too large; at most {_MAX_ELEMENTS} elements are accepted")
    size = math.prod(shape) * dtype.itemsize
    begin, end = offsets
    if end - begin != size:
        raise StorageFault(f"{where}: {_name(name)}: expected {size} bytes for {dtype} {shape}, found {begin} to {end}")
    return begin, end, Entry(name, dtype, tuple(shape), size)


def _counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _fill(file: Readable, view: memoryview, where: Path) -> None:
    done = 0
    while done < len(view):
        got = file.readinto(view[done : done + _CHUNK])
        if not got:
            raise StorageFault(f"{where}: ends early; was it changed while it was read?")
        done += got


def _name(name: str) -> str:
    return f"tensor {name[:80]!r}"
