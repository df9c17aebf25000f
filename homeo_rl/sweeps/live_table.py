"""What a person sees while a sweep runs: a live table on a terminal, a line for every cell elsewhere."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from homeo_rl.processes.executor import JobResult
from homeo_rl.processes.progress import Running, State
from homeo_rl.sweeps.cells import Cell

_MAX_ROWS = 16
_REFRESH_SECONDS = 0.25


class LiveTable:
    """Shows the cells on standard error. ``enabled``: False shows failures and notes only."""

    def __init__(self, cells: Mapping[str, Cell], *, enabled: bool) -> None:
        self.cells = cells
        self._console = Console(stderr=True, highlight=False)
        self._enabled = enabled
        self._live: Live | None = None
        self._last = 0.0

    @contextmanager
    def display(self) -> Iterator[None]:
        """Show the table inside a with block."""
        if not (self._enabled and self._console.is_terminal):
            yield
            return
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def show(self, state: State) -> None:
        """Draw the table anew, a few times a second."""
        now = time.monotonic()
        if self._live is not None and now > self._last + _REFRESH_SECONDS:
            self._last = now
            self._live.update(draw(self.cells, state, now), refresh=True)

    def show_result(self, key: str, state: State, result: JobResult) -> None:
        """Say how a cell ended."""
        title = self.cells[key].title
        if result.state == "failed":
            self.note(f"failed: {title} ({key}): {result.message}")
        elif self._enabled:
            spent = f", {_time(result.seconds)}" if result.seconds else ""
            left = "" if state.left is None else f"; about {_time(state.left)} left"
            self.note(f"{state.done + len(state.failed)}/{state.total} {title} ({key}){spent}{left}")

    def note(self, text: str) -> None:
        """Print a line above the table."""
        self._console.print(escape(text), soft_wrap=True)


def draw(cells: Mapping[str, Cell], state: State, now: float) -> Group:
    """Return the table: a line for the sweep, a row for every running cell."""
    busy = {key: job for key, job in state.running.items() if job.begun is not None}
    waiting = state.total - state.done - len(state.failed) - len(busy)
    line = f"{state.done} of {state.total} done, {len(busy)} running, {waiting} waiting"
    line += f", {len(state.failed)} failed" if state.failed else ""
    line += f" ({len(state.elsewhere)} at another driver)" if state.elsewhere else ""
    line += "; saving, a second signal leaves at once" if state.stopping else ""
    line += "" if state.left is None else f"; about {_time(state.left)} left"
    table = Table(box=None, pad_edge=False)
    for name in ("cell", "", "progress", "", "spent", "left", ""):
        table.add_column(name, no_wrap=True, justify="right" if name in ("spent", "left") else "left")
    for key, job in list(busy.items())[:_MAX_ROWS]:
        table.add_row(*_row(cells[key], job, now))
    if len(busy) > _MAX_ROWS:
        table.add_row(f"and {len(busy) - _MAX_ROWS} more")
    bar = ProgressBar(total=max(state.total, 1), completed=state.done + len(state.failed), width=60)
    head = Table.grid()  # a bar alone ends no line
    head.add_row(Text(line))
    head.add_row(bar)
    return Group(head, table)


def _row(cell: Cell, job: Running, now: float) -> list[str | ProgressBar]:
    spent = now - (job.begun or now)
    share = job.done / job.total if job.total else 0.0
    left = "" if share < 0.02 else _time(spent * (1 - share) / share)
    bar = ProgressBar(total=max(job.total, 1), completed=job.done, width=20)
    reached = f"{job.done:,}/{job.total:,}" if job.total else ""
    return [escape(cell.title), escape(job.what), bar, reached, _time(spent), left, escape(job.extra)]


def _time(seconds: float) -> str:
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded} s"
    if rounded < 3600:
        return f"{rounded // 60}:{rounded % 60:02d} min"
    return f"{rounded // 3600}:{rounded % 3600 // 60:02d} h"
