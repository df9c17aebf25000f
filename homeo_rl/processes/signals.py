"""Signals that ask a driver to stop: the first is remembered, a second one leaves at once."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Stopped(KeyboardInterrupt):  # as `homeo_rl.training.resume.resumable.Stopped`, which cannot be had without torch
    """A signal ended the sweep; what was running has been saved."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Signals:
    """Remembers the first signal."""

    def __init__(self) -> None:
        self.number: int | None = None

    def ask(self, number: int) -> None:
        """Ask to stop, as if signal ``number`` had arrived."""
        if self.number is None:
            self.number = int(number)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Handle signals inside a with block; elsewhere than in the main thread, whoever called owns them."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._arrived) for number in STOPPING}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            raise Stopped(number)
        self.number = number
