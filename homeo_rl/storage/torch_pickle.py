"""The program at the head of a torch archive, followed step by step without running any of it.

``torch.save`` writes a dict of tensors as a program that names Python functions and has them called. Here the standard
library takes it apart into instructions (`pickletools.genops` executes none of them), and the few instructions that a
dict of tensors needs are followed on a stack of plain descriptions; any other instruction or name is refused.

Why not ``torch.load`` with ``weights_only``: it calls what stands on a list of more than a hundred names, makes every
tensor of the file before anybody can compare a shape, reads older formats too, puts no limit on time or memory, and let
code through until torch 2.6. What is below calls nothing, and stops after `MAX_STEPS` instructions.
"""

from __future__ import annotations

import math
import pickletools
from dataclasses import dataclass
from typing import Any

import numpy as np

from homeo_rl.errors import StorageFault
from homeo_rl.storage.files import printable

MAX_BYTES, MAX_STEPS = 1 << 20, 100_000  # of a program; that of a policy has about 30 steps and 100 bytes a tensor

_MAX_AXES, _MAX_TEXT = 16, 512

_TYPES = {
    "FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "LongStorage": "<i8", "IntStorage": "<i4",
    "ShortStorage": "<i2", "CharStorage": "i1", "ByteStorage": "u1", "BoolStorage": "?",
}  # fmt: skip
_DTYPES = {f"torch {name}": np.dtype(code) for name, code in _TYPES.items()}

_DICT, _TENSOR = "collections OrderedDict", "torch._utils _rebuild_tensor_v2"


@dataclass(frozen=True)
class Storage:
    """``size`` numbers that lie in the archive's member of the name ``key``."""

    dtype: np.dtype[Any]
    key: str
    size: int


@dataclass(frozen=True)
class Entry:
    """A tensor: numbers of a storage from ``offset`` on, side by side; ``axes`` in their order, the slowest first."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    axes: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class _Name:
    """A Python function or class that the program names."""

    name: str


def entries_of(program: bytes, where: str) -> dict[str, Entry]:
    """Return what a program says about the tensors of the dict that it would make; none of them is made.

    Raises StorageFault: it does anything else, however little.
    """
    machine = Machine()
    try:
        made = run(machine, program)
        if not isinstance(made, dict):
            raise ValueError("it makes something else than one dict")
        entries = {name: entry for name, entry in made.items() if isinstance(entry, Entry)}
        if len(entries) != len(made):
            raise ValueError("not every entry of its dict is a tensor")
    except ValueError as error:
        raise StorageFault(f"{where}: not the program of a dict of tensors ({printable(error)})") from None
    return entries


def run(machine: Machine, program: bytes) -> object:
    """Let ``machine`` follow a whole program, and return what is left on its stack.

    Raises ValueError: saying what is wrong with it.
    """
    require(len(program) <= MAX_BYTES, f"at most {MAX_BYTES} bytes, not {len(program)}")
    for count, (code, argument, at) in enumerate(pickletools.genops(program)):
        require(count < MAX_STEPS, f"at most {MAX_STEPS} instructions")
        require(code.name != "STOP" or at == len(program) - 1, "nothing behind the end")
        machine.follow(code.name, argument)
    result = machine.pop()
    require(not machine.stack, "one value at the end")
    return result


class Machine:
    """The stack, its marks and the memo. What lies there is numbers, texts, tuples, dicts and descriptions.

    Nothing compares, prints or walks through these values: by the memo they can hold each other, and themselves.
    """

    def __init__(self) -> None:
        self.stack: list[object] = []
        self.marks: list[int] = []
        self.memo: dict[int, object] = {}

    def follow(self, code: str, argument: Any) -> None:
        """Follow one instruction. Raises ValueError: saying what is wrong with it."""
        match code:
            case "PROTO":
                require(argument == 2, f"format 2, which torch writes, not {argument}")
            case "MARK":
                self.marks.append(len(self.stack))
            case "GLOBAL":
                known = argument in (_DICT, _TENSOR) or argument in _DTYPES
                require(known, f"nothing but tensors, not {printable(argument, 60)}")
                self.stack.append(_Name(argument))
            case "BINUNICODE" | "BININT" | "BININT1" | "BININT2" | "LONG1":
                self.stack.append(argument)
            case "NEWTRUE" | "NEWFALSE":
                self.stack.append(code == "NEWTRUE")
            case "NONE":
                self.stack.append(None)
            case "EMPTY_DICT":
                self.stack.append({})
            case "EMPTY_TUPLE":
                self.stack.append(())
            case "TUPLE":
                self.stack.append(tuple(self.down_to_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self.stack.append(tuple(reversed([self.pop() for _ in range(int(code[-1]))])))
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.top()
            case "BINGET" | "LONG_BINGET":
                require(argument in self.memo, "what was there before")
                self.stack.append(self.memo[argument])
            case "BINPERSID":
                self.stack.append(_storage(self.pop()))
            case "REDUCE":
                arguments = self.pop()
                self.stack.append(_result(self.pop(), arguments))
            case "SETITEM":
                value = self.pop()
                self.fill([self.pop(), value])
            case "SETITEMS":
                self.fill(self.down_to_mark())
            case "BUILD":  # the versions of the modules: an attribute of the dict, of which nothing is needed
                require(isinstance(self.pop(), dict) and isinstance(self.top(), dict), "a dict with notes")
            case "STOP":
                require(not self.marks, "all marks to be used")
            case _:
                raise ValueError(f"expected nothing but tensors, found the instruction {code}")

    def top(self) -> object:
        """Return the last value."""
        require(len(self.stack) > (self.marks[-1] if self.marks else 0), "another value on the stack")
        return self.stack[-1]

    def pop(self) -> object:
        """Take the last value away and return it."""
        value = self.top()
        del self.stack[-1]
        return value

    def down_to_mark(self) -> list[object]:
        """Take all values behind the last mark away and return them."""
        require(bool(self.marks), "a mark on the stack")
        at = self.marks.pop()
        values = self.stack[at:]
        del self.stack[at:]
        return values

    def fill(self, values: list[object]) -> None:
        """Put keys and values, in turns, into the dict on the stack."""
        target = self.top()
        require(isinstance(target, dict) and len(values) % 2 == 0, "a dict, keys and values")
        assert isinstance(target, dict)
        for key, value in zip(values[::2], values[1::2], strict=True):
            require(isinstance(key, str) and len(key) <= _MAX_TEXT, f"names of at most {_MAX_TEXT} signs")
            require(key not in target, "every name once")
            target[key] = value


def _result(function: object, arguments: object) -> object:
    require(isinstance(function, _Name) and isinstance(arguments, tuple), "a call of what is known")
    assert isinstance(function, _Name)
    assert isinstance(arguments, tuple)
    if function.name == _DICT:
        require(len(arguments) == 0, "an empty dict")
        return {}
    require(function.name == _TENSOR and len(arguments) == 6, "the six arguments of a tensor")
    storage, offset, shape, strides, _, hooks = arguments
    require(isinstance(storage, Storage), "a tensor of a storage")
    require(_count(offset) and _counts(shape) and _counts(strides), "an offset, a shape and strides of whole numbers")
    require(isinstance(hooks, dict), "no hooks")
    require(len(strides) == len(shape), "a stride for every axis")
    entry = Entry(storage, offset, shape, _order(shape, strides))
    require(offset + entry.size <= storage.size, "a tensor inside its storage")
    return entry


def _storage(words: object) -> Storage:
    require(isinstance(words, tuple) and len(words) in (5, 6), "the five words of a storage")
    assert isinstance(words, tuple)
    word, kind, key, device, size = words[:5]
    require(words[5:] in ((), (None,)), "a storage that is no part of another")  # a sixth word: torch before 1.6
    require(isinstance(word, str) and word == "storage" and isinstance(device, str), "a storage")
    require(isinstance(kind, _Name) and kind.name in _DTYPES, "a storage of a known type")
    require(isinstance(key, str) and len(key) <= _MAX_TEXT, "the name of a storage")
    require(_count(size), "a size that is a whole number")
    return Storage(_DTYPES[kind.name], key, size)


def _order(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...]:
    """Return the axes of a tensor, the one with the largest stride first."""
    order = sorted(range(len(shape)), key=lambda axis: (strides[axis], shape[axis]), reverse=True)
    step = 1
    for axis in reversed(order):
        if shape[axis] > 1:  # the stride of an axis of 1 means nothing
            require(strides[axis] == step or 0 in shape, "a tensor without gaps, in which no number comes twice")
            step *= shape[axis]
    return tuple(order)


def _count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 62


def _counts(values: object) -> bool:
    return isinstance(values, tuple) and len(values) <= _MAX_AXES and all(_count(value) for value in values)


def require(true: bool, expected: str) -> None:
    """Raise ValueError that says what was ``expected`` unless it is ``true``."""
    if not true:
        raise ValueError(f"expected {expected}")
