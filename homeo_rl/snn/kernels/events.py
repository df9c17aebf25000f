"""Products of spikes that follow events: only the rows of neurons that fired are added up.

A spiking layer is silent most of the time (12 to 23 % of the neurons fired in a spike step when we measured the begin
of trainings by SAC), so adding the rows that count needs a fraction of a dense product's operations. Two things make it
fast. Sixteen columns of the other matrix at a time lie side by side, so that their part of all rows fits the first
level of the cache; and four rows are added in parallel, to four partial sums in registers. The order of every sum is
fixed. A row of outputs needs no other row; sums of outer products are split every `SAMPLES` rows.
"""

import os
from typing import Any, NamedTuple

import numpy as np
import torch
from numba import config, types
from numba.core import cgutils
from numba.core.cgutils import ir  # type: ignore[attr-defined]  # llvmlite's, which numba brings
from numba.extending import intrinsic
from torch import Tensor

from homeo_rl.errors import InputError, unknown
from homeo_rl.numerics.jit import jit
from homeo_rl.snn.kernels.scans import Floats
from homeo_rl.snn.kernels.workspace import working

WIDTH = 16  # columns of a tile: one cache line of float32
UNROLL = 4  # rows that are added in parallel
SAMPLES = 256  # rows of a tile of derivatives: as many as fit beside everything else in 32 kB
DENSE = 0.45  # share of spikes above which a product of all rows is faster
MANY = 0.8  # share of rows above which picking them costs more than multiplying all
PRODUCTS = ("float", "integer", "events")
MOST = 2**16 - UNROLL - 2  # most inputs of a layer: indices have 16 bits


class Lists(NamedTuple):
    """Which neurons fired in rows of spikes, and how many that are in all rows."""

    indices: np.ndarray  # uint16 [R, K + 4]
    counts: np.ndarray  # int64 [R]
    total: int


def products() -> str:
    """Return which products of spikes are asked for: ``HOMEO_RL_PRODUCTS`` = float | integer | events, or "".

    Where nothing is asked for, events are followed, and what fires more than `DENSE` is multiplied as a whole.

    Raises UsageError: ``HOMEO_RL_PRODUCTS`` is none of them.
    """
    asked = os.environ.get("HOMEO_RL_PRODUCTS", "")
    if asked and asked not in PRODUCTS:
        raise unknown("HOMEO_RL_PRODUCTS", asked, PRODUCTS)
    return asked


def follow(spikes: Tensor) -> Lists | None:
    """Return the lists of ``spikes`` int8 [R, K], or None where a product of all rows is faster or asked for."""
    rows, neurons = spikes.shape
    asked = products()
    if asked in ("float", "integer") or neurons > MOST or config.DISABLE_JIT:  # type: ignore[attr-defined]  # numba sets it at import
        return None
    lists = np.empty((rows, neurons + UNROLL), dtype=np.uint16), np.empty(rows, dtype=np.int64)
    total = write_lists(spikes.numpy(), *lists)
    return Lists(*lists, total) if asked == "events" or total <= DENSE * rows * neurons else None


def split(matrix: Tensor) -> Tensor:
    """Return the tiles of a float32 ``matrix`` [K, N]. Raises InputError: it is none."""
    if matrix.dim() != 2 or matrix.dtype != torch.float32:
        raise InputError(
            f"matrix: expected [K, N] of float32, got {list(matrix.shape)} of {matrix.dtype}; convert it with .float()"
        )
    tiles = torch.empty((-(-matrix.shape[1] // WIDTH), matrix.shape[0] + 1, WIDTH))
    write_tiles(matrix.detach().contiguous().numpy(), tiles.numpy())
    return tiles


def multiply(lists: Lists, tiles: Tensor, bias: Tensor, out: Tensor) -> None:
    """Write spikes @ matrix + ``bias`` [N] into ``out`` [R, N], the matrix as `split` returned it."""
    add_events(lists.indices, lists.counts, tiles.numpy(), bias.numpy(), out.numpy())


def add_product(lists: Lists, values: Tensor, out: Tensor, sums: Tensor) -> None:
    """Add spikes^T @ ``values`` [R, N] to ``out`` [K, N], and the sum of all rows of ``values`` to ``sums`` [N]."""
    tiles = working("tiles", (-(-values.shape[1] // WIDTH), SAMPLES + 1, WIDTH), torch.float32)
    add_outer(lists.indices, lists.counts, values.numpy(), tiles.numpy(), out.numpy(), sums.numpy())


def active_rows(values: Tensor) -> Tensor | None:
    """Return which rows of ``values`` [R, N] are not all 0, or None where they are most of all."""
    rows = torch.empty(len(values), dtype=torch.int64)
    count = write_active(values.numpy(), rows.numpy())
    return rows[:count] if count <= MANY * len(values) else None


def _generate_add_rows(
    typing: Any, tile: Any, start: Any, indices: Any, first: Any, count: Any, base: Any, offset: Any, out: Any, at: Any
) -> Any:
    """Write 16 numbers of flat ``base`` from ``offset`` on, plus rows of a flat ``tile``, into flat ``out`` at ``at``.

    The tile is float32 [*, 16] and begins at ``start``; the rows are ``count`` (a multiple of 4) entries of flat
    uint16 ``indices`` from ``first`` on. In C one would write this with vector types; what numba makes of loops keeps
    the sums in memory.
    """
    if not all(isinstance(array, types.Array) for array in (tile, indices, base, out)):
        return None
    vector = ir.VectorType(ir.FloatType(), WIDTH)
    word = ir.IntType(64)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def data(position: int) -> Any:
            return context.make_array(signature.args[position])(context, builder, args[position]).data

        def lane(pointer: Any) -> Any:
            return builder.load(builder.bitcast(pointer, vector.as_pointer()), align=4)

        table = builder.gep(data(0), [args[1]])
        listed = builder.gep(data(2), [args[3]])
        target = builder.gep(data(7), [args[8]])
        nothing = ir.Constant(vector, None)
        sums = [cgutils.alloca_once_value(builder, nothing) for _ in range(UNROLL)]  # type: ignore[no-untyped-call]  # numba's
        groups = builder.lshr(args[4], ir.Constant(word, 2))
        with cgutils.for_range(builder, groups) as loop:
            four = builder.load(builder.gep(builder.bitcast(listed, word.as_pointer()), [loop.index]), align=2)
            for position, total in enumerate(sums):
                index = builder.and_(builder.lshr(four, ir.Constant(word, 16 * position)), ir.Constant(word, 0xFFFF))
                row = builder.gep(table, [builder.mul(index, ir.Constant(word, WIDTH))])
                builder.store(builder.fadd(builder.load(total), lane(row)), total)
        a, b, c, d = (builder.load(total) for total in sums)
        whole = builder.fadd(
            lane(builder.gep(data(5), [args[6]])), builder.fadd(builder.fadd(a, b), builder.fadd(c, d))
        )
        builder.store(whole, builder.bitcast(target, vector.as_pointer()), align=4)
        return context.get_dummy_value()

    int64 = types.int64
    return types.void(tile, int64, indices, int64, int64, base, int64, out, int64), generate


_add_rows: Any = intrinsic(_generate_add_rows)  # numba's types know the arguments of the function above alone


@jit
def write_lists(spikes: Floats, indices: Floats, counts: Floats) -> int:
    """Write which neurons of ``spikes`` [R, K] fired into ``indices`` uint16 [R, K + 4], ``counts`` int64 [R] of each.

    Returns how many there are. Lists are filled with K to multiples of 4, which the counts do not count.
    """
    rows, neurons = spikes.shape
    if indices.shape != (rows, neurons + UNROLL) or counts.shape != (rows,):
        raise ValueError("write_lists: expected indices [R, K + 4] and counts [R] for spikes [R, K]")
    total = 0
    for r in range(rows):
        row, listed = spikes[r], indices[r]
        count = 0
        for k in range(neurons):
            listed[count] = k
            count += row[k] != 0
        listed[count : count + UNROLL - 1] = neurons
        counts[r] = count
        total += count
    return total


@jit
def write_tiles(matrix: Floats, tiles: Floats) -> None:
    """Write ``matrix`` [K, N] into ``tiles`` [ceil(N / 16), at least K + 1, 16]; row K is 0, and columns beyond N."""
    rows, columns = matrix.shape
    if tiles.shape[0] * WIDTH < columns or tiles.shape[1] <= rows or tiles.shape[2] != WIDTH:
        raise ValueError("write_tiles: expected tiles [ceil(N / 16), K + 1, 16] for matrix [K, N]")
    for j in range(tiles.shape[0]):
        first = j * WIDTH
        width = min(columns - first, WIDTH)
        tile = tiles[j]
        if width < WIDTH:
            tile[:rows] = 0
        for k in range(rows):
            for n in range(width):
                tile[k, n] = matrix[k, first + n]
        tile[rows] = 0


@jit
def add_events(indices: Floats, counts: Floats, tiles: Floats, bias: Floats, out: Floats) -> None:
    """Write the sum of the rows in lists (`write_lists`) plus ``bias`` [N] into ``out`` [R, N].

    Args:
        tiles: of the matrix [K, N], from `write_tiles`.
    """
    rows, columns = out.shape
    if indices.shape[0] != rows or counts.shape != (rows,) or bias.shape != (columns,):
        raise ValueError("add_events: expected lists of R rows and bias [N] for out [R, N]")
    if tiles.shape[0] * WIDTH < columns or indices.shape[1] != tiles.shape[1] - 1 + UNROLL:
        raise ValueError("add_events: expected tiles [ceil(N / 16), K + 1, 16] for indices [R, K + 4]")
    flat, listed, lined = tiles.reshape(-1), indices.reshape(-1), out.reshape(-1)
    sums = np.empty(WIDTH, dtype=out.dtype)
    for j in range(tiles.shape[0]):
        first = j * WIDTH
        width = min(columns - first, WIDTH)
        start = j * tiles.shape[1] * WIDTH
        for r in range(rows):
            count = (counts[r] + UNROLL - 1) // UNROLL * UNROLL
            if width == WIDTH:
                _add_rows(flat, start, listed, r * indices.shape[1], count, bias, first, lined, r * columns + first)
            else:
                sums[:width] = bias[first : first + width]
                _add_rows(flat, start, listed, r * indices.shape[1], count, sums, 0, sums, 0)
                out[r, first : first + width] = sums[:width]


@jit
def _is_active(row: Floats) -> bool:
    """Whether an entry of ``row`` [N] is not 0, found without a branch an entry."""
    count = 0
    for n in range(row.shape[0]):
        count += row[n] != 0
    return count > 0


@jit
def write_active(values: Floats, rows: Floats) -> int:
    """Write which rows of ``values`` [R, N] are not all 0 into ``rows`` int64 [R]; return how many there are."""
    if rows.shape != values.shape[:1]:
        raise ValueError("write_active: expected rows [R] for values [R, N]")
    count = 0
    for r in range(values.shape[0]):
        rows[count] = r
        count += _is_active(values[r])
    return count


@jit
def add_outer(indices: Floats, counts: Floats, values: Floats, tiles: Floats, out: Floats, total: Floats) -> None:
    """Add spikes^T @ ``values`` [R, N] to ``out`` [K, N], the spikes as lists (`write_lists`), and values to ``total``.

    Args:
        tiles: working memory [ceil(N / 16), SAMPLES + 1, 16].
    """
    rows, columns = values.shape
    neurons = out.shape[0]
    if indices.shape != (rows, neurons + UNROLL) or counts.shape != (rows,) or out.shape[1] != columns:
        raise ValueError("add_outer: expected lists of R rows for values [R, N] and out [K, N]")
    if total.shape != (columns,):
        raise ValueError("add_outer: expected total [N]")
    if tiles.shape[0] * WIDTH < columns or tiles.shape[1] != SAMPLES + 1 or tiles.shape[2] != WIDTH:
        raise ValueError("add_outer: expected tiles [ceil(N / 16), SAMPLES + 1, 16]")
    stride = SAMPLES + UNROLL
    listed = np.empty(neurons * stride, dtype=np.uint16)
    fired = np.empty(neurons, dtype=np.int64)
    sums = np.empty(WIDTH, dtype=out.dtype)
    flat, lined = tiles.reshape(-1), out.reshape(-1)
    for begin in range(0, rows, SAMPLES):
        size = min(SAMPLES, rows - begin)
        write_tiles(values[begin : begin + size], tiles)
        fired[:] = 0
        for r in range(size):
            if not _is_active(values[begin + r]):
                continue
            total += values[begin + r]
            for i in range(counts[begin + r]):
                k = indices[begin + r, i]
                listed[k * stride + fired[k]] = r
                fired[k] += 1
        for k in range(neurons):
            listed[k * stride + fired[k] : k * stride + fired[k] + UNROLL - 1] = size
            fired[k] = (fired[k] + UNROLL - 1) // UNROLL * UNROLL
        for j in range(tiles.shape[0]):
            first = j * WIDTH
            width = min(columns - first, WIDTH)
            start = j * tiles.shape[1] * WIDTH
            for k in range(neurons):
                at = k * columns + first
                if width == WIDTH:
                    _add_rows(flat, start, listed, k * stride, fired[k], lined, at, lined, at)
                else:
                    sums[:width] = out[k, first : first + width]
                    _add_rows(flat, start, listed, k * stride, fired[k], sums, 0, sums, 0)
                    out[k, first : first + width] = sums[:width]
