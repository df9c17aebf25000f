"""Locks that die with the process that holds them, so that no process has to guess which others are alive."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from homeo_rl.errors import StorageFault


@contextmanager
def hold_lock(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold a lock file inside a with block.

    The file is made if it is not there, and stays. ``wait``: whether to wait for another holder.

    Yields:
        whether the lock is held.

    Raises StorageFault: the file system has no locks.
    """
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        except OSError as error:
            raise StorageFault(
                f"{path}: cannot be locked ({error.strerror}); expected a file system with flock, on all nodes; "
                "choose another --out"
            ) from error
        yield True
