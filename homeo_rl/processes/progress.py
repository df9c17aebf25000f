"""Where a set of jobs is, and who is shown it."""

from dataclasses import dataclass, field
from typing import Protocol

from homeo_rl.processes.executor import JobResult

_MAX_PERCENTAGES = 4  # running jobs whose progress is shown beside a bar


@dataclass
class Running:
    """A job that was given out, and when it began in seconds of the monotonic clock."""

    begun: float | None = None
    what: str = "waiting"
    done: int = 0
    total: int = 0
    extra: str = ""


@dataclass
class State:
    """Where a set of jobs is."""

    total: int
    slots: int  # jobs that run at once
    done: int = 0  # those with a result, whoever made it
    seconds: list[float] = field(default_factory=list)  # that each job took which ended here
    failed: dict[str, str] = field(default_factory=dict)  # why, by key
    running: dict[str, Running] = field(default_factory=dict)
    elsewhere: set[str] = field(default_factory=set)  # keys that another driver works on
    stopping: bool = False  # whether a signal came

    @property
    def left(self) -> float | None:
        """Seconds until the end, about; None until a job has ended."""
        if not self.seconds:
            return None
        mean = sum(self.seconds) / len(self.seconds)
        begun = sum(job.done / job.total for job in self.running.values() if job.total and job.what == "training")
        remaining = self.total - self.done - len(self.failed) - begun
        return max(remaining, 0.0) * mean / max(min(self.slots, remaining), 1)


class ProgressObserver(Protocol):
    """Is shown how far a set of jobs is."""

    def show(self, state: State) -> None:
        """Show the state; called several times a second."""

    def show_result(self, key: str, state: State, result: JobResult) -> None:
        """Show that a job is done or has failed."""

    def note(self, text: str) -> None:
        """Print a line."""


class Bar(Protocol):
    """A progress bar, as `homeo_rl.cli.console.Bars` has it."""

    def reach(self, done: int, extra: str = "") -> None:
        """Set how many parts are done, with a word beside the bar."""

    def note(self, text: str) -> None:
        """Print a line."""


class BarObserver:
    """Shows one bar over all jobs, and those that failed.

    ``before``: jobs that ended before; the bar is for the others, or the time left would be wrong.
    """

    best = ""
    """A word beside the bar."""

    def __init__(self, bar: Bar, *, before: int = 0) -> None:
        self.bar, self.before = bar, before

    def show(self, state: State) -> None:
        """Move the bar."""
        percentages = [f"{100 * job.done // job.total} %" for job in state.running.values() if job.total]
        running = ", ".join(percentages[:_MAX_PERCENTAGES]) + ", ..." * (len(percentages) > _MAX_PERCENTAGES)
        extra = "  ".join(part for part in (self.best, running) if part)
        self.bar.reach(state.done + len(state.failed) - self.before, extra)

    def show_result(self, key: str, state: State, result: JobResult) -> None:
        """Say why a job failed."""
        if result.state == "failed":
            self.bar.note(f"{key} failed: {result.message}")

    def note(self, text: str) -> None:
        """Print a line."""
        self.bar.note(text)
