"""What decisions cost, and sums of their rates, without tables of all spikes; the references are
`homeo_rl.snn.operation_counts` and `homeo_rl.homeostasis.statistics`.
"""

import numpy as np

from homeo_rl.numerics.jit import jit
from homeo_rl.snn.kernels.scans import Floats


@jit
def add_costs(rates: Floats, steps: float, cost: Floats, out: Floats) -> None:
    """Add to out [B, K] what the spikes of one layer cost: ``rates`` [B, N] over ``steps``, ``cost`` [K] a spike.

    All sums are whole numbers, so their order does not matter.
    """
    batch, size = rates.shape
    if out.shape != (batch, len(cost)):
        raise ValueError("add_costs: expected out [B, K] for rates [B, N] and cost [K]")
    for b in range(batch):
        row, count = rates[b], 0.0
        for n in range(size):
            count += np.rint(row[n] * steps)
        for k in range(len(cost)):
            out[b, k] += count * cost[k]


@jit
def add_moments(rates: Floats, start: int, first: Floats, second: Floats) -> None:
    """Add ``rates`` [B, N] and their squares to the columns of sums [B, W] from ``start`` on."""
    batch, size = rates.shape
    if first.shape != second.shape or first.shape[0] != batch or not 0 <= start <= first.shape[1] - size:
        raise ValueError("add_moments: expected sums [B, W] that hold the columns of rates [B, N]")
    for b in range(batch):
        row, sums, squares = rates[b], first[b], second[b]
        for n in range(size):
            rate = np.float64(row[n])
            sums[start + n] += rate
            squares[start + n] += rate * rate
