"""The observer in plain numpy: what `homeo_rl.observer.kernels` must compute, one slot and one equation at a time.

Shapes: D observation entries, K action entries. Every quantity has the name that `homeo_rl.observer.layout` explains.
"""

from dataclasses import dataclass, field

import numpy as np
from observer_reference_bias import ReferenceBias

from homeo_rl.observer.forward_model import ForwardModel, Prediction
from homeo_rl.observer.layout import (
    AGREE,
    CAP,
    CHI_MEDIAN,
    CLOSE,
    FAST,
    IGNORE,
    LAGS,
    LATE,
    LEAST_OPEN,
    MOST_IGNORED,
    MOVING,
    OFFSETS,
    PAST,
    QUICK,
    RATE,
    REJECT,
    REPEATED_ERROR,
    SCALES,
    SETTLED,
    SLOW,
    SWITCH,
    WATCH,
)


@dataclass(frozen=True)
class Limits:
    """Limits of the running error of all sensors; of the errors of each [D], in one decision and on average; and of the
    decisions for which it reads the same [D]; and whether it may read exactly 0 [D]."""

    gate: float
    single: np.ndarray
    sensor: np.ndarray
    still: np.ndarray
    zeros: np.ndarray


@dataclass
class _Filter:
    """What is known since the gate opened."""

    state: np.ndarray
    covariance: np.ndarray
    cleaned: np.ndarray
    lag: int = 0
    inflation: float = 1.0
    since: int = 0
    certain: bool = False
    frame: int | None = None
    ignored: int = 0
    latency: np.ndarray = field(default_factory=lambda: np.zeros(LAGS))

    def __post_init__(self) -> None:
        size = len(self.state)
        self.rejected, self.agreed = np.zeros(size), np.zeros(size)
        self.residual, self.noise, self.sums = np.zeros(size), np.zeros(size), np.zeros((size, 2))
        self.accepted = np.zeros(size)
        self.sources = np.zeros(2)

    def begin_again(self, measured: np.ndarray, variance: np.ndarray, lag: int) -> None:
        """Begin at a measurement: what was learned was learned at a wrong latency."""
        accepted = self.accepted
        self.state, self.cleaned, self.covariance = measured.copy(), measured.copy(), np.diag(variance)
        self.lag, self.inflation = lag, 1.0
        self.__post_init__()
        self.accepted = accepted
        self.sources = self.latency[[0, lag]]


class ReferenceObserver:
    """Estimate the observations of one episode."""

    def __init__(self, model: ForwardModel, limits: Limits) -> None:
        self._model, self._limits = model, limits
        self.measured: list[np.ndarray] = []
        self.actions: list[np.ndarray] = []
        self.gate, self.sensor = 1.0, np.zeros(model.entries)
        self.ages: list[int] = []
        self.decisions, self.watched, self.still = 0, np.ones((LAGS, 2)), np.zeros(model.entries)
        self.filter: _Filter | None = None
        self.biases: list[ReferenceBias] = []
        self._restarted: int | None = None
        self._is_missing = False

    def __call__(self, observation: np.ndarray, last: np.ndarray | None) -> np.ndarray | None:
        """Return the estimate of the present observation [D] where the gate is open, else None.

        Args:
            observation: measured [D].
            last: action of the last decision [K]; None at the first.
        """
        z = self._model.scale(observation.astype(np.float64))
        estimate, age = None, 0
        if last is None:
            state, wrong = self._start(z)
            if wrong:
                self.filter, estimate = state, state.state
                state.since = 1
                self._begin_biases(z, starts=True)
        else:
            self.actions.insert(0, np.clip(self._model.scale_action(last.astype(np.float64)), -1.0, 1.0))
            opened, repeated = self._compare(z)
            if opened and repeated is None:
                self._begin()
            if self.filter is not None and self.filter.frame is not None:
                estimate, age = self._estimate_stamped(self.filter, z, repeated)
            elif self.filter is not None:
                if not (self.filter.certain or self._is_missing):
                    self._advance_biases(z, self.measured[0], 0)
                estimate = self._estimate(self.filter, z, self.measured[0], 0)
            if self.filter is not None:
                self.filter.certain |= repeated is not None or self._is_missing
        self.measured, self.ages = [z, *self.measured][:PAST], [age, *self.ages][:PAST]
        self.decisions += 1
        self.actions = self.actions[: LAGS + PAST]
        return None if estimate is None else self._model.unscale(estimate).astype(np.float32)

    def _predict(self, x: np.ndarray, action: np.ndarray) -> Prediction:
        mean, variance = self._model.predict(x[None].astype(np.float32), action[None].astype(np.float32))
        return Prediction(mean[0].astype(np.float64), variance[0].astype(np.float64))

    def _jacobian(self, x: np.ndarray, action: np.ndarray) -> np.ndarray:
        """Return d mean / d x [D, D], by the chain rule over the layers."""
        model, size = self._model, len(x)

        def slope(u: np.ndarray) -> np.ndarray:
            s = 1.0 / np.sqrt(1.0 + u * u)
            result: np.ndarray = 0.5 * (1.0 + u * s) + 0.5 * u * s**3
            return result

        u1 = np.concatenate([x, action]) @ model.w1 + model.b1
        h1 = 0.5 * u1 * (1.0 + u1 / np.sqrt(1.0 + u1 * u1))
        u2 = h1 @ model.w2 + model.b2
        inner = ((model.w1[:size] * slope(u1)) @ model.w2) * slope(u2)
        result: np.ndarray = np.eye(size) + (inner @ model.w3[:, :size] * model.change).T
        return result

    def _action(self, back: int) -> np.ndarray:
        return self.actions[min(back, len(self.actions) - 1)]

    def _missing(self, z: np.ndarray) -> np.ndarray:
        center, spread = self._model.center.astype(np.float64), self._model.spread.astype(np.float64)
        zero = np.abs(z * spread + center) <= 1e-12 * (np.abs(center) + spread)
        result: np.ndarray = self._model.moves & zero & ~self._limits.zeros
        return result

    def _compare(self, z: np.ndarray) -> tuple[bool, int | None]:
        """Advance the running errors; return whether the gate opens, and the age of a repeated measurement."""
        mean, variance = self._predict(self.measured[0], self._action(0))
        moves, limits = self._model.moves, self._limits
        square = (z - mean) ** 2 / variance
        capped = np.minimum(square, CAP)
        error = float(capped[moves].mean())
        self.sensor = np.where(moves, self.sensor + QUICK * (capped - self.sensor), self.sensor)
        self.gate += RATE * (error - self.gate)
        stamped = self.filter is not None and self.filter.frame is not None
        doubtful = error > REPEATED_ERROR and self._was_moving()
        age = self._age_of_repeated(z) if doubtful or stamped else None
        late = self.filter is None and self._watch_latency(z, error)
        self.still = np.where(z == self.measured[0], self.still + 1, 0.0)
        wrong = (square > limits.single) | (self.sensor > limits.sensor) | (self.still > limits.still)
        certain = self.filter is not None and self.filter.certain
        missing = bool(self._missing(z).any()) and (certain or self._was_moving())
        broken = missing or bool(wrong[moves].any())
        self._is_missing = missing
        opened = self.filter is None and (broken or late or age is not None or self.gate > limits.gate)
        if self.filter and not broken and self.filter.since > LEAST_OPEN and self.gate < CLOSE * limits.gate:
            self.filter, age = None, None
        elif age is not None and not stamped:
            begun = _Filter(self.measured[0].copy(), np.diag(variance), self.measured[0].copy())
            begun.since = 0 if self.filter is None else self.filter.since
            begun.frame = self.decisions - 1 - self.ages[0]
            self.filter = begun
        return opened, age

    def _was_moving(self) -> bool:
        if len(self.measured) < 2:
            return True
        steps = (self.measured[0] - self.measured[1]) / self._model.change
        return bool(np.square(steps[self._model.moves]).mean() > MOVING)

    def _age_of_repeated(self, z: np.ndarray) -> int | None:
        moves = self._model.moves
        for back, (earlier, age) in enumerate(zip(self.measured, self.ages, strict=True)):
            if np.array_equal(z[moves], earlier[moves]):
                return 1 + back + age
        return None

    def _estimate_stamped(self, f: _Filter, z: np.ndarray, repeated: int | None) -> tuple[np.ndarray, int]:
        """Update by a measurement with an age of its own; return the estimate of the present, and that age."""
        assert f.frame is not None
        age = repeated
        if repeated is None:
            for _ in range(self._steps_to(f, z)):
                action = self._action(self.decisions - f.frame - 1)
                mean, variance = self._predict(f.state, action)
                jacobian = self._jacobian(f.state, action)
                f.covariance = jacobian @ f.covariance @ jacobian.T + f.inflation * np.diag(variance)
                f.state, f.frame = mean, f.frame + 1
                known = variance
            if not f.ignored and f.frame != self._restarted:
                f.state, f.covariance, f.accepted = self._update(f, z, self.measured[0], f.state, known, f.covariance)
                f.cleaned = f.state
            age = self.decisions - f.frame + (f.ignored > 0)
        f.since += 1
        estimate = f.state
        for back in range(min(self.decisions - f.frame, LAGS + PAST) - 1, -1, -1):
            estimate = self._predict(estimate, self._action(back)).mean
        assert age is not None
        return estimate, age

    def _steps_to(self, f: _Filter, z: np.ndarray) -> int:
        """Return how many decisions after the estimated one a measurement is; 0 where nothing explains it."""
        assert f.frame is not None
        behind, state, best, least = self.decisions - f.frame, f.state, 0, IGNORE
        seen = self._model.moves & ~self._missing(z)
        for step in range(1, min(behind, LAGS) + 1):
            state, variance = self._predict(state, self._action(behind - step))
            square = np.minimum((z - state) ** 2 / variance, CAP)[seen]
            if len(square) and square.mean() < least:
                best, least = step, float(square.mean())
        f.ignored = 0 if best else f.ignored + 1
        self._restarted = None
        if f.ignored > MOST_IGNORED or behind > LAGS:
            _, variance = self._predict(self.measured[0], self._action(0))
            f.frame, f.ignored, f.inflation = self.decisions, 0, 1.0
            f.state, f.covariance, self._restarted = z.copy(), np.diag(variance), f.frame
            return 0
        return best

    def _watch_latency(self, z: np.ndarray, error: float) -> bool:
        """Compare one latency a decision, in turn, with none; return whether one explains the measurements better."""
        lag = 1 + self.decisions % (LAGS - 1)
        mean, variance = self._predict(self.measured[0], self._action(lag))
        other = float(np.minimum((z - mean) ** 2 / variance, CAP)[self._model.moves].mean())
        watched = self.watched[lag]
        watched += WATCH * (np.array([other, error]) - watched)
        return bool(watched[1] > LATE and watched[0] < SWITCH * watched[1])

    def _start(self, z: np.ndarray) -> tuple[_Filter, bool]:
        """Return a filter that begins at the first observation and at how episodes begin; and whether they disagree."""
        model = self._model
        wrong = model.moves & ((z - model.start_mean) ** 2 > 4.0 * REJECT * model.start_variance)
        state = np.where(wrong, model.start_mean, z).astype(np.float64)
        spread = np.where(wrong, model.start_variance, 0.01 * model.start_variance)
        return _Filter(state, np.diag(spread).astype(np.float64), state.copy()), bool(wrong.any())

    def _begin_biases(self, z: np.ndarray, *, starts: bool) -> None:
        self.biases = [ReferenceBias(self._model, kind, z, starts=starts) for kind in (OFFSETS, SCALES)]

    def _advance_biases(self, z: np.ndarray, before: np.ndarray, back: int) -> None:
        for bias in self.biases:
            bias.advance(z, before, self._action(back), self._predict, self._jacobian)

    def _begin(self) -> None:
        oldest = self.measured[-1]
        self._begin_biases(oldest, starts=self.decisions <= PAST)
        if len(self.measured) == PAST and len(self.actions) > PAST:
            _, variance = self._predict(self.measured[0], self._action(0))
            self.filter = _Filter(oldest.copy(), np.diag(variance), oldest.copy())
        else:
            self.filter, _ = self._start(oldest)
        for back in range(len(self.measured) - 2, -1, -1):
            self._advance_biases(self.measured[back], self.measured[back + 1], back + 1)
            self._estimate(self.filter, self.measured[back], self.measured[back + 1], back + 1)

    def _estimate(self, f: _Filter, z: np.ndarray, before: np.ndarray, back: int) -> np.ndarray:
        """Update by the measurement z of ``back`` decisions ago, and predict over the latency."""
        residual = z - self._at_latency(f, z, before, back)
        action = self._action(back + f.lag)
        mean, variance = self._predict(f.state, action)
        jacobian = self._jacobian(f.state, action)
        self._compare_sources(f, z, before, back, mean, variance)
        p = jacobian @ f.covariance @ jacobian.T + f.inflation * np.diag(variance)
        estimate, p, accepted = self._update(f, z, before, mean, variance, p)
        share = max(SLOW, 1.0 / (f.since + 1.0))
        for j in np.nonzero(f.accepted > 0)[0]:
            used = accepted > 0
            column = jacobian[used, j]
            above = -(column * residual[used] * f.residual[j] / variance[used]).sum()
            below = (column**2 / variance[used]).sum()
            f.sums[j] += share * (np.array([above, below]) - f.sums[j])
            if f.sums[j, 1] > 0:
                f.noise[j] = max(0.0, f.sums[j, 0] / f.sums[j, 1])
        f.state, f.covariance, f.residual, f.accepted = estimate, p, residual, accepted
        f.cleaned = np.where(accepted > 0, z, estimate)
        f.since += 1
        for lag in range(f.lag - 1, -1, -1):
            estimate = self._predict(estimate, self._action(back + lag)).mean
        return estimate

    def _at_latency(self, f: _Filter, z: np.ndarray, before: np.ndarray, back: int) -> np.ndarray:
        weight = max(RATE, 1.0 / (f.since + 1.0))
        for lag in range(LAGS):
            mean, variance = self._predict(before, self._action(back + lag))
            error = np.minimum((z - mean) ** 2 / variance, CAP).sum() / len(z)
            f.latency[lag] += weight * (error - f.latency[lag])
        best = int(np.argmin(f.latency))
        if f.since >= SETTLED and f.latency[best] < SWITCH * f.latency[f.lag]:
            f.begin_again(before, variance, best)
        return self._predict(f.cleaned, self._action(back + f.lag)).mean

    def _compare_sources(
        self, f: _Filter, z: np.ndarray, before: np.ndarray, back: int, mean: np.ndarray, variance: np.ndarray
    ) -> None:
        """Advance the errors of what the last measurement and the last estimate predict, of trusted sensors."""
        trusted = self._model.moves & (f.rejected < 0.5)
        weight = max(RATE, 1.0 / (f.since + 1.0))
        for source, expected in enumerate((self._predict(before, self._action(back)).mean, mean)):
            square = np.minimum((z - expected) ** 2 / variance, CAP)[trusted]
            f.sources[source] += weight * (square.sum() / max(len(square), 1) - f.sources[source])

    def _update(
        self, f: _Filter, z: np.ndarray, before: np.ndarray, mean: np.ndarray, variance: np.ndarray, p: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return estimate, covariance, and which sensors were used."""
        moves = self._model.moves
        innovation = z - mean
        ratio = innovation**2 / (np.diag(p) + f.noise)
        missing = self._missing(z)
        agrees = (ratio <= REJECT) & ~missing & ~((z == before) & (innovation**2 > variance))
        f.agreed = np.where(moves, np.where(agrees, f.agreed + 1, 0.0), f.agreed)
        f.rejected = np.where(moves, f.rejected + FAST * (~agrees - f.rejected), f.rejected)
        used = ~moves | (agrees & ((f.rejected < 0.5) | (f.agreed > AGREE)))
        count = int((used & moves).sum())
        if 2 * count < int((moves & ~missing).sum()):
            lost = (f.rejected > 0.5) | missing
            f.inflation = 1.0
            spread = np.where(lost, 1.0, variance + f.noise)
            return np.where(lost, mean, z), np.diag(spread), (~lost).astype(np.float64)
        if count:
            middle = min(float(np.median(ratio[used & moves])) / CHI_MEDIAN, 4.0)
            f.inflation = min(max(f.inflation * (1.0 + FAST * (middle - 1.0)), 1.0), 100.0)
        estimate = mean.copy()
        for i in np.nonzero(used)[0]:
            spread = p[i, i] + f.noise[i]
            if spread > 0.0:
                gain = p[:, i] / spread
                estimate = estimate + gain * (z[i] - estimate[i])
                p = p - np.outer(gain, p[i])
        return estimate, p, used.astype(np.float64)
