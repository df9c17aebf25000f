"""The errors a user can meet, each with the exit code the command line ends with.

Every message says what was expected, what was found and what to do, on one line.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HomeoError(Exception):
    """Base of all errors that are shown as one line instead of a traceback."""

    exit_code = 1


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


def unknown(kind: str, got: str, known: Iterable[str]) -> UsageError:
    """Return the error for a name that is not in ``known``, with the nearest one suggested.

    Args:
        kind: what the name stands for, such as ``"suite"``.
        got: the name the user gave.
        known: all names that would have been accepted.
    """
    names = sorted(known)
    near = difflib.get_close_matches(got, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else "choose one of these."
    listed = ", ".join(names) if len(names) <= 30 else ", ".join(names[:12]) + f", ... ({len(names)} in all)"
    if len(names) > 30 and near:
        return UsageError(f"unknown {kind} {got!r}: {hint}")
    return UsageError(f"unknown {kind} {got!r}; expected one of {listed}; {hint}")
