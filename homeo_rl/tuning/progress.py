"""What a person sees while trials run: one bar over all of them, a line for each that ended."""

from homeo_rl.processes.executor import JobResult
from homeo_rl.processes.progress import Bar, BarObserver, State
from homeo_rl.report.tables import number


class TrialProgress(BarObserver):
    """Shows trials."""

    def __init__(self, bar: Bar, *, before: int, verbose: bool) -> None:
        super().__init__(bar, before=before)
        self.verbose = verbose

    def show_result(self, key: str, state: State, result: JobResult) -> None:
        """Show how a trial ended."""
        if result.state == "failed":
            self.bar.note(f"trial {int(key)} failed: {result.message}")
            return
        row, best = result.result
        if best is not None:
            self.best = f"best {number(best.value)} (trial {best.slot})"
        if self.verbose and row is not None:
            value = "" if row.value is None else f" {number(row.value)}"
            self.bar.note(f"trial {row.slot}: {row.state}{value}; {self.best or 'none completed yet'}")
