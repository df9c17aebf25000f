"""Random numbers as a function of a counter: the same bits from NumPy and PyTorch, on every processor and device.

Only operations that IEEE 754 and two's complement define are used: integer products, shifts, sums, products and table
look-ups. A generator with a state would have to be stepped once for each environment. A function of (key, counter)
gives every row of a batch its numbers at once, whatever the other rows do.

The mixing function is the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). Normal numbers are the inverse
distribution function of a uniform number, piecewise cubic with an error below 2e-8.

``xp`` is the module ``numpy`` or ``torch``; arrays are of that module. PyTorch's devices need int64 and float64.
"""

from functools import cache
from statistics import NormalDist
from typing import Any

import numpy as np

from homeo_rl.numerics.backend import Array, cast

GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed number
LANE = -3335678366873096957  # 0xD1B54A32D192ED03, another odd constant: lanes and counters do not coincide
FIRST, SECOND = -4658895280553007687, -7723592293110705685  # the multipliers of SplitMix64
_OCTAVES, PARTS = 53, 16
_THROUGH_THIRDS = ((1.0, 0.0, 0.0, 0.0), (-5.5, 9.0, -4.5, 1.0), (9.0, -22.5, 18.0, -4.5), (-4.5, 13.5, -13.5, 4.5))
"""The cubic through four values at 0, 1/3, 2/3 and 1: its coefficients are this matrix times the values."""


def mix(words: Array) -> Array:
    """Return a hash of each word, int64: a bijection in which every bit depends on every bit."""
    words = (words ^ ((words >> 30) & ((1 << 34) - 1))) * FIRST  # shifts of int64 copy the sign, which a mask removes
    words = (words ^ ((words >> 27) & ((1 << 37) - 1))) * SECOND
    return words ^ ((words >> 31) & ((1 << 33) - 1))


def uniform(xp: Any, words: Array) -> Array:
    """Return numbers in [0, 1), float64, multiples of 2^-53, from hashed words of the same shape."""
    return cast((words >> 11) & ((1 << 53) - 1), xp.float64) * 2.0**-53


def normal(xp: Any, words: Array, table: Array) -> Array:
    """Return standard normal numbers, float64, from hashed words of the same shape; ``table`` is `normal_table`'s."""
    tail = cast(((words >> 11) & ((1 << 52) - 1)) * 2 + 1, xp.float64) * 2.0**-54  # in (0, 0.5)
    mantissa, exponent = xp.frexp(tail)
    place = (mantissa - 0.5) * (2.0 * PARTS)
    part = cast(place, xp.int64)  # truncated
    along = place - cast(part, xp.float64)
    rows = table[part - (cast(exponent, xp.int64) + 1) * PARTS]
    size = rows[..., 0] + along * (rows[..., 1] + along * (rows[..., 2] + along * rows[..., 3]))
    return xp.where(words < 0, size, -size)


@cache
def normal_table() -> np.ndarray:
    """Return the cubics of the inverse normal distribution function, [octaves * parts, 4], from its lower half.

    Row ``-(e + 1) * parts + k`` is for probabilities m * 2^e with m in 0.5 + [k, k + 1] / (2 * parts). Coefficients are
    multiples of 2^-36, so that they do not depend on the last digit of a logarithm.
    """
    law = NormalDist()
    rows = []
    for octave in range(_OCTAVES):
        for part in range(PARTS):
            ends = [(0.5 + (part + node / 3.0) / (2 * PARTS)) * 2.0 ** -(octave + 1) for node in range(4)]
            values = [law.inv_cdf(end) for end in ends]
            cubic = [sum(a * b for a, b in zip(line, values, strict=True)) for line in _THROUGH_THIRDS]
            rows.append([round(number * 2.0**36) * 2.0**-36 for number in cubic])
    return np.array(rows)
