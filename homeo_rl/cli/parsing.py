"""From the words of a command line to flags, and from flags to help: argparse, built of dataclasses.

A field is a flag: its type says which words it takes, its default whether it may be left out, the string below it is
its help. Messages are our own, because argparse's change between versions of Python.
"""

from __future__ import annotations

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

_FLAG = re.compile(r"--?[A-Za-z]")
"""How a word begins that is a flag and not a value; ``-1`` and ``-1e5`` are values."""

_NOTHING = re.compile(r"expected (one|at least one|\d+) arguments?")
"""What argparse says where a flag's value is missing."""


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one `UsageError`."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing and leaving."""
        raise UsageError(message)


def parse(
    kind: type[T],
    words: Sequence[str],
    defaults: Mapping[str, Any] | None = None,
    *,
    prog: str = "",
    elsewhere: Callable[[], Mapping[str, str]] = dict,
) -> T:
    """Read the words that follow a command's name.

    Args:
        kind: the command's flags.
        words: what was typed.
        defaults: values in place of the flags' defaults; the words win.
        prog: the command, for the messages.
        elsewhere: returns names that are given otherwise than as a flag, and how; asked for where a flag is unknown.

    Raises:
        UsageError: an unknown flag, a missing or wrong value.
    """
    parser = parser_of(kind, prog=prog)
    words = _spelled(parser, words, elsewhere, prog)
    found = argparse.Namespace()
    try:
        _, left = parser.parse_known_intermixed_args(words, found)
    except argparse.ArgumentError as error:
        message = "expected a value, got none" if _NOTHING.fullmatch(error.message) else error.message
        raise UsageError(f"{(error.argument_name or '').rpartition('/')[2]}: {message}") from None
    except UsageError:
        left = []  # something is missing; what, is said below
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in vars(found).items()}
    fields = [field for field in dataclasses.fields(kind) if field.init]  # type: ignore[arg-type]  # a dataclass
    needed = [field.name for field in fields if field.default is dataclasses.MISSING]
    missing = [name for name in needed if name not in given]
    if missing:
        names = ", ".join(_shown(kind, name) for name in missing)
        raise UsageError(f"expected {names}, got nothing; for help: homeo-rl help {prog}")
    if left:
        raise UsageError(f"expected no more words, got {left[0]!r}; for help: homeo-rl help {prog}")
    return kind(**{**(defaults or {}), **given})


def parser_of(kind: type[Any], *, prog: str) -> Parser:
    """Return a parser for the flags of ``kind``, with their help."""
    needed = [field.name for field in dataclasses.fields(kind) if field.default is dataclasses.MISSING]
    parser = Parser(
        usage=" ".join(["homeo-rl", prog, *(_shown(kind, name, value=True) for name in needed), "[flags]"]),
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
    """Give a parser the flags of ``kind``."""
    texts, hints = _texts(kind), get_type_hints(kind, include_extras=True)
    arguments, own = parser.add_argument_group("arguments"), parser.add_argument_group("flags")
    common = parser.add_argument_group("flags of every command")
    shared = {field.name for field in dataclasses.fields(Common)}
    for field in dataclasses.fields(kind):
        value, marks = _marked(hints[field.name])
        text, several = texts.get(field.name, "").replace("%", "%%"), get_origin(value) is tuple
        group = common if field.name in shared else own
        names = [name for mark in marks if isinstance(mark, Short) for name in mark.names]
        names.append(f"--{field.name.replace('_', '-')}")
        more: dict[str, Any] = {}
        if any(isinstance(mark, Place) for mark in marks):
            group, names = arguments, [field.name]
            more = {"nargs": "*" if several else None, "type": _reader(value), "metavar": field.name.upper()}
        elif value is bool:
            more = {"dest": field.name, "action": argparse.BooleanOptionalAction if field.default else "store_true"}
        else:
            more = {"dest": field.name, "type": _reader(value), "metavar": _meta(value)}
            more |= {"nargs": "*", "action": "extend"} if several else {}
            if field.default not in (dataclasses.MISSING, None, "", ()):
                text += f" [{field.default}]"
        made = group.add_argument(*names, help=text, **more)
        if get_origin(value) is Literal:
            made.choices = get_args(value)  # for completion; the reader refuses all others before argparse does
    common.add_argument("-h", "--help", help="Show this and leave.", action="help")


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Help of at most 80 columns, on a terminal and in a pipe alike."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=20, width=width())

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Wrap a description paragraph by paragraph."""
        paragraphs = (textwrap.fill(part, width, break_on_hyphens=False) for part in text.split("\n\n"))
        return "\n\n".join(paragraphs)

    def _split_lines(self, text: str, width: int) -> list[str]:
        """Wrap a flag's help; words with hyphens stay whole."""
        return textwrap.wrap(text, width, break_on_hyphens=False)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        """Write the value once, behind the last spelling."""
        if not action.option_strings:
            return super()._format_action_invocation(action)
        value = "" if action.nargs == 0 else f" {self._format_args(action, str(action.metavar))}"
        return ", ".join(action.option_strings) + value

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        if action.nargs == "*":
            return f"{action.metavar} ..."
        return super()._format_args(action, default_metavar)


def width() -> int:
    """Return the columns that help may take."""
    return min(shutil.get_terminal_size().columns, 80)


def spellings(parser: argparse.ArgumentParser) -> list[str]:
    """Return every spelling of every flag."""
    return list(parser._option_string_actions)


def _spelled(parser: Parser, words: Sequence[str], elsewhere: Callable[[], Mapping[str, str]], prog: str) -> list[str]:
    """Return the words with ``--n_timesteps`` written ``--n-timesteps``.

    Raises:
        UsageError: one is a flag that there is none of; the nearest of this command is suggested.
    """
    known = spellings(parser)
    found: list[str] = []
    for index, word in enumerate(words):
        if word == "--":
            return [*found, *words[index:]]
        if not _FLAG.match(word):
            found.append(word)
            continue
        name, equals, value = word.partition("=")
        name = name if name in known or not name.startswith("--") else name.replace("_", "-")
        joined = not name.startswith("--") and name[:2] in known  # as -n100
        if name not in known and not joined:
            written = {**elsewhere(), **{one.lstrip("-"): one for one in known}}
            like = near(name.lstrip("-"), written, cutoff=0.6)
            hint = f"for help: homeo-rl help {prog}" if like is None else f"did you mean {written[like]}?"
            raise UsageError(f"unknown flag {name}; {hint}")
        found.append(name + equals + value)
    return found


def _reader(value: Any) -> Callable[[str], Any]:
    """Return the function that reads one word of a type."""
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


def _meta(value: Any) -> str:
    value = _single(value)
    return {int: "N", float: "X", Path: "PATH", str: "TEXT"}.get(value, "NAME")


def _single(value: Any) -> Any:
    """Return what one word of a type is: the type, or that of its entries, without None."""
    if get_origin(value) in (Union, types.UnionType):
        value = next(one for one in get_args(value) if one is not types.NoneType)
    return get_args(value)[0] if get_origin(value) is tuple else value


def _marked(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return a type and what it is annotated with."""
    if get_origin(hint) is not Annotated:
        return hint, ()
    value, *marks = get_args(hint)
    return value, tuple(marks)


def _shown(kind: type[Any], name: str, *, value: bool = False) -> str:
    """Return how a field is given: RUN by place, --out by name, with its value if it is to be shown."""
    held, marks = _marked(get_type_hints(kind, include_extras=True)[name])
    if any(isinstance(mark, Place) for mark in marks):
        return name.upper() + (" ..." if value and get_origin(held) is tuple else "")
    return f"--{name.replace('_', '-')}" + (f" {_meta(held)}" if value else "")


def _texts(kind: type[Any]) -> dict[str, str]:
    """Return the string below each field."""
    found: dict[str, str] = {}
    for part in reversed(kind.__mro__[:-1]):
        body = ast.parse(textwrap.dedent(inspect.getsource(part))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, below in zip(body.body, body.body[1:], strict=False):
            if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
                continue
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                found[field.target.id] = " ".join(str(below.value.value).split())
    return found
