"""NumPy arrays in the program that a Python list of them is stored as, followed without running any of it.

As in `torch_program`, instructions are taken apart by the standard library and followed on a stack of plain
descriptions. Three functions are known by name, those that NumPy's arrays name; none of them is called.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from homeo_rl import files
from homeo_rl.errors import StorageFault
from homeo_rl.torch_program import MAX_BYTES, Machine, require, run

_CORES = ("numpy.core", "numpy._core")
"""Before NumPy 2 and since."""

_RECONSTRUCT = tuple(f"{core}.multiarray _reconstruct" for core in _CORES)
_FROM_BUFFER = tuple(f"{core}.numeric _frombuffer" for core in _CORES)
_NAMES = (*_RECONSTRUCT, *_FROM_BUFFER, "numpy ndarray", "numpy dtype")
_KINDS = ("f4", "f8")


@dataclass(frozen=True)
class _Name:
    """A function or class that the program names."""

    name: str


@dataclass
class _Kind:
    """A type of numbers; a later instruction says the order of its bytes."""

    code: str
    order: str = "<"


@dataclass
class _Array:
    """An array; a later instruction says what is in it."""

    kind: _Kind | None = None
    shape: tuple[int, ...] = ()
    by_columns: bool = False
    data: bytes = field(default=b"", repr=False)

    def read(self) -> np.ndarray:
        """Return it as an array of its own."""
        require(self.kind is not None, "an array with numbers")
        assert self.kind is not None
        kind = np.dtype(self.kind.order + self.kind.code)
        require(len(self.data) == math.prod(self.shape) * kind.itemsize, "as many numbers as its shape says")
        flat = np.frombuffer(self.data, kind).astype(kind.newbyteorder("="))
        return flat.reshape(self.shape, order="F") if self.by_columns else flat.reshape(self.shape)


def read_array_list(path: Path) -> list[np.ndarray]:
    """Return the arrays of float32 or float64 that a file holds as one list.

    Raises:
        StorageFault: it holds anything else, however little, or is no such file.
    """
    with files.opened(path, MAX_BYTES) as file:
        program = file.readall()
    try:
        found = run(_ArrayMachine(), program)
        require(isinstance(found, list) and all(isinstance(item, _Array) for item in found), "a list of arrays")
        assert isinstance(found, list)
        return [item.read() for item in found]
    except ValueError as error:
        raise StorageFault(f"{path}: not a list of arrays as Python stores it ({files.printable(error)})") from None


class _ArrayMachine(Machine):
    def follow(self, code: str, argument: Any) -> None:
        match code:
            case "PROTO":
                require(2 <= argument <= 5, f"format 2 to 5, not {argument}")
            case "FRAME":  # how many bytes follow: for readers of streams
                pass
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.top()
            case "GLOBAL":
                self.stack.append(_name(argument))
            case "STACK_GLOBAL":
                name, module = self.pop(), self.pop()
                self.stack.append(
                    _name(f"{module} {name}" if isinstance(name, str) and isinstance(module, str) else "")
                )
            case "SHORT_BINUNICODE" | "SHORT_BINBYTES" | "BINBYTES" | "BYTEARRAY8":
                self.stack.append(argument)
            case "EMPTY_LIST":
                self.stack.append([])
            case "APPEND":
                item = self.pop()
                self._extend([item])
            case "APPENDS":
                self._extend(self.down_to_mark())
            case "REDUCE":
                arguments = self.pop()
                self.stack.append(_result(self.pop(), arguments))
            case "BUILD":
                state = self.pop()
                _build(self.top(), state)
            case _:
                super().follow(code, argument)

    def _extend(self, items: list[object]) -> None:
        target = self.top()
        require(isinstance(target, list), "a list")
        assert isinstance(target, list)
        target.extend(items)


def _name(text: str) -> _Name:
    require(text in _NAMES, f"nothing but arrays, not {files.printable(text, 60)}")
    return _Name(text)


def _result(function: object, arguments: object) -> object:
    """Return what stands for the result of a call of one of the known functions."""
    require(isinstance(function, _Name) and isinstance(arguments, tuple), "a call of what is known")
    assert isinstance(function, _Name)
    assert isinstance(arguments, tuple)
    if function.name in _RECONSTRUCT:
        return _Array()
    if function.name == "numpy dtype":
        require(len(arguments) == 3 and isinstance(arguments[0], str) and arguments[0] in _KINDS, "float32 or float64")
        return _Kind(arguments[0])
    require(function.name in _FROM_BUFFER and len(arguments) == 4, "an array out of bytes")
    data, kind, shape, order = arguments
    return _array(kind, shape, order == "F" if isinstance(order, str) else None, data)


def _build(target: object, state: object) -> None:
    """Give a type the order of its bytes, or an array what is in it."""
    require(isinstance(state, tuple), "a state")
    assert isinstance(state, tuple)
    if isinstance(target, _Kind):
        require(len(state) > 1 and isinstance(state[1], str) and state[1] in ("<", ">"), "an order of bytes")
        target.order = state[1]
        return
    require(isinstance(target, _Array) and len(state) == 5, "an array and its five words")
    assert isinstance(target, _Array)
    _, shape, kind, by_columns, data = state
    made = _array(kind, shape, by_columns, data)
    target.kind, target.shape, target.by_columns, target.data = made.kind, made.shape, made.by_columns, made.data


def _array(kind: object, shape: object, by_columns: object, data: object) -> _Array:
    require(isinstance(kind, _Kind) and isinstance(data, bytes | bytearray), "numbers of a known type")
    axes = isinstance(shape, tuple) and len(shape) <= 2 and all(type(n) is int and 0 <= n < 1 << 20 for n in shape)
    require(axes and isinstance(by_columns, bool), "a shape of at most two axes")
    assert isinstance(kind, _Kind)
    assert isinstance(shape, tuple)
    assert isinstance(data, bytes | bytearray)
    return _Array(kind, shape, bool(by_columns), bytes(data))
