"""Arguments that callers give, checked before compiled code reads them: it trusts shapes, types and memory.

What can be cast is cast: numbers of any kind become floats, lists become arrays, memory of any layout a plain array.
Everything else raises one line that says what was expected, what was given and what to do.
"""

import operator
from typing import Any

import numpy as np

from homeo_rl.errors import InputError, NonFiniteInput
from homeo_rl.numerics.limits import LIMIT, wrong_entry

_SQUARE = LIMIT**2

FLOAT32: np.dtype[Any] = np.dtype(np.float32)
FLOAT64: np.dtype[Any] = np.dtype(np.float64)


def floats_of(
    value: Any,
    shape: tuple[int, ...],
    *,
    what: str,
    advice: str,
    dtype: np.dtype[Any] = FLOAT32,
    finite: bool = True,
) -> np.ndarray:
    """Return ``value`` as a C-contiguous array of numbers: itself where it is one already.

    Args:
        value: an array or a list of numbers.
        what: what it is, and how its shape is called, such as ``"observations [slots, D]"``.
        advice: what to do about a wrong shape.
        dtype: of the result, `FLOAT32` or `FLOAT64`.
        finite: look at the numbers; False where whoever takes the result does.

    Raises:
        InputError: another shape, or no real numbers.
        NonFiniteInput: a number that is not finite, or beyond `homeo_rl.numerics.limits.LIMIT`.
    """
    array = value if type(value) is np.ndarray else _array(value, what)
    if array.dtype is not dtype and array.dtype != dtype:  # identity first: comparing costs more
        require_numbers(array, what)
        require_finite(array, what)  # before the cast, which would overflow
        array = array.astype(dtype)
    elif finite:
        require_finite(array, what)
    if array.shape != shape:
        raise InputError(f"{what}: expected shape {shape}, got {array.shape}; {advice}")
    # Aligned, writable and C-contiguous, also as torch counts, which minds the stride of a single row or column.
    strides = array.strides
    plain = array.flags.carray and strides[0] >= 0 <= strides[-1]
    return array if plain else np.array(array, order="C")


def require_numbers(value: Any, what: str) -> None:
    """Check that an array or a list holds real numbers.

    Raises InputError: it holds objects, text, complex numbers or nothing that makes an array.
    """
    array = _array(value, what)
    if array.dtype.kind not in "biuf":
        kind = "objects" if array.dtype.kind == "O" else "text" if array.dtype.kind in "US" else str(array.dtype)
        raise InputError(f"{what}: expected real numbers, got {kind}; convert them to floats")


def require_finite(array: np.ndarray, what: str) -> None:
    """Check that there is no number that is not finite, or beyond `homeo_rl.numerics.limits.LIMIT`.

    Raises NonFiniteInput: naming the first.
    """
    # One pass; what is no number is not below anything. `ndarray.dot` would warn of squares that overflow.
    if array.dtype.char in "fd" and np.vdot(array, array) <= _SQUARE:
        return
    wrong = wrong_entry(array if array.dtype.kind == "f" else array.astype(np.float64))
    if wrong is not None:
        place, number = wrong
        entry = f"entry {place}" if len(place) != 1 else f"entry {place[0]}"
        raise NonFiniteInput(
            f"{what}: expected finite numbers within {LIMIT:g}, got {number} at {entry}; look for where it comes from"
        )


def index_of(value: Any, size: int, *, what: str, advice: str) -> int:
    """Return ``value`` as an index of 0 to ``size`` - 1. Raises InputError: it is none."""
    index = whole_number(value, what=what)
    if not 0 <= index < size:
        expected = f"0 to {size - 1}" if size else "none, there is nothing left"
        raise InputError(f"{what}: expected {expected}, got {index}; {advice}")
    return index


def whole_number(value: Any, *, what: str, least: int | None = None) -> int:
    """Return ``value`` as an int. Raises InputError: it is a bool, a float or no number, or below ``least``."""
    try:
        number = None if isinstance(value, bool | np.bool_) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise InputError(f"{what}: expected a whole number, got {describe_value(value)}; give an int")
    if least is not None and number < least:
        raise InputError(f"{what}: expected at least {least}, got {number}; give a larger one")
    return number


def instance_of(value: Any, kind: type | tuple[type, ...], *, what: str, advice: str) -> None:
    """Check that ``value`` is of a class. Raises InputError: it is of another."""
    if not isinstance(value, kind):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        raise InputError(
            f"{what}: expected {' or '.join(each.__name__ for each in kinds)}, got {describe_value(value)}; {advice}"
        )


def describe_value(value: Any) -> str:
    """Return type and value of something that does not fit, short enough for one line."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    text = " ".join(repr(value).split()) if isinstance(value, str | int | float | bool) else ""
    name = type(value).__name__
    return f"{name} {text if len(text) <= 60 else text[:57] + '...'}" if text else name


def _array(value: Any, what: str) -> np.ndarray:
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists; tensors on a device or with a gradient
        reason = " ".join(str(error).split())
        raise InputError(
            f"{what}: expected an array of numbers, got {describe_value(value)} ({reason}); convert it"
        ) from None
