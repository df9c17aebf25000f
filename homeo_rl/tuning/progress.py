"""What a person sees while trials run: one bar over all of them, a line for each that ended."""

from __future__ import annotations

from typing import Protocol

from homeo_rl.processes.executor import Answer
from homeo_rl.processes.scheduler import State
from homeo_rl.report.tables import number

_TELLING = 4
"""Running trials whose progress is shown."""


class Shows(Protocol):
    """Bars, as `homeo_rl.cli.console.Bars` are."""

    def reach(self, done: int, extra: str = "") -> None:
        """Set how many parts are done, with a word beside the bar."""

    def note(self, text: str) -> None:
        """Print a line."""


class Watch:
    """Tells of trials.

    Args:
        bars: where.
        before: trials that ended before; the bar is for the others, or the time left would be wrong.
        verbose: whether of all trials, or of failures only.
    """

    def __init__(self, bars: Shows, *, before: int, verbose: bool) -> None:
        self.bars, self.before, self.verbose, self.best = bars, before, verbose, ""

    def show(self, state: State) -> None:
        """Move the bar."""
        running = [f"{100 * one.done // one.total} %" for one in state.running.values() if one.total]
        told = ", ".join(running[:_TELLING]) + (", ..." if len(running) > _TELLING else "")
        self.bars.reach(
            state.done + len(state.failed) - self.before, "  ".join(part for part in (self.best, told) if part)
        )

    def ended(self, key: str, state: State, answer: Answer) -> None:
        """Say how a trial ended."""
        if answer.state == "failed":
            self.bars.note(f"trial {int(key)} failed: {answer.message}")
            return
        row, best = answer.result
        if best is not None:
            self.best = f"best {number(best.value)} (trial {best.slot})"
        if self.verbose and row is not None:
            value = "" if row.value is None else f" {number(row.value)}"
            self.bars.note(f"trial {row.slot}: {row.state}{value}; {self.best or 'none completed yet'}")

    def note(self, text: str) -> None:
        """Pass on."""
        self.bars.note(text)
