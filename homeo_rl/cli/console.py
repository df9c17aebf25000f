"""Progress bars with the remaining time, on standard error, and tables, on standard output."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import rich.console
from rich import box
from rich.cells import cell_len
from rich.markup import escape
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

_hushed = False


def hush(hushed: bool = True) -> None:
    """Print no notes from now on (``--quiet``), or print them again."""
    global _hushed
    _hushed = hushed


def print_hint(text: str) -> None:
    """Print a suggestion for the next step."""
    if not _hushed:
        print(text)


class Console(rich.console.Console):
    """A console that raises where its output is closed, as print does; rich itself would exit with code 1."""

    def on_broken_pipe(self) -> None:
        """Raise the error."""
        raise BrokenPipeError


class Bars:
    """Progress bars on a terminal; elsewhere a line after every tenth."""

    def __init__(self, *, enabled: bool) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._live = enabled and self._console.is_terminal
        self._plain = enabled and not self._live
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[extra]}"),
            console=self._console,
            disable=not self._live,
        )
        self._task = self._progress.add_task("", total=None, extra="", visible=False)
        self._what, self._total, self._done, self._tenth, self._since = "", 0, 0, 0, 0.0

    @contextmanager
    def show(self) -> Iterator[Bars]:
        """Show the bars within a with block."""
        with self._progress:
            yield self

    def start(self, what: str, total: int) -> None:
        """Start a new bar of ``total`` steps."""
        self._what, self._total, self._done, self._tenth, self._since = what, total, 0, 0, time.monotonic()
        self._progress.remove_task(self._task)
        self._task = self._progress.add_task(escape(what), total=total, extra="")

    def advance(self, count: int = 1) -> None:
        """Advance the bar by ``count`` steps."""
        self.reach(self._done + count)

    def reach(self, done: int, extra: str = "") -> None:
        """Set the number of finished steps, and a text beside the bar."""
        self._done = min(done, self._total)
        self._progress.update(self._task, completed=self._done, extra=escape(extra))
        tenth = 10 * self._done // max(self._total, 1)
        if self._plain and tenth > self._tenth:
            self._tenth = tenth
            spent = time.monotonic() - self._since
            left = spent * (self._total - self._done) / max(self._done, 1)
            self.note(
                f"{self._what}: {self._done}/{self._total}, {spent:.0f} s, about {left:.0f} s left {extra}".rstrip()
            )

    def note(self, text: str) -> None:
        """Print a line above the bars."""
        if not _hushed:
            self._console.print(escape(text), soft_wrap=True)


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table to standard output, in a file at full width.

    On a terminal, columns that do not fit follow in a second block, which repeats the first column. Texts are wrapped;
    numbers are not, provided that one column of them fits.
    """
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 1000)
    console.print(escape(title), style="bold")
    blocks: list[list[int]] = [[0]]
    for column in range(1, len(header)):
        if len(blocks[-1]) > 1 and not _fits(console, _table(header, rows, [*blocks[-1], column])):
            blocks.append([0])
        blocks[-1].append(column)
    for block in blocks:
        table = _table(header, rows, block)
        console.print(table if _fits(console, table) else _table(header, rows, block, foldable=True))
        console.print()


def _table(
    header: Sequence[str], rows: Sequence[Sequence[str]], columns: Sequence[int], *, foldable: bool = False
) -> Table:
    """Return some columns as a table: texts are wrapped; numbers are right-aligned, unbroken unless ``foldable``."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for column in columns:
        entries = [row[column] for row in rows]
        text = not any(_NUMBER.match(entry) for entry in entries)
        longest = max(map(cell_len, (header[column], *entries)))
        wrapped = text and longest > _LONG and column > 0
        table.add_column(
            escape(header[column]),
            justify="left" if text else "right",
            no_wrap=not (wrapped or foldable),
            overflow="fold",
            min_width=None if foldable else _LONG if wrapped else longest,
        )
    for row in rows:
        table.add_row(*(escape(row[column]) for column in columns))
    return table


def _fits(console: Console, table: Table) -> bool:
    return Measurement.get(console, console.options.update(max_width=10_000), table).minimum <= console.width


_NUMBER = re.compile(r"[-+]?\d")  # the beginning of a number
_LONG = 24  # width in characters above which a text may be wrapped
