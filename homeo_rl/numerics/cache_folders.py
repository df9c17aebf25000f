"""Where libraries keep what they compile and look up, for users without a home: in containers, as a service.

Numba's and Matplotlib's caches hold code and pickles, so a folder that others could have made or can write to is never
taken.
"""

import contextlib
import os
import stat
import tempfile
from functools import cache
from pathlib import Path


@cache
def provide_cache_folders() -> None:
    """Point libraries to a private temporary folder where the home is missing or cannot be written to.

    What the user has set stands. Processes that are started from here inherit it.
    """
    if _home_is_usable():
        return
    folder = _private_folder()
    if folder is None:
        return
    os.environ.setdefault("XDG_CACHE_HOME", str(folder))
    os.environ.setdefault("MPLCONFIGDIR", str(folder / "matplotlib"))
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder / "torch"))
    os.environ.setdefault("TRITON_CACHE_DIR", str(folder / "triton"))


def cache_home() -> Path | None:
    """Return the folder for the user's caches, which can be written to, or None; None too without a known home."""
    named = os.environ.get("XDG_CACHE_HOME")
    with contextlib.suppress(RuntimeError):  # no home at all
        place = Path(named) if named else Path("~/.cache").expanduser()
        if place.is_absolute() and is_writable(place):
            return place
    return None


def is_writable(folder: Path) -> bool:
    """Return whether files can be made in ``folder``, or it can be made itself."""
    there = next((place for place in (folder, *folder.parents) if place.exists()), None)
    return there is not None and there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def _home_is_usable() -> bool:
    try:
        home = Path.home()
    except RuntimeError:
        return False
    return home.is_absolute() and home.is_dir() and cache_home() is not None


def _private_folder() -> Path | None:
    """Return a folder that is this user's alone, the same in every process; None if there is none."""
    with contextlib.suppress(OSError):
        folder = Path(tempfile.gettempdir()) / f"homeo-rl-{os.getuid()}"
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        status = folder.lstat()
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077:
            return folder
    return None
