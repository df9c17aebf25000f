"""What a person sees while a command works: bars with the time left, tables. Everything goes to standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table


class Bars:
    """Progress bars on a terminal; where there is none, a line every tenth of the way."""

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
    def shown(self) -> Iterator[Bars]:
        """Show the bars inside a with block."""
        with self._progress:
            yield self

    def start(self, what: str, total: int) -> None:
        """Begin a new bar of ``total`` parts."""
        self._what, self._total, self._done, self._tenth, self._since = what, total, 0, 0, time.monotonic()
        self._progress.remove_task(self._task)
        self._task = self._progress.add_task(escape(what), total=total, extra="")

    def advance(self, count: int = 1) -> None:
        """Count parts done."""
        self.reach(self._done + count)

    def reach(self, done: int, extra: str = "") -> None:
        """Set how many parts are done, with a word beside the bar."""
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
        self._console.print(escape(text), soft_wrap=True)


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table to standard output: what is too wide for a terminal is wrapped, a file gets the width it needs."""
    table = Table(title=escape(title), title_justify="left")
    for place, name in enumerate(header):
        table.add_column(escape(name), justify="left" if place == 0 else "right", no_wrap=place == 0)
    for row in rows:
        table.add_row(*(escape(entry) for entry in row))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 1000)
    console.print(table)
