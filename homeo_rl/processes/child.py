"""A child process: how it starts, how it dies with its parent, and what it died of."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import multiprocessing
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

KILL_SECONDS = 5.0  # seconds that the kernel gets to end a process that was killed, and a fork server to end

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True)
class Lineage:
    """What a child has to know of the process that started it."""

    parent: int  # its process id
    # whether it is also the parent for the kernel, and the thread that forks lives as long as it does
    forked_here: bool
    # what a forked child must close, or the pipes of its siblings would never end
    inherited: tuple[Connection, ...] = ()


class Child:
    """A process that is killed when this one dies.

    Args:
        target: its main function, called with the child's ends of pipe and life-line, its `Lineage` and ``arguments``.
        method: how it starts, of `start_methods`.
        daemon: whether it may have no children of its own.
        preload: modules that the fork server loads once, so that a child is there in a fraction of a second.
        siblings: children that live already.
        override_threads: give it one thread in its numerical libraries, also where the user has set another number.
    """

    def __init__(
        self,
        target: Callable[..., None],
        *arguments: Any,
        method: str,
        daemon: bool,
        preload: Sequence[str] = (),
        siblings: Iterable[Child] = (),
        override_threads: bool = False,
    ) -> None:
        context: Any = multiprocessing.get_context(method)  # its stub lacks Process
        if method == "forkserver" and preload:
            context.set_forkserver_preload(["__main__", *preload])
        self.pipe, child_pipe = context.Pipe()
        child_lifeline, self._lifeline = context.Pipe(duplex=False)
        inherited: tuple[Connection, ...] = ()
        if method == "fork":
            inherited = (*self.ends(), *(end for sibling in siblings for end in sibling.ends()))
        forked_here = method != "forkserver" and threading.current_thread() is threading.main_thread()
        lineage = Lineage(os.getpid(), forked_here, inherited)
        self._process = context.Process(
            target=target, args=(child_pipe, child_lifeline, lineage, *arguments), daemon=daemon
        )
        try:
            with one_thread(override=override_threads):
                _start(self._process)
        finally:
            child_pipe.close()  # or the pipe of a dead child would not end
            child_lifeline.close()
        self._has_pidfd = True
        try:
            # More than the process's sentinel: it also holds without the fork server, and no other process gets its id.
            self.ended = os.pidfd_open(self._process.pid)
        except (AttributeError, OSError):  # another system, an old kernel, or dead already
            self.ended, self._has_pidfd = os.dup(self._process.sentinel), False
        self._end = select.poll()
        self._end.register(self.ended, select.POLLIN)

    def ends(self) -> tuple[Connection, ...]:
        """Return the open connections of this side."""
        return tuple(end for end in (self.pipe, self._lifeline) if not end.closed)

    def has_ended(self, seconds: float = 0.0) -> bool:
        """Wait for the end of the process, at most so long."""
        return self._process is None or bool(self._end.poll(1000 * max(seconds, 0.0)))

    def signal(self, number: int) -> None:
        """Send a signal, if the process lives."""
        with contextlib.suppress(OSError):
            if self._has_pidfd:
                signal.pidfd_send_signal(self.ended, number)
            elif self._process.is_alive():
                os.kill(self._process.pid, number)

    def cause_of_death(self) -> str:
        """Say how the process ended."""
        self.has_ended(KILL_SECONDS)
        self._process.join(0.5)
        code = self._process.exitcode
        if code is None:
            return "closed its pipe"
        return f"died of {signal.Signals(-code).name}" if code < 0 else f"died with exit code {code}"

    def kill(self) -> None:
        """End the process, whatever it does; nothing of it is left but its exit code."""
        if self._process is None:
            return
        self.signal(signal.SIGKILL)
        self.has_ended(KILL_SECONDS)
        self._process.join(0.5)  # no zombie
        for end in self.ends():
            end.close()
        os.close(self.ended)
        with contextlib.suppress(ValueError):  # the kernel has not ended it yet
            self._process.close()
        self._process = None


def kill_all(children: list[Any]) -> None:
    """Kill all children and clear the list."""
    while children:
        children.pop().kill()


def start_methods() -> list[str]:
    """Return the start methods of this system, the preferred one first."""
    return [name for name in ("forkserver", "spawn", "fork") if name in multiprocessing.get_all_start_methods()]


def start_fork_server(preload: Sequence[str]) -> None:
    """Let the fork server, where there is one, load modules while the caller continues."""
    if start_methods()[0] == "forkserver":
        from multiprocessing import forkserver

        multiprocessing.set_forkserver_preload(["__main__", *preload])
        with one_thread():
            forkserver.ensure_running()


@contextlib.contextmanager
def one_thread(*, override: bool = False) -> Iterator[None]:
    """Let processes that start inside have one thread each in their numerical libraries.

    Numbers that the user has set stay, unless ``override``.
    """
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update({name: "1" for name, value in before.items() if override or value is None})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def die_with_parent(lifeline: Connection, lineage: Lineage) -> None:
    """Arrange that this process is killed when its parent dies, however that happens and whatever it does then.

    On Linux the kernel does it, also to a process that is stopped or loops in C. The signal at the parent's death
    knows only the thread that forked, which is not the parent's after a fork server; the life-line knows the parent,
    unless another process has inherited its other end. Elsewhere, and in that case, a thread waits for the end.

    ``lifeline``: the reading end of a pipe that nothing is written to; it ends with the parent.
    """
    if sys.platform == "linux":
        if lineage.forked_here:
            ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
            if os.getppid() != lineage.parent:  # it died before
                os._exit(1)
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    end = select.poll()
    end.register(lifeline, select.POLLIN)
    if end.poll(0):  # before the kernel was asked to look
        os._exit(1)
    if hasattr(os, "pidfd_open"):
        try:
            end.register(os.pidfd_open(lineage.parent), select.POLLIN)
        except ProcessLookupError:
            os._exit(1)
        except OSError:  # an old kernel
            pass

    def wait() -> None:
        end.poll()
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, name="wait for the parent's end", daemon=True).start()


def _start(process: Any) -> None:
    """Start a process, again where the fork server was just ending: it takes a moment until that can be seen.

    Raises OSError, EOFError: it cannot be started.
    """
    deadline = time.monotonic() + KILL_SECONDS
    while True:
        try:
            process.start()
            return
        except (ConnectionError, EOFError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
