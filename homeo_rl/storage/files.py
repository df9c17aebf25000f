"""Opening untrusted files: regular ones only, never through a link, and no larger than was agreed."""

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from homeo_rl.errors import StorageFault

Handle = TypeVar("Handle", bound=io.FileIO)

# O_NONBLOCK: should a pipe take the file's place after we looked, opening it must not wait for a writer.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@contextmanager
def open_folder(path: Path) -> Iterator[int]:
    """Hold a folder open inside a with block; yields its descriptor, for `open_regular`.

    Raises StorageFault: there is none, or it is a link or something else.
    """
    try:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise StorageFault(f"{path}: expected a folder, found a link or a file; give the folder itself")
        descriptor = os.open(path, _FLAGS | os.O_DIRECTORY)
    except OSError as error:
        raise StorageFault(f"{path}: cannot be read ({error.strerror})") from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_regular(path: Path, limit: int, *, folder: int | None = None) -> io.FileIO:
    """Open a regular file for reading; pipes, sockets and devices are refused without being opened.

    Args:
        path: the file; links in the folders above it are followed, the file itself must not be one.
        folder: descriptor of the folder that ``path`` names; whatever happens to that name meanwhile, it is looked in.

    Raises StorageFault: naming the file and the reason.
    """
    return open_regular_as(io.FileIO, path, limit, folder=folder)


def open_regular_as(kind: type[Handle], path: Path, limit: int, *, folder: int | None = None) -> Handle:
    """Open as `open_regular` does, as a ``kind`` of file."""
    name: str | Path = path if folder is None else path.name
    try:
        _require_regular(os.stat(name, dir_fd=folder, follow_symlinks=False), path)
        handle = kind(os.open(name, _FLAGS, dir_fd=folder))
    except OSError as error:
        raise StorageFault(f"{path}: cannot be read ({error.strerror})") from None
    try:
        status = os.fstat(handle.fileno())
        _require_regular(status, path)  # it may have been replaced since
        if status.st_size > limit:
            raise StorageFault(f"{path}: {status.st_size} bytes; more than the {limit} that are accepted")
    except StorageFault:
        handle.close()
        raise
    return handle


def printable(text: object, most: int = 120) -> str:
    """Return an untrusted text for the terminal: one line of at most ``most`` signs, none of which controls it."""
    whole = str(text)
    line = "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in whole[:most])
    return line if len(whole) <= most else line + "..."


def _require_regular(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise StorageFault(f"{path}: expected a regular file, found a link or a special file")
