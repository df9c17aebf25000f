"""Arrays inside compiled code from their addresses: one table instead of dozens of arguments.

A compiled call costs about 0.2 us an array argument, which for a decision of 10 us is too much. Whoever fills a table
of addresses keeps the tensors behind them alive.
"""

from __future__ import annotations

from typing import Any

import numba
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from homeo_rl.numerics.jit import compiled
from homeo_rl.snn.kernels.scans import Floats

Ints = NDArray[Any]


@intrinsic
def _pointer(typing: Any, address: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.int64), generate


@compiled
def at(address: int, size: int, like: Floats) -> Floats:
    """Return the ``size`` numbers that begin at ``address``, of the type of ``like``."""
    return numba.carray(_pointer(address), (size,), like.dtype)  # type: ignore[call-arg,attr-defined]  # numba's types are partial


@compiled
def whole(address: int, size: int, like: Ints) -> Ints:
    """Return the ``size`` whole numbers that begin at ``address``, of the type of ``like``."""
    return numba.carray(_pointer(address), (size,), like.dtype)  # type: ignore[call-arg,attr-defined]  # as above
