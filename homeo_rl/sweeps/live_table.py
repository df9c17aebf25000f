"""What a person sees while a sweep runs: a live table on a terminal, a line for every cell elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from homeo_rl.processes.executor import Answer
from homeo_rl.processes.scheduler import Running, State
from homeo_rl.sweeps.cells import Cell

_MOST_ROWS = 16
_REFRESH = 0.25


class Board:
    """Tells of the cells to standard error.

    Args:
        cells: by key.
        enabled: False says failures and notes only.
    """

    def __init__(self, cells: Mapping[str, Cell], *, enabled: bool) -> None:
        self.cells = cells
        self._console = Console(stderr=True, highlight=False)
        self._enabled = enabled
        self._live: Live | None = None
        self._shown = 0.0

    @contextmanager
    def shown(self) -> Iterator[Board]:
        """Show the table inside a with block."""
        if not (self._enabled and self._console.is_terminal):
            yield self
            return
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            self._live = live
            try:
                yield self
            finally:
                self._live = None

    def show(self, state: State) -> None:
        """Draw the table anew, a few times a second."""
        now = time.monotonic()
        if self._live is not None and now > self._shown + _REFRESH:
            self._shown = now
            self._live.update(drawn(self.cells, state, now), refresh=True)

    def ended(self, key: str, state: State, answer: Answer) -> None:
        """Say how a cell ended."""
        title = self.cells[key].title
        if answer.state == "failed":
            self.note(f"failed: {title} ({key}): {answer.message}")
        elif self._enabled:
            spent = f", {_time(answer.seconds)}" if answer.seconds else ""
            left = "" if state.left is None else f"; about {_time(state.left)} left"
            self.note(f"{state.done + len(state.failed)}/{state.total} {title} ({key}){spent}{left}")

    def note(self, text: str) -> None:
        """Print a line above the table."""
        self._console.print(escape(text), soft_wrap=True)


def drawn(cells: Mapping[str, Cell], state: State, now: float) -> Group:
    """Return the table: a line for the sweep, a row for every running cell."""
    busy = {key: one for key, one in state.running.items() if one.begun is not None}
    waiting = state.total - state.done - len(state.failed) - len(busy)
    told = f"{state.done} of {state.total} done, {len(busy)} running, {waiting} waiting"
    told += f", {len(state.failed)} failed" if state.failed else ""
    told += f" ({len(state.elsewhere)} at another driver)" if state.elsewhere else ""
    told += "; saving, a second signal leaves at once" if state.stopping else ""
    told += "" if state.left is None else f"; about {_time(state.left)} left"
    table = Table(box=None, pad_edge=False)
    for name in ("cell", "", "progress", "", "spent", "left", ""):
        table.add_column(name, no_wrap=True, justify="right" if name in ("spent", "left") else "left")
    for key, one in list(busy.items())[:_MOST_ROWS]:
        table.add_row(*_row(cells[key], one, now))
    if len(busy) > _MOST_ROWS:
        table.add_row(f"and {len(busy) - _MOST_ROWS} more")
    whole = ProgressBar(total=max(state.total, 1), completed=state.done + len(state.failed), width=60)
    head = Table.grid()  # a bar alone ends no line
    head.add_row(Text(told))
    head.add_row(whole)
    return Group(head, table)


def _row(cell: Cell, one: Running, now: float) -> list[str | ProgressBar]:
    spent = now - (one.begun or now)
    share = one.done / one.total if one.total else 0.0
    left = "" if share < 0.02 else _time(spent * (1 - share) / share)
    bar = ProgressBar(total=max(one.total, 1), completed=one.done, width=20)
    reached = f"{one.done:,}/{one.total:,}" if one.total else ""
    return [escape(cell.title), escape(one.what), bar, reached, _time(spent), left, escape(one.extra)]


def _time(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"
