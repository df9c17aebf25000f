"""Between two iterations: the one place where a training can be stopped, saved and resumed.

SB3's callbacks are called in the middle of an iteration. An algorithm of `resumable` calls its hook before it collects
a rollout, when nothing is half done. A signal is remembered until then; an on-policy iteration can be long, so its
beginning is kept in memory and written if the signal cannot wait.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm

GRACE = 8.0
"""Seconds that a signal waits for the end of an iteration."""

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Stopped(KeyboardInterrupt):  # as the interruption that it stands for
    """A signal ended the training; a checkpoint was written."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def resumable(kind: type[BaseAlgorithm]) -> type[BaseAlgorithm]:
    """Return ``kind`` with a method that is called before each rollout: set its ``at_boundary``."""

    class Resumable(kind):  # type: ignore[misc, valid-type]  # the class is an argument
        """An algorithm with a hook that is called when nothing is half done."""

        at_boundary: Callable[[], None] | None = None

        def collect_rollouts(self, *args: Any, **kwargs: Any) -> Any:
            """Call the hook, then collect a rollout."""
            if self.at_boundary is not None:
                self.at_boundary()
            return super().collect_rollouts(*args, **kwargs)

        def _excluded_save_params(self) -> list[str]:  # words: keep
            return [*super()._excluded_save_params(), "at_boundary"]

    Resumable.__name__ = Resumable.__qualname__ = kind.__name__
    return Resumable


class Signals:
    """Remembers the first signal that asks to stop; a second one stops at once.

    Args:
        urgent: called in the handler `GRACE` seconds after a signal that was not handled: writes what there is.
    """

    def __init__(self, urgent: Callable[[int], None]) -> None:
        self.number: int | None = None
        self._urgent = urgent

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Handle signals inside a with block; elsewhere than in the main thread, whoever called owns them."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (*STOPPING, signal.SIGALRM)
        before = {number: signal.getsignal(number) for number in numbers}
        try:
            for number in STOPPING:
                signal.signal(number, self._on_signal)
            signal.signal(signal.SIGALRM, self._on_deadline)
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            for number, handler in before.items():
                signal.signal(number, handler)

    def ask(self, number: int) -> None:
        """Ask to stop, as if signal ``number`` had arrived."""
        if self.number is None:
            self.number = int(number)

    def _on_signal(self, number: int, frame: Any) -> None:
        if self.number is not None:
            raise Stopped(number)
        self.number = number
        signal.setitimer(signal.ITIMER_REAL, GRACE)

    def _on_deadline(self, number: int, frame: Any) -> None:
        if self.number is not None:
            self._urgent(self.number)
