"""Numbers that nothing real gives: not finite, or larger than anything that is measured, earned or done."""

from typing import Any

import numpy as np

LIMIT = 1e15
"""No sensor, reward or action is larger than this. Squares of what is smaller fit float32 with room for a batch of
them, so losses, variances and an optimiser's second moments stay finite."""


def wrong_entry(value: Any) -> tuple[tuple[int, ...], str] | None:
    """Return index and text of the first float that is not finite or beyond `LIMIT`; None where there is none.

    ``value``: a number or an array of any shape; what holds no floats (choices, dictionaries) passes.
    """
    if isinstance(value, float | int):
        return None if abs(value) <= LIMIT else ((), f"{value:g}" if isinstance(value, float) else str(value))
    array = np.asarray(value)
    if array.dtype.kind != "f" or float(np.abs(array).max(initial=0.0)) <= LIMIT:  # a NaN is not
        return None
    place = tuple(int(i) for i in np.argwhere(~(np.abs(array.astype(np.float64)) <= LIMIT))[0])
    return place, f"{array[place]:g}"
