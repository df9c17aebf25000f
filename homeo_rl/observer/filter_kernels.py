"""The compiled Kalman filter of an alarm: latency, robust update, and what is learned of noise and gains.

`homeo_rl.observer.kernels` has the whole of a decision and explains rows, scales and offsets.
"""

import numpy as np

from homeo_rl.numerics.jit import jit
from homeo_rl.observer.layout import (
    AGREE,
    CAP,
    CHI_MEDIAN,
    FAST,
    FROM_ESTIMATE,
    FROM_MEASURED,
    INFLATION,
    LAG,
    LAGS,
    RATE,
    REJECT,
    SETTLED,
    SINCE,
    SLOW,
    SWITCH,
    Offsets,
)
from homeo_rl.observer.model_kernels import Setting, fill, jacobian, predict, predict_lags


@jit
def filter_measurement(setting: Setting, row: np.ndarray, z: np.ndarray, before: np.ndarray, back: int) -> None:
    """Update the estimate by the measurement z, which ``before`` preceded, and predict it over the latency.

    ``back`` is how many decisions ago z was measured. The result is written to full[1].
    """
    net, _, offsets, entries, actions, _, work, full = setting
    _latency(setting, row, z, before, back)
    residual = full[6, :entries]
    for i in range(entries):
        residual[i] = z[i] - full[4, i]
    estimate, variance, x = full[1, :entries], full[2, :entries], work[5]
    first = offsets.actions + back * actions
    fill(x, row[offsets.state : offsets.state + entries], row, first + int(row[LAG]) * actions, entries, actions)
    predict(net, x, estimate, variance, work)
    jac = full[10 : 10 + entries]
    jacobian(net, work, work[6:].ravel(), jac, entries + actions)
    _compare(setting, row, z)
    covariance = offsets.covariance
    p = row[covariance : covariance + entries * entries].reshape((entries, entries))
    propagate(jac, p, full[10 + entries : 10 + 2 * entries], variance, row[INFLATION], entries)
    accepted = full[3, :entries]
    update_by_sensors(setting, row, z, before, p)
    _learn_noise(setting, row, jac)
    _learn_gains(setting, row, first + int(row[LAG]) * actions, jac)
    for i in range(entries):
        row[offsets.state + i] = estimate[i]
        row[offsets.residual + i] = residual[i]
        row[offsets.accepted + i] = accepted[i]
        row[offsets.cleaned + i] = z[i] if accepted[i] > 0.0 else estimate[i]
    row[SINCE] += 1.0
    mean = full[4, :entries]
    for lag in range(int(row[LAG]) - 1, -1, -1):
        fill(x, estimate, row, first + lag * actions, entries, actions)
        predict(net, x, mean, full[5, :entries], work)
        for i in range(entries):
            estimate[i] = mean[i]


@jit
def _latency(setting: Setting, row: np.ndarray, z: np.ndarray, before: np.ndarray, back: int) -> None:
    """Ask which latency explains a measurement best by the one before.

    Writes to full[4] what is expected at the latency that is taken, with estimates in the place of rejected entries,
    and to full[9] what the measurement before lets expect without a latency.
    """
    net, _, offsets, entries, actions, _, work, full = setting
    x, mean, variance = work[5], full[4, :entries], full[5, :entries]
    weight = max(RATE, 1.0 / (row[SINCE] + 1.0))
    stats, first = offsets.latency, offsets.actions + back * actions
    means, variances, best = full[10 : 10 + LAGS, :entries], full[10 + LAGS : 10 + 2 * LAGS, :entries], 0
    fill(x, before, row, first, entries, actions)
    predict_lags(net, x, row, first, means, variances, work)
    for lag in range(LAGS):
        total = 0.0
        for i in range(entries):
            error = z[i] - means[lag, i]
            total += min(error * error / variances[lag, i], CAP)
            full[9, i], full[5, i] = means[0, i], variances[lag, i]
        row[stats + lag] += weight * (total / entries - row[stats + lag])
        if row[stats + lag] < row[stats + best]:
            best = lag
    if row[SINCE] >= SETTLED and row[stats + best] < SWITCH * row[stats + int(row[LAG])]:
        _begin_at_latency(offsets, row, before, best, full)
    cleaned = row[offsets.cleaned : offsets.cleaned + entries]
    fill(x, cleaned, row, first + int(row[LAG]) * actions, entries, actions)
    predict(net, x, mean, variance, work)


@jit
def _begin_at_latency(offsets: Offsets, row: np.ndarray, before: np.ndarray, best: int, full: np.ndarray) -> None:
    """Begin the estimate again at the measurement before: what was learned was learned at a wrong latency."""
    entries, latency = len(before), offsets.latency
    row[LAG], row[INFLATION] = best, 1.0
    row[FROM_MEASURED], row[FROM_ESTIMATE] = row[latency], row[latency + best]
    for k in range(offsets.covariance, latency):
        row[k] = 0.0
    for k in range(offsets.rejected, offsets.gains):
        row[k] = 0.0
    for i in range(entries):
        row[offsets.state + i] = row[offsets.cleaned + i] = before[i]
        row[offsets.covariance + i * entries + i] = full[5, i]


@jit
def _compare(setting: Setting, row: np.ndarray, z: np.ndarray) -> None:
    """Compare how well the measurement before (full[9]) and the estimate before (full[1]) predict trusted sensors."""
    _, scales, offsets, entries, _, moves, _, full = setting
    measured, estimated, count = 0.0, 0.0, 0.0
    for i in range(entries):
        if scales[moves + i] > 0.0 and row[offsets.rejected + i] < 0.5:
            raw, other = z[i] - full[9, i], z[i] - full[1, i]
            measured += min(raw * raw / full[2, i], CAP)
            estimated += min(other * other / full[2, i], CAP)
            count += 1.0
    weight = max(RATE, 1.0 / (row[SINCE] + 1.0))
    row[FROM_MEASURED] += weight * (measured / max(count, 1.0) - row[FROM_MEASURED])
    row[FROM_ESTIMATE] += weight * (estimated / max(count, 1.0) - row[FROM_ESTIMATE])


@jit
def propagate(
    jac: np.ndarray, p: np.ndarray, half: np.ndarray, variance: np.ndarray, inflation: float, entries: int
) -> None:
    """Write J P J^T + inflation diag(variance) over P."""
    for i in range(entries):
        for j in range(entries):
            half[i, j] = 0.0
        for k in range(entries):
            value = jac[i, k]
            for j in range(entries):
                half[i, j] += value * p[k, j]
    for i in range(entries):
        for j in range(i + 1):
            total = 0.0
            for k in range(entries):
                total += half[i, k] * jac[j, k]
            p[i, j] = total
            p[j, i] = total
        p[i, i] += inflation * variance[i]


@jit
def update_by_sensors(setting: Setting, row: np.ndarray, z: np.ndarray, before: np.ndarray, p: np.ndarray) -> None:
    """Update estimate (full[1]) and covariance by the sensors that agree with them; write which did to full[3]."""
    _, scales, offsets, entries, actions, moves, _, full = setting
    estimate, variance, accepted, ratios = full[1, :entries], full[2, :entries], full[3, :entries], full[7, :entries]
    missing = full[5, :entries]
    count, modelled = 0, 0
    for i in range(entries):
        missing[i] = 0.0
        innovation = z[i] - estimate[i]
        ratio = innovation * innovation / (p[i, i] + row[offsets.noise + i])
        repeats = z[i] == before[i]
        accepted[i] = 1.0
        if scales[moves + i] == 0.0:
            continue
        zero = is_zero(scales, z[i], i, entries)
        missing[i] = 1.0 if is_missing(scales, z[i], i, entries, actions) else 0.0
        wrong = missing[i] > 0.0 or (repeats and innovation * innovation > variance[i])
        agrees = ratio <= REJECT and not wrong
        share = _record_sensor(offsets, row, i, agrees, repeats, zero, innovation)
        # A sensor that is wrong most of the time agrees now and then by chance.
        accepted[i] = 1.0 if agrees and (share < 0.5 or row[offsets.agreed + i] > AGREE) else 0.0
        modelled += 0 if missing[i] > 0.0 else 1
        if accepted[i] > 0.0:
            ratios[count] = ratio
            count += 1
    if 2 * count < modelled:
        _begin_again(offsets, row, z, p, full)
        return
    if count > 0:
        middle = np.median(ratios[:count]) / CHI_MEDIAN
        row[INFLATION] = min(max(row[INFLATION] * (1.0 + FAST * (min(middle, 4.0) - 1.0)), 1.0), 100.0)
    gain = full[8, :entries]
    for i in range(entries):
        spread = p[i, i] + row[offsets.noise + i]
        if accepted[i] == 0.0 or spread <= 0.0:
            continue
        innovation = (z[i] - estimate[i]) / spread
        for j in range(entries):
            gain[j] = p[j, i]
        for j in range(entries):
            estimate[j] += gain[j] * innovation
            value = gain[j] / spread
            for k in range(entries):
                p[j, k] -= value * gain[k]


@jit
def is_zero(scales: np.ndarray, value: float, i: int, entries: int) -> bool:
    """Whether sensor i reads exactly 0, but for the rounding of its scaled value."""
    result: bool = abs(value * scales[entries + i] + scales[i]) <= 1e-12 * (abs(scales[i]) + scales[entries + i])
    return result


@jit
def is_missing(scales: np.ndarray, value: float, i: int, entries: int, actions: int) -> bool:
    """Whether sensor i reads exactly 0, which it never did in remembered sequences."""
    result: bool = is_zero(scales, value, i, entries) and scales[8 * entries + 2 * actions + 1 + i] == 0.0
    return result


@jit
def _record_sensor(
    offsets: Offsets, row: np.ndarray, i: int, agrees: bool, repeats: bool, zero: bool, innovation: float
) -> float:
    """Advance what is known of how sensor i is wrong; return its share of disagreements."""
    row[offsets.agreed + i] = row[offsets.agreed + i] + 1.0 if agrees else 0.0
    share = row[offsets.rejected + i]
    share += FAST * ((0.0 if agrees else 1.0) - share)
    row[offsets.rejected + i] = share
    row[offsets.repeated + i] += RATE * ((1.0 if repeats else 0.0) - row[offsets.repeated + i])
    row[offsets.zero + i] += RATE * ((1.0 if zero else 0.0) - row[offsets.zero + i])
    row[offsets.shift + i] += RATE * (innovation - row[offsets.shift + i])
    row[offsets.scatter + i] += RATE * (innovation * innovation - row[offsets.scatter + i])
    return float(share)


@jit
def _begin_again(offsets: Offsets, row: np.ndarray, z: np.ndarray, p: np.ndarray, full: np.ndarray) -> None:
    """Begin a lost estimate again, at the measurement of sensors that were mostly right and not missing (full[5])."""
    entries = len(z)
    estimate, variance, accepted = full[1, :entries], full[2, :entries], full[3, :entries]
    for i in range(entries):
        for j in range(entries):
            p[i, j] = 0.0
        unreliable = row[offsets.rejected + i] > 0.5 or full[5, i] > 0.0
        p[i, i] = 1.0 if unreliable else variance[i] + row[offsets.noise + i]
        estimate[i] = estimate[i] if unreliable else z[i]
        accepted[i] = 0.0 if unreliable else 1.0
    row[INFLATION] = 1.0


@jit
def _learn_noise(setting: Setting, row: np.ndarray, jac: np.ndarray) -> None:
    """Estimate the sensors' noise: consecutive residuals are anticorrelated by it, not by model error (Mehra, 1970)."""
    offsets, entries, full = setting.offsets, setting.entries, setting.full
    residual, variance, accepted = full[6, :entries], full[2, :entries], full[3, :entries]
    share = max(SLOW, 1.0 / (row[SINCE] + 1.0))
    for j in range(entries):
        if row[offsets.accepted + j] == 0.0:
            continue
        above, below = 0.0, 0.0
        for i in range(entries):
            if accepted[i] > 0.0:
                above -= jac[i, j] * residual[i] * row[offsets.residual + j] / variance[i]
                below += jac[i, j] * jac[i, j] / variance[i]
        sums = offsets.noise_sums + 2 * j
        row[sums] += share * (above - row[sums])
        row[sums + 1] += share * (below - row[sums + 1])
        if row[sums + 1] > 0.0:
            row[offsets.noise + j] = max(0.0, row[sums] / row[sums + 1])


@jit
def _learn_gains(setting: Setting, row: np.ndarray, action: int, jac: np.ndarray) -> None:
    """Advance the normal equations of the actuators' gains by the residual full[6] of this decision."""
    _, _, offsets, entries, actions, _, _, full = setting
    residual, variance, accepted = full[6, :entries], full[2, :entries], full[3, :entries]
    share = max(SLOW, 1.0 / (row[SINCE] + 1.0))
    for k in range(actions):
        total = 0.0
        for i in range(entries):
            if accepted[i] > 0.0:
                total += jac[i, entries + k] * residual[i] / variance[i]
        place = offsets.gain_sums + k
        row[place] += share * (total * row[action + k] - row[place])
        for m in range(actions):
            total = 0.0
            for i in range(entries):
                if accepted[i] > 0.0:
                    total += jac[i, entries + k] * jac[i, entries + m] / variance[i]
            place = offsets.gains + k * actions + m
            row[place] += share * (total * row[action + k] * row[action + m] - row[place])
