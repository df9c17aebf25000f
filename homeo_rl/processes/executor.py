"""What carries out jobs side by side: processes of this machine (`local`) or a Ray cluster (`ray`)."""

import dataclasses
import importlib
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import pydantic

from homeo_rl.errors import HomeoError

MAX_RETRIES = 3  # how often a job is given out again after its process, or its node, died


@pydantic.with_config(pydantic.ConfigDict(extra="forbid", allow_inf_nan=False))
@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a job may use while it runs. It has no influence on results."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory_gb: float | None = None

    def __post_init__(self) -> None:
        if self.cpus <= 0 or self.gpus < 0 or (self.memory_gb is not None and self.memory_gb <= 0):
            raise ValueError(f"expected cpus > 0, gpus >= 0, memory_gb > 0, got {dataclasses.asdict(self)}")


@dataclass(frozen=True)
class Progress:
    """How far a running job is: ``done`` of ``total`` parts of ``what``."""

    key: str
    what: str
    done: int = 0
    total: int = 0
    extra: str = ""


@dataclass(frozen=True)
class JobResult:
    """How a job ended."""

    # "done"; "locked_elsewhere": another process works on the same; "stopped" by a signal, to be resumed; "failed"
    state: Literal["done", "locked_elsewhere", "stopped", "failed"]
    # message, trace: of a failure
    message: str = ""
    trace: str = ""
    seconds: float = 0.0
    result: Any = None
    error: Exception | None = None


@dataclass(frozen=True)
class JobFinished:
    """A job ended."""

    key: str
    result: JobResult


@dataclass(frozen=True)
class WorkerDied:
    """The process that worked on a job died; the job can be given out again."""

    key: str
    reason: str


Event = Progress | JobFinished | WorkerDied
ProgressCallback = Callable[[str, int, int, str], None]
"""What, done, total and a word beside: how a task reports its progress."""

Task = str | Callable[[Any, ProgressCallback], JobResult]
"""A function of a module, or "module:function", which only the process that calls it imports."""


class Executor(Protocol):
    """Carries out jobs side by side."""

    @property
    def free(self) -> int:
        """How many jobs it takes now."""

    @property
    def slots(self) -> int:
        """How many jobs run at once, as far as it knows."""

    def submit(self, key: str, job: Any) -> None:
        """Begin a job."""

    def events(self, timeout: float) -> list[Event]:
        """Return what happened since the last call, after at most so many seconds."""

    def stop(self) -> None:
        """Ask all jobs to save what they have and to leave."""


def limit_rate(send: ProgressCallback, seconds: float) -> ProgressCallback:
    """Return a callback that sends the beginning of everything, and then one report in so many seconds."""
    last = time.monotonic()

    def report(what: str, done: int, total: int, extra: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= seconds or done == 0:
            last = now
            send(what, done, total, extra)

    return report


def run_task(task: Task, job: Any, report: ProgressCallback) -> JobResult:
    """Carry out a job here; whatever it raises becomes its result."""
    try:
        if isinstance(task, str):
            module, _, name = task.partition(":")
            task = getattr(importlib.import_module(module), name)
        assert callable(task)
        return task(job, report)
    except KeyboardInterrupt:  # a signal
        return JobResult("stopped")
    except Exception as error:
        message = str(error)
        if not isinstance(error, HomeoError):
            message = f"{type(error).__name__}: {' '.join(message.split()) or 'no message'}"
        trace = traceback.format_exc()
        error.add_note(f"In the worker:\n{trace}")
        if not isinstance(error, HomeoError) and type(error).__module__ != "builtins":
            error = RuntimeError(message)  # a class of a library may not survive the way to another process
        return JobResult("failed", message, trace, error=error)
