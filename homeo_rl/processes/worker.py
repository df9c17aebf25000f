"""A process that carries out jobs one after another, so that libraries are loaded once; it dies with its parent."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from homeo_rl.agents.workers.worker import Family, die_with_parent
from homeo_rl.processes.executor import Task, answered

TELLING = 0.2
"""Seconds between two reports of progress."""

_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def serve(
    pipe: Connection,
    lifeline: Connection,
    signals: Connection,
    family: Family,
    task: Task,
    environment: dict[str, str],
) -> None:
    """Carry out jobs until the pipe ends; the main function of the process.

    Args:
        pipe: (key, job) in; (key, "progress", arguments) and (key, "answer", `Answer`) out.
        lifeline: the reading end of a pipe that ends with the parent.
        signals: gets a byte for every signal that arrives.
        family: of the process.
        task: what to do with a job.
        environment: variables to set before anything is loaded.
    """
    os.setpgid(0, 0)  # Ctrl-C comes to the whole group of the driver, who asks each worker once
    for number in _STOPPING:
        signal.signal(number, _leave)
    os.set_blocking(signals.fileno(), False)
    signal.set_wakeup_fd(signals.fileno(), warn_on_full_buffer=False)
    os.environ.update(environment)
    die_with_parent(lifeline, family)
    try:
        while True:
            key, job = pipe.recv()
            told = time.monotonic()

            def tell(what: str, done: int, total: int, extra: str, key: str = key) -> None:
                nonlocal told
                now = time.monotonic()
                if now - told >= TELLING or done == 0:
                    told = now
                    _send(pipe, (key, "progress", (what, done, total, extra)))

            _send(pipe, (key, "answer", answered(task, job, tell)))
    except (EOFError, OSError, KeyboardInterrupt):  # nobody waits any more
        return


def _send(pipe: Connection, message: Any) -> None:
    with _undisturbed():
        pipe.send(message)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let signals wait: half a message would be the end of the pipe."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _leave(number: int, frame: Any) -> None:
    raise KeyboardInterrupt(number)
