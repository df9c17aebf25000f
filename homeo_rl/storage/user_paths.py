"""Paths that people give: of this machine, with ``~`` for their home; what is no such path is refused by its flag."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from homeo_rl.errors import UsageError

Command = TypeVar("Command")

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # the beginning of s3://bucket, and of what `pathlib` makes of it


def with_local_paths(command: Command) -> Command:
    """Return flags whose paths are all of this machine, ``~`` and ``~name`` written out.

    Raises UsageError: one is a URL, or names a home that does not exist.
    """
    changes: Mapping[str, Any] = {
        field.name: _local(getattr(command, field.name), field.name)
        for field in dataclasses.fields(command)  # type: ignore[arg-type]  # a dataclass of `homeo_rl.cli.commands`
    }
    return dataclasses.replace(command, **changes)  # type: ignore[type-var]  # likewise


def local_path(path: Path, what: str) -> Path:
    """Return a path of this machine. Raises UsageError: it is a URL, or names a home that does not exist."""
    if _URL.match(str(path)):
        scheme = str(path).partition(":")[0]
        raise UsageError(
            f"{what}: expected a path of this machine, got a URL ({scheme}://...), which nothing here opens; give a "
            "file or folder"
        )
    try:
        return path.expanduser()
    except RuntimeError:
        raise UsageError(f"{what}: expected a path of this machine, got {path}: there is no such home") from None


def _local(value: Any, name: str) -> Any:
    if isinstance(value, Path):
        return local_path(value, f"--{name.replace('_', '-')}")
    return tuple(_local(entry, name) for entry in value) if isinstance(value, tuple) else value
