"""The line search of `homeo_rl.homeostasis.sleep_candidates.spike_fit`, compiled: three passes over the potentials."""

import numpy as np
from torch import Tensor, from_numpy

from homeo_rl.homeostasis.sleep_candidates.spike_fit import MARGIN, ForcedPotentials
from homeo_rl.numerics.jit import jit


def search(
    potentials: ForcedPotentials, potential: Tensor, missing: Tensor, added: Tensor, pull: Tensor, stiff: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what `homeo_rl.homeostasis.sleep_candidates.spike_fit.search` does; the first two tensors are used up."""
    neurons = added.shape[2]
    threshold = potentials.threshold
    length = _search(
        potential.view(-1, neurons).numpy(),
        missing.view(-1, neurons).numpy(),
        added.view(-1, neurons).numpy(),
        potentials.target.view(-1, neurons).numpy(),
        pull.numpy(),
        stiff.numpy(),
        threshold is not None,
        threshold or 0.0,
    )
    return from_numpy(length), potential, missing


@jit
def _search(
    potential: np.ndarray, missing: np.ndarray, added: np.ndarray, target: np.ndarray,
    pull: np.ndarray, stiff: np.ndarray, fires: bool, threshold: float,
) -> np.ndarray:  # fmt: skip
    rows, neurons = potential.shape
    level = np.float32(threshold)
    margin = np.float32(MARGIN) * level
    zero, two, one = np.float32(0.0), np.float32(2.0), np.float32(1.0)
    length = np.zeros(neurons, np.float32)
    for _ in range(2):
        slope = np.zeros(neurons, np.float32)
        curve = np.zeros(neurons, np.float32)
        for row in range(rows):
            for n in range(neurons):
                short = missing[row, n]
                step = added[row, n]
                slope[n] += short * step
                curve[n] += step * step if short != zero or not fires else zero
        for n in range(neurons):
            steepness = max(curve[n] + stiff[n], np.float32(1e-30))
            length[n] += (slope[n] - pull[n] - length[n] * stiff[n]) / steepness
        for row in range(rows):
            for n in range(neurons):
                moved = potential[row, n] + length[n] * added[row, n]
                if fires:
                    sign = two * target[row, n] - one
                    missing[row, n] = max(margin - sign * (moved - level), zero) * sign
                else:
                    missing[row, n] = target[row, n] - moved
    for row in range(rows):
        for n in range(neurons):
            potential[row, n] += length[n] * added[row, n]
    return length
