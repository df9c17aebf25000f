"""The compiled version of `homeo_rl.degradations.schedule.Clock.severity`, which defines every bit."""

import numpy as np

from homeo_rl.numerics.jit import jit


@jit
def read_clock(steps: np.ndarray, rows: np.ndarray, severity: np.ndarray, since: np.ndarray, active: np.ndarray) -> int:
    """Write severity, steps since the onset and activity of each row, [N, 1], and return how many are active.

    ``rows`` [4, N]: severity, onset, end of the full severity, recovery.
    """
    count = 0
    for n in range(steps.shape[0]):
        full, onset, end, recovery = rows[0, n], rows[1, n], rows[2, n], rows[3, n]
        step = steps[n, 0]
        left = min(max((end + recovery - step) / (recovery + 1.0), 0.0), 1.0)
        severity[n, 0] = full * left if step >= onset else 0.0
        since[n, 0] = step - np.int64(onset)
        active[n, 0] = severity[n, 0] > 0.0
        count += active[n, 0]
    return count
