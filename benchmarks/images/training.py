"""A small classifier on the handwritten digits that scikit-learn ships: the data, and its training."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

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


Loss = Callable[[Tensor, Tensor], Tensor]


def fit(
    network: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    generator: torch.Generator,
    loss: Loss = nn.functional.cross_entropy,
    epochs: int = 30,
    batch: int = 64,
    learning_rate: float = 3e-3,
    weight_decay: float = 1e-2,
    groups: Iterable[dict[str, object]] | None = None,
) -> None:
    """Train ``network`` in place on images ``x`` [N, ...] and labels ``y`` [N].

    Args:
        network: to train; left in evaluation mode.
        generator: of the order of the images.
        epochs: passes over all images.
        learning_rate: at the start; it falls to 0.
        weight_decay: of all parameters that are not in ``groups`` with another one.
        groups: parameter groups; by default all parameters in one.
    """
    parameters = network.parameters() if groups is None else list(groups)
    optimiser = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay)
    steps = epochs * -(-len(x) // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(steps, 1))
    network.train()
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(x), generator=generator), batch):
            optimiser.zero_grad()
            loss(network(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]  # torch ships backward untyped
            optimiser.step()
            schedule.step()
    network.eval()


@torch.no_grad()
def accuracy(network: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, *, batch: int = 256) -> float:
    """Return the share of images ``x`` whose largest output is the one of their label."""
    right = [
        (network(rows).argmax(-1) == labels).sum()
        for rows, labels in zip(torch.split(x, batch), torch.split(y, batch), strict=True)
    ]
    return float(torch.stack(right).sum()) / len(y)
