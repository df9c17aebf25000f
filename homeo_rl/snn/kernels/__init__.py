"""Two implementations of one arithmetic: torch's operations (the reference) and compiled loops (numba).

The reference is `homeo_rl.snn.neurons`, `encoders`, `readouts` and `network`; it runs everywhere and everything is
tested against it. Tensors on a CPU go through compiled loops, others through the reference.
``HOMEO_RL_KERNEL`` = ``reference`` or ``numba`` overrides that; what compiled loops do not cover, the reference does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from homeo_rl.errors import unknown

KERNELS = ("auto", "reference", "numba")

_chosen: list[str] = []


def chosen() -> str:
    """Return which implementation is asked for: a name in `KERNELS`.

    Raises:
        UsageError: ``HOMEO_RL_KERNEL`` is none of them.
    """
    if not _chosen:
        asked = os.environ.get("HOMEO_RL_KERNEL", "auto") or "auto"
        if asked not in KERNELS:
            raise unknown("HOMEO_RL_KERNEL", asked, KERNELS)
        _chosen.append(asked)
    return _chosen[-1]


@contextmanager
def use(kernel: str) -> Iterator[None]:
    """Ask for an implementation inside a ``with`` block.

    Raises:
        UsageError: it is not known.
    """
    if kernel not in KERNELS:
        raise unknown("kernel", kernel, KERNELS)
    chosen()
    _chosen.append(kernel)
    try:
        yield
    finally:
        _chosen.pop()


def compiles(value: Tensor) -> bool:
    """Whether a tensor like this one goes through compiled loops."""
    return value.is_cpu and value.dtype in (torch.float32, torch.float64) and chosen() in ("auto", "numba")


__all__ = ["KERNELS", "chosen", "compiles", "use"]
