"""Untrusted zip archives, read within limits; nothing is ever extracted.

An archive can lie about its sizes, hold the same bytes many times over, and name members outside the folder it is
unpacked in. Declared sizes are checked first, and what is read is counted while it is read.
"""

import io
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from homeo_rl.errors import StorageFault
from homeo_rl.storage import files

MAX_ARCHIVE = 4 << 30  # bytes of an archive, and of all that it says it unpacks to

MAX_MEMBERS = 1000

_MAX_READ = 256 << 10
"""Most bytes that are read at once: this bounds the list of members, which zipfile reads as a whole."""

_MAX_RATIO, _MODEST = 200, 256 << 20
"""An archive that unpacks to more than so many times its own size, and to more than a modest size, is a bomb."""

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

# What zipfile raises for bytes that are no archive; OverflowError and IndexError come from fields out of range.
_BROKEN = (
    zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError, OverflowError, IndexError,
)  # fmt: skip


class _Bounded(io.FileIO):
    """A file that never hands out much at once, whatever it is asked for."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Return at most `_MAX_READ` bytes; asking for more, by number or by what is left, is refused."""
        if size is None or size < 0:
            size = _MAX_READ + 1
        elif size > _MAX_READ:
            raise StorageFault(f"its list of members has {size} bytes; more than the {_MAX_READ} that are accepted")
        data = super().read(size) or b""
        if len(data) > _MAX_READ:
            raise StorageFault(f"more than the {_MAX_READ} bytes that are accepted at once")
        return data


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive inside a with block, after its list of members was checked.

    Raises StorageFault: it is damaged, too large, unpacks to too much, or its members lie over each other.
    """
    with files.open_regular_as(_Bounded, path, MAX_ARCHIVE) as file:
        size = file.seek(0, io.SEEK_END)
        try:
            archive = zipfile.ZipFile(file)
        except (*_BROKEN, StorageFault) as error:
            raise StorageFault(f"{path}: not a readable archive ({files.printable(error)})") from None
        with archive:
            _check(archive.infolist(), size, path)
            yield archive


def read_beginning(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int, where: str) -> bytes:
    """Return at most the first ``most`` bytes of a member.

    Raises StorageFault: it is encrypted, compressed in another way than zlib's, or damaged.
    """
    if info.flag_bits & 1 or info.compress_type not in _METHODS:
        raise StorageFault(f"{where}: expected a plain or deflated member, found an encrypted or otherwise packed one")
    data = bytearray()
    try:
        with archive.open(info) as member:
            while len(data) < most and (part := member.read(min(1 << 16, most - len(data)))):
                data += part
    except _BROKEN as error:
        raise StorageFault(f"{where}: cannot be unpacked ({files.printable(error)})") from None
    return bytes(data)


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int, where: str) -> bytes:
    """Return the bytes of a member, after its checksum was compared.

    Raises StorageFault: they are more than ``limit``, whatever the archive says, or damaged.
    """
    if info.file_size > limit:
        raise StorageFault(f"{where}: {info.file_size} bytes; more than the {limit} that are accepted")
    data = read_beginning(archive, info, limit + 1, where)  # to its end, where zipfile compares the checksum
    if len(data) != info.file_size:
        raise StorageFault(f"{where}: unpacks to {len(data)} bytes, the archive says {info.file_size}")
    return data


def oddity(info: zipfile.ZipInfo) -> str:
    """Return what would be dangerous about a member if somebody unpacked it, "" if nothing."""
    name = info.orig_filename.replace("\\", "/")
    if name.startswith("/") or ".." in PurePosixPath(name).parts or ":" in name.split("/")[0] or "\0" in name:
        return "lies outside the archive's folder"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "a link"
    return "encrypted" if info.flag_bits & 1 else ""


def _check(members: list[zipfile.ZipInfo], size: int, path: Path) -> None:
    """Check what an archive of ``size`` bytes says of its members."""
    unpacked, packed = sum(member.file_size for member in members), sum(member.compress_size for member in members)
    if len(members) > MAX_MEMBERS:
        raise StorageFault(f"{path}: {len(members)} members; more than the {MAX_MEMBERS} that are accepted")
    if unpacked > MAX_ARCHIVE or unpacked > max(_MAX_RATIO * size, _MODEST):
        raise StorageFault(f"{path}: says it unpacks to {unpacked} bytes, from {size}; a zip bomb is not opened")
    if len({member.orig_filename for member in members}) != len(members):
        raise StorageFault(f"{path}: a member's name comes twice; which of them would be meant?")
    if packed > size or len({member.header_offset for member in members}) != len(members):
        raise StorageFault(f"{path}: its members lie over each other; a zip bomb is not opened")
