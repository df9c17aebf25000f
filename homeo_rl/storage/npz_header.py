"""Arrays of a numpy archive: their heads are compared with their members before anything is unpacked."""

import io
import math
import os
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from homeo_rl.errors import StorageFault, UsageError
from homeo_rl.storage import zip_archive
from homeo_rl.storage.files import printable

MAX_ARRAYS, MAX_ARRAY_BYTES = 100, 32 << 20
"""Of an archive that is read; the published PopSAN actor has 12 arrays and 0.5 MB."""

_MAX_HEADER = 4096  # bytes of the head of an array; numpy's own are shorter than 200


@dataclass(frozen=True)
class ArrayHead:
    """What the head of an array says; ``begin`` bytes of its member come before the numbers."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    by_columns: bool
    begin: int


def array_head(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> ArrayHead:
    """Return what the head of a member says, after it was compared with the member's size.

    Raises StorageFault: it is not an array, holds Python objects, or its size is not what its head says.
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


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read an ``.npz`` without unpickling anything; sizes are compared with limits and heads before it is unpacked.

    The arrays cannot be written to.

    Raises UsageError: the file is missing, damaged or hostile, or not such an archive.
    """
    if not os.path.lexists(path):
        raise UsageError(f"{path}: expected an .npz file, found none; check the path")
    try:
        with zip_archive.open_zip(path) as archive:
            infos = archive.infolist()
            size = sum(info.file_size for info in infos)
            if not 1 <= len(infos) <= MAX_ARRAYS or size > MAX_ARRAY_BYTES:
                raise StorageFault(
                    f"{path}: expected 1 to {MAX_ARRAYS} arrays of {MAX_ARRAY_BYTES} bytes in all, found {len(infos)} "
                    f"of {size}"
                )
            heads = [array_head(archive, info, path) for info in infos]
            return {head.name: _read_array(archive, info, head, path) for info, head in zip(infos, heads, strict=True)}
    except StorageFault as fault:
        raise UsageError(f"{fault}; expected an .npz of plain arrays") from None


def _read_array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, head: ArrayHead, path: Path) -> np.ndarray:
    where = f"{path}: array {printable(head.name)}"
    if head.dtype.kind not in "fiub" or 0 in head.shape:
        raise StorageFault(f"{where}: expected numbers, found {printable(head.dtype)} {head.shape}")
    blob = zip_archive.read_member(archive, info, MAX_ARRAY_BYTES, where)
    order: Literal["F", "C"] = "F" if head.by_columns else "C"
    return np.ndarray(head.shape, head.dtype, blob, head.begin, order=order)
