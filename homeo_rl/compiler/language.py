"""The text form of spike functions: ``count(prox, 2, window=3) -> hold(4)``.

::

    expression = join { "->" call }                the signal on the left is the call's first signal
    join       = both { ("or" | "|" | "xor" | "^") both }
    both       = one { ("and" | "&") one }
    one        = ("not" | "!" | "~") one | atom { "[" steps "]" }          x[2] is x two steps ago
    atom       = "(" expression ")" | name | call | "always" | "never"
    call       = name "(" [ argument { "," argument } ] ")"
    argument   = expression | number | "text" | name "=" (number | "text" | "[" numbers "]")

`FUNCTIONS` lists the calls. Nothing is evaluated but this.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from homeo_rl.compiler import signals as sf
from homeo_rl.compiler.regular import automaton_of
from homeo_rl.compiler.spike_function import Node
from homeo_rl.compiler.tables import refuse_large
from homeo_rl.errors import UsageError, unknown

_TOKEN = re.compile(
    r"\s*(?:(?P<arrow>->)|(?P<name>[A-Za-z_][A-Za-z0-9_.-]*?(?![A-Za-z0-9_.]|-(?!>)))|(?P<number>\d+)"
    r"|(?P<text>\"[^\"]*\"|'[^']*')|(?P<sign>[()\[\],=&|!~^]))"
)
_WORDS = ("and", "or", "not", "xor", "always", "never")


@dataclass(frozen=True)
class Function:
    """A call: how many signals it takes (most None: any number), its numbers and texts by name, what it builds."""

    least: int
    most: int | None
    params: tuple[str, ...]
    build: Callable[..., Node]
    defaults: tuple[tuple[str, Any], ...] = ()


def _every(signals: list[Node], modulus: int, keep: Sequence[int] | None) -> Node:
    return sf.Every(signals[0], modulus, (modulus - 1,) if keep is None else tuple(keep))


def _table(signals: list[Node], bits: str, window: int) -> Node:
    taps = len(signals) * window
    refuse_large(taps)
    return sf.Table(tuple(signals), window, bits_of(bits, taps))


def bits_of(text: str, taps: int) -> tuple[bool, ...]:
    """Return a truth table from 2^n digits 0 and 1, row 0 first, or from hexadecimal digits after 0x, row 0 last."""
    size = 2**taps
    if text.lower().startswith("0x"):
        if not re.fullmatch(r"0[xX][0-9a-fA-F_]+", text) or int(text, 16) >= 1 << size:
            raise UsageError(
                f"table: expected at most {max(size // 4, 1)} hexadecimal digits for {taps} taps, got {text!r}"
            )
        value = int(text, 16)
        return tuple(bool(value >> row & 1) for row in range(size))
    digits = text.replace("_", "").replace(" ", "")
    if len(digits) != size or set(digits) - {"0", "1"}:
        raise UsageError(f"table: expected {size} digits 0 or 1 for {taps} taps, got {len(digits)} in {text[:40]!r}")
    return tuple(digit == "1" for digit in digits)


FUNCTIONS: dict[str, Function] = {
    "delay": Function(1, 1, ("steps",), lambda s, steps: sf.Delay(s[0], steps)),
    "count": Function(1, 1, ("least", "window"), lambda s, least, window: sf.Count(s[0], least, window)),
    "hold": Function(1, 1, ("steps",), lambda s, steps: sf.Hold(s[0], steps)),
    "latch": Function(2, 2, (), lambda s: sf.Latch(*s)),
    "toggle": Function(1, 1, (), lambda s: sf.Toggle(s[0])),
    "refractory": Function(1, 1, ("steps",), lambda s, steps: sf.Refractory(s[0], steps)),
    "rising": Function(1, 1, (), lambda s: sf.Rising(s[0])),
    "sequence": Function(2, None, (), sf.sequence),
    "all": Function(1, None, (), lambda s: sf.All(tuple(s))),
    "any": Function(1, None, (), lambda s: sf.Any(tuple(s))),
    "atleast": Function(1, None, ("least",), lambda s, least: sf.AtLeast(tuple(s), least)),
    "winner": Function(2, None, ("place", "window"), lambda s, place, window: sf.Winner(tuple(s), place, window)),
    "every": Function(1, 1, ("modulus", "keep"), _every, (("keep", None),)),
    "table": Function(1, None, ("bits", "window"), _table, (("window", 1),)),
    "match": Function(1, None, ("pattern",), lambda s, pattern: automaton_of(pattern, s)),
}
"""Calls by name: how many signals they take, their numbers and texts, what they build (docs/compiler.md tells of
each)."""


class _Parser:
    def __init__(self, text: str, known: Mapping[str, Node], where: str) -> None:
        self.text, self.known, self.where = text, known, where
        self.tokens: list[tuple[str, str, int]] = []
        at = 0
        while text[at:].strip():
            match = _TOKEN.match(text, at)
            if match is None:
                start = at + len(text[at:]) - len(text[at:].lstrip())
                raise self.error(start, "a name, a number, an operator or a bracket", text[start])
            kind = match.lastgroup or ""
            self.tokens.append((kind, match.group(kind), match.start(kind)))
            at = match.end()
        self.tokens.append(("end", "the end", len(text)))
        self.place = 0

    def error(self, at: int, expected: str, got: str) -> UsageError:
        """Return the error that shows where the text stops making sense."""
        start = max(0, at - 60)
        line = self.text[start : at + 40].replace("\n", " ")
        return UsageError(
            f"{self.where}: position {at + 1}: expected {expected}, got {got!r}\n  {line}\n  {' ' * (at - start)}^"
        )

    def fail(self, expected: str) -> UsageError:
        _, value, at = self.tokens[self.place]
        return self.error(at, expected, value)

    def peek(self, *values: str) -> bool:
        kind, value, _ = self.tokens[self.place]
        return kind != "text" and value in values

    def take(self, *values: str) -> bool:
        if self.peek(*values):
            self.place += 1
            return True
        return False

    def need(self, value: str, *others: str) -> None:
        if not self.take(value):
            raise self.fail(" or ".join(repr(word) for word in (*others, value)))

    def whole(self) -> Node:
        node = self.expression()
        if self.tokens[self.place][0] != "end":
            raise self.fail("'->', 'and', 'or', 'xor', '[' or the end")
        return node

    def expression(self) -> Node:
        node = self.join()
        while self.take("->"):
            kind, name, at = self.tokens[self.place]
            if kind != "name" or name in _WORDS:
                raise self.fail("a call such as hold(4)")
            self.place += 1
            node = self.call(name, at, first=node)
        return node

    def join(self) -> Node:
        node = self.both()
        while True:
            if self.take("or", "|"):
                other = self.both()
                them = node.them if isinstance(node, sf.Any) else (node,)
                node = sf.Any((*them, other))
            elif self.take("xor", "^"):
                node = sf.Table((node, self.both()), 1, (False, True, True, False))
            else:
                return node

    def both(self) -> Node:
        node = self.one()
        while self.take("and", "&"):
            other = self.one()
            them = node.them if isinstance(node, sf.All) else (node,)
            node = sf.All((*them, other))
        return node

    def one(self) -> Node:
        if self.take("not", "!", "~"):
            return sf.Not(self.one())
        node = self.atom()
        while self.take("["):
            at = self.tokens[self.place][2]
            steps = self.number()
            self.need("]")
            node = self.build_node(at, partial(sf.Delay, node, steps))
        return node

    def atom(self) -> Node:
        kind, value, at = self.tokens[self.place]
        if self.take("("):
            node = self.expression()
            self.need(")", "->", "and", "or")
            return node
        if self.take("always", "never"):
            return sf.Constant(value == "always")
        if kind != "name" or value in _WORDS:
            raise self.fail("a signal: a name, a call, 'not' or '('")
        self.place += 1
        if self.peek("("):
            return self.call(value, at)
        if value not in self.known:
            message = str(unknown("signal", value, [*self.known, *FUNCTIONS]))
            raise UsageError(f"{self.where}: position {at + 1}: {message}")
        return self.known[value]

    def number(self) -> int:
        kind, value, _ = self.tokens[self.place]
        if kind != "number":
            raise self.fail("a whole number")
        self.place += 1
        return int(value)

    def call(self, name: str, at: int, first: Node | None = None) -> Node:
        if name not in FUNCTIONS:
            raise UsageError(f"{self.where}: position {at + 1}: {unknown('function', name, list(FUNCTIONS))}")
        function = FUNCTIONS[name]
        signals, plain, named = [] if first is None else [first], list[Any](), dict[str, Any]()
        self.need("(")
        if not self.take(")"):
            while True:
                self.argument(function, name, signals, plain, named)
                if self.take(")"):
                    break
                self.need(",", "')'".strip("'"))
        for param in function.params:
            if param not in named and plain:
                named[param] = plain.pop(0)
        for param, value in function.defaults:
            named.setdefault(param, value)
        missing = [param for param in function.params if param not in named]
        if missing:
            raise self.error(at, f"{missing[0]} for {name}, as in {_example(name, function)}", name)
        if plain:
            raise self.error(
                at, f"at most {len(function.params)} numbers for {name}, as in {_example(name, function)}", name
            )
        if len(signals) < function.least or (function.most is not None and len(signals) > function.most):
            many = str(function.least) if function.most == function.least else f"at least {function.least}"
            raise self.error(at, f"{many} signal(s) for {name}, as in {_example(name, function)}", f"{len(signals)}")
        return self.build_node(at, lambda: function.build(signals, **named))

    def argument(
        self, function: Function, name: str, signals: list[Node], plain: list[Any], named: dict[str, Any]
    ) -> None:
        kind, value, at = self.tokens[self.place]
        if kind == "name" and self.tokens[self.place + 1][1] == "=":
            if value not in function.params:
                known = " or ".join(function.params) or "no names"
                raise self.error(at, f"{known} before '=' in {name}", value)
            self.place += 2
            named[value] = self.value()
        elif kind in ("number", "text"):
            plain.append(self.value())
        else:
            signals.append(self.expression())

    def value(self) -> Any:
        kind, value, _ = self.tokens[self.place]
        if kind == "text":
            self.place += 1
            return value[1:-1]
        if self.take("["):
            numbers = [self.number()]
            while self.take(","):
                numbers.append(self.number())
            self.need("]", ",")
            return numbers
        return self.number()

    def build_node(self, at: int, build: Callable[[], Node]) -> Node:
        """Build a node; its refusal names the position in the text."""
        try:
            return build()
        except UsageError as error:
            raise UsageError(f"{self.where}: position {at + 1}: {error}") from None
        except (TypeError, AttributeError):
            raise self.error(
                at, "numbers where numbers belong and texts where texts belong", self.text[at : at + 20]
            ) from None


def _example(name: str, function: Function) -> str:
    signals = ["a", "b", "c"][: max(function.least, 1)]
    texts = {"bits": 'bits="0110"', "pattern": '"(0 1)*"', "keep": "keep=[0, 2]"}
    return f"{name}({', '.join([*signals, *(texts.get(p, f'{p}=3') for p in function.params)])})"


def parse_function(text: str, known: Mapping[str, Node], *, where: str = "specification") -> Node:
    """Return the signal that ``text`` describes.

    Raises UsageError: with the position, the text there and the words that were expected.
    """
    return _Parser(text, known, where).whole()
