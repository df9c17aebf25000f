"""The driver: gives jobs to an executor, again where one was lost, and never one that has a result."""

import signal
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from homeo_rl.errors import Finding
from homeo_rl.processes.executor import MAX_RETRIES, Executor, JobFinished, JobResult, Progress
from homeo_rl.processes.progress import ProgressObserver, Running, State
from homeo_rl.processes.signals import Signals, Stopped

_LOCKED_RETRY_SECONDS = 2.0  # seconds until a job is tried again that another driver works on
_SAVE_SECONDS = 60.0  # seconds that running jobs get to save after a signal


def drive(
    jobs: Mapping[str, Any],
    executor: Executor,
    state: State,
    observer: ProgressObserver,
    on_finished: Callable[[str, JobResult], None] = lambda key, result: None,
) -> None:
    """Carry out all jobs; failures are kept in ``state`` and stop no other.

    Args:
        jobs: by key, in the order in which they are begun.
        on_finished: called for every job that is done, before it counts as such, or has failed; a `Finding` that it
            raises makes the job a failed one.

    Raises Stopped: a signal came; what was running has been saved.
    """
    loop = _Loop(jobs, executor, state, observer, on_finished)
    signals = Signals()
    with signals.listening():
        deadline = float("inf")
        while loop.waiting or loop.later or state.running:
            loop.turn()
            if loop.reader_left:
                signals.ask(signal.SIGPIPE)
            if signals.number is not None and not state.stopping:
                state.stopping = True
                deadline = time.monotonic() + _SAVE_SECONDS
                loop.announce_stop()
                executor.stop()
            if state.stopping and (not state.running or time.monotonic() > deadline):
                raise Stopped(signals.number or 0)


@dataclass
class _Loop:
    """The queue of jobs, and what happens to them."""

    jobs: Mapping[str, Any]
    executor: Executor
    state: State
    observer: ProgressObserver
    on_finished: Callable[[str, JobResult], None]
    later: deque[tuple[float, str]] = field(default_factory=deque)
    losses: dict[str, int] = field(default_factory=dict)
    reader_left: bool = False

    def __post_init__(self) -> None:
        self.waiting = deque(self.jobs)

    def turn(self) -> None:
        """Give out what can be, and take what happened."""
        state, now = self.state, time.monotonic()
        while self.later and self.later[0][0] <= now:
            self.waiting.append(self.later.popleft()[1])
        while self.waiting and self.executor.free > 0 and not state.stopping:
            key = self.waiting.popleft()
            state.running[key] = Running()
            self.executor.submit(key, self.jobs[key])
        for event in self.executor.events(0.2):
            if isinstance(event, Progress):
                self._update(event)
            elif isinstance(event, JobFinished):
                self._finish(event.key, event.result)
            else:
                self._retry(event.key, event.reason)
        if not state.running and self.later:
            time.sleep(0.2)  # an executor without jobs does not wait
        self._show(self.observer.show, state)

    def announce_stop(self) -> None:
        """Say at once that the signal was received: what follows takes as long as saving does."""
        count = len(self.state.running)
        trainings = f"{count} running training{'' if count == 1 else 's'}"
        self._show(self.observer.note, f"stopping: waiting for {trainings} to save (Ctrl-C again to kill)")

    def _update(self, event: Progress) -> None:
        job = self.state.running.get(event.key)
        if job is not None:
            job.begun = job.begun or time.monotonic()
            job.what, job.done, job.total, job.extra = event.what, event.done, event.total, event.extra

    def _finish(self, key: str, result: JobResult) -> None:
        state = self.state
        if result.state == "stopped" and not state.stopping:  # the signal came from elsewhere
            self._retry(key, "was stopped by a signal")
            return
        state.running.pop(key, None)
        if result.state == "locked_elsewhere":
            state.elsewhere.add(key)
            self.later.append((time.monotonic() + _LOCKED_RETRY_SECONDS, key))
            return
        state.elsewhere.discard(key)
        if result.state == "stopped":
            return
        try:
            self.on_finished(key, result)
        except Finding as alarm:
            result = JobResult("failed", str(alarm))
            self.on_finished(key, result)
        if result.state == "failed":
            state.failed[key] = result.message
        else:
            state.done += 1
            if result.seconds > 0:
                state.seconds.append(result.seconds)
        self._show(self.observer.show_result, key, state, result)

    def _retry(self, key: str, reason: str) -> None:
        state = self.state
        state.running.pop(key, None)
        if state.stopping:
            return
        self.losses[key] = self.losses.get(key, 0) + 1
        if self.losses[key] > MAX_RETRIES:
            message = f"its process {reason}, {self.losses[key]} times; look for memory that ran out"
            self._finish(key, JobResult("failed", message))
            return
        message = f"cell {key}: its process {reason}; given out again, {self.losses[key]} of {MAX_RETRIES}"
        self._show(self.observer.note, message)
        self.waiting.appendleft(key)

    def _show(self, method: Callable[..., None], *what: Any) -> None:
        """Show the observer something; where no one reads what it prints any more, that is as a signal."""
        try:
            method(*what)
        except (BrokenPipeError, SystemExit):  # the second is what rich makes of the first
            self.reader_left = True
