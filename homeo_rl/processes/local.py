"""Jobs in processes of this machine. A process that dies is replaced, and none outlives its driver."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import multiprocessing.util
import signal
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from homeo_rl.processes.child import Child, kill_all, start_fork_server, start_methods
from homeo_rl.processes.executor import Event, JobFinished, Progress, Task, WorkerDied
from homeo_rl.processes.worker import serve

_SAME_SIGNAL_SECONDS = 0.3
"""Seconds in which the signal that came to the driver comes to all, if a service manager or a scheduler sent it."""


class _Worker(Child):
    """One process, and the job that it works on."""

    def __init__(self, task: Task, slot: int, environment: dict[str, str]) -> None:
        self.slot, self.key = slot, ""
        self.signals, child_signals = multiprocessing.Pipe(duplex=False)
        try:
            # Not a daemon: its environments may have processes of their own.
            super().__init__(serve, child_signals, task, environment, method=start_methods()[0], daemon=False)
        finally:
            child_signals.close()

    def ends(self) -> tuple[Connection, ...]:
        return (*super().ends(), self.signals)

    def has_signal(self) -> bool:
        """Say whether a signal came to it already: the second one would let it leave without saving."""
        return self.signals.poll()


class LocalExecutor:
    """As many processes as there are ``slots``; each is kept for the next job.

    Args:
        task: a function of a module, or "module:function".
        devices: the GPUs of each slot, as CUDA_VISIBLE_DEVICES has them; () leaves them as they are.
    """

    def __init__(self, task: Task, slots: int, *, devices: Sequence[str] = ()) -> None:
        self.task, self.slots, self.devices = task, slots, devices
        self._workers: list[_Worker] = []
        self._pending: list[Event] = []
        self._stopping = False
        # Before multiprocessing's own, which would wait at exit for workers that work.
        self._end = multiprocessing.util.Finalize(self, kill_all, args=(self._workers,), exitpriority=100)

    def __enter__(self) -> LocalExecutor:
        """Let the fork server load the task's module while the caller continues."""
        modules = [self.task.partition(":")[0]] if isinstance(self.task, str) else []
        start_fork_server([*modules, "mujoco"])
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    @property
    def free(self) -> int:
        """How many jobs it takes now."""
        return 0 if self._stopping else self.slots - sum(bool(worker.key) for worker in self._workers)

    def submit(self, key: str, job: Any) -> None:
        """Begin a job."""
        worker = next((worker for worker in self._workers if not worker.key), None) or self._start()
        worker.key = key
        self._pending.append(Progress(key, "starting"))
        with contextlib.suppress(OSError):  # it is dead, which `events` reports
            worker.pipe.send((key, job))

    def events(self, timeout: float) -> list[Event]:
        """Return what happened, after at most ``timeout`` seconds."""
        events, self._pending = self._pending, []
        waiting: list[Any] = [part for worker in self._workers for part in (worker.pipe, worker.ended)]
        if not waiting:
            return events
        ready = multiprocessing.connection.wait(waiting, 0.0 if events else timeout)
        for worker in [worker for worker in self._workers if worker.pipe in ready or worker.ended in ready]:
            events += self._events_of(worker)
        return events

    def stop(self) -> None:
        """Ask busy workers to save and leave; idle ones have nothing to save."""
        self._stopping = True
        time.sleep(_SAME_SIGNAL_SECONDS)
        for worker in self._workers:
            if worker.key and not worker.has_signal():
                worker.signal(signal.SIGTERM)

    def _events_of(self, worker: _Worker) -> list[Event]:
        events: list[Event] = []
        try:
            while worker.pipe.poll():
                key, kind, content = worker.pipe.recv()
                if kind == "progress":
                    events.append(Progress(key, *content))
                else:
                    worker.key = ""
                    events.append(JobFinished(key, content))
        except (EOFError, OSError):
            pass
        else:
            if not worker.has_ended():
                return events
        if worker.key:
            cause = worker.cause_of_death()
            events.append(WorkerDied(worker.key, cause + " (out of memory?)" * cause.endswith("SIGKILL")))
        self._workers.remove(worker)
        worker.kill()
        return events

    def _start(self) -> _Worker:
        slot = min(set(range(self.slots)) - {worker.slot for worker in self._workers})
        environment = {"CUDA_VISIBLE_DEVICES": self.devices[slot]} if self.devices else {}
        worker = _Worker(self.task, slot, environment)
        self._workers.append(worker)
        return worker
