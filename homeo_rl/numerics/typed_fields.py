"""Fields of a dataclass compared with their declared types: what Python would only notice somewhere inside."""

import types
from dataclasses import fields
from functools import cache
from numbers import Integral, Real
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

from homeo_rl.errors import InputError
from homeo_rl.numerics.arrays import describe_value


def require_fields(data: Any, *, whole: bool = True) -> None:
    """Check every field of a dataclass whose type can be looked at; literals and mappings are left to the class.

    ``whole``: whether fields of whole numbers refuse floats. Raises InputError: naming the first that does not fit.
    """
    hints = _hints(type(data))  # type: ignore[arg-type]  # classes can be hashed
    for field in fields(data):
        value, hint = getattr(data, field.name), hints.get(field.name, Any)
        if not _fits(value, hint, whole):
            name = (
                getattr(hint, "__name__", str(hint)) if get_origin(hint) is None else str(hint).replace("typing.", "")
            )
            raise InputError(
                f"{type(data).__name__}: {field.name}: expected {name}, got {describe_value(value)}; give one"
            )


@cache
def _hints(kind: Any) -> dict[str, Any]:
    try:
        return get_type_hints(kind)
    except NameError:  # a type that only a type checker imports
        return {}


def _fits(value: Any, hint: Any, whole: bool) -> bool:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, part, whole) for part in parts)
    if hint is Any:
        return True
    if hint in (int, float):
        number = Integral if hint is int and whole else Real
        return isinstance(value, number) and not isinstance(value, bool | np.bool_)
    if origin is tuple:
        rest = parts[0] if parts[1:] == (...,) else Any
        return isinstance(value, tuple | list) and all(_fits(each, rest, whole) for each in value)
    kind = hint if origin is None else origin
    return not isinstance(kind, type) or isinstance(value, kind)
