"""A YAML file as plain data, with the line of every entry, so that what is wrong can be pointed at."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

import pydantic
import yaml

from homeo_rl import files
from homeo_rl.errors import StorageFault, UsageError, unknown

T = TypeVar("T")

Place = tuple[str | int, ...]
"""The way to an entry: names of mappings, numbers of lists."""

_MOST_BYTES, _MOST_ENTRIES, _DEEPEST = 1 << 20, 100_000, 32

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
"""What YAML 1.1 takes for a text: 3e-4."""


@dataclass(frozen=True)
class Document:
    """What a file holds, and where in it each entry begins (lines count from 1)."""

    path: Path
    data: Any
    lines: dict[Place, int] = field(default_factory=dict)

    def at(self, place: Place) -> str:
        """Return ``file, line n`` of an entry, or of what it would be part of."""
        known = next(place[:count] for count in range(len(place), -1, -1) if place[:count] in self.lines)
        return f"{self.path}, line {self.lines[known]}"

    def where(self, place: Place) -> str:
        """Return ``file, line n: name`` of an entry."""
        name = ".".join(str(part) for part in place)
        return f"{self.at(place)}: {name}" if name else self.at(place)


def read_yaml(path: Path) -> Document:
    """Read a YAML file of names, texts, numbers, booleans, lists and mappings.

    Raises:
        UsageError: it is missing, too large, not YAML, has a key twice or something else than plain data.
    """
    try:
        if not path.exists():
            raise UsageError(f"{path}: expected a YAML file, found none; check the path")
        with files.opened(path.resolve(), _MOST_BYTES) as file:
            text = file.readall().decode("utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        lines = dict(_lines(node, path)) if node is not None else {}
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark is not None else ""
        raise UsageError(f"{path}{line}: expected YAML, cannot read it ({error.problem or error.context})") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{path}: expected YAML, cannot read it ({' '.join(str(error).split())})") from None
    except StorageFault as fault:
        raise UsageError(str(fault)) from None
    document = Document(path, data, {(): 1, **lines})
    return Document(path, _plain(data, (), document), document.lines)


def parse(
    kind: type[T],
    data: object,
    document: Document,
    sections: Mapping[Place, type[Any]],
    *,
    under: Place = (),
    origins: Mapping[Place, Place] | None = None,
) -> T:
    """Build a frozen dataclass of plain data as `homeo_rl.spec.parse` does, pointing to lines.

    Args:
        kind: the dataclass.
        data: plain data.
        document: which it is from.
        sections: the dataclasses of its mappings, for naming what could have been meant.
        under: where in the document.
        origins: for parts of ``data``, where else in the document they are from.

    Raises:
        UsageError: naming the line, what was expected there and what was found.
    """
    try:
        return cast(T, _adapter(cast(Any, kind)).validate_python(data))
    except pydantic.ValidationError as error:
        # A misspelt key shows up twice, as missing and as unexpected; the second says what the user wrote.
        found = sorted(error.errors(), key=lambda one: one["type"] != "unexpected_keyword_argument")
        first = found[0]
        way: Place = first["loc"]
        origin = next((place for start, place in (origins or {}).items() if way[: len(start)] == start), None)
        _refuse(first, document, sections, (*under, *way), origin)


def _refuse(
    error: Any, document: Document, sections: Mapping[Place, type[Any]], way: Place, origin: Place | None
) -> NoReturn:
    if error["type"] == "unexpected_keyword_argument" and way[:-1] in sections:
        section = ".".join(str(part) for part in way[:-1]) or f"a {sections[()].__name__.lower()}"
        known = unknown(f"key of {section}", str(way[-1]), names_of(sections[way[:-1]]))
        raise UsageError(f"{document.at(way)}: {known}")
    got = repr(error["input"])
    got = got if len(got) <= 60 else got[:57] + "..."
    message = error["msg"].removeprefix("Value error, ")
    raise UsageError(f"{document.where(origin or way)}: {message} (got {got}); correct it and run again")


def names_of(kind: type[Any]) -> list[str]:
    """Return the fields of a dataclass."""
    return [one.name for one in dataclasses.fields(cast(Any, kind))]


def _lines(node: yaml.Node, path: Path) -> Iterator[tuple[Place, int]]:
    """Walk over a document and yield where each entry begins.

    Raises:
        UsageError: a key is there twice, is no text, or there is too much; an alias counts as what it stands for.
    """
    stack: list[tuple[Place, yaml.Node, int]] = [((), node, node.start_mark.line + 1)]
    found = 0
    while stack:
        place, entry, line = stack.pop()
        found += 1
        if found > _MOST_ENTRIES or len(place) > _DEEPEST:
            raise UsageError(f"{path}: expected at most {_MOST_ENTRIES} entries, {_DEEPEST} deep; split the file")
        yield place, line
        if isinstance(entry, yaml.SequenceNode):
            stack += [((*place, index), part, part.start_mark.line + 1) for index, part in enumerate(entry.value)]
        elif isinstance(entry, yaml.MappingNode):
            names: set[str] = set()
            for key, part in entry.value:
                at = key.start_mark.line + 1
                if not isinstance(key, yaml.ScalarNode):
                    raise UsageError(f"{path}, line {at}: expected a name, found a list or a mapping; correct it")
                if key.value in names:
                    raise UsageError(f"{path}, line {at}: key {key.value!r} is there twice; remove one")
                names.add(key.value)
                stack.append(((*place, key.value), part, at))


def _plain(value: Any, place: Place, document: Document) -> Any:
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise UsageError(f"{document.where(place)}: expected names, got {key!r}; quote it")
        return {key: _plain(entry, (*place, key), document) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry, (*place, index), document) for index, entry in enumerate(value)]
    if isinstance(value, str):
        return float(value) if _NUMBER.fullmatch(value) else value
    if value is None or (isinstance(value, bool | int | float) and math.isfinite(value)):
        return value
    raise UsageError(f"{document.where(place)}: expected a finite number, a text or a list, got {value!r}; quote it")


@functools.cache
def _adapter(kind: type[Any]) -> Any:
    return pydantic.TypeAdapter(kind)
