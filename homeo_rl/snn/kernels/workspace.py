"""Working memory that is used over and over."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence

import torch
from torch import Tensor

_memory = threading.local()


def working(name: str, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Return this thread's memory of that name, used over and over: fresh memory costs a page fault every 4 kB."""
    kept: dict[tuple[str, torch.dtype], Tensor] = _memory.__dict__.setdefault("kept", {})
    size = math.prod(shape)
    found = kept.get((name, dtype))
    if found is None or found.numel() < size:
        with torch.inference_mode(False):
            found = kept[(name, dtype)] = torch.empty(size, dtype=dtype)
    return found[:size].view(*shape)
