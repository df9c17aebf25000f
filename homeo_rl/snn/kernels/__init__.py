"""Three implementations of one arithmetic: torch's operations (the reference), numba on a CPU, Triton on a GPU.

The reference is `homeo_rl.snn.neurons`, `encoders`, `readouts` and `network`; it runs everywhere and everything is
tested against it. Tensors on a CPU go through compiled loops, tensors on a CUDA device through Triton where it is
installed. ``HOMEO_RL_KERNEL`` = ``reference``, ``numba`` or ``triton`` overrides that; what a kernel does not cover,
the reference does.
"""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from homeo_rl.errors import UsageError, unknown
from homeo_rl.snn.neurons import MODELS
from homeo_rl.spec import NeuronSpec

KERNELS = ("auto", "reference", "numba", "triton")

_chosen: list[str] = []


def chosen() -> str:
    """Return which implementation is asked for: a name in `KERNELS`.

    Raises UsageError: ``HOMEO_RL_KERNEL`` is none of them, or asks for what is not installed.
    """
    if not _chosen:
        asked = os.environ.get("HOMEO_RL_KERNEL", "auto") or "auto"
        _check("HOMEO_RL_KERNEL", asked)
        _chosen.append(asked)
    return _chosen[-1]


@contextmanager
def use(kernel: str) -> Iterator[None]:
    """Ask for an implementation inside a ``with`` block. Raises UsageError: it is not known or not installed."""
    _check("kernel", kernel)
    chosen()
    _chosen.append(kernel)
    try:
        yield
    finally:
        _chosen.pop()


def serving(value: Tensor | np.ndarray, neuron: NeuronSpec | None = None) -> Literal["reference", "numba", "triton"]:
    """Return which implementation tensors like this one go through, in a layer of such neurons."""
    asked = chosen()
    if neuron is not None and MODELS[neuron.kind].kernel is None:
        return "reference"
    if isinstance(value, np.ndarray):
        if asked in ("auto", "numba") and value.dtype.char in "fd":
            return "numba"
        value = torch.from_numpy(value)
    if asked == "reference" or value.dtype not in (torch.float32, torch.float64):
        return "reference"
    if value.is_cpu and asked != "triton":
        return "numba"
    # Triton's interpreter runs its kernels on a CPU, for tests.
    on_device = value.is_cuda or (value.is_cpu and os.environ.get("TRITON_INTERPRET") == "1")
    return "triton" if on_device and asked != "numba" and has_triton() else "reference"


@cache
def has_triton() -> bool:
    """Whether Triton is installed."""
    return importlib.util.find_spec("triton") is not None


def _check(what: str, kernel: str) -> None:
    if kernel not in KERNELS:
        raise unknown(what, kernel, KERNELS)
    if kernel == "triton" and not has_triton():
        raise UsageError(f"{what}: triton is not installed; pip install 'homeo-rl[triton]', or choose another kernel")


__all__ = ["KERNELS", "chosen", "has_triton", "serving", "use"]
