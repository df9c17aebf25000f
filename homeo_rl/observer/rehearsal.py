"""Rehearsal: the fault that was identified is put on remembered sequences, and the policy's actions are compared.

Sensors that were mostly rejected read something else there, one that is noisy or drops out does so, latency is latency,
and the estimator runs as it does now, with the noise and the process noise that it learned. No reward is used.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from homeo_rl.observer.layout import (
    BIAS_SINCE,
    DECISIONS,
    GATE,
    LAG,
    LAGS,
    OFFSETS,
    PAST,
    SINCE,
    USED,
    Offsets,
)
from homeo_rl.observer.memory import LENGTH, ObserverMemory
from homeo_rl.seeding import generator

Policy = Callable[[np.ndarray], np.ndarray]
Advance = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], int]

COMPARED = 8
"""Steps at the end of each sequence whose actions are compared."""

LEAST_SHARE, LEAST_MEAN_SHARE = 0.15, 0.04
"""Shares of disagreements of a sensor, and of all on average, from which on they are rehearsed."""

FEW = 15.0
"""Decisions at which an estimate of the noise counts by half."""

MOST_SCALE = 0.6
"""Largest share of a reading that a scale error is taken to be. A sensor that is noise has a larger one."""

LEAST_GAIN = 0.02
"""Least improvement of the mean distance of actions, in half-ranges."""


class Distance(NamedTuple):
    """Mean distance of the policy's actions from the remembered ones, with the estimate and with the measurement."""

    estimated: float
    measured: float

    def helps(self, margin: float) -> bool:
        """Whether the estimate brings actions closer by a margin."""
        return self.estimated < margin * self.measured and self.measured - self.estimated > LEAST_GAIN


class Rehearsal:
    """Rehearse the use of an estimate on remembered sequences."""

    def __init__(self, memory: ObserverMemory, offsets: Offsets, policy: Policy, advance: Advance) -> None:
        self._model, self._offsets, self._policy, self._advance = memory.model, offsets, policy, advance
        self._truth, self._actions = memory.observations, memory.actions
        rng = generator(0, "observer", "rehearsal")
        shape = self._truth.shape
        self._normal, self._other = rng.normal(size=shape), rng.normal(size=shape)
        self._uniform, self._constant = rng.random(shape), rng.random((shape[0], 1, shape[2])) < 0.5
        last = self._truth[:, LENGTH - COMPARED :]
        self.wanted = policy(last.reshape(-1, shape[2])) if len(last) else last

    def __call__(self, row: np.ndarray) -> Distance:
        """Return the distances of actions under the fault that the row of a slot identified; 0 without sequences."""
        if not len(self._truth):
            return Distance(0.0, 0.0)
        measured = self.corrupt(row)
        estimates = np.empty_like(measured[:, LENGTH - COMPARED :])
        rows = self._rows(row, measured)
        out = np.empty_like(measured[:, 0])
        for step in range(LAGS + 1, LENGTH):
            seen = np.ascontiguousarray(measured[:, step])
            self._advance(rows, seen, np.ascontiguousarray(self._actions[:, step - 1]), out)
            if step >= LENGTH - COMPARED:
                estimates[:, step - LENGTH + COMPARED] = out
        size = measured.shape[2]
        return Distance(
            self._distance(estimates.reshape(-1, size)),
            self._distance(measured[:, LENGTH - COMPARED :].reshape(-1, size)),
        )

    def of_bias(self, row: np.ndarray, kind: int) -> Distance:
        """Return the distances under biases drawn from what was identified, without and with their estimate."""
        if not len(self._truth):
            return Distance(0.0, 0.0)
        model, size = self._model, self._model.entries
        first, square = self._offsets.bias + kind * size, self._offsets.bias_covariance + kind * size * size
        bias = row[first : first + size]
        error = self._other[:, :1] * np.sqrt(row[square : square + size * size : size + 1])
        truth = self._truth[:, LENGTH - COMPARED :].astype(np.float64)

        def measure(theta: np.ndarray) -> float:
            factor = 1.0 if kind == OFFSETS else 1.0 - np.clip(theta, -MOST_SCALE, MOST_SCALE)
            measured = truth + theta * model.spread if kind == OFFSETS else truth / factor
            return self._distance(measured.astype(np.float32).reshape(-1, size))

        return Distance(measure(error), measure(bias + error))

    def corrupt(self, row: np.ndarray) -> np.ndarray:
        """Return the remembered observations [W, LENGTH, D] as the fault would let them be measured."""
        model, lag = self._model, int(row[LAG])
        starts = self._offsets.noise, self._offsets.rejected, self._offsets.scatter
        noise, share, scatter = (row[first : first + model.entries] for first in starts)
        truth = self._truth.astype(np.float64)
        delayed = truth[:, np.maximum(np.arange(LENGTH) - lag, 0)]
        noise = np.sqrt(noise * row[SINCE] / (row[SINCE] + FEW))
        # A single disagreement is no fault: contacts cause some. Many sensors at once are.
        counted = (share > LEAST_SHARE) | (_mean(share[model.moves]) > LEAST_MEAN_SHARE)
        lost = self._uniform < np.where(counted, np.where(share > 0.5, 1.0, share), 0.0)
        other = np.where(self._constant, self._other[:, :1], self._other) * np.sqrt(scatter)
        scaled = model.scale(delayed) + np.where(lost, other, self._normal * noise)
        return model.unscale(scaled).astype(np.float32)

    def _rows(self, row: np.ndarray, measured: np.ndarray) -> np.ndarray:
        """Return a row for each sequence: settled on its truth, with what was learned of the fault."""
        model, count = self._model, len(measured)
        rows = np.repeat(row[None], count, 0)
        rows[:, GATE], rows[:, USED], rows[:, SINCE], rows[:, DECISIONS] = 1e6, 1.0, 1e3, 1e3
        rows[:, BIAS_SINCE] = -1.0  # not part of what is rehearsed
        lag = int(row[LAG])
        start = model.scale(self._truth[:, LAGS - lag].astype(np.float64))
        for first in (self._offsets.state, self._offsets.cleaned):
            rows[:, first : first + model.entries] = start
        first = self._offsets.measured
        seen = model.scale(measured[:, LAGS].astype(np.float64))
        rows[:, first : first + PAST * model.entries] = np.tile(seen, (1, PAST))
        first, width = self._offsets.actions, model.actions
        for back in range(LAGS):
            action = model.scale_action(self._actions[:, LAGS - 1 - back])
            rows[:, first + back * width : first + (back + 1) * width] = action
        return rows

    def _distance(self, observations: np.ndarray) -> float:
        return _mean(np.abs(self._policy(observations) - self.wanted))


def _mean(values: np.ndarray) -> float:
    """Return the mean of float64 sums taken one value after the other: the same bits on every processor."""
    return float(np.cumsum(values, dtype=np.float64)[-1]) / values.size if values.size else 0.0
