"""The machine: cores, memory, disk, what folders allow, the terminal."""

import fcntl
import locale
import os
import shutil
import sys
import tempfile
from pathlib import Path

from homeo_rl.health.check import Check
from homeo_rl.numerics.cache_folders import cache_home, is_writable, provide_cache_folders
from homeo_rl.training.estimate import BASE, available_memory

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")

_CGROUP = Path("/sys/fs/cgroup")

_LITTLE_DISK = 2 << 30  # Bytes: a run with checkpoints takes some ten megabytes, a replay buffer hundreds
_DRAWN = "━│┃█°"  # signs that tables and bars are drawn with


def check_machine(folder: Path) -> list[Check]:
    """Look at the machine."""
    return [
        check_cores(),
        check_threads(),
        check_memory(),
        check_disk(folder),
        check_locks(folder),
        check_compiled_cache(),
        check_terminal(),
    ]


def usable_cores(group: Path = _CGROUP) -> tuple[int, int, float | None]:
    """Return the cores of the machine, those that this process may use, and the quota of its container, if any.

    ``group``: folder of the control group (version 2, or version 1's below ``cpu``).
    """
    there = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else there
    quota = None
    try:
        words = (group / "cpu.max").read_text(encoding="ascii").split()
        quota = None if words[0] == "max" else int(words[0]) / int(words[1])
    except (OSError, ValueError, IndexError, ZeroDivisionError):
        try:
            most = int((group / "cpu" / "cpu.cfs_quota_us").read_text(encoding="ascii"))
            quota = None if most <= 0 else most / int((group / "cpu" / "cpu.cfs_period_us").read_text(encoding="ascii"))
        except (OSError, ValueError, ZeroDivisionError):
            pass
    return there, usable, quota


def check_cores(group: Path = _CGROUP) -> Check:
    """Look at cores and load."""
    there, usable, quota = usable_cores(group)
    load = os.getloadavg()[0]
    text = f"{there}, {usable} of them for this process" if usable != there else f"{there}"
    text += "" if quota is None else f", {quota:g} by the container's quota"
    text += f"; load {load:.1f}"
    useful = max(min(usable, quota or usable), 1)
    if useful < there:
        return Check("cores", "note", text, f"give --workers {int(useful)}: by default there is one a core of {there}")
    if load > useful:
        return Check(
            "cores", "note", text, "measure again when it is idle: what is measured now is slower than it can be"
        )
    return Check("cores", "ok", text)


def check_threads() -> Check:
    """Look at variables that set numbers of threads; trainings and evaluations set their own, to one."""
    numbers = {name: os.environ[name] for name in THREADS if name in os.environ}
    wrong = [name for name, value in numbers.items() if not value.isdigit() or int(value) < 1]
    if wrong:
        return Check(
            "threads", "note", f"{wrong[0]}={numbers[wrong[0]]!r}, expected a whole number", f"export {wrong[0]}=1"
        )
    text = ", ".join(f"{name}={value}" for name, value in numbers.items())
    return Check("threads", "ok", text or "nothing set; a training takes one (--num-threads)")


def check_memory() -> Check:
    """Look at the memory that is left, of the machine and of the container."""
    free = available_memory()
    if free is None:
        return Check("memory", "ok", "unknown on this system")
    text = f"{free / 1e9:,.1f} GB free"
    if free < BASE:
        return Check(
            "memory", "fails", f"{text}, a training takes {BASE / 1e9:.1f} GB and more", "end other programs, or ask "
            "for more"
        )  # fmt: skip
    return Check(
        "memory", "ok", f"{text}, for about {free // (2 * BASE)} trainings side by side without replay buffers"
    )


def check_disk(folder: Path) -> Check:
    """Look at the room for runs."""
    nearest_folder = nearest(folder)
    if not nearest_folder.is_dir() or not os.access(nearest_folder, os.W_OK | os.X_OK):
        return Check("disk", "fails", f"{folder}: cannot be written to", "work in another folder, or give --log-folder")
    free = shutil.disk_usage(nearest_folder).free
    text = f"{free / 1e9:,.1f} GB free for {folder}"
    if free < _LITTLE_DISK:
        return Check("disk", "note", text, "make room: checkpoints with a replay buffer take hundreds of megabytes")
    return Check("disk", "ok", text)


def check_locks(folder: Path) -> Check:
    """Try what keeps two commands from writing one run: a lock on a file that has no name."""
    nearest_folder = nearest(folder)
    try:
        with tempfile.TemporaryFile(dir=nearest_folder) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        text = f"{nearest_folder}: no lock ({error.strerror})"
        return Check("file locks", "fails", text, "put runs on a file system with flock, or mount it with locks")
    return Check("file locks", "ok", f"work in {nearest_folder}")


def check_compiled_cache() -> Check:
    """Look at where compiled loops are kept; without a place every process compiles them again."""
    provide_cache_folders()
    named = os.environ.get("NUMBA_CACHE_DIR")
    beside = Path(__file__).resolve().parent.parent / "snn" / "kernels"
    home = cache_home()
    for candidate in [Path(named)] if named else [beside, *([home / "numba"] if home else [])]:
        if is_writable(candidate):
            return Check("compiled loops", "ok", f"kept in {candidate}")
    text = "no folder to keep them in can be written to: every process compiles them again, a minute each time"
    return Check("compiled loops", "note", text, "export NUMBA_CACHE_DIR=/some/folder")


def check_terminal() -> Check:
    """Look at the encoding that tables and bars are printed with."""
    encoding = getattr(sys.stdout, "encoding", None) or locale.getpreferredencoding(False)
    size = shutil.get_terminal_size()
    shown = f"{size.columns} x {size.lines}" if sys.stderr.isatty() else "none (a line every tenth of the way)"
    text = f"{encoding}, terminal {shown}"
    try:
        _DRAWN.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return Check("terminal", "note", f"{text}: cannot show the signs of tables", "export PYTHONUTF8=1")
    return Check("terminal", "ok", text)


def nearest(folder: Path) -> Path:
    """Return the folder itself, or the next one above it that is there."""
    path = folder.resolve()
    return next(candidate for candidate in (path, *path.parents) if candidate.exists())
