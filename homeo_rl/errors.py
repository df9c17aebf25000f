"""The errors a user can meet, each with the exit code the command line ends with.

Every message says what was expected, what was found and what to do, on one line.
"""

from collections.abc import Iterable
from typing import Any


class HomeoError(Exception):
    """Base of all errors that are shown as one line instead of a traceback.

    Args:
        message: one line: what was expected, what was found, what to do.
        result: what a command found out all the same; ``--json`` prints it.
    """

    exit_code = 1

    def __init__(self, message: str = "", *, result: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.result = result


class Finding(HomeoError):
    """A check that a command was asked to make did not hold."""

    exit_code = 1


class UsageError(HomeoError):
    """A name, value or file given by the user does not fit."""

    exit_code = 2


class EnvironmentFault(HomeoError):
    """An environment failed or broke its contract."""

    exit_code = 3


class NumericalFault(HomeoError):
    """A number that cannot be, NaN, infinite or absurdly large: observation, reward, action or parameter."""

    exit_code = 4


class BadUpdate(NumericalFault):
    """An update gave weights, gradients or a loss that are not finite, or absurd; the policy is not worth storing."""


class InputError(UsageError, ValueError):
    """An argument of a function does not fit: its shape, its type, or the order of the calls."""


class NonFiniteInput(NumericalFault, ValueError):
    """An argument of a function holds a number that cannot be."""


class StorageFault(HomeoError):
    """A file of ours is missing, damaged or cannot be written."""

    exit_code = 5


EnvironmentContractError, NumericalError, StorageError = EnvironmentFault, NumericalFault, StorageFault
NonFiniteUpdateError, NonFiniteInputError = BadUpdate, NonFiniteInput
"""The same classes by names of PEP 8."""


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived."""


def near(got: str, known: Iterable[str], *, cutoff: float = 0.5) -> str | None:
    """Return the name in ``known`` that resembles ``got`` most, None where none does."""
    import difflib  # wanted when something is wrong only

    return next(iter(difflib.get_close_matches(got, list(known), n=1, cutoff=cutoff)), None)


def find_repeated(names: Iterable[str]) -> str | None:
    """Return the first name that is there a second time, or None."""
    seen: set[str] = set()
    return next((name for name in names if name in seen or seen.add(name)), None)  # type: ignore[func-returns-value]


def unknown(kind: str, got: str, known: Iterable[str]) -> UsageError:
    """Return the error for a name that is not in ``known``, with the nearest one suggested."""
    names = sorted(known)
    like = near(got, names)
    shown = [name for place, name in enumerate(names) if len(", ".join(names[: place + 1])) <= _ROOM]
    if like and len(shown) < len(names):
        return UsageError(f"unknown {kind} {got!r}; did you mean {like!r}?")
    more = f", ... ({len(names)} in all)" if len(shown) < len(names) else ""
    hint = f"did you mean {like!r}?" if like else "choose one of these."
    return UsageError(f"unknown {kind} {got!r}; expected one of {', '.join(shown)}{more}; {hint}")


_ROOM = 120  # characters of a list in a message: three lines of a terminal are all that is read
