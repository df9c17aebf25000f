"""Optuna, where it is installed, without its log and warnings."""

import contextlib
import importlib.util
import warnings
from collections.abc import Iterator
from pathlib import Path

from homeo_rl.errors import UsageError


def require_optuna() -> None:
    """Find out whether Optuna is installed. Raises UsageError: it is not; with the line that installs it."""
    if importlib.util.find_spec("optuna") is None:
        raise UsageError("tune: expected the package optuna, found none; pip install 'homeo-rl[tune]'")


def require_journal(storage: Path) -> None:
    """Find out whether a storage is one that `homeo-rl tune` keeps: a journal file that is, or can be, there.

    Raises UsageError: it is a folder, or a data base.
    """
    if storage.is_dir():
        raise UsageError(f"--storage {storage}: expected a journal file, found a folder; name a file in it")
    try:
        with storage.open("rb") as file:
            first = file.read(1)
    except OSError:  # there is none yet, or it is reported later
        return
    if first not in (b"", b"{"):
        raise UsageError(
            f"--storage {storage}: expected Optuna's journal, found another file; data bases (sqlite:///...) are not "
            "kept: name a new file such as study.journal"
        )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let Optuna neither log nor warn of experimental parts inside a with block."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="optuna")
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
