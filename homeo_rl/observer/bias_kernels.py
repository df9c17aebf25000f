"""The compiled estimate of sensor biases: constant or drifting offsets, and scale errors.

Two hypotheses are followed in an alarm, beside the filter of the state: every sensor reads the truth plus an offset, or
the truth times a factor. Measurements hold no other error then, so the true observation x = z - u theta is known up to
the bias theta [D], with u = 1 for offsets and u = the reading in deviations, from its zero, for factors. Theta itself
is the state of a Kalman filter: the forward model says what z_t - u_t theta - f(z_{t-1} - u_{t-1} theta, a) scatters
around. It begins with how episodes begin, where the alarm does.

`homeo_rl.observer.kernels` has the whole of a decision and explains rows, scales and offsets.
"""

import numpy as np

from homeo_rl.numerics.jit import jit
from homeo_rl.observer.layout import (
    BIAS_SINCE,
    CAP,
    CERTAIN,
    CHI_MEDIAN,
    FAST,
    OFFSET_WALK,
    OFFSETS,
    PRIOR,
    PROBATION,
    RATE,
    REJECT_BIAS,
    SCALE_WALK,
    SCALES,
    SPARSE,
    UNLIKELY,
    Offsets,
)
from homeo_rl.observer.model_kernels import Setting, fill, jacobian, predict


@jit
def unit_of(scales: np.ndarray, entries: int, kind: int, z: float, i: int) -> float:
    """Return what the bias of sensor i is multiplied by: 1, or its reading in deviations."""
    return 1.0 if kind == OFFSETS else z + scales[i] / scales[entries + i]


@jit
def begin_biases(setting: Setting, row: np.ndarray, z: np.ndarray, starts: bool) -> None:
    """Begin both hypotheses; where ``starts``, z is the first measurement of an episode, which says more."""
    _, scales, offsets, entries, _, moves, _, _ = setting
    start = moves + entries + 1
    row[BIAS_SINCE] = 0.0
    for kind in (OFFSETS, SCALES):
        first, p = offsets.bias + kind * entries, offsets.bias_covariance + kind * entries * entries
        row[offsets.bias_error + 2 * kind] = row[offsets.bias_error + 2 * kind + 1] = 0.0
        row[offsets.bias_inflation + kind] = 1.0
        for k in range(entries * entries):
            row[p + k] = 0.0
        for i in range(entries):
            unit, variance = unit_of(scales, entries, kind, z[i], i), scales[start + entries + i] + 1e-6
            prior = PRIOR * PRIOR if scales[moves + i] > 0.0 else 0.0
            spread = unit * unit * prior + variance
            residual = z[i] - scales[start + i]
            known = starts and residual * residual < REJECT_BIAS * spread
            row[first + i] = unit * prior / spread * residual if known else 0.0
            row[p + i * entries + i] = prior * variance / spread if known else prior


@jit
def advance_biases(setting: Setting, row: np.ndarray, z: np.ndarray, before: np.ndarray, back: int) -> None:
    """Update both hypotheses by the measurement z of ``back`` decisions ago, which ``before`` preceded.

    Nothing is done where the fault is known to be another one, and in a rehearsal.
    """
    if row[CERTAIN] > 0.0 or row[BIAS_SINCE] < 0.0:
        return
    net, scales, offsets, entries, actions, _, work, full = setting
    mean, variance, x, first = full[4, :entries], full[5, :entries], work[5], offsets.actions + back * actions
    measured, residual, corrected = full[1, :entries], full[6, :entries], full[7, :entries]
    fill(x, before, row, first, entries, actions)
    predict(net, x, mean, variance, work)
    for i in range(entries):
        measured[i] = z[i] - mean[i]
    for kind in (OFFSETS, SCALES):
        if _is_unlikely(offsets, row, kind) and row[BIAS_SINCE] % SPARSE != 0.0:
            continue
        theta = row[offsets.bias + kind * entries : offsets.bias + (kind + 1) * entries]
        for i in range(entries):
            corrected[i] = before[i] - unit_of(scales, entries, kind, before[i], i) * theta[i]
        fill(x, corrected, row, first, entries, actions)
        predict(net, x, mean, variance, work)
        for i in range(entries):
            residual[i] = z[i] - unit_of(scales, entries, kind, z[i], i) * theta[i] - mean[i]
        jacobian(net, work, work[6:].ravel(), full[10 : 10 + entries], entries)
        _expect(setting, row, kind, z, before)
        _record_errors(setting, row, kind)
        _update(setting, row, kind)
    row[BIAS_SINCE] += 1.0


@jit
def _is_unlikely(offsets: Offsets, row: np.ndarray, kind: int) -> bool:
    """Whether measurements are as little expected without the bias as with it: then it is followed now and then."""
    error = offsets.bias_error + 2 * kind
    return bool(row[BIAS_SINCE] >= PROBATION and row[error + 1] > UNLIKELY * row[error])


@jit
def _expect(setting: Setting, row: np.ndarray, kind: int, z: np.ndarray, before: np.ndarray) -> None:
    """Write by how much the bias lowers each residual, full[10 + D:], and the variances of the residuals, full[2]."""
    _, scales, offsets, entries, _, moves, _, full = setting
    jac, slopes, expected = full[10 : 10 + entries], full[10 + entries : 10 + 2 * entries], full[2]
    p, inflation = _covariance(offsets, row, kind, entries), row[offsets.bias_inflation + kind]
    walk = OFFSET_WALK if kind == OFFSETS else SCALE_WALK
    walk *= SPARSE if _is_unlikely(offsets, row, kind) else 1.0
    for j in range(entries):
        unit = unit_of(scales, entries, kind, before[j], j)
        for i in range(entries):
            slopes[i, j] = -jac[i, j] * unit
        slopes[j, j] += unit_of(scales, entries, kind, z[j], j)
        if scales[moves + j] > 0.0:
            p[j, j] += walk
    for i in range(entries):
        expected[i] = _project(p, slopes[i], full[8], entries) + inflation * full[5, i]


@jit
def _covariance(offsets: Offsets, row: np.ndarray, kind: int, entries: int) -> np.ndarray:
    first = offsets.bias_covariance + kind * entries * entries
    return row[first : first + entries * entries].reshape((entries, entries))


@jit
def _record_errors(setting: Setting, row: np.ndarray, kind: int) -> None:
    """Advance the running errors of the measurement as it is and without the bias, over what is expected without it."""
    _, scales, offsets, entries, _, moves, _, full = setting
    errors = offsets.bias_error + 2 * kind
    weight, count, measured, without = max(RATE, 1.0 / (row[BIAS_SINCE] + 1.0)), 0, 0.0, 0.0
    ratios, expected = full[3], full[2]
    for i in range(entries):
        if scales[moves + i] > 0.0:
            ratios[count] = full[6, i] * full[6, i] / expected[i]
            without += min(ratios[count], CAP)
            measured += min(full[1, i] * full[1, i] / expected[i], CAP)
            count += 1
    if count > 0:
        row[errors] += weight * (measured / count - row[errors])
        row[errors + 1] += weight * (without / count - row[errors + 1])
        middle, inflation = min(np.median(ratios[:count]) / CHI_MEDIAN, 4.0), row[offsets.bias_inflation + kind]
        row[offsets.bias_inflation + kind] = min(max(inflation * (1.0 + FAST * (middle - 1.0)), 1.0), 100.0)


@jit
def _update(setting: Setting, row: np.ndarray, kind: int) -> None:
    """Update a bias by the residuals full[6] of one sensor after another."""
    _, scales, offsets, entries, _, moves, _, full = setting
    slopes, gains, begun = full[10 + entries : 10 + 2 * entries], full[8], full[7]
    theta = row[offsets.bias + kind * entries : offsets.bias + (kind + 1) * entries]
    p = _covariance(offsets, row, kind, entries)
    inflation = row[offsets.bias_inflation + kind]
    for j in range(entries):
        begun[j] = theta[j]
    for i in range(entries):
        if scales[moves + i] == 0.0:
            continue
        spread, residual = _project(p, slopes[i], gains, entries) + inflation * full[5, i], full[6, i]
        for j in range(entries):
            residual -= slopes[i, j] * (theta[j] - begun[j])
        if residual * residual > REJECT_BIAS * spread:
            continue
        for j in range(entries):
            value = gains[j] / spread
            theta[j] += value * residual
            for k in range(entries):
                p[j, k] -= value * gains[k]


@jit
def _project(p: np.ndarray, slope: np.ndarray, gains: np.ndarray, entries: int) -> float:
    """Write P slope, and return slope^T P slope."""
    for j in range(entries):
        gains[j] = 0.0
    for k in range(entries):
        value = slope[k]
        for j in range(entries):
            gains[j] += value * p[k, j]
    total = 0.0
    for j in range(entries):
        total += slope[j] * gains[j]
    return total


@jit
def correct(
    scales: np.ndarray, dims: np.ndarray, offsets: Offsets, row: np.ndarray, kind: int, observation: np.ndarray
) -> None:
    """Subtract the identified bias from an observation [D] float32, in place."""
    entries = dims[0]
    for i in range(entries):
        spread = scales[entries + i]
        z = (np.float64(observation[i]) - scales[i]) / spread
        theta = row[offsets.bias + kind * entries + i]
        observation[i] = np.float32(observation[i] - spread * unit_of(scales, entries, kind, z, i) * theta)
