"""Compiled versions of `homeo_rl.numerics.counter_random` for NumPy arrays; its functions define every bit.

``states`` [N] and ``lanes`` [C] are uint64, views of the signed words; the word of row n and column c is
``mix(state + lanes[c])``. The compiler may assume that signed numbers do not overflow, so they are cast first.
"""

import numpy as np

from homeo_rl.numerics.counter_random import FIRST, GOLDEN, PARTS, SECOND
from homeo_rl.numerics.jit import jit

_FIRST, _SECOND = np.uint64(FIRST & ((1 << 64) - 1)), np.uint64(SECOND & ((1 << 64) - 1))
_11, _27, _30, _31, _48, _52, _63 = (np.uint64(shift) for shift in (11, 27, 30, 31, 48, 52, 63))
_GOLDEN, _TWO = np.uint64(GOLDEN & ((1 << 64) - 1)), np.uint64(2)
_ODD, _MASK = np.uint64(1), np.uint64((1 << 52) - 1)
_PART, _ALONG = np.uint64(PARTS - 1), np.uint64((1 << 48) - 1)
_UNIT = 1023 + 52  # the exponent's bits of the largest odd numbers, those of 53 bits


@jit
def _mix(word: np.uint64) -> np.uint64:
    word = (word ^ (word >> _30)) * _FIRST
    word = (word ^ (word >> _27)) * _SECOND
    return word ^ (word >> _31)


@jit
def _state(key: int, step: int) -> np.uint64:
    return _mix(np.uint64(key) + (np.uint64(step) + _TWO) * _GOLDEN)


@jit
def fill_uniform(keys: np.ndarray, steps: np.ndarray, lanes: np.ndarray, result: np.ndarray) -> None:
    """Write numbers in [0, 1) to ``result`` [N, C], float64."""
    for n in range(result.shape[0]):
        state = _state(keys[n, 0], steps[n, 0])
        for c in range(result.shape[1]):
            result[n, c] = float(np.int64(_mix(state + np.uint64(lanes[c])) >> _11)) * 2.0**-53


@jit
def fill_normal(keys: np.ndarray, steps: np.ndarray, lanes: np.ndarray, table: np.ndarray, result: np.ndarray) -> None:
    """Write standard normal numbers to ``result`` [N, C], float64; ``table`` is `normal_table`'s."""
    bits_of = result.view(np.uint64)
    for n in range(result.shape[0]):
        state = _state(keys[n, 0], steps[n, 0])
        for c in range(result.shape[1]):
            word = _mix(state + np.uint64(lanes[c]))
            result[n, c] = float(np.int64((((word >> _11) & _MASK) << _ODD) | _ODD))
            bits = bits_of[n, c]  # the exponent, the part in 4 bits, and how far along it in 48
            row = np.int64((bits >> _48) & _PART) + (_UNIT - np.int64(bits >> _52)) * PARTS
            along = float(np.int64(bits & _ALONG)) * 2.0**-48
            size = table[row, 0] + along * (table[row, 1] + along * (table[row, 2] + along * table[row, 3]))
            result[n, c] = size if word >> _63 else -size
