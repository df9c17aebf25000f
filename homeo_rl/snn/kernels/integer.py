"""Products of spikes in integers: exact sums, at the speed of 8-bit arithmetic, with the accuracy of float32.

Spikes are 0 or 1, so a product with them only adds numbers up. Each column of the other matrix is written in fixed
point with 24 bits, as three signed 8-bit digits, and processors with 8-bit dot products (AVX-512 VNNI, AMX) add these
up exactly in 32-bit integers, at 8 to 9 times float32's rate where we measured it. The result differs from the exact
product by at most

    abs(error) <= spikes that were added * 2^-23 * max abs(column)      plus two float32 roundings of the result

which is the order of what float32 allows a sum, and does not depend on the order of the sum or the batch. What is not
finite in a column makes the whole column of the result not a number.
"""

import numpy as np
import torch
from torch import Tensor

from homeo_rl.errors import InputError
from homeo_rl.numerics.jit import jit
from homeo_rl.snn.kernels.events import products
from homeo_rl.snn.kernels.scans import Floats
from homeo_rl.snn.kernels.workspace import working

LARGEST = 127 * 65536 + 127 * 256 + 127  # largest number of three signed digits to the base 256
USED = LARGEST - 3  # what the largest number of a column becomes: rounding may then not carry it over `LARGEST`
MOST = 2**31 // 128 - 1  # most spikes that may be added up: digits are below 129, sums below 2^31


def available() -> bool:
    """Whether to multiply all rows of spikes in integers: as is asked for, else what suits the CPU.

    Raises UsageError: ``HOMEO_RL_PRODUCTS`` is no kind of product (`homeo_rl.snn.kernels.events.products`).
    """
    asked = products()
    return asked == "integer" or (asked != "float" and _fast())


def _fast() -> bool:
    known = getattr(torch.cpu, "_is_vnni_supported", None)
    return known is not None and hasattr(torch, "_int_mm") and bool(known())


@jit
def digits(matrix: Floats, out: Floats, scale: Floats) -> None:
    """Write the columns of ``matrix`` [K, N] as digits.

    Args:
        out: int8 [K, 3 N], written: the highest digits of all columns, then the middle ones, then the lowest.
        scale: [N], written: what the number 1 of each column stands for.
    """
    rows, columns = matrix.shape
    if out.shape != (rows, 3 * columns) or scale.shape != (columns,):
        raise ValueError("digits: expected out [K, 3 N] and scale [N] for matrix [K, N]")
    kind = matrix.dtype.type
    inverse, fault = np.zeros(columns, dtype=matrix.dtype), np.zeros(columns, dtype=matrix.dtype)
    for k in range(rows):
        row = matrix[k]
        for n in range(columns):
            size = abs(row[n])
            inverse[n] = size if size > inverse[n] else inverse[n]
        for n in range(columns):
            fault[n] += row[n] * kind(0.0)  # not a number where the row is not finite, which no comparison shows
    for n in range(columns):
        largest = inverse[n]
        scale[n] = largest / kind(USED) + fault[n]
        inverse[n] = kind(USED) / largest if largest > kind(1e-30) else kind(0.0)
    zero, half = kind(0.0), kind(0.5)
    fixed = np.empty(columns, dtype=np.int32)
    for k in range(rows):
        row, high, middle, low = matrix[k], out[k, :columns], out[k, columns : 2 * columns], out[k, 2 * columns :]
        # Loops that write one array each: the compiler uses vectors only where few arrays meet.
        for n in range(columns):
            number = row[n] * inverse[n]
            fixed[n] = np.int32(number + (half if number >= zero else -half))
        for n in range(columns):
            low[n] = np.int8(((fixed[n] + np.int32(128)) & np.int32(255)) - np.int32(128))
        for n in range(columns):
            fixed[n] = (fixed[n] - np.int32(low[n])) >> np.int32(8)
        for n in range(columns):
            middle[n] = np.int8(((fixed[n] + np.int32(128)) & np.int32(255)) - np.int32(128))
        for n in range(columns):
            high[n] = np.int8((fixed[n] - np.int32(middle[n])) >> np.int32(8))


@jit
def combine(sums: Floats, scale: Floats, bias: Floats, out: Floats) -> None:
    """Turn sums of digits, int32 [R, 3 N], into numbers [R, N]: write them plus ``bias`` [N], or add them without."""
    rows, columns = out.shape
    if (
        sums.shape != (rows, 3 * columns)
        or scale.shape != (columns,)
        or (bias.shape[0] > 0 and bias.shape[0] != columns)
    ):
        raise ValueError("combine: expected sums [R, 3 N], scale [N] and bias [N] or [0] for out [R, N]")
    kind = out.dtype.type
    top = np.empty(columns, dtype=out.dtype)
    for n in range(columns):
        top[n] = kind(65536.0) * scale[n]
    for r in range(rows):
        high, middle, low = sums[r, :columns], sums[r, columns : 2 * columns], sums[r, 2 * columns :]
        to = out[r]
        # The digits' parts are exact: below 2^24 in absolute value.
        if bias.shape[0] > 0:
            for n in range(columns):
                to[n] = (kind(high[n]) * top[n] + (kind(middle[n]) * kind(256.0) + kind(low[n])) * scale[n]) + bias[n]
        else:
            for n in range(columns):
                to[n] += kind(high[n]) * top[n] + (kind(middle[n]) * kind(256.0) + kind(low[n])) * scale[n]


def split(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return the digits int8 [K, 3 N] and scales [N] of a float32 ``matrix`` [K, N]. Raises InputError: it is none."""
    if matrix.dim() != 2 or matrix.dtype != torch.float32:
        raise InputError(
            f"matrix: expected [K, N] of float32, got {list(matrix.shape)} of {matrix.dtype}; convert it with .float()"
        )
    matrix = matrix.detach()
    matrix = matrix.contiguous()
    out = torch.empty((matrix.shape[0], 3 * matrix.shape[1]), dtype=torch.int8)
    scale = torch.empty(matrix.shape[1])
    digits(matrix.numpy(), out.numpy(), scale.numpy())
    return out, scale


def multiply(spikes: Tensor, parts: tuple[Tensor, Tensor], out: Tensor, bias: Tensor | None = None) -> None:
    """Write ``spikes`` @ matrix + ``bias`` into ``out``, or without a bias add the product to ``out``.

    Args:
        spikes: int8 [R, K], 0 or 1.
        parts: of the matrix [K, N], from `split`.
        out: float32 [R, N], contiguous.
        bias: [N].

    Raises InputError: shapes or types that do not fit.
    """
    rows, columns = spikes.shape[0], parts[0].shape[1] // 3
    fit = spikes.dtype == torch.int8 and out.shape == (rows, columns) and out.dtype == torch.float32
    if (
        not fit
        or not out.is_contiguous()
        or (bias is not None and (bias.shape != (columns,) or bias.dtype != out.dtype))
    ):
        raise InputError(
            f"product of spikes: expected int8 [R, K] into contiguous float32 [R, {columns}], with a bias [{columns}], "
            f"got {spikes.dtype} {list(spikes.shape)} into {out.dtype} {list(out.shape)}; convert them"
        )
    sums = torch._int_mm(spikes, parts[0], out=working("sums", (spikes.shape[0], parts[0].shape[1]), torch.int32))
    combine(sums.numpy(), parts[1].numpy(), (out.new_empty(0) if bias is None else bias).numpy(), out.numpy())
