"""Handwritten digits of 8 x 8 pixels (Alpaydin and Kaynak, UCI 1998), which scikit-learn carries: 1,797 real images."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from homeo_rl.errors import UsageError

TESTED = 0.2  # share of every digit's images that is kept for the test


class Digits(NamedTuple):
    """Images [N, 1, 8, 8] from 0 to 1 and labels [N], to train on and to test with."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def digits(rng: np.random.Generator) -> Digits:
    """Return the images, divided at random in the same proportions for each digit.

    Raises UsageError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise UsageError("the digits come with scikit-learn; run: pip install 'homeo-rl[vision]'") from None
    data = load_digits()
    x = torch.as_tensor(data.images / 16.0, dtype=torch.float32).unsqueeze(1)
    y = torch.as_tensor(data.target, dtype=torch.int64)
    tested = np.concatenate([_some(rng, np.flatnonzero(data.target == digit)) for digit in range(10)])
    kept = np.setdiff1d(np.arange(len(y)), tested)
    return Digits((x[kept], y[kept]), (x[tested], y[tested]))


def _some(rng: np.random.Generator, places: np.ndarray) -> np.ndarray:
    return rng.permutation(places)[: round(TESTED * len(places))]
