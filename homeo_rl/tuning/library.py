"""Optuna, where it is installed, without what it says on its own."""

from __future__ import annotations

import contextlib
import importlib.util
import warnings
from collections.abc import Iterator

from homeo_rl.errors import UsageError


def require_optuna() -> None:
    """Find out whether Optuna is installed.

    Raises:
        UsageError: it is not; with the line that installs it.
    """
    if importlib.util.find_spec("optuna") is None:
        raise UsageError("tune: expected the package optuna, found none; pip install 'homeo-rl[tune]'")


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
