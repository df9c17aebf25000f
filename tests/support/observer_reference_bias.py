"""The estimate of sensor biases in plain numpy: what `homeo_rl.observer.bias_kernels` must compute."""

from collections.abc import Callable

import numpy as np

from homeo_rl.observer.forward_model import ForwardModel, Prediction
from homeo_rl.observer.layout import (
    CAP,
    CHI_MEDIAN,
    FAST,
    OFFSET_WALK,
    OFFSETS,
    PRIOR,
    PROBATION,
    RATE,
    REJECT_BIAS,
    SCALE_WALK,
    SPARSE,
    UNLIKELY,
)

Predict = Callable[[np.ndarray, np.ndarray], Prediction]
Jacobian = Callable[[np.ndarray, np.ndarray], np.ndarray]


class ReferenceBias:
    """One hypothesis: every sensor reads too much by theta, in deviations or in readings (`OFFSETS`, `SCALES`)."""

    def __init__(self, model: ForwardModel, kind: int, z: np.ndarray, *, starts: bool) -> None:
        self._model, self._kind = model, kind
        self.inflation, self.since, self.errors = 1.0, 0, np.zeros(2)
        prior = np.where(model.moves, PRIOR**2, 0.0)
        self.theta, self.covariance = np.zeros(len(z)), np.diag(prior)
        if starts:
            unit, residual = self.unit(z), z - model.start_mean.astype(np.float64)
            noise = model.start_variance.astype(np.float64) + 1e-6
            spread = unit**2 * prior + noise
            known = residual**2 < REJECT_BIAS * spread
            self.theta = np.where(known, unit * prior / spread * residual, 0.0)
            self.covariance = np.diag(np.where(known, prior * noise / spread, prior))

    def unit(self, z: np.ndarray) -> np.ndarray:
        """Return what theta is multiplied by."""
        if self._kind == OFFSETS:
            return np.ones(len(z))
        result: np.ndarray = z + self._model.center.astype(np.float64) / self._model.spread
        return result

    def advance(
        self, z: np.ndarray, before: np.ndarray, action: np.ndarray, predict: Predict, jacobian: Jacobian
    ) -> None:
        """Update by the measurement z, which ``before`` and ``action`` preceded."""
        since, self.since = self.since, self.since + 1
        unlikely = since >= PROBATION and self.errors[1] > UNLIKELY * self.errors[0]
        if unlikely and since % SPARSE:
            return
        moves, model = self._model.moves, self._model
        corrected = before - self.unit(before) * self.theta
        mean, variance = predict(corrected, action)
        residual = z - self.unit(z) * self.theta - mean
        slopes = np.diag(self.unit(z)) - jacobian(corrected, action) * self.unit(before)
        walk = (OFFSET_WALK if self._kind == OFFSETS else SCALE_WALK) * (SPARSE if unlikely else 1.0)
        p = self.covariance + walk * np.diag(model.moves.astype(np.float64))
        inflation = self.inflation
        expected = np.einsum("ij,jk,ik->i", slopes, p, slopes) + inflation * variance
        both = np.stack([z - predict(before, action).mean, residual]) ** 2 / expected
        weight = max(RATE, 1.0 / (since + 1.0))
        self.errors += weight * (np.minimum(both, CAP)[:, moves].mean(1) - self.errors)
        middle = min(float(np.median(both[1][moves])) / CHI_MEDIAN, 4.0)
        self.inflation = min(max(inflation * (1.0 + FAST * (middle - 1.0)), 1.0), 100.0)
        begun = self.theta.copy()
        for i in np.nonzero(moves)[0]:
            gain = p @ slopes[i]
            spread = slopes[i] @ gain + self.inflation * variance[i]
            error = residual[i] - slopes[i] @ (self.theta - begun)
            if error**2 <= REJECT_BIAS * spread:
                self.theta = self.theta + gain / spread * error
                p = p - np.outer(gain, gain) / spread
        self.covariance = p
