"""Signals that depend on the last steps of their parts and on nothing else: delays, gates, counts, tables.

Each is `decide`, which gives the signal for the steps that it sees; what must be remembered for it is the same for all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from homeo_rl.compiler.spike_function import MOST_REMEMBERED, Bools, Ints, Node, require


@dataclass(frozen=True)
class Window(Node):
    """Base of signals that depend on the last ``reach`` steps of their parts and on nothing else."""

    @property
    def reach(self) -> int:
        """How many steps matter, this one included: the ``window`` of a signal that has one."""
        return int(getattr(self, "window", 1))

    def decide(self, past: Bools) -> Bools:
        """Return the signal [...] for ``past`` [..., parts, reach]; ``past[..., k]`` lies k steps back."""
        raise NotImplementedError

    @property
    def start(self) -> tuple[int, ...]:
        """Nothing was seen."""
        require(self.reach <= MOST_REMEMBERED, "window", f"at most {MOST_REMEMBERED} steps", self.reach)
        return (0,) * len(self.parts) if self.reach > 1 else ()

    def step(self, memory: Ints, parts: Bools) -> tuple[Ints, Bools]:
        """Remember the parts' last steps as bits."""
        if self.reach == 1:
            return memory, self.decide(parts[..., None])
        seen = (memory << 1) | parts
        past = (seen[..., None] >> np.arange(self.reach)) & 1
        return seen & ((1 << (self.reach - 1)) - 1), self.decide(past.astype(bool))


@dataclass(frozen=True)
class Constant(Window):
    """Always or never."""

    value: bool

    def decide(self, past: Bools) -> Bools:
        """Return the value."""
        return np.full(past.shape[:-2], self.value)


@dataclass(frozen=True)
class _Unary(Window):
    of: Node

    @property
    def parts(self) -> tuple[Node, ...]:
        return (self.of,)


@dataclass(frozen=True)
class _Many(Window):
    them: tuple[Node, ...]

    @property
    def parts(self) -> tuple[Node, ...]:
        return self.them


@dataclass(frozen=True)
class Delay(_Unary):
    """The signal of ``steps`` steps ago."""

    steps: int

    def __post_init__(self) -> None:
        require(0 <= self.steps < MOST_REMEMBERED, "delay", f"0 to {MOST_REMEMBERED - 1} steps", self.steps)

    @property
    def reach(self) -> int:
        """The steps waited, and this one."""
        return self.steps + 1

    def decide(self, past: Bools) -> Bools:
        """Look back."""
        return np.asarray(past[..., 0, self.steps])


@dataclass(frozen=True)
class Not(_Unary):
    """Spikes where the signal does not."""

    def decide(self, past: Bools) -> Bools:
        """Negate."""
        return np.asarray(~past[..., 0, 0])


@dataclass(frozen=True)
class All(_Many):
    """Spikes where all parts do."""

    def decide(self, past: Bools) -> Bools:
        """Join."""
        return np.asarray(past[..., 0].all(-1))


@dataclass(frozen=True)
class Any(_Many):
    """Spikes where some part does."""

    def decide(self, past: Bools) -> Bools:
        """Join."""
        return np.asarray(past[..., 0].any(-1))


@dataclass(frozen=True)
class AtLeast(_Many):
    """Spikes where at least ``least`` parts do."""

    least: int

    def decide(self, past: Bools) -> Bools:
        """Count the parts."""
        return np.asarray(past[..., 0].sum(-1) >= self.least)


@dataclass(frozen=True)
class Count(_Unary):
    """Spikes where at least ``least`` of the last ``window`` steps held a spike."""

    least: int
    window: int

    def __post_init__(self) -> None:
        require(1 <= self.window <= MOST_REMEMBERED, "window", f"1 to {MOST_REMEMBERED} steps", self.window)
        require(1 <= self.least <= self.window, "count", f"1 to {self.window} spikes (its window)", self.least)

    def decide(self, past: Bools) -> Bools:
        """Count the steps."""
        return np.asarray(past[..., 0, :].sum(-1) >= self.least)


@dataclass(frozen=True)
class Winner(_Many):
    """Spikes where part ``place``, counted from 0, had the most spikes of all in the last ``window`` steps.

    Of equal counts the earlier part wins; nobody wins while all counts are 0.
    """

    place: int
    window: int

    def __post_init__(self) -> None:
        require(1 <= self.window <= MOST_REMEMBERED, "window", f"1 to {MOST_REMEMBERED} steps", self.window)
        require(0 <= self.place < len(self.them), "winner", f"a place of 0 to {len(self.them) - 1}", self.place)

    def decide(self, past: Bools) -> Bools:
        """Compare the counts."""
        counts = past.sum(-1)
        return np.asarray((counts.argmax(-1) == self.place) & (counts.max(-1) > 0))


@dataclass(frozen=True)
class Nearest(_Many):
    """Spikes where, of all ``templates``, number ``place`` differs least from the last ``window`` steps.

    A template [n], n = parts * window, has entry ``part * window + k`` for that part k steps ago; the distance is the
    number of entries that differ (Hamming). Of equal distances the earlier template wins.
    """

    window: int
    place: int
    templates: tuple[tuple[bool, ...], ...] = field(repr=False)

    def __post_init__(self) -> None:
        n = len(self.them) * self.window
        require(all(len(t) == n for t in self.templates), "template", f"{n} entries", "another number")
        require(
            0 <= self.place < len(self.templates), "nearest", f"a place of 0 to {len(self.templates) - 1}", self.place
        )

    def decide(self, past: Bools) -> Bools:
        """Compare the distances."""
        flat = past.reshape(*past.shape[:-2], -1)
        distances = (flat[..., None, :] != np.array(self.templates)).sum(-1)
        return np.asarray(distances.argmin(-1) == self.place)


@dataclass(frozen=True)
class Table(_Many):
    """A truth table over the last ``window`` steps of its parts.

    ``bits`` [2^n], n = parts * window: the row's number has bit ``part * window + k`` set where that part spiked k
    steps ago.
    """

    window: int
    bits: tuple[bool, ...] = field(repr=False)

    def __post_init__(self) -> None:
        n = len(self.them) * self.window
        require(n <= 30 and len(self.bits) == 2**n, "table", f"2^{n} entries for {n} taps", len(self.bits))

    @cached_property
    def _entries(self) -> Bools:
        return np.array(self.bits, dtype=bool)

    def decide(self, past: Bools) -> Bools:
        """Look the row up."""
        flat = past.reshape(*past.shape[:-2], -1)
        return np.asarray(self._entries[flat @ (1 << np.arange(flat.shape[-1]))])


@dataclass(frozen=True)
class Hold(_Unary):
    """Spikes at every spike of its part and at the ``steps - 1`` steps after it."""

    steps: int

    def __post_init__(self) -> None:
        require(1 <= self.steps <= MOST_REMEMBERED, "hold", f"1 to {MOST_REMEMBERED} steps", self.steps)

    @property
    def reach(self) -> int:
        """The steps held."""
        return self.steps

    def decide(self, past: Bools) -> Bools:
        """Any spike in the window."""
        return np.asarray(past[..., 0, :].any(-1))


@dataclass(frozen=True)
class Rising(_Unary):
    """Spikes where its part does and did not a step ago."""

    @property
    def reach(self) -> int:
        """Now and before."""
        return 2

    def decide(self, past: Bools) -> Bools:
        """Compare the two."""
        return np.asarray(past[..., 0, 0] & ~past[..., 0, 1])


def sequence(parts: Sequence[Node]) -> Node:
    """Return the signal that spikes where the parts spiked one after another, the last one now."""
    last = len(parts) - 1
    return All(tuple(Delay(part, last - k) if k < last else part for k, part in enumerate(parts)))
