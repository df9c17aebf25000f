"""Frozen dataclasses of a YAML file, so that what is wrong in it can be pointed at by its line."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar, cast

import pydantic

from homeo_rl.errors import UsageError, unknown
from homeo_rl.storage.files import printable
from homeo_rl.storage.yaml_file import Document, Place

T = TypeVar("T")


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

    ``sections`` are the dataclasses of its mappings, by which names are suggested; ``under`` is where ``data`` stands
    in the document, ``origins`` where else parts of it are from.

    Raises UsageError: naming the line, what was expected there and what was found.
    """
    try:
        return cast(T, _adapter(cast(Any, kind)).validate_python(data))
    except pydantic.ValidationError as error:
        # A misspelt key shows up twice, as missing and as unexpected; the second says what the user wrote.
        errors = sorted(error.errors(), key=lambda entry: entry["type"] != "unexpected_keyword_argument")
        first = errors[0]
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
    got = printable(repr(error["input"]), 60)
    message = error["msg"].removeprefix("Value error, ")
    raise UsageError(f"{document.where(origin or way)}: {message} (got {got}); correct it and run again")


def names_of(kind: type[Any]) -> list[str]:
    """Return the fields of a dataclass."""
    return [one.name for one in dataclasses.fields(cast(Any, kind))]


@functools.cache
def _adapter(kind: type[Any]) -> Any:
    return pydantic.TypeAdapter(kind)
