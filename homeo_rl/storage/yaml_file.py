"""YAML, untrusted too, as plain data; limits are checked before anything is built of it.

PyYAML gives up with a RecursionError where nesting is deep, spends hours on a number of a million digits or on aliases
of aliases, and accepts infinity; here each of these is one `UsageError` that names the line.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from re import compile as pattern
from typing import Any

import yaml

from homeo_rl.errors import StorageFault, UsageError
from homeo_rl.numerics.limits import LIMIT
from homeo_rl.storage import files

Place = tuple[str | int, ...]  # the way to an entry: names of mappings, numbers of lists

_MOST_BYTES, _MOST_ENTRIES, _DEEPEST = 1 << 20, 100_000, 32

_MOST_DIGITS = 100  # signs of a number; constructing one takes the square of their number
_NUMBER = pattern(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")  # what YAML 1.1 takes for a text: 3e-4

_NUMERIC = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's parser where PyYAML has it, which is ten times faster; what it constructs is the same."""


@dataclass(frozen=True)
class Document:
    """What a text holds, and where in it each entry begins (lines count from 1); ``path`` is its name in messages."""

    path: Path | str
    data: Any
    lines: dict[Place, int] = field(default_factory=dict)

    def at(self, place: Place) -> str:
        """Return ``file, line n`` of an entry, or of what it would be part of; of a single line its name alone."""
        if isinstance(self.path, str):
            return self.path
        known = next(place[:count] for count in range(len(place), -1, -1) if place[:count] in self.lines)
        return f"{self.path}, line {self.lines[known]}"

    def where(self, place: Place) -> str:
        """Return ``file, line n: name`` of an entry."""
        name = files.printable(".".join(str(part) for part in place))
        return f"{self.at(place)}: {name}" if name else self.at(place)


def read_yaml(path: Path, *, repeats: bool = False) -> Document:
    """Read a YAML file of names, texts, numbers, booleans, lists and mappings.

    ``repeats``: a key may be there twice, the last one counting, as in rl-zoo's files.

    Raises UsageError: it is missing, too large, not YAML, has a key twice or something else than plain data.
    """
    try:
        if not path.exists():
            raise UsageError(f"{path}: expected a YAML file, found none; check the path")
        with files.open_regular(path.resolve(), _MOST_BYTES) as file:
            text = file.readall().decode("utf-8")
    except (UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{path}: expected YAML, cannot read it ({' '.join(str(error).split())})") from None
    except StorageFault as fault:
        raise UsageError(str(fault)) from None
    return decode(text, path, repeats=repeats)


def decode(text: str, where: Path | str, *, repeats: bool = False) -> Document:
    """Return what a text in YAML holds.

    ``where`` is the file that it is from, or the name of a text of one line in messages; ``repeats`` as in `read_yaml`.

    Raises UsageError: as `read_yaml`.
    """
    at, expected = where, "YAML" if isinstance(where, Path) else "a YAML value"
    try:
        _check_depth(text, where)
        node = yaml.compose(text, Loader=_Loader)
        lines = dict(_lines(node, Document(at, None), repeats)) if node is not None else {}
        data = None if node is None else yaml.SafeLoader("").construct_document(node)
    except yaml.MarkedYAMLError as error:
        if isinstance(where, Path) and error.problem_mark is not None:
            at = f"{where}, line {error.problem_mark.line + 1}"
        reason = files.printable(error.problem or error.context, 200)
        raise UsageError(f"{at}: expected {expected}, cannot read it ({reason}); quote or correct it") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = files.printable(" ".join(str(error).split()), 200)
        raise UsageError(f"{at}: expected {expected}, cannot read it ({reason}); quote or correct it") from None
    document = Document(where, data, {(): 1, **lines})
    return Document(where, _plain(data, (), document), document.lines)


def _check_depth(text: str, where: Path | str) -> None:
    """Follow the brackets without building anything, as far as they are too deep."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEEPEST:
            raise _too_much(where)


def _lines(node: yaml.Node, document: Document, repeats: bool) -> Iterator[tuple[Place, int]]:
    """Walk over a document and yield where each entry begins."""
    path = document.path
    stack: list[tuple[Place, yaml.Node, int]] = [((), node, node.start_mark.line + 1)]
    count = 0

    def at(line: int) -> str:
        return path if isinstance(path, str) else f"{path}, line {line}"

    while stack:
        place, entry, line = stack.pop()
        count += 1
        if count > _MOST_ENTRIES or len(place) > _DEEPEST:
            raise _too_much(path)
        yield place, line
        if isinstance(entry, yaml.SequenceNode):
            stack += [((*place, index), part, part.start_mark.line + 1) for index, part in enumerate(entry.value)]
        elif isinstance(entry, yaml.MappingNode):
            names: set[str] = set()
            for key, part in entry.value:
                begun = key.start_mark.line + 1
                if not isinstance(key, yaml.ScalarNode):
                    raise UsageError(f"{at(begun)}: expected a name, found a list or a mapping; correct it")
                _check_digits(key, at(begun))
                if key.value in names and not repeats:
                    raise UsageError(f"{at(begun)}: key {files.printable(key.value)!r} is there twice; remove one")
                names.add(key.value)
                stack.append(((*place, key.value), part, begun))
        else:
            _check_digits(entry, at(line))


def _check_digits(node: yaml.Node, where: str) -> None:
    if node.tag in _NUMERIC and len(node.value) > _MOST_DIGITS:
        raise UsageError(
            f"{where}: expected a number of at most {_MOST_DIGITS} digits, got {len(node.value)}; round it"
        )


def _plain(value: Any, place: Place, document: Document) -> Any:
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise UsageError(f"{document.where(place)}: expected names, got {key!r}; quote it")
        return {key: _plain(entry, (*place, key), document) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry, (*place, index), document) for index, entry in enumerate(value)]
    if isinstance(value, str) and _NUMBER.fullmatch(value) and len(value) <= _MOST_DIGITS:
        value = float(value)
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        if not abs(value) <= LIMIT:
            raise UsageError(
                f"{document.where(place)}: expected a finite number within {LIMIT:g}, got "
                f"{files.printable(value, 30)}; correct it"
            )
        return value
    raise UsageError(
        f"{document.where(place)}: expected a finite number, a text or a list, got {files.printable(repr(value), 60)}; "
        "quote it"
    )


def _too_much(where: Path | str) -> UsageError:
    return UsageError(f"{where}: expected at most {_MOST_ENTRIES} entries, {_DEEPEST} deep; split the file")
