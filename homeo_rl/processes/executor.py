"""What carries out the cells of a sweep: processes of this machine (`local`) or a Ray cluster (`on_ray`)."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from homeo_rl.errors import HomeoError


@dataclass(frozen=True)
class Progress:
    """How far a running job is: ``done`` of ``total`` parts of ``what``."""

    key: str
    what: str
    done: int = 0
    total: int = 0
    extra: str = ""


@dataclass(frozen=True)
class Answer:
    """How a job ended.

    Attributes:
        state: "done"; "held", by another process that works on the same; "stopped" by a signal, to be gone on with;
            "failed".
        message, trace: of a failure.
        seconds: that it took.
        result: whatever the task gives back.
    """

    state: Literal["done", "held", "stopped", "failed"]
    message: str = ""
    trace: str = ""
    seconds: float = 0.0
    result: Any = None


@dataclass(frozen=True)
class Answered:
    """A job ended."""

    key: str
    answer: Answer


@dataclass(frozen=True)
class Lost:
    """The process that worked on a job died; the job can be given out again."""

    key: str
    why: str


Event = Progress | Answered | Lost
Tell = Callable[[str, int, int, str], None]
"""What, done, total and a word beside: how a task reports its progress."""

Task = Callable[[Any, Tell], Answer]
"""A function of a module, called in another process with a job and a way to tell."""


class Executor(Protocol):
    """Carries out jobs side by side."""

    @property
    def free(self) -> int:
        """How many jobs it takes now."""

    @property
    def places(self) -> int:
        """How many jobs run at once, as far as it knows."""

    def give(self, key: str, job: Any) -> None:
        """Begin a job."""

    def events(self, timeout: float) -> list[Event]:
        """Return what happened since the last call, after at most so many seconds."""

    def stop(self) -> None:
        """Ask all jobs to save what they have and to leave."""


def answered(task: Task, job: Any, tell: Tell) -> Answer:
    """Carry out a job here; whatever it raises becomes its answer."""
    try:
        return task(job, tell)
    except KeyboardInterrupt:  # a signal
        return Answer("stopped")
    except HomeoError as error:
        return Answer("failed", str(error), traceback.format_exc())
    except Exception as error:
        told = " ".join(str(error).split()) or "no message"
        return Answer("failed", f"{type(error).__name__}: {told}", traceback.format_exc())
