"""The parts of a page as data: sections, legends, tables, embedded files."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Legend:
    """Names and the indices of their colours; an empty legend is not drawn."""

    entries: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Table:
    """A table of texts; columns from index ``numbers`` on are right-aligned."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: int = 1


@dataclass(frozen=True)
class Section:
    """A section: ``how`` explains in a paragraph how to read it, ``template`` renders ``data``."""

    id: str
    title: str
    how: str
    template: str
    data: Mapping[str, Any] = field(default_factory=dict)


def block_section(id: str, title: str, how: str, template: str, blocks: Sequence[Any], **data: Any) -> Section | None:
    """Return a section of one block per comparison or run; None without blocks."""
    return Section(id, title, how, template, {"blocks": blocks, **data}) if blocks else None


def data_uri(media_type: str, content: bytes) -> str:
    """Return a file as a data URI for ``img``."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
