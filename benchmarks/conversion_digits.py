"""Accuracy on real images, trained, converted exactly and converted by rates: scikit-learn's digits, a small CNN.

``python -m benchmarks.conversion_digits [--json]``. The exact conversion has the network's own outputs, so its accuracy
is the network's; each seed draws its own network and its own division into training and test.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import nn

from benchmarks.common import arguments, report
from benchmarks.images.rate import RateConverted
from benchmarks.images.training import accuracy, digits, fit
from homeo_rl.conversion import QCFS, Converted
from homeo_rl.seeding import generator

LEVELS = (8, 8, 4)
RATE_STEPS = (4, 16, 64)


def network() -> nn.Module:
    """Return a CNN for 8 x 8 pixels with batch-norm and average pooling."""
    first, second, third = LEVELS
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), QCFS(first, 2.0), nn.AvgPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), QCFS(second, 2.0), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(128, 64), QCFS(third, 2.0), nn.Linear(64, 10),
    )  # fmt: skip


def main() -> None:
    """Train, convert, print."""
    told = arguments(__doc__)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    seeds, epochs = (1, 1) if told.tiny else (10, 30)
    found: dict[str, list[float]] = {}
    equal = images = 0
    for seed in range(seeds):
        torch.manual_seed(seed)
        data = digits(generator(seed, "digits"))
        trained = network()
        fit(trained, *data.train, generator=torch.Generator().manual_seed(seed), epochs=epochs)
        exact = Converted(trained)
        with torch.no_grad():
            equal += int((exact(data.test[0]) == trained(data.test[0])).all(1).sum())
        images += len(data.test[1])
        policies = {"trained": trained, "converted exactly": exact}
        policies |= {f"rates, T = {steps}": RateConverted(trained, steps=steps) for steps in RATE_STEPS}
        for name, policy in policies.items():
            found.setdefault(name, []).append(100 * accuracy(policy, *data.test))
    means = {name: float(np.mean(values)) for name, values in found.items()}
    steps = Converted(network().eval()).steps
    note = f"means of {seeds} seeds; levels {LEVELS}, {steps} time steps a decision; equal: share of images"
    report(means, {"equal": equal / images}, as_json=told.json, unit="%", note=note)


if __name__ == "__main__":
    main()
