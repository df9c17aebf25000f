"""Compiled loops: numba, cached on disk where there is a place for it, without the interpreter's lock."""

import hashlib
import inspect
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

from homeo_rl.numerics.cache_folders import provide_cache_folders

F = TypeVar("F", bound=Callable[..., Any])


def jit(function: F) -> F:
    """Compile ``function`` at its first call; typed here because numba ships no types."""
    dispatcher = _decorate(function)
    # numba compiles again when the function's own file changed, but what is compiled holds functions and constants of
    # the files beside it too. Stale code with new tables reads memory that is not there.
    index = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
    if index is not None:  # None: compilation is switched off
        index._source_stamp = (index._source_stamp, _sources(Path(inspect.getfile(function)).parent))
    return cast(F, dispatcher)


def _decorate(function: Callable[..., Any]) -> Any:
    provide_cache_folders()  # numba asks for them when it decorates
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder to keep it in: each process compiles for itself
        return numba.njit(**options)(function)


@cache
def _sources(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
