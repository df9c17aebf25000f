"""Signals that may remember for ever: latch, toggle, refractory gate, counter, machine.

Each keeps one number from step to step.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from homeo_rl.compiler.spike_function import MOST_REMEMBERED, Bools, Ints, Node, require


@dataclass(frozen=True)
class Latch(Node):
    """On from a spike of ``on`` until a spike of ``off`` alone; ``on`` wins where both spike."""

    on: Node
    off: Node

    @property
    def parts(self) -> tuple[Node, ...]:
        """Set and reset."""
        return (self.on, self.off)

    @property
    def start(self) -> tuple[int, ...]:
        """Off."""
        return (0,)

    def step(self, memory: Ints, parts: Bools) -> tuple[Ints, Bools]:
        """Set, reset or stay."""
        out = parts[:, 0] | (memory[:, 0].astype(bool) & ~parts[:, 1])
        return out[:, None].astype(np.int64), out


@dataclass(frozen=True)
class _OfOne(Node):
    """Base of signals that remember one number, 0 at first, about one part."""

    of: Node

    @property
    def parts(self) -> tuple[Node, ...]:
        return (self.of,)

    @property
    def start(self) -> tuple[int, ...]:
        return (0,)


@dataclass(frozen=True)
class Toggle(_OfOne):
    """Changes at every spike of its part."""

    def step(self, memory: Ints, parts: Bools) -> tuple[Ints, Bools]:
        """Exclusive or."""
        out = memory[:, 0].astype(bool) ^ parts[:, 0]
        return out[:, None].astype(np.int64), out


@dataclass(frozen=True)
class Refractory(_OfOne):
    """Passes a spike if it has passed none in the last ``steps`` steps."""

    steps: int

    def __post_init__(self) -> None:
        require(1 <= self.steps <= MOST_REMEMBERED, "refractory", f"1 to {MOST_REMEMBERED} steps", self.steps)

    def step(self, memory: Ints, parts: Bools) -> tuple[Ints, Bools]:
        """Count down from the last spike that passed."""
        out = parts[:, 0] & (memory[:, 0] == 0)
        return np.where(out, self.steps, np.maximum(memory[:, 0] - 1, 0))[:, None], out


@dataclass(frozen=True)
class Every(_OfOne):
    """Keeps the k-th spike (k = 1, 2, ...) where (k - 1) mod ``modulus`` is among ``kept``.

    Spikes are counted from 1, entries of ``kept`` from 0: ``kept=(0,)`` is the first of every ``modulus`` spikes.
    """

    modulus: int
    kept: tuple[int, ...]

    def __post_init__(self) -> None:
        require(self.modulus >= 1, "every", "a modulus of at least 1", self.modulus)
        inside = bool(self.kept) and all(0 <= k < self.modulus for k in self.kept)
        require(inside, "every", f"places of 0 to {self.modulus - 1} to keep", self.kept)

    def step(self, memory: Ints, parts: Bools) -> tuple[Ints, Bools]:
        """Count the spikes."""
        out = parts[:, 0] & np.isin(memory[:, 0], self.kept)
        return ((memory[:, 0] + parts[:, 0]) % self.modulus)[:, None], out


@dataclass(frozen=True)
class Automaton(Node):
    """A Mealy machine: state s and symbol x give the next state ``follow[s][x]`` and the signal ``emit[s][x]``.

    The symbol's bit i is the signal of part i. The machine starts in state 0.
    """

    them: tuple[Node, ...]
    follow: tuple[tuple[int, ...], ...] = field(repr=False)
    emit: tuple[tuple[bool, ...], ...] = field(repr=False)

    def __post_init__(self) -> None:
        states, symbols = len(self.follow), 2 ** len(self.them)
        shaped = len(self.emit) == states and all(len(row) == symbols for row in (*self.follow, *self.emit))
        require(shaped, "machine", f"{symbols} entries a state ({len(self.them)} lines)", "another number")
        inside = all(0 <= q < states for row in self.follow for q in row)
        require(inside, "machine", f"next states of 0 to {states - 1}", "another one")

    @property
    def parts(self) -> tuple[Node, ...]:
        """All parts."""
        return self.them

    @property
    def start(self) -> tuple[int, ...]:
        """State 0."""
        return (0,)

    @cached_property
    def _tables(self) -> tuple[Ints, Bools]:
        return np.array(self.follow, dtype=np.int64), np.array(self.emit, dtype=bool)

    def step(self, memory: Ints, parts: Bools) -> tuple[Ints, Bools]:
        """Follow the transition."""
        follow, emit = self._tables
        symbol = parts @ (1 << np.arange(parts.shape[1]))
        return follow[memory[:, 0], symbol][:, None], emit[memory[:, 0], symbol]
