"""A process that carries out jobs one after another, so that libraries are loaded once."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from homeo_rl.processes.child import Lineage, die_with_parent
from homeo_rl.processes.executor import Task, limit_rate, run_task
from homeo_rl.processes.signals import STOPPING

REPORT_SECONDS = 0.2  # seconds between two reports of progress


def serve(
    pipe: Connection,
    lifeline: Connection,
    lineage: Lineage,
    signals: Connection,
    task: Task,
    environment: dict[str, str],
) -> None:
    """Carry out jobs until the pipe ends; the main function of the process.

    Args:
        pipe: (key, job) in; (key, "progress", arguments) and (key, "result", `JobResult`) out.
        lifeline, lineage: see `die_with_parent`.
        signals: gets a byte for every signal that arrives.
        environment: variables to set before anything is loaded.
    """
    os.setpgid(0, 0)  # Ctrl-C comes to the whole group of the driver, which asks each worker once
    for number in STOPPING:
        signal.signal(number, _leave)
    os.set_blocking(signals.fileno(), False)
    signal.set_wakeup_fd(signals.fileno(), warn_on_full_buffer=False)
    os.environ.update(environment)
    die_with_parent(lifeline, lineage)
    try:
        while True:
            key, job = pipe.recv()

            def report(*what: Any, key: str = key) -> None:
                _send(pipe, (key, "progress", what))

            _send(pipe, (key, "result", run_task(task, job, limit_rate(report, REPORT_SECONDS))))
    except (EOFError, OSError, KeyboardInterrupt):  # the driver has left
        return


def _send(pipe: Connection, message: Any) -> None:
    with _block_signals():
        pipe.send(message)


@contextmanager
def _block_signals() -> Iterator[None]:
    """Let signals wait: half a message would be the end of the pipe."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _leave(number: int, frame: Any) -> None:
    raise KeyboardInterrupt(number)
