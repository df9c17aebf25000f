"""The observer's Kalman filter for a known fault: which readings are lost, how noisy the others are, how late.

Nothing is identified, tested or rehearsed here. It is what an observer could do if its diagnosis were perfect
(`homeo_rl.evaluation.controls`). Sums are taken in a fixed order: every processor gives the same bits.

Shapes: D observation entries, K action entries.
"""

from collections.abc import Sequence

import numpy as np

from homeo_rl.numerics.jit import jit
from homeo_rl.observer.filter_kernels import propagate
from homeo_rl.observer.forward_model import FLOOR, ForwardModel
from homeo_rl.observer.layout import CHI_MEDIAN, FAST, work_space
from homeo_rl.observer.model_kernels import jacobian, predict, unpack


class InformedFilter:
    """Estimate the state of one episode from the readings of `homeo_rl.evaluation.controls.KnownFault`.

    Owns the state and its covariance, in scaled units (`ForwardModel.scale`).
    """

    def __init__(self, model: ForwardModel) -> None:
        self._model = model
        entries, width = model.entries, model.entries + model.actions
        self._dims = np.array([entries, model.actions, len(model.b1)])
        self._work = work_space(model.entries, model.actions, len(model.b1))
        self._full = np.zeros((2 * entries + 2, width))
        self.begin()

    def begin(self) -> None:
        """Return to what is known before the first reading: how episodes begin."""
        self.state = self._model.start_mean.astype(np.float64)
        self.covariance = np.diag(self._model.start_variance.astype(np.float64))
        self.inflation = 1.0

    def restart(self, observation: np.ndarray) -> None:
        """Take an observation [D] as true."""
        self.state = self._model.scale(observation.astype(np.float64))
        self.covariance = np.zeros_like(self.covariance)
        self.inflation = 1.0

    def advance(self, action: np.ndarray) -> None:
        """Predict the state after an executed action [K]."""
        x = self._input(self.state, action)
        _advance(self._model.packed, self._dims, x, self.state, self.covariance, self.inflation, self._full, self._work)

    def update(self, readings: np.ndarray, lost: np.ndarray, variance: np.ndarray) -> None:
        """Take readings [D] into account, with the variance [D] of their noise, but for those that are lost [D]."""
        z = self._model.scale(readings)
        noise = variance / self._model.spread.astype(np.float64) ** 2 + FLOOR**2
        ratios = np.zeros(len(z))
        count = update_state(self.state, self.covariance, z, lost, self._model.moves, noise, ratios)
        if count:  # the rule of `homeo_rl.observer.filter_kernels`: the accepted sensors are to be consistent
            middle = min(float(np.median(ratios[:count])) / CHI_MEDIAN, 4.0)
            self.inflation = min(max(self.inflation * (1.0 + FAST * (middle - 1.0)), 1.0), 100.0)

    def ahead(self, actions: Sequence[np.ndarray]) -> np.ndarray:
        """Return the observation [D] that is expected after more actions; the state stays."""
        entries = self._model.entries
        state, variance = self.state.copy(), np.zeros(entries)
        net = unpack(self._model.packed, self._dims)
        for action in actions:
            x = self._input(state, action)
            predict(net, x, state, variance, self._work)
        return self._model.unscale(state)

    def _input(self, state: np.ndarray, action: np.ndarray) -> np.ndarray:
        scaled = np.clip(self._model.scale_action(np.asarray(action, np.float64)), -1.0, 1.0)
        return np.concatenate([state, scaled]).astype(np.float32)


@jit
def _advance(
    w: np.ndarray, dims: np.ndarray, x: np.ndarray, state: np.ndarray, p: np.ndarray, inflation: float,
    full: np.ndarray, work: np.ndarray,
) -> None:  # fmt: skip
    """Write the prediction over state [D] and J P J^T + inflation diag(variance) over P [D, D]."""
    entries, net = dims[0], unpack(w, dims)
    variance, jac, half = full[2 * entries, :entries], full[:entries], full[entries : 2 * entries]
    predict(net, x, state, variance, work)
    jacobian(net, work, work[6:].ravel(), jac, entries)
    propagate(jac, p, half, variance, inflation, entries)


@jit
def update_state(
    state: np.ndarray, p: np.ndarray, z: np.ndarray, lost: np.ndarray, moves: np.ndarray, noise: np.ndarray,
    ratios: np.ndarray,
) -> int:  # fmt: skip
    """Update state [D] and covariance [D, D] by one reading after another; sensors without a model pass.

    Writes the squared innovations over their variances, before any update, to the first entries of ``ratios``, and
    returns how many there are.
    """
    entries, count = len(state), 0
    for i in range(entries):
        if moves[i] and not lost[i]:
            ratios[count] = (z[i] - state[i]) ** 2 / (p[i, i] + noise[i])
            count += 1
    gain = np.zeros(entries)
    for i in range(entries):
        if not moves[i]:
            state[i] = z[i]
        elif not lost[i]:
            spread = p[i, i] + noise[i]
            innovation = (z[i] - state[i]) / spread
            for j in range(entries):
                gain[j] = p[j, i]
            for j in range(entries):
                state[j] += gain[j] * innovation
                for k in range(entries):
                    p[j, k] -= gain[j] / spread * gain[k]
    return count
