"""The parts of a page as data: sections, legends, tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Legend:
    """Names and the numbers of their colours; nothing is drawn of an empty one."""

    entries: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Table:
    """A table of texts; columns from ``numbers`` on are aligned as numbers are."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: int = 1


@dataclass(frozen=True)
class Section:
    """A section: how it is read, in a line, and the template that draws ``data``."""

    id: str
    title: str
    how: str
    template: str
    data: Mapping[str, Any] = field(default_factory=dict)
