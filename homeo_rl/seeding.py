"""One seed in, named independent generators out.

Two streams with different names never share a number, whatever order they are made in, so adding a new
consumer of randomness changes nothing for the old ones, and two arms of an experiment that ask for the same
names get the same draws.
"""

import hashlib

import numpy as np


def derive(seed: int, *names: str | int) -> int:
    """Return a 63-bit seed that depends on ``seed`` and on every name, through SHA-256."""
    text = "\x1f".join([str(int(seed)), *(str(name) for name in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return the PCG64 generator of the stream ``(seed, *names)``."""
    return np.random.Generator(np.random.PCG64(derive(seed, *names)))
