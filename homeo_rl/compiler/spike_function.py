"""What a spiking network is to compute: causal functions of spike trains, with finite memory.

A specification is a graph of nodes over named input lines. Every node is a signal in {0, 1} that is 0 before the first
step. It is the reference that compiled networks are proved against, so it says what is meant in the plainest way: how a
node's memory and its parts' signals at one step give its signal and its next memory, for a batch of rows at a time.
Shapes: B batch, T steps, d input lines, K columns of memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from homeo_rl.errors import UsageError

Bools = np.ndarray
Ints = np.ndarray

MOST_REMEMBERED = 62
"""Steps that one column of memory holds as bits."""


def _require(true: bool, what: str, expected: str, got: object) -> None:
    if not true:
        raise UsageError(f"{what}: expected {expected}, got {got}")


@dataclass(frozen=True)
class Node:
    """Base of all signals; ``parts`` are the signals that it is made of."""

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
    __hash__ = Node.__hash__


@dataclass(frozen=True)
class Window(Node):
    """Base of signals that depend on the last ``reach`` steps of their parts and on nothing else."""

    @property
    def reach(self) -> int:
        """How many steps matter, this one included."""
        return 1

    def decide(self, past: Bools) -> Bools:
        """Return the signal [...] for ``past`` [..., parts, reach]; ``past[..., k]`` lies k steps back."""
        raise NotImplementedError

    @property
    def start(self) -> tuple[int, ...]:
        """Nothing was seen."""
        _require(self.reach <= MOST_REMEMBERED, "window", f"at most {MOST_REMEMBERED} steps", self.reach)
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
    __hash__ = Node.__hash__

    def decide(self, past: Bools) -> Bools:
        """Return the value."""
        return np.full(past.shape[:-2], self.value)


@dataclass(frozen=True)
class _Unary(Window):
    of: Node
    __hash__ = Node.__hash__

    @property
    def parts(self) -> tuple[Node, ...]:
        """The one part."""
        return (self.of,)


@dataclass(frozen=True)
class _Many(Window):
    them: tuple[Node, ...]
    __hash__ = Node.__hash__

    @property
    def parts(self) -> tuple[Node, ...]:
        """All parts."""
        return self.them


@dataclass(frozen=True)
class Delay(_Unary):
    """The signal of ``steps`` steps ago."""

    steps: int
    __hash__ = Node.__hash__

    def __post_init__(self) -> None:
        _require(0 <= self.steps < MOST_REMEMBERED, "delay", f"0 to {MOST_REMEMBERED - 1} steps", self.steps)

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

    __hash__ = Node.__hash__

    def decide(self, past: Bools) -> Bools:
        """Negate."""
        return np.asarray(~past[..., 0, 0])


@dataclass(frozen=True)
class All(_Many):
    """Spikes where all parts do."""

    __hash__ = Node.__hash__

    def decide(self, past: Bools) -> Bools:
        """Join."""
        return np.asarray(past[..., 0].all(-1))


@dataclass(frozen=True)
class Any(_Many):
    """Spikes where some part does."""

    __hash__ = Node.__hash__

    def decide(self, past: Bools) -> Bools:
        """Join."""
        return np.asarray(past[..., 0].any(-1))


@dataclass(frozen=True)
class AtLeast(_Many):
    """Spikes where at least ``least`` parts do."""

    least: int
    __hash__ = Node.__hash__

    def decide(self, past: Bools) -> Bools:
        """Count the parts."""
        return np.asarray(past[..., 0].sum(-1) >= self.least)


@dataclass(frozen=True)
class Count(_Unary):
    """Spikes where at least ``least`` of the last ``window`` steps held a spike."""

    least: int
    window: int
    __hash__ = Node.__hash__

    def __post_init__(self) -> None:
        _require(1 <= self.window <= MOST_REMEMBERED, "window", f"1 to {MOST_REMEMBERED} steps", self.window)
        _require(1 <= self.least <= self.window, "count", f"1 to {self.window} spikes (its window)", self.least)

    @property
    def reach(self) -> int:
        """The window."""
        return self.window

    def decide(self, past: Bools) -> Bools:
        """Count the steps."""
        return np.asarray(past[..., 0, :].sum(-1) >= self.least)


@dataclass(frozen=True)
class Winner(_Many):
    """Spikes where part ``place`` had the most spikes of all in the last ``window`` steps.

    Of equal counts the earlier part wins; nobody wins while all counts are 0.
    """

    place: int
    window: int
    __hash__ = Node.__hash__

    def __post_init__(self) -> None:
        _require(1 <= self.window <= MOST_REMEMBERED, "window", f"1 to {MOST_REMEMBERED} steps", self.window)
        _require(0 <= self.place < len(self.them), "winner", f"a place of 0 to {len(self.them) - 1}", self.place)

    @property
    def reach(self) -> int:
        """The window."""
        return self.window

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
    __hash__ = Node.__hash__

    def __post_init__(self) -> None:
        n = len(self.them) * self.window
        _require(all(len(t) == n for t in self.templates), "template", f"{n} entries", "another number")
        _require(
            0 <= self.place < len(self.templates), "nearest", f"a place of 0 to {len(self.templates) - 1}", self.place
        )

    @property
    def reach(self) -> int:
        """The window."""
        return self.window

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
    __hash__ = Node.__hash__

    def __post_init__(self) -> None:
        n = len(self.them) * self.window
        _require(n <= 30 and len(self.bits) == 2**n, "table", f"2^{n} entries for {n} taps", len(self.bits))

    @property
    def reach(self) -> int:
        """The window."""
        return self.window

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
    __hash__ = Node.__hash__

    def __post_init__(self) -> None:
        _require(1 <= self.steps <= MOST_REMEMBERED, "hold", f"1 to {MOST_REMEMBERED} steps", self.steps)

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

    __hash__ = Node.__hash__

    @property
    def reach(self) -> int:
        """Now and before."""
        return 2

    def decide(self, past: Bools) -> Bools:
        """Compare the two."""
        return np.asarray(past[..., 0, 0] & ~past[..., 0, 1])


@dataclass(frozen=True)
class Latch(Node):
    """On from a spike of ``on`` until a spike of ``off`` alone; ``on`` wins where both spike."""

    on: Node
    off: Node
    __hash__ = Node.__hash__

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
class Toggle(Node):
    """Changes at every spike of its part."""

    of: Node
    __hash__ = Node.__hash__

    @property
    def parts(self) -> tuple[Node, ...]:
        """The one part."""
        return (self.of,)

    @property
    def start(self) -> tuple[int, ...]:
        """Off."""
        return (0,)

    def step(self, memory: Ints, parts: Bools) -> tuple[Ints, Bools]:
        """Exclusive or."""
        out = memory[:, 0].astype(bool) ^ parts[:, 0]
        return out[:, None].astype(np.int64), out


@dataclass(frozen=True)
class Refractory(Node):
    """Passes a spike if it has passed none in the last ``steps`` steps."""

    of: Node
    steps: int
    __hash__ = Node.__hash__

    def __post_init__(self) -> None:
        _require(1 <= self.steps <= MOST_REMEMBERED, "refractory", f"1 to {MOST_REMEMBERED} steps", self.steps)

    @property
    def parts(self) -> tuple[Node, ...]:
        """The one part."""
        return (self.of,)

    @property
    def start(self) -> tuple[int, ...]:
        """Ready."""
        return (0,)

    def step(self, memory: Ints, parts: Bools) -> tuple[Ints, Bools]:
        """Count down from the last spike that passed."""
        out = parts[:, 0] & (memory[:, 0] == 0)
        return np.where(out, self.steps, np.maximum(memory[:, 0] - 1, 0))[:, None], out


@dataclass(frozen=True)
class Every(Node):
    """Keeps the k-th spike (k = 1, 2, ...) where (k - 1) mod ``modulus`` is among ``kept``."""

    of: Node
    modulus: int
    kept: tuple[int, ...]
    __hash__ = Node.__hash__

    def __post_init__(self) -> None:
        _require(self.modulus >= 1, "every", "a modulus of at least 1", self.modulus)
        inside = bool(self.kept) and all(0 <= k < self.modulus for k in self.kept)
        _require(inside, "every", f"places of 0 to {self.modulus - 1} to keep", self.kept)

    @property
    def parts(self) -> tuple[Node, ...]:
        """The one part."""
        return (self.of,)

    @property
    def start(self) -> tuple[int, ...]:
        """No spike yet."""
        return (0,)

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
    __hash__ = Node.__hash__

    def __post_init__(self) -> None:
        states, symbols = len(self.follow), 2 ** len(self.them)
        shaped = len(self.emit) == states and all(len(row) == symbols for row in (*self.follow, *self.emit))
        _require(shaped, "machine", f"{symbols} entries a state ({len(self.them)} lines)", "another number")
        inside = all(0 <= q < states for row in self.follow for q in row)
        _require(inside, "machine", f"next states of 0 to {states - 1}", "another one")

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


def sequence(parts: Sequence[Node]) -> Node:
    """Return the signal that spikes where the parts spiked one after another, the last one now."""
    last = len(parts) - 1
    return All(tuple(Delay(part, last - k) if k < last else part for k, part in enumerate(parts)))


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
    """Named outputs over named input lines.

    Raises:
        UsageError: an output uses a line that is not among ``lines``.
    """

    lines: tuple[str, ...]
    outputs: tuple[tuple[str, Node], ...]

    def __post_init__(self) -> None:
        _require(len(set(self.lines)) == len(self.lines) >= 1, "inputs", "different names, at least one", self.lines)
        _require(len(self.outputs) >= 1, "outputs", "at least one", 0)
        for node in walk([node for _, node in self.outputs]):
            if isinstance(node, Line):
                _require(node.name in self.lines, "input line", f"one of {', '.join(self.lines)}", repr(node.name))

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
        """Return the outputs [B, T, outputs] for input ``trains`` [B, T, d]."""
        memory, outs = self.start(len(trains)), []
        for t in range(trains.shape[1]):
            memory, out = self.step(memory, trains[:, t].astype(bool))
            outs.append(out)
        return np.stack(outs, 1)
