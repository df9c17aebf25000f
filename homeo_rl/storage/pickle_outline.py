"""What a pickled file would make, found out without making any of it.

Such a file is a program that names Python functions and has them called. Here the standard library takes it apart into
instructions (`pickletools.genops` executes none of them), and they are followed on a stack of plain values; what would
be called becomes an `Object`, which says what with. Nothing is imported, called or compared.

`homeo_rl.storage.torch_pickle` is stricter, for the heads of files whose program is always the same. This reader is for
objects of other people's classes, of which a few known fields are wanted and the rest is ignored.
"""

import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from homeo_rl.errors import StorageFault
from homeo_rl.storage.files import printable

MAX_BYTES, MAX_STEPS = 8 << 20, 200_000

_MARK = object()

_VALUES = (
    "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1",
    "LONG4", "FLOAT", "BINFLOAT", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "STRING", "BINSTRING",
    "SHORT_BINSTRING",
)  # fmt: skip
_MAKES: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "MARK": lambda: _MARK,
    "EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple, "EMPTY_SET": list,
}  # fmt: skip
"""Instructions that put a new value on the stack."""


@dataclass(frozen=True)
class Name:
    """A function or class: ``module name``."""

    name: str


@dataclass
class Object:
    """What calling ``function`` with ``arguments`` would give, and the ``state`` that it would be given then."""

    function: str
    arguments: tuple[Any, ...]
    state: Any = None
    entries: list[Any] = field(default_factory=list)


def outline(program: bytes, where: str) -> Any:
    """Return what a pickled program would make: plain values and containers as they are, the rest as `Object`.

    By its memo a program can make values that hold themselves; walk only to what is known.

    Raises StorageFault: it is no such program, too large, or needs something from outside.
    """
    if len(program) > MAX_BYTES:
        raise StorageFault(f"{where}: {len(program)} bytes; more than the {MAX_BYTES} that are accepted")
    machine = _Machine()
    try:
        for count, (code, argument, _) in enumerate(pickletools.genops(program)):
            if count == MAX_STEPS:
                raise ValueError(f"more than the {MAX_STEPS} instructions that are accepted")
            machine.follow(code.name, argument)
        (made,) = machine.stack
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise StorageFault(f"{where}: not readable as a pickled object ({printable(error)})") from None
    return made


class _Machine:
    """The stack and the memo."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def follow(self, code: str, argument: Any) -> None:
        """Follow one instruction; wrong ones end in an IndexError, a KeyError, a TypeError or a ValueError."""
        stack = self.stack
        match code:
            case _ if code in _VALUES:
                stack.append(argument)
            case _ if code in _MAKES:
                stack.append(_MAKES[code]())
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "POP":
                stack.pop()
            case "POP_MARK":
                self.down_to_mark()
            case "DUP":
                stack.append(stack[-1])
            case "LIST" | "FROZENSET":
                stack.append(self.down_to_mark())
            case "TUPLE":
                stack.append(tuple(self.down_to_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(reversed([stack.pop() for _ in range(int(code[-1]))])))
            case "DICT":
                stack.append(_fill({}, self.down_to_mark()))
            case "APPEND":
                self.add([stack.pop()])
            case "APPENDS" | "ADDITEMS":
                self.add(self.down_to_mark())
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                _fill(stack[-1], [key, value])
            case "SETITEMS":
                values = self.down_to_mark()
                _fill(stack[-1], values)
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case _:
                self.describe_call(code, argument)

    def describe_call(self, code: str, argument: Any) -> None:
        """Follow an instruction that names or calls something outside: a description of it takes its place."""
        stack = self.stack
        match code:
            case "GLOBAL":
                stack.append(Name(argument))
            case "STACK_GLOBAL":
                name, module = (part if isinstance(part, str) else "" for part in (stack.pop(), stack.pop()))
                stack.append(Name(f"{module} {name}"))
            case "REDUCE" | "NEWOBJ":
                arguments, function = stack.pop(), stack.pop()
                stack.append(_object(function, arguments))
            case "NEWOBJ_EX":
                _, arguments, function = stack.pop(), stack.pop(), stack.pop()
                stack.append(_object(function, arguments))
            case "OBJ":
                function, *arguments = self.down_to_mark()
                stack.append(_object(function, tuple(arguments)))
            case "INST":
                stack.append(Object(argument, tuple(self.down_to_mark())))
            case "BUILD":
                state = stack.pop()
                if isinstance(stack[-1], Object):
                    stack[-1].state = state
            case _:
                raise ValueError(f"the instruction {code} asks for something from outside")

    def down_to_mark(self) -> list[Any]:
        """Take all values behind the last mark away and return them."""
        at = next(place for place in range(len(self.stack) - 1, -1, -1) if self.stack[place] is _MARK)
        values = self.stack[at + 1 :]
        del self.stack[at:]
        return values

    def add(self, values: list[Any]) -> None:
        """Add values to the list, or the object that would be given them."""
        target = self.stack[-1]
        (target.entries if isinstance(target, Object) else target).extend(values)


def _object(function: Any, arguments: Any) -> Object:
    if not isinstance(function, Name) or not isinstance(arguments, tuple):
        raise ValueError("a call of what has no name")
    return Object(function.name, arguments)


def _fill(target: Any, values: list[Any]) -> Any:
    """Put keys and values, in turns, into a dict; keys that are no plain texts or numbers are left out."""
    if isinstance(target, Object):
        return target
    for key, value in zip(values[::2], values[1::2], strict=True):
        if isinstance(key, str | int):
            target[key] = value
    return target


def array_of(value: Any) -> np.ndarray | None:
    """Return the array, or the number, of float32 or float64 that NumPy's pickles describe; None for anything else.

    At most two axes. The array is a new one, in this machine's byte order.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return np.asarray(float(value))
    if not isinstance(value, Object):
        return None
    function = value.function.rpartition(" ")[2]
    parts = value.state if function == "_reconstruct" else value.arguments
    by_columns: Any = False
    if function == "_reconstruct" and isinstance(parts, tuple) and len(parts) == 5:
        _, shape, kind, by_columns, blob = parts
    elif function == "_frombuffer" and len(parts) == 4:
        blob, kind, shape, order = parts
        by_columns = order == "F"
    elif function == "scalar" and len(parts) == 2:
        (kind, blob), shape = parts, ()
    else:
        return None
    numbers, data = _numbers_of(kind), _bytes_of(blob)
    axes = isinstance(shape, tuple) and len(shape) <= 2 and all(type(n) is int and 0 <= n <= MAX_BYTES for n in shape)
    if numbers is None or data is None or not axes or not isinstance(by_columns, bool):
        return None
    if len(data) != math.prod(shape) * numbers.itemsize:
        return None
    flat = np.frombuffer(data, numbers).astype(numbers.newbyteorder("="))
    return flat.reshape(shape, order="F") if by_columns else flat.reshape(shape)


def _numbers_of(kind: Any) -> np.dtype[Any] | None:
    """Return float32 or float64, of either byte order, from NumPy's description of a type."""
    if not isinstance(kind, Object) or not kind.arguments or kind.arguments[0] not in ("f4", "f8"):
        return None
    order = kind.state[1] if isinstance(kind.state, tuple) and len(kind.state) > 1 else "<"
    numbers: np.dtype[Any] = np.dtype((">" if order == ">" else "<") + kind.arguments[0])
    return numbers


def _bytes_of(blob: Any) -> bytes | None:
    """Return bytes, which Python's old protocols write as a text."""
    if isinstance(blob, Object) and blob.function.endswith(" encode") and blob.arguments[:1]:
        blob = str(blob.arguments[0])
    if isinstance(blob, str):
        return blob.encode("latin-1", errors="replace")
    return bytes(blob) if isinstance(blob, bytes | bytearray) else None
