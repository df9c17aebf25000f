"""Parse a command line into a dataclass of flags, and print the help of one, with argparse.

Each field of the dataclass is a flag: its type determines the values, its default whether it is required, and the
string below it is the help text. The messages are our own, because argparse's differ between versions of Python.
"""

import argparse
import ast
import dataclasses
import inspect
import math
import re
import shutil
import textwrap
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

from homeo_rl.cli.flags import Common, Place, Short
from homeo_rl.errors import UsageError, near

T = TypeVar("T")

_FLAG = re.compile(r"--?[A-Za-z]")  # the beginning of a flag; ``-1`` and ``-1e5`` are values

_NOTHING = re.compile(r"expected (one|at least one|\d+) arguments?")
"""argparse's message where the value of a flag is missing."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are `UsageError`s."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing and exiting."""
        raise UsageError(message)


def parse(
    kind: type[T],
    words: Sequence[str],
    defaults: Mapping[str, Any] | None = None,
    *,
    prog: str = "",
    elsewhere: Callable[[], Mapping[str, str]] = dict,
) -> T:
    """Parse the words that follow the name of a command.

    Args:
        defaults: values that replace the defaults of the flags; the command line takes precedence.
        elsewhere: returns names that are not flags but are given in another way, and how; called for an unknown flag.

    Raises UsageError: an unknown flag, or a missing or invalid value.
    """
    parser = parser_of(kind, prog=prog)
    words = _normalize(parser, words, elsewhere, prog)
    namespace = argparse.Namespace()
    try:
        _, left = parser.parse_known_intermixed_args(words, namespace)
    except argparse.ArgumentError as error:
        message = "expected a value, got none" if _NOTHING.fullmatch(error.message) else error.message
        names = (error.argument_name or "").split("/")
        raise UsageError(f"{next((n for n in names if n.startswith('--')), names[0])}: {message}") from None
    except UsageError:
        left = []  # a required argument is missing; the message below names it
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in vars(namespace).items()}
    missing = [name for name in _list_required(kind) if name not in values]
    if missing:
        names = [_usage_of(kind, name) for name in missing]
        raise UsageError(f"expected {', '.join(names)}, got nothing; for help: homeo-rl help {prog}")
    if left:
        raise UsageError(f"expected no more words, got {left[0]!r}; for help: homeo-rl help {prog}")
    return kind(**{**(defaults or {}), **values})


def parser_of(kind: type[Any], *, prog: str) -> Parser:
    """Return a parser for the flags of ``kind``, with their help."""
    needed = [_usage_of(kind, name, value=True) for name in _list_required(kind)]
    parser = Parser(
        usage=" ".join(["homeo-rl", prog, *needed, "[flags]"]),
        description=inspect.cleandoc(kind.__doc__ or ""),
        formatter_class=Formatter,
        allow_abbrev=False,
        exit_on_error=False,
        add_help=False,
        argument_default=argparse.SUPPRESS,
    )
    fill(parser, kind)
    return parser


def fill(parser: argparse.ArgumentParser, kind: type[Any]) -> None:
    """Add the flags of ``kind`` to a parser: those of the command first, then those that it shares with others."""
    texts, hints = _read_help(kind), get_type_hints(kind, include_extras=True)
    arguments, flags = parser.add_argument_group("arguments"), parser.add_argument_group("flags")
    common = parser.add_argument_group("flags of every command")
    shared = {field.name for field in dataclasses.fields(Common)}
    for field in sorted(dataclasses.fields(kind), key=lambda field: field.name not in kind.__annotations__):
        value, marks = _split_marks(hints[field.name])
        text, several = texts.get(field.name, "").replace("%", "%%"), get_origin(value) is tuple
        group = common if field.name in shared else flags
        others = [name for mark in marks if isinstance(mark, Short) for name in mark.names]
        names = sorted([f"--{field.name.replace('_', '-')}", *others], key=lambda name: name.startswith("--"))
        options: dict[str, Any] = {}
        if any(isinstance(mark, Place) for mark in marks):
            group, names = arguments, [field.name]
            options = {
                "nargs": "*" if several else None if field.default is dataclasses.MISSING else "?",
                "type": _reader(value),
                "metavar": field.name.upper(),
            }
        elif value is bool:
            options = {"dest": field.name, "action": argparse.BooleanOptionalAction if field.default else "store_true"}
        else:
            options = {"dest": field.name, "type": _reader(value), "metavar": _metavar(value)}
            options |= {"nargs": "*", "action": "extend"} if several else {}
            if field.default not in (dataclasses.MISSING, None, "", ()):
                text += f" [{field.default}]"
        action = group.add_argument(*names, help=text, **options)
        if get_origin(value) is Literal:
            action.choices = get_args(value)  # for completion; the reader refuses all others before argparse does
    common.add_argument("-h", "--help", help="Show this help and exit.", action="help")


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Help of at most 80 columns, on a terminal and in a pipe alike."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=20, width=width())

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = (textwrap.fill(part, width, break_on_hyphens=False) for part in text.split("\n\n"))
        return "\n\n".join(paragraphs)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_on_hyphens=False)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings:
            return super()._format_action_invocation(action)
        value = "" if action.nargs == 0 else f" {self._format_args(action, str(action.metavar))}"
        return ", ".join(action.option_strings) + value

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        if action.nargs == "*":
            return f"{action.metavar} ..."
        return super()._format_args(action, default_metavar)


def width() -> int:
    """Return the width of help texts in columns."""
    return min(shutil.get_terminal_size().columns, 80)


def spellings(parser: argparse.ArgumentParser) -> list[str]:
    """Return every spelling of every flag."""
    return list(parser._option_string_actions)


def _normalize(
    parser: Parser, words: Sequence[str], elsewhere: Callable[[], Mapping[str, str]], prog: str
) -> list[str]:
    """Return the words with ``--n_timesteps`` written ``--n-timesteps``.

    Raises UsageError: a flag is unknown; the message suggests the most similar flag of this command.
    """
    known = spellings(parser)
    result: list[str] = []
    for index, word in enumerate(words):
        if word == "--":
            return [*result, *words[index:]]
        if not _FLAG.match(word):
            result.append(word)
            continue
        name, equals, value = word.partition("=")
        name = name if name in known or not name.startswith("--") else name.replace("_", "-")
        joined = not name.startswith("--") and name[:2] in known  # as -n100
        if name not in known and not joined:
            hints = {**elsewhere(), **{flag.lstrip("-"): flag for flag in known}}
            like = near(name.lstrip("-"), hints, cutoff=0.6)
            hint = f"for help: homeo-rl help {prog}" if like is None else f"did you mean {hints[like]}?"
            raise UsageError(f"unknown flag {name}; {hint}")
        result.append(name + equals + value)
    return result


def _reader(value: Any) -> Callable[[str], Any]:
    value = _single(value)
    if get_origin(value) is Literal:
        return _choice(get_args(value))
    readers: dict[Any, Callable[[str], Any]] = {int: whole_number, float: finite_number, Path: _path, str: str}
    return readers[value]


def whole_number(text: str) -> int:
    """Read 100000, 100_000 or 1e5."""
    try:
        return int(text)
    except ValueError:
        with_point = _float(text)
    if with_point is None or not with_point.is_integer() or abs(with_point) >= 2**53:
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}")
    return int(with_point)


def finite_number(text: str) -> float:
    """Read a number that is neither infinite nor NaN."""
    value = _float(text)
    if value is None:
        raise argparse.ArgumentTypeError(f"expected a number, got {text!r}")
    return value


def _float(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("expected a path, got ''")
    return Path(text)


def _choice(known: Sequence[str]) -> Callable[[str], str]:
    def choose(text: str) -> str:
        if text in known:
            return text
        like = near(text, known, cutoff=0.6)
        hint = f"; did you mean {like!r}?" if like else ""
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(known)}, got {text!r}{hint}")

    return choose


def _metavar(value: Any) -> str:
    value = _single(value)
    return {int: "N", float: "X", Path: "PATH", str: "TEXT"}.get(value, "NAME")


def _single(value: Any) -> Any:
    """Return the type of one word: the type itself or that of its entries, without None."""
    if get_origin(value) in (Union, types.UnionType):
        value = next(part for part in get_args(value) if part is not types.NoneType)
    return get_args(value)[0] if get_origin(value) is tuple else value


def _split_marks(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    value, *marks = get_args(hint) if get_origin(hint) is Annotated else [hint]
    return value, tuple(marks)


def _list_required(kind: type[Any]) -> list[str]:
    return [field.name for field in dataclasses.fields(kind) if field.default is dataclasses.MISSING]


def _usage_of(kind: type[Any], name: str, *, value: bool = False) -> str:
    """Return how a field is written, RUN by position or --out by name, with its value if requested."""
    content, marks = _split_marks(get_type_hints(kind, include_extras=True)[name])
    if any(isinstance(mark, Place) for mark in marks):
        return name.upper() + (" ..." if value and get_origin(content) is tuple else "")
    return f"--{name.replace('_', '-')}" + (f" {_metavar(content)}" if value else "")


def _read_help(kind: type[Any]) -> dict[str, str]:
    """Return the string below each field, read from the source of the class and its bases."""
    texts: dict[str, str] = {}
    for part in reversed(kind.__mro__[:-1]):
        body = ast.parse(textwrap.dedent(inspect.getsource(part))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, below in zip(body.body, body.body[1:], strict=False):
            if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
                continue
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                texts[field.target.id] = " ".join(str(below.value.value).split())
    return texts
