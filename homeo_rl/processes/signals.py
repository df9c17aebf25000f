"""Signals that ask a process to stop: the first is remembered, a second one leaves at once."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

URGENT_SECONDS = 8.0  # seconds after which a signal that was not taken is urgent


class Stopped(KeyboardInterrupt):  # as the interruption that it stands for
    """A signal ended the work; what was running has been saved."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Signals:
    """Remembers the first signal that asks to stop; a second one stops at once.

    ``urgent``: called in the handler `URGENT_SECONDS` after the signal, unless listening has ended: saves what it can.
    """

    def __init__(self, urgent: Callable[[int], None] | None = None) -> None:
        self.number: int | None = None
        self._urgent = urgent

    def ask(self, number: int) -> None:
        """Ask to stop, as if signal ``number`` had arrived."""
        if self.number is None:
            self.number = int(number)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Handle signals inside a with block; outside the main thread they are left to the caller."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers = dict.fromkeys(STOPPING, self._remember)
        if self._urgent is not None:
            handlers[signal.SIGALRM] = self._insist
        before = {number: signal.getsignal(number) for number in handlers}
        try:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            yield
        finally:
            if self._urgent is not None:
                signal.setitimer(signal.ITIMER_REAL, 0.0)
            for number, previous in before.items():
                signal.signal(number, previous)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            raise Stopped(number)
        self.number = number
        if self._urgent is not None:
            signal.setitimer(signal.ITIMER_REAL, URGENT_SECONDS)

    def _insist(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None and self._urgent is not None:
            self._urgent(self.number)
