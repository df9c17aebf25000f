"""The parent's hold on one worker process: start it, command it, wait for answers as long as agreed, kill it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import select
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from homeo_rl.agents.workers.worker import Family, Makes, work

START_METHODS = ("forkserver", "spawn", "fork")
_GRACE = 5.0
"""Seconds that the kernel gets to end a process that was killed."""
_LIBRARIES = ("homeo_rl.agents.workers.commands", "homeo_rl.envs.env_factory", "mujoco")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class Gone(Exception):
    """A worker that will not answer any more, and why."""


class Fault(Exception):
    """A worker's environment raised an exception.

    Attributes:
        kind: its class, with the module.
        trace: its traceback in the worker.
    """

    def __init__(self, kind: str, text: str, trace: str) -> None:
        super().__init__(text)
        self.kind, self.trace = kind, trace


class Patience:
    """Seconds left to wait, counted in slices: a parent that was itself suspended takes nobody for hung."""

    def __init__(self, seconds: float) -> None:
        self.seconds = self.left = seconds
        self.slice = min(seconds / 10, 1.0)


class Handle:
    """A worker process.

    Args:
        recipe, monitored: see `work`.
        seed: of the generators of the process.
        method: how processes start, of `START_METHODS`.
        others: workers that live already; a forked one closes what it inherits of them.
        longest: seconds after which a command that nobody takes, or half an answer, is given up.
    """

    def __init__(
        self, recipe: Makes, monitored: bool, seed: int, *, method: str, others: Iterable[Handle], longest: float
    ) -> None:
        context: Any = multiprocessing.get_context(method)  # its stub lacks Process
        if method == "forkserver":
            # Libraries are loaded once, by the server: a worker is there in a fraction of a second.
            context.set_forkserver_preload(["__main__", *_LIBRARIES])
        self.pipe, theirs = context.Pipe()
        their_lifeline, self._lifeline = context.Pipe(duplex=False)
        self._number = 0
        inherited: tuple[Connection, ...] = ()
        if method == "fork":
            inherited = (self.pipe, self._lifeline, *(end for other in others for end in other.ends()))
        forks_here = method != "forkserver" and threading.current_thread() is threading.main_thread()
        family = Family(os.getpid(), forks_here, inherited)
        arguments = (theirs, their_lifeline, family, recipe, monitored, seed)
        self._process = context.Process(target=work, args=arguments, daemon=True)
        try:
            with _one_thread():
                _start(self._process)
        finally:
            theirs.close()  # or a dead worker's pipe would not end
            their_lifeline.close()
        self._limit(longest)
        self._ready, self._ended = select.poll(), select.poll()
        self._pidfd = -1
        try:
            # More than the process's sentinel: it also holds without the fork server, and no other process gets its id.
            self._pidfd = os.pidfd_open(self._process.pid)
            sentinel = self._pidfd
        except (AttributeError, OSError):  # another system, an old kernel, or dead already
            sentinel = self._process.sentinel
        for poll in (self._ready, self._ended):
            poll.register(sentinel, select.POLLIN)
        self._fd = self.pipe.fileno()
        self._ready.register(self._fd, select.POLLIN)

    def ends(self) -> tuple[Connection, ...]:
        """Return the open connections of this side."""
        return tuple(end for end in (self.pipe, self._lifeline) if not end.closed)

    def send(self, name: str, *arguments: Any) -> None:
        """Send a command.

        Raises:
            Gone: the worker is dead, or takes nothing.
        """
        if self._process is None:
            raise Gone("was given up")
        self._number += 1
        try:
            self.pipe.send((self._number, name, arguments))
        except BlockingIOError:
            raise Gone("takes no commands") from None
        except OSError:
            raise Gone(self._death()) from None

    def receive(self, patience: Patience) -> Any:
        """Return the answer to the last command; those to commands before it are dropped.

        Raises:
            Gone: the worker is dead, or patience was at its end.
            Fault: the environment raised an exception.
        """
        number = -1
        while number != self._number:
            while not (found := self._ready.poll(1000 * patience.slice)):
                patience.left -= patience.slice
                if patience.left <= 0:
                    raise Gone(f"gave no answer for {patience.seconds:g} s")
            if found[0][0] != self._fd and len(found) == 1:
                raise Gone(self._death())
            try:
                number, well, answer = self.pipe.recv()
            except BlockingIOError:
                raise Gone("stopped in the middle of an answer") from None
            except (EOFError, OSError):
                raise Gone(self._death()) from None
        if not well:
            raise Fault(*answer)
        return answer

    def ask_to_close(self) -> None:
        """Ask the worker to close its environment and leave, if it listens."""
        with contextlib.suppress(Gone, OSError):  # OSError: it was killed
            self._limit(0.1)
            self.send("close")

    def has_ended(self, seconds: float) -> bool:
        """Wait for the end of the process, at most so long."""
        return self._process is None or bool(self._ended.poll(1000 * max(seconds, 0.0)))

    def kill(self) -> None:
        """End the process, whatever it does; nothing of it is left but its exit code."""
        if self._process is None:
            return
        with contextlib.suppress(OSError):
            if self._pidfd >= 0:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            else:
                self._process.kill()
        self.has_ended(_GRACE)
        self._process.join(0.5)  # no zombie
        for end in self.ends():
            end.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
        with contextlib.suppress(ValueError):  # the kernel has not ended it yet
            self._process.close()
        self._process = None

    def _death(self) -> str:
        """Say how the process ended."""
        self.has_ended(_GRACE)
        self._process.join(0.5)
        code = self._process.exitcode
        if code is None:
            return "closed its pipe"
        if code < 0:
            return f"died of {signal.Signals(-code).name}"
        return f"died with exit code {code}"

    def _limit(self, seconds: float) -> None:
        """Let the kernel give up sending and receiving after so long: a stopped worker may hold half a message."""
        time = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
        with socket.socket(fileno=os.dup(self.pipe.fileno())) as end:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, time)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, time)


def _start(process: Any) -> None:
    """Start a process, again where the fork server was just ending: it takes a moment until that can be seen.

    Raises:
        OSError, EOFError: it cannot be started.
    """
    patient_until = time.monotonic() + _GRACE
    while True:
        try:
            process.start()
            return
        except (ConnectionError, EOFError):
            if time.monotonic() > patient_until:
                raise
            time.sleep(0.02)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Let processes that start here, and the fork server, have one thread each in their numerical libraries."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
