"""Packages of optional extras, imported where they are used."""

from importlib import import_module
from typing import Any

from homeo_rl.errors import UsageError


def require(module: str, extra: str) -> Any:
    """Import ``module``.

    Raises:
        UsageError: it is not installed; the message has the command that installs ``extra``.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise UsageError(
            f"{module.partition('.')[0]}: not installed ({error.name} is missing); run: pip install 'homeo-rl[{extra}]'"
        ) from None
