"""What all commands share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Short:
    """Other spellings of a flag, such as ``-n``."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """Marks a field that is given by its place and not by a name."""


Positional = Annotated[T, Place()]
Words = tuple[str, ...]
Flag = bool
Progress = Annotated[bool, Short(("-P",))]


@dataclass(frozen=True, kw_only=True)
class Common:
    """Flags of every command."""

    json: Flag = False
    """Print one JSON object on standard output, and everything else on standard error."""
    quiet: Annotated[Flag, Short(("-q",))] = False
    """Print results and errors only: no progress, no notes."""
    debug: Flag = False
    """Show tracebacks."""
