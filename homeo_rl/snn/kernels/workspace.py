"""Memory that is used again, and float32 products through oneDNN where torch would take MKL.

Measured with torch 2.13 and one thread at 640 x 256 x 256, with rounding errors of the same size: on an AMD EPYC of
family 26 (Zen 5) 233 against 103 GFLOP/s, on one of family 25 (Zen 4) 103 against 101, where small products and cold
memory cost oneDNN more. So MKL stays everywhere else, as on Intel processors, where it is at home.
"""

import math
import platform
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

MIN_ONEDNN_ROWS = 48  # rows from which on oneDNN is faster: a call costs 10 us more than one of MKL
FIRST_ONEDNN_FAMILY = 26  # of AMD's processors, Zen 5

_memory = threading.local()


def working(name: str, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Return this thread's memory of that name, used over and over: fresh memory costs a page fault every 4 kB."""
    buffers: dict[tuple[str, torch.dtype], Tensor] = _memory.__dict__.setdefault("buffers", {})
    size = math.prod(shape)
    buffer = buffers.get((name, dtype))
    if buffer is None or buffer.numel() < size:
        with torch.inference_mode(False):
            buffer = buffers[(name, dtype)] = torch.empty(size, dtype=dtype)
    return buffer[:size].view(*shape)


def multiply(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x [R, K] times weight^T [N, K] plus ``bias`` [N] as [R, N]; no gradient passes."""
    if x.dtype == torch.float32 and x.is_cpu and x.shape[0] >= MIN_ONEDNN_ROWS and _has_onednn():
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return product
    return torch.nn.functional.linear(x, weight, bias)


@cache
def _has_onednn() -> bool:
    """Whether this torch has the call, which it keeps for its own compiler, and the processor is one we know."""
    known = platform.machine().lower() in ("x86_64", "amd64") and _is_recent_amd()
    return known and torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _is_recent_amd() -> bool:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        return False
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return facts.get("vendor_id") == "AuthenticAMD" and int(facts.get("cpu family", "0")) >= FIRST_ONEDNN_FAMILY
