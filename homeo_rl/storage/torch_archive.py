"""Tensors that ``torch.save`` wrote, looked into where they lie: in a member of another archive.

Both archives store their members as they are, so bytes are never unpacked and never more than the file has. What the
file says about its tensors is checked before one is made; what is read then is what was asked for, once.
"""

import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from homeo_rl.errors import StorageFault
from homeo_rl.storage import torch_pickle, zip_archive
from homeo_rl.storage.files import printable
from homeo_rl.storage.torch_pickle import Entry

_PIECE = 64 << 10  # bytes that are read at once

_HEAD, _NAME, _EXTRA = 30, 26, 28
"""Of the head of a member: bytes, and where the lengths of its name and of its extra field stand."""

# As in `archives`: what zipfile raises for bytes that are no archive.
_BROKEN = (zipfile.BadZipFile, EOFError, OSError, RuntimeError, ValueError, OverflowError, IndexError)


class _Window(io.RawIOBase):
    """A part of an open file as a file of its own; the outer file limits how much is read at once."""

    def __init__(self, file: IO[bytes], begin: int, size: int) -> None:
        self._file, self._begin, self._size, self._at = file, begin, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if at < 0:
            raise ValueError("a place before the beginning")
        self._at = at
        return at

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(self._size - self._at, 0)
        self._file.seek(self._begin + self._at)
        data = self._file.read(left if size is None or size < 0 else min(size, left))
        self._at += len(data)
        return data


@dataclass(frozen=True)
class TensorArchive:
    """An open archive; ``entries`` says what it holds."""

    entries: Mapping[str, Entry]
    archive: zipfile.ZipFile
    members: Mapping[str, zipfile.ZipInfo]
    size: int
    where: str

    def read(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Return tensors by name; the arrays own their memory.

        Raises StorageFault: one holds NaN or infinity, or its bytes are damaged; or together they have more bytes than
        the archive, so that some of them are the same ones.
        """
        wanted = {name: self.entries[name] for name in names}
        keys = {entry.storage.key for entry in wanted.values()}
        asked = sum(entry.size * entry.storage.dtype.itemsize for entry in wanted.values())
        if max(asked, sum(self.members[key].file_size for key in keys)) > self.size:
            raise StorageFault(f"{self.where}: its tensors lie over each other; this is not read")
        storages = {key: self._bytes(key) for key in keys}
        arrays = {}
        for name, entry in wanted.items():
            arrays[name] = array_of(entry, storages[entry.storage.key])
            if arrays[name].dtype.kind == "f" and not np.isfinite(arrays[name]).all():
                raise StorageFault(f"{self.where}: tensor {printable(name)!r} holds NaN or infinity")
        return arrays

    def _bytes(self, key: str) -> np.ndarray:
        """Return the bytes of a storage, after their checksum was compared."""
        member, done = self.members[key], 0
        data = np.empty(member.file_size, np.uint8)
        try:
            with self.archive.open(member) as file:
                while piece := file.read(_PIECE):
                    data[done : done + len(piece)] = np.frombuffer(piece, np.uint8)
                    done += len(piece)
        except _BROKEN as error:
            raise StorageFault(f"{self.where}: storage {printable(key)}: damaged ({printable(error)})") from None
        if done != member.file_size:
            raise StorageFault(f"{self.where}: storage {printable(key)}: ends early")
        return data


@contextmanager
def open_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> Iterator[TensorArchive]:
    """Open a member that ``torch.save`` wrote, inside a with block.

    Raises StorageFault: it is packed, is no such archive, holds anything else than a flat dict of tensors, or says of a
    tensor what its bytes do not bear out.
    """
    window = _window(archive, info, where)
    try:
        inner = zipfile.ZipFile(window)
    except (*_BROKEN, StorageFault) as error:
        raise StorageFault(
            f"{where}: not an archive of torch ({printable(error)}); torch before 1.6 wrote other files: load such a "
            "policy with a newer one and save it again"
        ) from None
    with inner:
        yield _tensors(inner, info.file_size, where)


@contextmanager
def open_file(path: Path) -> Iterator[TensorArchive]:
    """Open a file that ``torch.save`` wrote, inside a with block. Raises StorageFault: as `open_member`."""
    with zip_archive.open_zip(path) as archive:
        yield _tensors(archive, path.stat().st_size, str(path))


def array_of(entry: Entry, storage: np.ndarray) -> np.ndarray:
    """Return a tensor as an array of its own, out of the bytes of its storage."""
    values = storage.view(entry.storage.dtype)[entry.offset : entry.offset + entry.size]
    lying = values.reshape([entry.shape[axis] for axis in entry.axes])
    return lying.transpose(np.argsort(entry.axes)).copy()


def _tensors(inner: zipfile.ZipFile, size: int, where: str) -> TensorArchive:
    """Check what an archive says of its tensors; ``size`` is how many bytes it has."""
    root, members = _members(inner, where)
    if (order := members.get("byteorder")) is not None:
        byte_order = zip_archive.read_member(inner, order, 16, f"{where}: byteorder")
        if byte_order != b"little":
            raise StorageFault(f"{where}: expected numbers of byte order little, found another one")
    program = zip_archive.read_member(inner, members["data.pkl"], torch_pickle.MAX_BYTES, f"{where}: {root}/data.pkl")
    entries = torch_pickle.entries_of(program, f"{where}: {root}/data.pkl")
    storages = {name.removeprefix("data/"): info for name, info in members.items() if name.startswith("data/")}
    for name, entry in entries.items():
        storage = entry.storage
        there, needed = storages.get(storage.key), storage.size * storage.dtype.itemsize
        if there is None or there.file_size != needed:
            size_there = "none" if there is None else f"{there.file_size}"
            raise StorageFault(
                f"{where}: tensor {printable(name)!r}: expected {needed} bytes for it, found {size_there}"
            )
    return TensorArchive(entries, inner, storages, size, where)


def _window(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> _Window:
    if info.flag_bits & 1 or info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise StorageFault(
            f"{where}: expected a member that is stored as it is (Stable-Baselines3 does so), found a packed one"
        )
    file = archive.fp
    assert file is not None
    try:
        size = file.seek(0, io.SEEK_END)
        file.seek(info.header_offset)
        head = file.read(_HEAD)
    except _BROKEN as error:
        raise StorageFault(f"{where}: cannot be read ({printable(error)})") from None
    lengths = [int.from_bytes(head[at : at + 2], "little") for at in (_NAME, _EXTRA)]
    begin = info.header_offset + _HEAD + sum(lengths)
    if not head.startswith(b"PK\x03\x04") or begin + info.file_size > size:
        raise StorageFault(f"{where}: expected {info.file_size} bytes at byte {begin} of {size}; the file was damaged")
    return _Window(file, begin, info.file_size)


def _members(inner: zipfile.ZipFile, where: str) -> tuple[str, dict[str, zipfile.ZipInfo]]:
    """Return the folder that all is in, and the members by their names in it."""
    infos = inner.infolist()
    roots = [info.filename.removesuffix("/data.pkl") for info in infos if info.filename.endswith("/data.pkl")]
    if len(roots) != 1 or len(infos) > zip_archive.MAX_MEMBERS:
        raise StorageFault(
            f"{where}: expected one program and at most {zip_archive.MAX_MEMBERS} members, found {len(roots)} and "
            f"{len(infos)}"
        )
    if any(info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 for info in infos):
        raise StorageFault(f"{where}: expected members that are stored as they are, found a packed one")
    members = {info.filename.removeprefix(f"{roots[0]}/"): info for info in infos}
    if len(members) != len(infos) or not all(info.filename.startswith(f"{roots[0]}/") for info in infos):
        raise StorageFault(f"{where}: expected one folder in which every name comes once, found others")
    return printable(roots[0]), members
