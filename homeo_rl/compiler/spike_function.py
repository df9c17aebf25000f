"""What a spiking network is to compute: causal functions of spike trains, with finite memory.

A specification is a graph of nodes over named input lines. Every node is a signal in {0, 1} that is 0 before the first
step; `signals` lists them. It is the reference that compiled networks are proved against, so it says what is meant in
the plainest way: how a node's memory and its parts' signals at one step give its signal and its next memory, for a
batch of rows at a time. Shapes: B batch, T steps, d input lines, K columns of memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from homeo_rl.errors import InputError, UsageError
from homeo_rl.numerics.arrays import require_numbers

Bools = np.ndarray
Ints = np.ndarray

MOST_REMEMBERED = 62
"""Steps that one column of memory holds as bits."""


def require(true: bool, what: str, expected: str, got: object) -> None:
    """Raise `UsageError`, "what: expected ..., got ...", unless ``true``."""
    if not true:
        raise UsageError(f"{what}: expected {expected}, got {got}")


def trains_of(trains: object, lines: Sequence[str]) -> Bools:
    """Return input ``trains`` [B, T, d] as booleans, one line after the other.

    Raises:
        InputError: another number of lines or dimensions, or no spikes.
    """
    require_numbers(trains, "trains [B, T, d]")
    array = np.asarray(trains)
    if array.ndim != 3 or array.shape[2] != len(lines):
        raise InputError(
            f"trains [B, T, d]: expected d = {len(lines)}, a column a line ({', '.join(lines)}), got {array.shape}; "
            "give one train a row"
        )
    if not ((array == 0) | (array == 1)).all():
        raise InputError("trains [B, T, d]: expected 0 or 1, got other numbers; say where spikes are")
    return array.astype(bool)


@dataclass(frozen=True)
class Node:
    """Base of all signals; ``parts`` are the signals that it is made of."""

    def __init_subclass__(cls) -> None:
        """Keep the hash of `Node`: @dataclass gives a class one of its own unless it finds one there."""
        cls.__hash__ = Node.__hash__  # type: ignore[method-assign]  # which is what this is for

    @property
    def parts(self) -> tuple[Node, ...]:
        """The signals that this one depends on, at the same step or earlier."""
        return ()

    @property
    def start(self) -> tuple[int, ...]:
        """Memory before the first step, a number a column."""
        return ()

    def step(self, memory: Ints, parts: Bools) -> tuple[Ints, Bools]:
        """Return the memory [B, K] after a step and the signal [B], for the parts' signals [B, parts]."""
        raise NotImplementedError

    @cached_property
    def _hash(self) -> int:
        return hash((type(self).__name__, tuple(getattr(self, name) for name in self.__dataclass_fields__)))

    def __hash__(self) -> int:
        return self._hash  # once a node: specifications are graphs, and hashing again at every level is exponential


@dataclass(frozen=True)
class Line(Node):
    """An input."""

    name: str


def walk(roots: Sequence[Node]) -> Iterator[Node]:
    """Yield every node under ``roots`` once, parts first."""
    seen: set[Node] = set()
    stack: list[tuple[Node, bool]] = [(root, False) for root in reversed(roots)]
    while stack:
        node, ready = stack.pop()
        if node in seen:
            continue
        if ready:
            seen.add(node)
            yield node
        else:
            stack.append((node, True))
            stack += [(part, False) for part in reversed(node.parts)]


@dataclass(frozen=True)
class SpikeFunction:
    """Named outputs over named input lines. Raises UsageError: an output uses a line that is not among ``lines``."""

    lines: tuple[str, ...]
    outputs: tuple[tuple[str, Node], ...]

    def __post_init__(self) -> None:
        require(len(set(self.lines)) == len(self.lines) >= 1, "inputs", "different names, at least one", self.lines)
        require(len(self.outputs) >= 1, "outputs", "at least one", 0)
        for node in walk([node for _, node in self.outputs]):
            if isinstance(node, Line):
                require(node.name in self.lines, "input line", f"one of {', '.join(self.lines)}", repr(node.name))

    @property
    def names(self) -> tuple[str, ...]:
        """The outputs' names."""
        return tuple(name for name, _ in self.outputs)

    @cached_property
    def _order(self) -> tuple[tuple[Node, slice, list[int]], ...]:
        """Every node with its columns of memory and the places of its parts."""
        nodes = list(walk([node for _, node in self.outputs]))
        place = {node: i for i, node in enumerate(nodes)}
        rows, at = [], 0
        for node in nodes:
            width = len(node.start)
            rows.append((node, slice(at, at + width), [place[part] for part in node.parts]))
            at += width
        return tuple(rows)

    def start(self, batch: int = 1) -> Ints:
        """Return the memory [B, K] before the first step."""
        row = [value for node, _, _ in self._order for value in node.start]
        return np.tile(np.array(row, dtype=np.int64), (batch, 1))

    def step(self, memory: Ints, x: Bools) -> tuple[Ints, Bools]:
        """Take one step.

        Args:
            memory: [B, K].
            x: the input lines' spikes [B, d].

        Returns:
            the memory after it, and the outputs [B, outputs].
        """
        memory = memory.copy()
        signals = np.zeros((len(self._order), len(x)), dtype=bool)
        place = {}
        for i, (node, columns, parts) in enumerate(self._order):
            place[node] = i
            if isinstance(node, Line):
                signals[i] = x[:, self.lines.index(node.name)]
            else:
                memory[:, columns], signals[i] = node.step(memory[:, columns], signals[parts].T)
        return memory, signals[[place[node] for _, node in self.outputs]].T

    def run(self, trains: Bools) -> Bools:
        """Return the outputs [B, T, outputs] for input ``trains`` [B, T, d].

        Raises:
            InputError: they are no trains of these lines.
        """
        trains = trains_of(trains, self.lines)
        memory, outs = self.start(len(trains)), []
        for t in range(trains.shape[1]):
            memory, out = self.step(memory, trains[:, t])
            outs.append(out)
        return np.stack(outs, 1)
