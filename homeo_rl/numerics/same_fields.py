"""Plans that are made of what has fields of the same names, such as flags; light, for the command line."""

from dataclasses import fields
from typing import Any, TypeVar

P = TypeVar("P")


def make_plan(kind: type[P], source: Any, /, **others: Any) -> P:
    """Return a plan from the fields of ``source`` with its fields' names, and from ``others``, which come first."""
    same = {field.name for field in fields(kind)} & {field.name for field in fields(source)}  # type: ignore[arg-type]
    return kind(**{**{name: getattr(source, name) for name in same}, **others})
