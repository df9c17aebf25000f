"""NumPy or PyTorch, whichever an array is of: the few calls in which they differ."""

from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

Array = Any
"""A NumPy array or a PyTorch tensor."""


@dataclass(frozen=True)
class Backend:
    """A module of arrays, ``numpy`` or ``torch``, and the device of its arrays (None for NumPy)."""

    xp: Any = np
    device: Any = None
    _on: dict[str, Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_on", {} if self.xp is np else {"device": self.device})

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.xp.__name__, self.device)  # a module cannot be pickled

    def array(self, values: Any, dtype: Any = None) -> Array:
        """Return ``values`` as an array of its own memory."""
        if self.xp is np:
            return np.array(values, dtype)
        return self.xp.as_tensor(np.array(values), dtype=dtype, **self._on)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array of zeros."""
        return self.xp.zeros(shape, dtype=dtype, **self._on)

    def arange(self, size: int) -> Array:
        """Return 0 to ``size`` - 1, int64."""
        return self.xp.arange(size, **self._on)


def _restore(module: str, device: Any) -> Backend:
    return Backend(import_module(module), device)


def backend_of(array: Array) -> Backend:
    """Return the backend of an array; PyTorch is not loaded for NumPy's."""
    if isinstance(array, np.ndarray):
        return Backend()
    import torch

    return Backend(torch, array.device)


def cast(value: Array, dtype: Any) -> Array:
    """Return ``value`` as an array of another type of numbers; itself where it has this type."""
    if value.dtype == dtype:
        return value
    return value.astype(dtype) if isinstance(value, np.ndarray) else value.to(dtype)
