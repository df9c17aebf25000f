"""Cells in processes of this machine. A process that dies is replaced; a forgotten one cannot be: it dies with us."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import multiprocessing.util
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

from homeo_rl.agents.workers.worker import Family
from homeo_rl.processes.executor import Answered, Event, Lost, Progress, Task
from homeo_rl.processes.worker import serve

_LIBRARIES = ["homeo_rl.sweeps.run_cell", "mujoco"]
"""What the fork server loads once: a worker is there in a fraction of a second."""

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")

_SAME = 0.3
"""Seconds in which the signal that came to us comes to all, if a service manager or a scheduler sent it."""

_GRACE = 5.0
"""Seconds that the kernel gets to end a process that was killed."""


@dataclass
class _Worker:
    """One process, and the job that it works on."""

    process: Any
    pipe: Connection
    lifeline: Connection
    signals: Connection
    place: int
    ended: int
    key: str | None = None

    def kill(self) -> None:
        """End the process, whatever it does."""
        self.signal(signal.SIGKILL)
        multiprocessing.connection.wait([self.ended], _GRACE)
        self.process.join(0.5)
        for end in (self.pipe, self.lifeline, self.signals):
            end.close()
        os.close(self.ended)

    def signal(self, number: int) -> None:
        """Send a signal, if it lives."""
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self.ended, number)

    @property
    def was_asked(self) -> bool:
        """Whether a signal came to it already: the second one would let it leave without saving."""
        return bool(multiprocessing.connection.wait([self.signals], 0))

    @property
    def death(self) -> str:
        """How it ended."""
        multiprocessing.connection.wait([self.ended], _GRACE)
        self.process.join(0.5)
        code = self.process.exitcode
        if code is None:
            return "closed its pipe"
        if code < 0:
            told = signal.Signals(-code).name
            return f"died of {told}" + (" (out of memory?)" if told == "SIGKILL" else "")
        return f"died with exit code {code}"


class LocalExecutor:
    """As many processes as there are ``places``; each is kept for the next job.

    Args:
        task: a function of a module.
        places: processes side by side.
        devices: the GPUs of each place, as CUDA_VISIBLE_DEVICES has them; () leaves them as they are.
    """

    def __init__(self, task: Task, places: int, *, devices: Sequence[str] = ()) -> None:
        self.task, self.places, self.devices = task, places, devices
        self._workers: list[_Worker] = []
        self._news: list[Event] = []
        self._stopping = False
        # Before multiprocessing's own, which would wait at exit for workers that work.
        self._end = multiprocessing.util.Finalize(self, _kill, args=(self._workers,), exitpriority=100)

    def __enter__(self) -> LocalExecutor:
        """Let the fork server load libraries while the caller goes on."""
        if "forkserver" in multiprocessing.get_all_start_methods():
            from multiprocessing import forkserver

            multiprocessing.set_forkserver_preload(["__main__", *_LIBRARIES])
            with _one_thread():
                forkserver.ensure_running()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all processes."""
        self._end()

    @property
    def free(self) -> int:
        """How many jobs it takes now."""
        busy = sum(worker.key is not None for worker in self._workers)
        return 0 if self._stopping else self.places - busy

    def give(self, key: str, job: Any) -> None:
        """Begin a job."""
        worker = next((worker for worker in self._workers if worker.key is None), None) or self._start()
        worker.key = key
        self._news.append(Progress(key, "starting"))
        with contextlib.suppress(OSError):  # it is dead: `events` will tell
            worker.pipe.send((key, job))

    def events(self, timeout: float) -> list[Event]:
        """Return what happened, after at most ``timeout`` seconds."""
        found, self._news = self._news, []
        if found:
            timeout = 0.0
        waited: list[Any] = [part for worker in self._workers for part in (worker.pipe, worker.ended)]
        if not waited:
            return found
        ready = multiprocessing.connection.wait(waited, timeout)
        for worker in [worker for worker in self._workers if worker.pipe in ready or worker.ended in ready]:
            found += self._news_of(worker)
        return found

    def stop(self) -> None:
        """Ask busy workers to save and leave; idle ones have nothing to save."""
        self._stopping = True
        time.sleep(_SAME)
        for worker in self._workers:
            if worker.key is not None and not worker.was_asked:
                worker.signal(signal.SIGTERM)

    def _news_of(self, worker: _Worker) -> list[Event]:
        found: list[Event] = []
        try:
            while worker.pipe.poll():
                key, kind, told = worker.pipe.recv()
                if kind == "progress":
                    found.append(Progress(key, *told))
                else:
                    worker.key = None
                    found.append(Answered(key, told))
        except (EOFError, OSError):
            pass
        else:
            if not multiprocessing.connection.wait([worker.ended], 0):
                return found
        if worker.key is not None:
            found.append(Lost(worker.key, worker.death))
        self._workers.remove(worker)
        worker.kill()
        return found

    def _start(self) -> _Worker:
        methods = multiprocessing.get_all_start_methods()
        method = "forkserver" if "forkserver" in methods else "spawn"
        context: Any = multiprocessing.get_context(method)  # its stub lacks Process
        place = min(set(range(self.places)) - {worker.place for worker in self._workers})
        environment = {"CUDA_VISIBLE_DEVICES": self.devices[place]} if self.devices else {}
        pipe, theirs = context.Pipe()
        their_lifeline, lifeline = context.Pipe(duplex=False)
        signals, their_signals = context.Pipe(duplex=False)
        family = Family(os.getpid(), follows=method == "spawn")
        arguments = (theirs, their_lifeline, their_signals, family, self.task, environment)
        # Not a daemon: its environments may have processes of their own.
        process = context.Process(target=serve, args=arguments, daemon=False)
        with _one_thread():
            process.start()
        for end in (theirs, their_lifeline, their_signals):
            end.close()
        try:
            ended = os.pidfd_open(process.pid)  # also without the fork server, and no other process gets its id
        except ProcessLookupError:  # it has ended
            ended = os.dup(process.sentinel)
        worker = _Worker(process, pipe, lifeline, signals, place, ended)
        self._workers.append(worker)
        return worker


def _kill(workers: list[_Worker]) -> None:
    while workers:
        workers.pop().kill()


@contextlib.contextmanager
def _one_thread() -> Any:
    """Let processes that start here have one thread each in their numerical libraries, unless the user says more."""
    missing = [name for name in _THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(missing, "1"))
    try:
        yield
    finally:
        for name in missing:
            del os.environ[name]
