"""The driver: gives cells to an executor, again where one was lost, and never one that has a result."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from homeo_rl.errors import Finding
from homeo_rl.processes.executor import Answer, Answered, Executor, Lost, Progress
from homeo_rl.processes.signals import Signals, Stopped

AGAIN = 3
"""How often a cell is given out again after its process died."""

_PAUSE = 2.0
"""Seconds until a cell is tried again that another driver works on."""

_LEAVING = 60.0
"""Seconds that running cells get to save after a signal."""


@dataclass
class Running:
    """A cell that was given out."""

    since: float
    begun: float | None = None
    what: str = "waiting"
    done: int = 0
    total: int = 0
    extra: str = ""


@dataclass
class State:
    """Where a sweep is.

    Attributes:
        total: cells in all.
        places: cells that run at once.
        done: those with a result, whoever made it.
        seconds: that each cell took which ended here.
        failed: why, by key.
        running: by key.
        elsewhere: keys that another driver works on.
        stopping: whether a signal came.
    """

    total: int
    places: int
    done: int = 0
    seconds: list[float] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    running: dict[str, Running] = field(default_factory=dict)
    elsewhere: set[str] = field(default_factory=set)
    stopping: bool = False

    @property
    def left(self) -> float | None:
        """Seconds until the end, about; None until a cell has ended."""
        if not self.seconds:
            return None
        mean = sum(self.seconds) / len(self.seconds)
        begun = sum(one.done / one.total for one in self.running.values() if one.total and one.what == "training")
        remaining = self.total - self.done - len(self.failed) - begun
        return max(remaining, 0.0) * mean / max(min(self.places, remaining), 1)


class Watcher(Protocol):
    """Who is told of a sweep."""

    def show(self, state: State) -> None:
        """Look at the state; called several times a second."""

    def ended(self, key: str, state: State, answer: Answer) -> None:
        """Hear of a cell that is done or has failed."""

    def note(self, text: str) -> None:
        """Hear what is worth a line."""


def drive(
    jobs: Mapping[str, Any],
    executor: Executor,
    state: State,
    watcher: Watcher,
    settle: Callable[[str, Answer], None] = lambda key, answer: None,
) -> None:
    """Carry out all jobs; failures are kept in ``state`` and stop no other.

    Args:
        jobs: by key, in the order in which they are begun.
        executor: what carries them out.
        state: is kept up to date.
        watcher: is told.
        settle: told of every job that is done, before it counts as such, or has failed; a `Finding` that it raises
            makes the job a failed one.

    Raises:
        Stopped: a signal came; what was running has been saved.
    """
    loop = _Loop(jobs, executor, state, watcher, settle)
    signals = Signals()
    with signals.listening():
        deadline = float("inf")
        while loop.goes_on:
            loop.turn()
            if loop.unheard:
                signals.ask(signal.SIGPIPE)
            if signals.number is not None and not state.stopping:
                state.stopping = True
                deadline = time.monotonic() + _LEAVING
                loop.announce_stop()
                executor.stop()
            if state.stopping and (not state.running or time.monotonic() > deadline):
                raise Stopped(signals.number or 0)


class _Loop:
    """One sweep's queue, and what happens to it."""

    def __init__(
        self,
        jobs: Mapping[str, Any],
        executor: Executor,
        state: State,
        watcher: Watcher,
        settle: Callable[[str, Answer], None],
    ) -> None:
        self.jobs, self.executor, self.state, self.watcher, self.settle = jobs, executor, state, watcher, settle
        self.waiting = deque(jobs)
        self.later: deque[tuple[float, str]] = deque()
        self.losses: dict[str, int] = {}
        self.unheard = False

    @property
    def goes_on(self) -> bool:
        """Whether there is something left to do."""
        return bool(self.waiting or self.later or self.state.running)

    def turn(self) -> None:
        """Give out what can be, and hear what happened."""
        state, now = self.state, time.monotonic()
        while self.later and self.later[0][0] <= now:
            self.waiting.append(self.later.popleft()[1])
        while self.waiting and self.executor.free > 0 and not state.stopping:
            key = self.waiting.popleft()
            state.running[key] = Running(now)
            self.executor.give(key, self.jobs[key])
        for event in self.executor.events(0.2):
            if isinstance(event, Progress):
                self._progress(event)
            elif isinstance(event, Answered):
                self._answer(event.key, event.answer)
            else:
                self._lost(event)
        if not state.running and self.later:
            time.sleep(0.2)  # an executor without jobs does not wait
        self._say(self.watcher.show, state)

    def announce_stop(self) -> None:
        """Say at once that the signal was heard: what follows takes as long as saving does."""
        count = len(self.state.running)
        trainings = f"{count} running training{'' if count == 1 else 's'}"
        self._say(self.watcher.note, f"stopping: waiting for {trainings} to save (Ctrl-C again to kill)")

    def _progress(self, event: Progress) -> None:
        one = self.state.running.get(event.key)
        if one is not None:
            one.begun = one.begun or time.monotonic()
            one.what, one.done, one.total, one.extra = event.what, event.done, event.total, event.extra

    def _answer(self, key: str, answer: Answer) -> None:
        state = self.state
        if answer.state == "stopped" and not state.stopping:  # somebody else's signal
            self._lost(Lost(key, "was stopped by a signal"))
            return
        state.running.pop(key, None)
        if answer.state == "held":
            state.elsewhere.add(key)
            self.later.append((time.monotonic() + _PAUSE, key))
            return
        state.elsewhere.discard(key)
        if answer.state == "stopped":
            return
        try:
            self.settle(key, answer)
        except Finding as alarm:
            answer = Answer("failed", str(alarm))
            self.settle(key, answer)
        if answer.state == "failed":
            state.failed[key] = answer.message
        else:
            state.done += 1
            if answer.seconds > 0:
                state.seconds.append(answer.seconds)
        self._say(self.watcher.ended, key, state, answer)

    def _lost(self, event: Lost) -> None:
        state, key = self.state, event.key
        state.running.pop(key, None)
        if state.stopping:
            return
        self.losses[key] = self.losses.get(key, 0) + 1
        if self.losses[key] > AGAIN:
            message = f"its process {event.why}, {self.losses[key]} times; look for memory that ran out"
            self._answer(key, Answer("failed", message))
            return
        told = f"cell {key}: its process {event.why}; given out again, {self.losses[key]} of {AGAIN}"
        self._say(self.watcher.note, told)
        self.waiting.appendleft(key)

    def _say(self, how: Callable[..., None], *what: Any) -> None:
        """Tell the watcher; if nobody reads what it says any more, that is as a signal."""
        try:
            how(*what)
        except (BrokenPipeError, SystemExit):  # the second is what rich makes of the first
            self.unheard = True
