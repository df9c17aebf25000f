"""Regular expressions over spike words: the signal spikes where the whole train so far matches.

A word has one symbol a step. ``1`` and ``0`` stand for a step with or without a spike (of the first line), ``.`` for
any step, ``[a & !b]`` for a step at which line 0 spikes and line 1 does not (lines are named a, b, c, ...); ``|`` is
or, ``*``, ``+``, ``?``, ``{n}`` and ``{n,m}`` repeat, brackets group, spaces do not matter. "Ends in 1 1" is ``.* 1
1``.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from homeo_rl.compiler.machines import minimise
from homeo_rl.compiler.signals import Automaton, Node
from homeo_rl.errors import UsageError

MOST_STATES = 4096  # larger machines are refused


@dataclass
class _Graph:
    """A nondeterministic machine: free moves, and moves under a set of symbols (a mask)."""

    free: list[list[int]] = field(default_factory=list)
    moves: list[list[tuple[int, int]]] = field(default_factory=list)

    def state(self) -> int:
        self.free.append([])
        self.moves.append([])
        return len(self.free) - 1


class _Regex:
    """Recursive descent; every part becomes a piece (begin, end) of the graph."""

    def __init__(self, text: str, lines: int) -> None:
        self.text, self.lines, self.at, self.graph = text, lines, 0, _Graph()

    def error(self, expected: str) -> UsageError:
        got = repr(self.text[self.at]) if self.at < len(self.text) else "the end"
        return UsageError(f"pattern: position {self.at + 1}: expected {expected}, got {got} in {self.text!r}")

    def peek(self) -> str:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        return self.text[self.at] if self.at < len(self.text) else ""

    def either(self) -> tuple[int, int]:
        pieces = [self.chain()]
        while self.peek() == "|":
            self.at += 1
            pieces.append(self.chain())
        begin, end = self.graph.state(), self.graph.state()
        for first, last in pieces:
            self.graph.free[begin].append(first)
            self.graph.free[last].append(end)
        return begin, end

    def chain(self) -> tuple[int, int]:
        begin = end = self.graph.state()
        while self.peek() not in ("", "|", ")"):
            first, last = self.read_repeats()
            self.graph.free[end].append(first)
            end = last
        return begin, end

    def read_repeats(self) -> tuple[int, int]:
        start = self.at
        piece = self.symbol()
        while self.peek() in ("*", "+", "?", "{"):
            stop, sign = self.at, self.peek()
            self.at += 1
            least, most = {"*": (0, None), "+": (1, None), "?": (0, 1), "{": (0, 0)}[sign]
            if sign == "{":
                match = re.match(r"\s*(\d+)\s*(?:(,)\s*(\d*)\s*)?\}", self.text[self.at :])
                if not match:
                    raise self.error("a number of times such as {3} or {2,4}")
                self.at += match.end()
                least = int(match[1])
                most = least if not match[2] else int(match[3]) if match[3] else None
                if (most is not None and most < least) or max(least, most or 0) > 64:
                    raise self.error("0 to 64 repetitions, the smaller number first")
            piece = self.times(start, stop, piece, least, most)
        return piece

    def times(self, start: int, stop: int, piece: tuple[int, int], least: int, most: int | None) -> tuple[int, int]:
        """Return the piece that ``text[start:stop]`` describes, repeated; copies are read from the text again."""

        def copy() -> tuple[int, int]:
            inner = _Regex(self.text[start:stop], self.lines)
            inner.graph = self.graph
            return inner.either()

        begin = end = self.graph.state()
        for _ in range(least):
            first, last = copy()
            self.graph.free[end].append(first)
            end = last
        if most is None:
            first, last = copy()
            self.graph.free[end].append(first)
            self.graph.free[last].append(end)
            return begin, end
        ends = [end]
        for _ in range(most - least):
            first, last = copy()
            self.graph.free[end].append(first)
            end = last
            ends.append(end)
        final = self.graph.state()
        for one in ends:
            self.graph.free[one].append(final)
        return begin, final

    def symbol(self) -> tuple[int, int]:
        sign = self.peek()
        if sign == "(":
            self.at += 1
            piece = self.either()
            if self.peek() != ")":
                raise self.error("')'")
            self.at += 1
            return piece
        everything = (1 << (1 << self.lines)) - 1
        if sign in ("0", "1"):
            mask = self.mask(0) if sign == "1" else everything & ~self.mask(0)
        elif sign == ".":
            mask = everything
        elif sign == "[":
            close = self.text.find("]", self.at)
            if close < 0:
                raise self.error("']' after a step's conditions")
            mask = everything
            for word in self.text[self.at + 1 : close].split("&"):
                name = word.strip()
                bare = name.lstrip("!").strip()
                if len(bare) != 1 or not 0 <= ord(bare) - ord("a") < self.lines:
                    letters = ", ".join(chr(ord("a") + i) for i in range(self.lines))
                    raise self.error(f"conditions on lines {letters} joined by &, such as [a & !b]")
                line = self.mask(ord(bare) - ord("a"))
                mask &= everything & ~line if name.startswith("!") else line
            self.at = close
        else:
            raise self.error("0, 1, '.', '[', '(' or '|'")
        self.at += 1
        begin, end = self.graph.state(), self.graph.state()
        self.graph.moves[begin].append((mask, end))
        return begin, end

    def mask(self, line: int) -> int:
        return sum(1 << symbol for symbol in range(1 << self.lines) if symbol >> line & 1)


def automaton_of(pattern: str, parts: Sequence[Node]) -> Node:
    """Return the machine that spikes where the train of ``parts`` so far matches ``pattern``.

    Raises UsageError: the pattern is not understood, with the position; or its machine is too large.
    """
    lines = len(parts)
    reader = _Regex(pattern, lines)
    begin, end = reader.either()
    if reader.peek():
        raise reader.error("'|', a repetition or the end")
    graph = reader.graph

    def close(states: set[int]) -> frozenset[int]:
        stack = list(states)
        while stack:
            for other in graph.free[stack.pop()]:
                if other not in states:
                    states.add(other)
                    stack.append(other)
        return frozenset(states)

    order = [close({begin})]
    place = {order[0]: 0}
    follow: list[tuple[int, ...]] = []
    emit: list[tuple[bool, ...]] = []
    while len(follow) < len(order):
        here, row, spikes = order[len(follow)], [], []
        for symbol in range(1 << lines):
            after = close({target for s in here for mask, target in graph.moves[s] if mask >> symbol & 1})
            if after not in place:
                place[after] = len(order)
                order.append(after)
                if len(order) > MOST_STATES:
                    raise UsageError(
                        f"pattern {pattern!r}: expected a machine of at most {MOST_STATES} states, got more"
                    )
            row.append(place[after])
            spikes.append(end in after)
        follow.append(tuple(row))
        emit.append(tuple(spikes))
    small, out = minimise(np.array(follow), np.array(emit))
    return Automaton(tuple(parts), tuple(map(tuple, small.tolist())), tuple(map(tuple, out.tolist())))
