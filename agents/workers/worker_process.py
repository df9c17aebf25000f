"""The parent's hold on one worker: commands to it, and answers that are waited for as long as agreed."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
from collections.abc import Iterable
from typing import Any

from homeo_rl.agents.workers.worker import EnvMaker, work
from homeo_rl.processes.child import Child

_PRELOAD = ("homeo_rl.agents.workers.commands", "homeo_rl.envs.env_factory", "mujoco")


class WorkerLost(Exception):
    """A worker that will not answer any more, and why."""


class Fault(Exception):
    """A worker's environment raised an exception."""

    def __init__(self, kind: str, text: str, trace: str) -> None:
        super().__init__(text)
        self.kind, self.trace = kind, trace


class Deadline:
    """Seconds left to wait, counted in slices: a parent that was itself suspended takes no worker for hung."""

    def __init__(self, seconds: float) -> None:
        self.seconds = self.left = seconds
        self.slice = min(seconds / 10, 1.0)


class WorkerProcess(Child):
    """The process of one environment.

    ``timeout``: seconds after which a command that is not taken, or half an answer, is given up.
    """

    def __init__(
        self,
        recipe: EnvMaker,
        monitored: bool,
        seed: int,
        *,
        method: str,
        siblings: Iterable[WorkerProcess],
        timeout: float,
    ) -> None:
        super().__init__(
            work, recipe, monitored, seed, method=method, daemon=True, preload=_PRELOAD, siblings=siblings,
            override_threads=True,
        )  # fmt: skip
        self._number = 0
        self._limit(timeout)
        self._fd = self.pipe.fileno()
        self._ready = select.poll()
        for fd in (self.ended, self._fd):
            self._ready.register(fd, select.POLLIN)

    def send(self, name: str, *arguments: Any) -> None:
        """Send a command. Raises WorkerLost: the worker is dead, or takes nothing."""
        if self._process is None:
            raise WorkerLost("was given up")
        self._number += 1
        try:
            self.pipe.send((self._number, name, arguments))
        except BlockingIOError:
            raise WorkerLost("takes no commands") from None
        except OSError:
            raise WorkerLost(self.cause_of_death()) from None

    def receive(self, deadline: Deadline) -> Any:
        """Return the answer to the last command; those to commands before it are dropped.

        Raises:
            WorkerLost: the worker is dead, or the deadline was reached.
            Fault: the environment raised an exception.
        """
        number = -1
        while number != self._number:
            while not (ready := self._ready.poll(1000 * deadline.slice)):
                deadline.left -= deadline.slice
                if deadline.left <= 0:
                    raise WorkerLost(f"gave no answer for {deadline.seconds:g} s")
            if ready[0][0] != self._fd and len(ready) == 1:
                raise WorkerLost(self.cause_of_death())
            try:
                number, succeeded, answer = self.pipe.recv()
            except BlockingIOError:
                raise WorkerLost("stopped in the middle of an answer") from None
            except (EOFError, OSError):
                raise WorkerLost(self.cause_of_death()) from None
        if not succeeded:
            raise Fault(*answer)
        return answer

    def ask_to_close(self) -> None:
        """Ask the worker to close its environment and leave, if it listens."""
        with contextlib.suppress(WorkerLost, OSError):  # OSError: it was killed
            self._limit(0.1)
            self.send("close")

    def _limit(self, seconds: float) -> None:
        """Let the kernel give up sending and receiving after so long: a stopped worker may hold half a message."""
        interval = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
        with socket.socket(fileno=os.dup(self.pipe.fileno())) as end:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, interval)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, interval)
