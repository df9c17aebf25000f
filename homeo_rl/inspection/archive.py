"""What lies in a Stable-Baselines3 zip or a numpy archive, told without unpickling, importing or building anything."""

from __future__ import annotations

import io
import math
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from homeo_rl.errors import StorageFault, UsageError
from homeo_rl.storage import strict_json, zip_archive
from homeo_rl.storage.files import printable

_MAX_TEXT = 64 << 10
"""Bytes of a member that is a few lines."""

_MAX_ENTRIES = 16
"""Of a list that is told as it is."""

_MAX_HEADER = 4096
"""Bytes of the head of an array; numpy's own are shorter than 200."""


def describe_archive(path: Path) -> dict[str, Any]:
    """Return what an archive holds, as plain data; its ``kind`` is "sb3" or "npz".

    Raises:
        UsageError: it is another kind of archive.
        StorageFault: it is damaged or a bomb, or holds pickled arrays.
    """
    with zip_archive.open_zip(path) as archive:
        members = zip_archive.list_members(archive)
        names = [member["name"] for member in members]
        found = {"path": str(path), "bytes": path.lstat().st_size, "members": members}
        if "_stable_baselines3_version" in names or ("data" in names and any(n.endswith(".pth") for n in names)):
            return {"kind": "sb3", **found, **_sb3(archive, path)}
        if names and all(name.endswith(".npy") for name in names):
            return {"kind": "npz", **found, "arrays": [_array(archive, info, path) for info in archive.infolist()]}
    raise UsageError(
        f"{path}: expected a Stable-Baselines3 zip or a numpy archive, found a zip of {len(names)} other members; "
        "give one of these"
    )


def _sb3(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    """Return what an algorithm's zip tells of itself; its pickles stay closed."""
    told: dict[str, Any] = {"version": "", "system": [], "data": {}, "pickles": []}
    for info in archive.infolist():
        name = info.orig_filename
        where = f"{path}: {printable(name)}"
        if name == "data":
            document = strict_json.decode(zip_archive.read_member(archive, info, strict_json.SMALL.size, where), where)
            for key, value in document.items():
                pickled = isinstance(value, dict) and ":serialized:" in value
                told["data"][key] = f"pickled {printable(value.get(':type:', ''))}" if pickled else brief(value)
                if pickled:
                    told["pickles"].append(f"data: {key}")
        elif name == "_stable_baselines3_version":
            told["version"] = _text(zip_archive.read_member(archive, info, _MAX_TEXT, where)).strip()
        elif name == "system_info.txt":
            told["system"] = _text(zip_archive.read_member(archive, info, _MAX_TEXT, where)).strip().splitlines()[:50]
        elif name.endswith((".pth", ".pkl", ".pt")):
            told["pickles"].append(name)
    return told


@dataclass(frozen=True)
class ArrayHead:
    """What the head of an array in a numpy archive says; ``begin`` bytes of its member come before the numbers."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    by_columns: bool
    begin: int


def array_head(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> ArrayHead:
    """Return what the head of a member says, after it was compared with the member's size.

    Raises:
        StorageFault: it is not an array, holds Python objects, or its size is not what its head says.
    """
    name = info.orig_filename.removesuffix(".npy")
    where = f"{path}: array {printable(name)!r}"
    # numpy reads as many bytes as a head says it has before it looks at them: it is given no more than these.
    head = io.BytesIO(zip_archive.read_beginning(archive, info, _MAX_HEADER, where))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of heads that Python 2 wrote
            version = np.lib.format.read_magic(head)
            reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            if version not in ((1, 0), (2, 0)):
                raise ValueError(f"format {version}")
            shape, by_columns, dtype = reader(head, max_header_size=_MAX_HEADER)
    except Exception as error:  # numpy reads it as a Python literal, in which anything can be wrong
        raise StorageFault(f"{where}: not the head of an array ({printable(error)})") from None
    if dtype.hasobject:
        raise StorageFault(f"{where}: holds Python objects, pickled ones, which are not read; export plain numbers")
    size = head.tell() + math.prod(shape) * dtype.itemsize
    if any(type(axis) is not int or axis < 0 for axis in shape) or size != info.file_size:
        raise StorageFault(f"{where}: {dtype} {printable(shape)} needs other than the {info.file_size} bytes it has")
    return ArrayHead(name, dtype, shape, by_columns, head.tell())


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> dict[str, Any]:
    head = array_head(archive, info, path)
    return {"name": head.name, "dtype": str(head.dtype), "shape": list(head.shape)}


def brief(value: Any) -> Any:
    """Return a value of a JSON document if it is short, and otherwise what it is."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        short = len(value) <= _MAX_ENTRIES and not any(isinstance(entry, list | dict) for entry in value)
        return [brief(entry) for entry in value] if short else f"list of {len(value)}"
    return f"object of {len(value)}" if isinstance(value, dict) else value


def _text(blob: bytes) -> str:
    return blob.decode("utf-8", errors="replace")
