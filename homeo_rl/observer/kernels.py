"""The compiled observer: gate, latency, robust Kalman filter and prediction over the latency, one decision a call.

`homeo_rl.observer.reference` says the same in plain numpy, and tests compare the two. Everything that is known of a
slot is one row of numbers, laid out by `homeo_rl.observer.layout`. Only sums, products, quotients and square roots are
used, in a fixed order: every processor gives the same bits.

Shapes: S slots, D observation entries, K action entries, H hidden units, L latencies.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from homeo_rl.numerics.jit import jit
from homeo_rl.observer.layout import (
    ACCEPTED,
    ACTIONS,
    AGES,
    AGREE,
    AGREED,
    CAP,
    CERTAIN,
    CHI_MEDIAN,
    CLEANED,
    CLOSE,
    COVARIANCE,
    DECISIONS,
    FAST,
    FRAME,
    FROM_ESTIMATE,
    FROM_MEASURED,
    GAIN_SUMS,
    GAINS,
    GATE,
    IGNORE,
    IGNORED,
    INFLATION,
    LAG,
    LAGS,
    LATE,
    LATENCY,
    LEAST_OPEN,
    LIMIT,
    MEASURED,
    MOST_IGNORED,
    MOVING,
    NOISE,
    NOISE_SUMS,
    OPEN,
    PAST,
    QUICK,
    RATE,
    REJECT,
    REJECTED,
    REPEATED,
    REPEATED_ERROR,
    RESIDUAL,
    SCATTER,
    SENSOR,
    SETTLED,
    SHIFT,
    SINCE,
    SLOW,
    STAMPED,
    STATE,
    STILL,
    SWITCH,
    USED,
    WATCH,
    WATCHED,
    ZERO,
)

Net: TypeAlias = tuple[np.ndarray, ...]
"""Weights and biases of three layers, the unit of change, the calibration of the deviations, and the weights of the
means again, padded to a multiple of eight."""


@jit
def unpack(w: np.ndarray, dims: np.ndarray) -> Net:
    """Return the parts of a packed model (`homeo_rl.observer.forward_model.ForwardModel.packed`), as views."""
    entries, size, hidden = dims[0], dims[0] + dims[1], dims[2]
    outputs, width = 2 * entries, (entries + 7) // 8 * 8
    o1 = size * hidden
    o2 = o1 + hidden + hidden * hidden
    o3 = o2 + hidden + hidden * outputs
    return (
        w[:o1].reshape((size, hidden)),
        w[o1 : o1 + hidden],
        w[o1 + hidden : o2].reshape((hidden, hidden)),
        w[o2 : o2 + hidden],
        w[o2 + hidden : o3].reshape((hidden, outputs)),
        w[o3 : o3 + outputs],
        w[o3 + outputs : o3 + outputs + entries],
        w[o3 + outputs + entries : o3 + outputs + 2 * entries],
        w[o3 + outputs + 2 * entries : o3 + outputs + 2 * entries + hidden * width].reshape((hidden, width)),
    )


@jit
def _layer(x: np.ndarray, w: np.ndarray, b: np.ndarray, y: np.ndarray) -> None:
    """Write x w + b; the inner loop runs over outputs, so that it can be vectorised without another order of sums."""
    for j in range(len(y)):
        y[j] = b[j]
    _accumulate(x, w, y)


@jit
def _accumulate(x: np.ndarray, w: np.ndarray, y: np.ndarray) -> None:
    """Add x w to y, one input after the other; four in a pass, because reading and writing y takes the time."""
    fours = w.shape[0] // 4 * 4
    for k in range(0, fours, 4):
        a, b, c, d = x[k], x[k + 1], x[k + 2], x[k + 3]
        wa, wb, wc, wd = w[k], w[k + 1], w[k + 2], w[k + 3]
        for j in range(len(y)):
            y[j] = (((y[j] + a * wa[j]) + b * wb[j]) + c * wc[j]) + d * wd[j]
    for k in range(fours, w.shape[0]):
        value, row = x[k], w[k]
        for j in range(len(y)):
            y[j] += value * row[j]


@jit
def _activate(h: np.ndarray, d: np.ndarray) -> None:
    """Write the activation over h and its derivative to d."""
    one, half = np.float32(1.0), np.float32(0.5)
    for j in range(len(h)):
        u = h[j]
        s = one / np.sqrt(one + u * u)
        g = half * (one + u * s)
        d[j] = g + half * u * s * s * s
        h[j] = u * g


@jit
def predict(net: Net, x: np.ndarray, mean: np.ndarray, variance: np.ndarray, work: np.ndarray) -> None:
    """Write mean [D] and variance [D] of the next scaled observation for x = (observation, action) [D + K]."""
    w1, b1, w2, b2, w3, b3, change, calibration, _ = net
    hidden, entries = len(b1), len(change)
    h1, d1, h2, d2, out = work[0, :hidden], work[1, :hidden], work[2, :hidden], work[3, :hidden], work[4, : 2 * entries]
    _layer(x, w1, b1, h1)
    _activate(h1, d1)
    _layer(h1, w2, b2, h2)
    _activate(h2, d2)
    _layer(h2, w3, b3, out)
    for i in range(entries):
        raw = np.float64(out[entries + i])
        deviation = change[i] * calibration[i] * (0.5 * (raw + np.sqrt(raw * raw + 4.0))) + 1e-3
        mean[i] = x[i] + change[i] * out[i]
        variance[i] = deviation * deviation


@jit
def jacobian(net: Net, work: np.ndarray, columns: np.ndarray, jac: np.ndarray) -> None:
    """Write d mean / d x [D, D + K] at the point of the last `predict`, whose ``work`` is given.

    ``columns`` [3 (D + K) max(H, D + 7)] is scratch space.
    """
    w1, b1, w2, _, _, _, change, _, means = net
    hidden, entries, size, width = len(b1), len(change), w1.shape[0], means.shape[1]
    d1, d2, two = work[1, :hidden], work[3, :hidden], 2 * size * hidden
    t1, t2 = columns[: size * hidden].reshape((size, hidden)), columns[size * hidden : two].reshape((size, hidden))
    rows = columns[two : two + size * width].reshape((size, width))
    for c in range(size):
        for j in range(hidden):
            t1[c, j] = w1[c, j] * d1[j]
    _multiply(t1, w2, t2)
    for c in range(size):
        for j in range(hidden):
            t2[c, j] *= d2[j]
    _multiply(t2, means, rows)
    for c in range(size):
        for i in range(entries):
            jac[i, c] = change[i] * rows[c, i]
    for i in range(entries):
        jac[i, i] += 1.0


@jit
def _multiply(x: np.ndarray, w: np.ndarray, y: np.ndarray) -> None:
    """Write x w for rows x [C, H]; eight rows of w at a time stay in the first-level cache for all rows of x."""
    for c in range(len(y)):
        for j in range(y.shape[1]):
            y[c, j] = 0.0
    eights = w.shape[0] // 8 * 8
    for k in range(0, eights, 8):
        w0, w1, w2, w3, w4, w5, w6, w7 = w[k], w[k + 1], w[k + 2], w[k + 3], w[k + 4], w[k + 5], w[k + 6], w[k + 7]
        for c in range(len(y)):
            to, of = y[c], x[c]
            x0, x1, x2, x3 = of[k], of[k + 1], of[k + 2], of[k + 3]
            x4, x5, x6, x7 = of[k + 4], of[k + 5], of[k + 6], of[k + 7]
            for j in range(len(to)):
                first = (((to[j] + x0 * w0[j]) + x1 * w1[j]) + x2 * w2[j]) + x3 * w3[j]
                to[j] = (((first + x4 * w4[j]) + x5 * w5[j]) + x6 * w6[j]) + x7 * w7[j]
    for c in range(len(y)):
        for k in range(eights, w.shape[0]):
            for j in range(y.shape[1]):
                y[c, j] += x[c, k] * w[k, j]


@jit
def _fill(x: np.ndarray, values: np.ndarray, row: np.ndarray, offset: int, entries: int, actions: int) -> None:
    for i in range(entries):
        x[i] = values[i]
    for k in range(actions):
        x[entries + k] = row[offset + k]


@jit
def advance(
    w: np.ndarray,
    scales: np.ndarray,
    dims: np.ndarray,
    offsets: np.ndarray,
    rows: np.ndarray,
    observations: np.ndarray,
    last: np.ndarray,
    out: np.ndarray,
    work: np.ndarray,
    full: np.ndarray,
) -> int:
    """Advance every slot by one decision, write the estimates where a gate is open, and return how many are.

    Args:
        w: the packed model.
        scales: mean and deviation of observations [D] each; middle and half-range of actions [K] each; moves [D]; limit
            of the gate; mean and variance of an episode's first observation [D] each; limits of each sensor's error in
            one decision and on average [D] each, and of the decisions for which it reads the same [D]; whether it may
            read exactly 0 [D].
        dims: D, K, H.
        offsets: of the parts of a row (`homeo_rl.observer.layout`).
        rows: state of every slot [S, F], written in place.
        observations: measured [S, D] float32.
        last: actions of the last decision [S, K] float32.
        out: estimates of the present observation [S, D] float32; untouched where the gate is shut.
        work: scratch (`homeo_rl.observer.layout.work_space`).
        full: [8 + 2 D, D + K] float64.
    """
    entries, net = dims[0], unpack(w, dims)
    z, estimate, count = full[0, :entries], full[1, :entries], 0
    for s in range(rows.shape[0]):
        row, age = rows[s], 0.0
        past = offsets[MEASURED]
        for i in range(entries):
            value = (np.float64(observations[s, i]) - scales[i]) / scales[entries + i]
            z[i] = min(max(value, -LIMIT), LIMIT)
        if row[DECISIONS] > 0.0:
            _push_action(scales, dims, row, offsets[ACTIONS], last[s])
            age = _gate(net, scales, dims, offsets, row, z, full, work)
        elif _start(scales, dims, offsets, row, z):
            row[OPEN], row[INFLATION] = 1.0, 1.0
            for i in range(entries):
                estimate[i] = row[offsets[STATE] + i]
        if row[OPEN] > 0.0:
            count += 1
            if row[STAMPED] > 0.0:
                age = _estimate_stamped(net, scales, dims, offsets, row, z, age, full, work)
            elif row[DECISIONS] > 0.0:
                if row[SINCE] == 0.0:
                    _begin(net, scales, dims, offsets, row, full, work)
                _estimate(net, scales, dims, offsets, row, z, row[past : past + entries], 0, full, work)
            row[SINCE] = max(row[SINCE], 1.0)
            for i in range(entries):
                out[s, i] = np.float32(estimate[i] * scales[entries + i] + scales[i])
        _push_measurement(offsets, row, z, age)
        row[DECISIONS] += 1.0
    return count


@jit
def _push_measurement(offsets: np.ndarray, row: np.ndarray, z: np.ndarray, age: float) -> None:
    entries, past, ages = len(z), offsets[MEASURED], offsets[AGES]
    for k in range(PAST * entries - 1, entries - 1, -1):
        row[past + k] = row[past + k - entries]
    for i in range(entries):
        row[past + i] = z[i]
    for k in range(PAST - 1, 0, -1):
        row[ages + k] = row[ages + k - 1]
    row[ages] = max(age, 0.0)


@jit
def _push_action(scales: np.ndarray, dims: np.ndarray, row: np.ndarray, first: int, action: np.ndarray) -> None:
    entries, actions = dims[0], dims[1]
    for k in range((LAGS + PAST) * actions - 1, actions - 1, -1):
        row[first + k] = row[first + k - actions]
    for k in range(actions):
        value = (np.float64(action[k]) - scales[2 * entries + k]) / scales[2 * entries + actions + k]
        row[first + k] = min(max(value, -1.0), 1.0)
        if row[DECISIONS] == 1.0:  # before the first action there was none: it stands for those
            for lag in range(1, LAGS + PAST):
                row[first + lag * actions + k] = row[first + k]


@jit
def _gate(
    net: Net,
    scales: np.ndarray,
    dims: np.ndarray,
    offsets: np.ndarray,
    row: np.ndarray,
    z: np.ndarray,
    full: np.ndarray,
    work: np.ndarray,
) -> float:
    """Compare the measurement with the prediction from the last one; open or shut the gate.

    Returns the age of a measurement that repeats an earlier one; 0 without an alarm, and -1 where it is not known.
    """
    entries, actions = dims[0], dims[1]
    mean, variance, x = full[1, :entries], full[2, :entries], work[5]
    _fill(x, row[offsets[MEASURED] : offsets[MEASURED] + entries], row, offsets[ACTIONS], entries, actions)
    predict(net, x, mean, variance, work)
    moves = 2 * entries + 2 * actions
    limits = moves + 3 * entries + 1
    limit = scales[moves + entries]
    total, count, broken, missing = 0.0, 0.0, False, False
    for i in range(entries):
        same = z[i] == row[offsets[MEASURED] + i]
        row[offsets[STILL] + i] = row[offsets[STILL] + i] + 1.0 if same else 0.0
        if scales[moves + i] > 0.0:
            missing = missing or is_missing(scales, z[i], i, entries, actions)
            broken = broken or row[offsets[STILL] + i] > scales[limits + 2 * entries + i]
            error = z[i] - mean[i]
            square = error * error / variance[i]
            broken = broken or square > scales[limits + i]
            square = min(square, CAP)
            running = row[offsets[SENSOR] + i]
            running += QUICK * (square - running)
            row[offsets[SENSOR] + i] = running
            broken = broken or running > scales[limits + entries + i]
            total += square
            count += 1.0
    error = total / max(count, 1.0)
    row[GATE] += RATE * (error - row[GATE])
    moving = _was_moving(net, scales, dims, offsets, row)
    missing = missing and (moving or row[CERTAIN] > 0.0)
    doubtful = error > REPEATED_ERROR and moving
    age = _age_of_repeated(scales, dims, offsets, row, z) if doubtful or row[STAMPED] > 0.0 else -1.0
    late = row[OPEN] == 0.0 and _watch_latency(net, scales, dims, offsets, row, z, error, full, work)
    if row[OPEN] == 0.0 and (broken or late or missing or age > 0.0 or row[GATE] > limit):
        row[OPEN], row[SINCE], row[LAG], row[INFLATION] = 1.0, 0.0, 0.0, 1.0
        row[FROM_MEASURED] = row[FROM_ESTIMATE] = row[CERTAIN] = row[STAMPED] = 0.0
        for k in range(offsets[STATE], len(row)):
            row[k] = 0.0
    elif row[OPEN] > 0.0 and not (broken or missing) and row[SINCE] > LEAST_OPEN and row[GATE] < CLOSE * limit:
        row[OPEN], row[USED], row[CERTAIN], row[STAMPED] = 0.0, 0.0, 0.0, 0.0
    if row[OPEN] > 0.0 and (missing or age > 0.0):
        row[CERTAIN] = 1.0
    if row[OPEN] > 0.0 and age > 0.0 and row[STAMPED] == 0.0:
        _begin_stamped(dims, offsets, row, full)
    return age if row[OPEN] > 0.0 else 0.0


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
def _was_moving(net: Net, scales: np.ndarray, dims: np.ndarray, offsets: np.ndarray, row: np.ndarray) -> bool:
    """Whether the last two measurements differ; True at the second one.

    The measurements of a robot at rest repeat, and its velocities are exactly 0.
    """
    entries, moves, change = dims[0], 2 * dims[0] + 2 * dims[1], net[6]
    total, count, first = 0.0, 0.0, offsets[MEASURED]
    for i in range(entries):
        if scales[moves + i] > 0.0:
            step = (row[first + i] - row[first + entries + i]) / change[i]
            total += step * step
            count += 1.0
    return bool(row[DECISIONS] < 2.0 or total > MOVING * count)


@jit
def _age_of_repeated(
    scales: np.ndarray, dims: np.ndarray, offsets: np.ndarray, row: np.ndarray, z: np.ndarray
) -> float:
    """Return the age of a measurement that is equal to one of the last ones in all sensors that move; else -1."""
    entries, moves = dims[0], 2 * dims[0] + 2 * dims[1]
    for back in range(int(min(row[DECISIONS], 1.0 * PAST))):
        first, equal = offsets[MEASURED] + back * entries, False
        for i in range(entries):
            if scales[moves + i] > 0.0:
                equal = z[i] == row[first + i]
                if not equal:
                    break
        if equal:
            return float(1.0 + back + row[offsets[AGES] + back])
    return -1.0


@jit
def _begin_stamped(dims: np.ndarray, offsets: np.ndarray, row: np.ndarray, full: np.ndarray) -> None:
    """Begin the estimate at the last measurement, in an alarm in which measurements have ages of their own."""
    entries = dims[0]
    row[STAMPED], row[IGNORED], row[INFLATION] = 1.0, 0.0, 1.0
    row[FRAME] = row[DECISIONS] - 1.0 - row[offsets[AGES]]
    for k in range(offsets[STATE], len(row)):
        row[k] = 0.0
    for i in range(entries):
        row[offsets[STATE] + i] = row[offsets[CLEANED] + i] = row[offsets[MEASURED] + i]
        row[offsets[COVARIANCE] + i * entries + i] = full[2, i]


@jit
def _watch_latency(
    net: Net, scales: np.ndarray, dims: np.ndarray, offsets: np.ndarray, row: np.ndarray, z: np.ndarray, error: float,
    full: np.ndarray, work: np.ndarray,
) -> bool:  # fmt: skip
    """Compare one latency a decision, in turn, with none; return whether one explains the measurements better."""
    entries, actions = dims[0], dims[1]
    lag = 1 + int(row[DECISIONS]) % (LAGS - 1)
    x, mean, variance = work[5], full[4, :entries], full[5, :entries]
    before = row[offsets[MEASURED] : offsets[MEASURED] + entries]
    _fill(x, before, row, offsets[ACTIONS] + lag * actions, entries, actions)
    predict(net, x, mean, variance, work)
    total, count = 0.0, 0.0
    for i in range(entries):
        if scales[2 * entries + 2 * actions + i] > 0.0:
            other = z[i] - mean[i]
            total += min(other * other / variance[i], CAP)
            count += 1.0
    place = offsets[WATCHED] + 2 * lag
    if row[place] == 0.0:
        row[place] = row[place + 1] = 1.0
    row[place] += WATCH * (total / max(count, 1.0) - row[place])
    row[place + 1] += WATCH * (error - row[place + 1])
    late: bool = row[place + 1] > LATE and row[place] < SWITCH * row[place + 1]
    return late


@jit
def _start(scales: np.ndarray, dims: np.ndarray, offsets: np.ndarray, row: np.ndarray, z: np.ndarray) -> bool:
    """Begin the estimate at the first observation and at how episodes begin; return whether a sensor contradicts it."""
    entries, actions = dims[0], dims[1]
    moves = 2 * entries + 2 * actions
    start, contradicts = moves + entries + 1, False
    for i in range(entries):
        center, variance = scales[start + i], scales[start + entries + i]
        innovation = z[i] - center
        wrong = scales[moves + i] > 0.0 and innovation * innovation > 4.0 * REJECT * variance
        contradicts = contradicts or wrong
        begun = center if wrong else z[i]
        row[offsets[STATE] + i] = begun
        row[offsets[CLEANED] + i] = begun
        row[offsets[COVARIANCE] + i * entries + i] = variance if wrong else 0.01 * variance
    return contradicts


@jit
def _begin(
    net: Net,
    scales: np.ndarray,
    dims: np.ndarray,
    offsets: np.ndarray,
    row: np.ndarray,
    full: np.ndarray,
    work: np.ndarray,
) -> None:
    """Run the estimate through the measurements that are kept: it begins before the fault, or at the start."""
    entries = dims[0]
    past = offsets[MEASURED]
    count = int(min(row[DECISIONS], 1.0 * PAST))  # measurements that are kept; the newest is at 0
    oldest = past + (count - 1) * entries
    if row[DECISIONS] <= PAST:
        _start(scales, dims, offsets, row, row[oldest : oldest + entries])
    else:
        for i in range(entries):
            row[offsets[STATE] + i] = row[oldest + i]
            row[offsets[CLEANED] + i] = row[oldest + i]
            row[offsets[COVARIANCE] + i * entries + i] = full[2, i]
    for back in range(count - 2, -1, -1):
        first = past + back * entries
        before = row[first + entries : first + 2 * entries]
        _estimate(net, scales, dims, offsets, row, row[first : first + entries], before, back + 1, full, work)


@jit
def _latency(
    net: Net,
    dims: np.ndarray,
    offsets: np.ndarray,
    row: np.ndarray,
    z: np.ndarray,
    before: np.ndarray,
    back: int,
    full: np.ndarray,
    work: np.ndarray,
) -> None:
    """Ask which latency explains a measurement best by the one before.

    Writes to full[4] what is expected at the latency that is taken, with estimates in the place of rejected entries,
    and to full[9] what the measurement before lets expect without a latency.
    """
    entries, actions = dims[0], dims[1]
    x, mean, variance = work[5], full[4, :entries], full[5, :entries]
    weight = max(RATE, 1.0 / (row[SINCE] + 1.0))
    stats, first = offsets[LATENCY], offsets[ACTIONS] + back * actions
    best = 0
    for lag in range(LAGS):
        _fill(x, before, row, first + lag * actions, entries, actions)
        predict(net, x, mean, variance, work)
        total = 0.0
        for i in range(entries):
            error = z[i] - mean[i]
            total += min(error * error / variance[i], CAP)
            if lag == 0:
                full[9, i] = mean[i]
        row[stats + lag] += weight * (total / entries - row[stats + lag])
        if row[stats + lag] < row[stats + best]:
            best = lag
    if row[SINCE] >= SETTLED and row[stats + best] < SWITCH * row[stats + int(row[LAG])]:
        _begin_at_latency(offsets, row, before, best, full)
    cleaned = row[offsets[CLEANED] : offsets[CLEANED] + entries]
    _fill(x, cleaned, row, first + int(row[LAG]) * actions, entries, actions)
    predict(net, x, mean, variance, work)


@jit
def _begin_at_latency(offsets: np.ndarray, row: np.ndarray, before: np.ndarray, best: int, full: np.ndarray) -> None:
    """Begin the estimate again at the measurement before: what was learned was learned at a wrong latency."""
    entries, latency = len(before), offsets[LATENCY]
    row[LAG], row[INFLATION] = best, 1.0
    row[FROM_MEASURED], row[FROM_ESTIMATE] = row[latency], row[latency + best]
    for k in range(offsets[COVARIANCE], latency):
        row[k] = 0.0
    for k in range(offsets[REJECTED], offsets[GAINS]):
        row[k] = 0.0
    for i in range(entries):
        row[offsets[STATE] + i] = row[offsets[CLEANED] + i] = before[i]
        row[offsets[COVARIANCE] + i * entries + i] = full[5, i]


@jit
def _estimate(
    net: Net,
    scales: np.ndarray,
    dims: np.ndarray,
    offsets: np.ndarray,
    row: np.ndarray,
    z: np.ndarray,
    before: np.ndarray,
    back: int,
    full: np.ndarray,
    work: np.ndarray,
) -> None:
    """Update the estimate by the measurement z, which ``before`` preceded, and predict it over the latency.

    ``back`` is how many decisions ago z was measured. The result is written to full[1].
    """
    entries, actions = dims[0], dims[1]
    _latency(net, dims, offsets, row, z, before, back, full, work)
    residual = full[6, :entries]
    for i in range(entries):
        residual[i] = z[i] - full[4, i]
    estimate, variance, x = full[1, :entries], full[2, :entries], work[5]
    first = offsets[ACTIONS] + back * actions
    _fill(x, row[offsets[STATE] : offsets[STATE] + entries], row, first + int(row[LAG]) * actions, entries, actions)
    predict(net, x, estimate, variance, work)
    jac = full[10 : 10 + entries]
    jacobian(net, work, work[6:].ravel(), jac)
    _compare(scales, dims, offsets, row, z, full)
    covariance = offsets[COVARIANCE]
    p = row[covariance : covariance + entries * entries].reshape((entries, entries))
    propagate(jac, p, full[10 + entries : 10 + 2 * entries], variance, row[INFLATION], entries)
    accepted = full[3, :entries]
    _update(scales, dims, offsets, row, z, before, p, full)
    _learn_noise(offsets, row, jac, residual, accepted, variance, entries)
    _learn_gains(dims, offsets, row, first + int(row[LAG]) * actions, jac, full)
    for i in range(entries):
        row[offsets[STATE] + i] = estimate[i]
        row[offsets[RESIDUAL] + i] = residual[i]
        row[offsets[ACCEPTED] + i] = accepted[i]
        row[offsets[CLEANED] + i] = z[i] if accepted[i] > 0.0 else estimate[i]
    row[SINCE] += 1.0
    mean = full[4, :entries]
    for lag in range(int(row[LAG]) - 1, -1, -1):
        _fill(x, estimate, row, first + lag * actions, entries, actions)
        predict(net, x, mean, full[5, :entries], work)
        for i in range(entries):
            estimate[i] = mean[i]


@jit
def _estimate_stamped(
    net: Net,
    scales: np.ndarray,
    dims: np.ndarray,
    offsets: np.ndarray,
    row: np.ndarray,
    z: np.ndarray,
    age: float,
    full: np.ndarray,
    work: np.ndarray,
) -> float:
    """Update the estimate by a measurement whose age is its own, and predict it to the present (full[1]).

    ``age`` is that of a measurement that repeats an earlier one, which is of no use; else -1, and the age that explains
    the measurement best is found and returned.
    """
    entries, actions = dims[0], dims[1]
    now, state = row[DECISIONS], row[offsets[STATE] : offsets[STATE] + entries]
    if age < 0.0:
        steps = _steps_to(net, scales, dims, offsets, row, z, full, work)
        if steps > 0:
            _advance_stamped(net, scales, dims, offsets, row, z, steps, full, work)
        age = now - row[FRAME] + (1.0 if row[IGNORED] > 0.0 else 0.0)
    row[LAG] = min(now - row[FRAME], 1.0 * LAGS)
    row[SINCE] += 1.0
    estimate, x, mean = full[1, :entries], work[5], full[4, :entries]
    for i in range(entries):
        estimate[i] = state[i]
    for back in range(int(now - row[FRAME]) - 1, -1, -1):
        _fill(x, estimate, row, offsets[ACTIONS] + back * actions, entries, actions)
        predict(net, x, mean, full[5, :entries], work)
        for i in range(entries):
            estimate[i] = mean[i]
    return age


@jit
def _steps_to(
    net: Net, scales: np.ndarray, dims: np.ndarray, offsets: np.ndarray, row: np.ndarray, z: np.ndarray,
    full: np.ndarray, work: np.ndarray,
) -> int:  # fmt: skip
    """Return how many decisions after the estimated one a measurement is, by what explains it best; 0 if nothing does.

    Where nothing has for long, the estimate begins again at the measurement, as if it were of the present.
    """
    entries, actions, moves = dims[0], dims[1], 2 * dims[0] + 2 * dims[1]
    ahead, mean, variance, x = full[7, :entries], full[4, :entries], full[5, :entries], work[5]
    behind = int(row[DECISIONS] - row[FRAME])
    best, least = 0, IGNORE
    for i in range(entries):
        ahead[i] = row[offsets[STATE] + i]
    for step in range(1, min(behind, LAGS) + 1):
        _fill(x, ahead, row, offsets[ACTIONS] + (behind - step) * actions, entries, actions)
        predict(net, x, mean, variance, work)
        total, count = 0.0, 0.0
        for i in range(entries):
            ahead[i] = mean[i]
            if scales[moves + i] > 0.0 and not is_missing(scales, z[i], i, entries, actions):
                error = z[i] - mean[i]
                total += min(error * error / variance[i], CAP)
                count += 1.0
        if count > 0.0 and total / count < least:
            best, least = step, total / count
    row[IGNORED] = 0.0 if best > 0 else row[IGNORED] + 1.0
    if row[IGNORED] > MOST_IGNORED or behind > LAGS:
        row[FRAME], row[IGNORED], row[INFLATION] = row[DECISIONS], 0.0, 1.0
        for i in range(entries):
            row[offsets[STATE] + i] = z[i]
            for j in range(entries):
                row[offsets[COVARIANCE] + i * entries + j] = full[2, i] if i == j else 0.0
        return 0
    return best


@jit
def _advance_stamped(
    net: Net,
    scales: np.ndarray,
    dims: np.ndarray,
    offsets: np.ndarray,
    row: np.ndarray,
    z: np.ndarray,
    steps: int,
    full: np.ndarray,
    work: np.ndarray,
) -> None:
    """Predict the estimate ``steps`` decisions ahead and update it by the measurement."""
    entries, actions, covariance = dims[0], dims[1], offsets[COVARIANCE]
    estimate, variance, x, jac = full[1, :entries], full[2, :entries], work[5], full[10 : 10 + entries]
    p = row[covariance : covariance + entries * entries].reshape((entries, entries))
    state, behind = row[offsets[STATE] : offsets[STATE] + entries], int(row[DECISIONS] - row[FRAME])
    for step in range(1, steps + 1):
        _fill(x, state, row, offsets[ACTIONS] + (behind - step) * actions, entries, actions)
        predict(net, x, estimate, variance, work)
        jacobian(net, work, work[6:].ravel(), jac)
        propagate(jac, p, full[10 + entries : 10 + 2 * entries], variance, row[INFLATION], entries)
        for i in range(entries):
            state[i] = estimate[i]
    row[FRAME] += 1.0 * steps
    _update(scales, dims, offsets, row, z, row[offsets[MEASURED] : offsets[MEASURED] + entries], p, full)
    for i in range(entries):
        state[i] = row[offsets[CLEANED] + i] = estimate[i]
        row[offsets[ACCEPTED] + i] = full[3, i]


@jit
def _compare(
    scales: np.ndarray, dims: np.ndarray, offsets: np.ndarray, row: np.ndarray, z: np.ndarray, full: np.ndarray
) -> None:
    """Compare how well the measurement before (full[9]) and the estimate before (full[1]) predict trusted sensors."""
    entries, moves = dims[0], 2 * dims[0] + 2 * dims[1]
    measured, estimated, count = 0.0, 0.0, 0.0
    for i in range(entries):
        if scales[moves + i] > 0.0 and row[offsets[REJECTED] + i] < 0.5:
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
def _update(
    scales: np.ndarray,
    dims: np.ndarray,
    offsets: np.ndarray,
    row: np.ndarray,
    z: np.ndarray,
    before: np.ndarray,
    p: np.ndarray,
    full: np.ndarray,
) -> None:
    """Update estimate (full[1]) and covariance by the sensors that agree with them; write which did to full[3]."""
    entries, actions = dims[0], dims[1]
    moves = 2 * entries + 2 * actions
    estimate, variance, accepted, ratios = full[1, :entries], full[2, :entries], full[3, :entries], full[7, :entries]
    missing = full[5, :entries]
    count, modelled = 0, 0
    for i in range(entries):
        missing[i] = 0.0
        innovation = z[i] - estimate[i]
        ratio = innovation * innovation / (p[i, i] + row[offsets[NOISE] + i])
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
        accepted[i] = 1.0 if agrees and (share < 0.5 or row[offsets[AGREED] + i] > AGREE) else 0.0
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
        spread = p[i, i] + row[offsets[NOISE] + i]
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
def _record_sensor(
    offsets: np.ndarray, row: np.ndarray, i: int, agrees: bool, repeats: bool, zero: bool, innovation: float
) -> float:
    """Advance what is known of how sensor i is wrong; return its share of disagreements."""
    row[offsets[AGREED] + i] = row[offsets[AGREED] + i] + 1.0 if agrees else 0.0
    share = row[offsets[REJECTED] + i]
    share += FAST * ((0.0 if agrees else 1.0) - share)
    row[offsets[REJECTED] + i] = share
    row[offsets[REPEATED] + i] += RATE * ((1.0 if repeats else 0.0) - row[offsets[REPEATED] + i])
    row[offsets[ZERO] + i] += RATE * ((1.0 if zero else 0.0) - row[offsets[ZERO] + i])
    row[offsets[SHIFT] + i] += RATE * (innovation - row[offsets[SHIFT] + i])
    row[offsets[SCATTER] + i] += RATE * (innovation * innovation - row[offsets[SCATTER] + i])
    return float(share)


@jit
def _begin_again(offsets: np.ndarray, row: np.ndarray, z: np.ndarray, p: np.ndarray, full: np.ndarray) -> None:
    """Begin a lost estimate again, at the measurement of sensors that were mostly right and not missing (full[5])."""
    entries = len(z)
    estimate, variance, accepted = full[1, :entries], full[2, :entries], full[3, :entries]
    for i in range(entries):
        for j in range(entries):
            p[i, j] = 0.0
        unreliable = row[offsets[REJECTED] + i] > 0.5 or full[5, i] > 0.0
        p[i, i] = 1.0 if unreliable else variance[i] + row[offsets[NOISE] + i]
        estimate[i] = estimate[i] if unreliable else z[i]
        accepted[i] = 0.0 if unreliable else 1.0
    row[INFLATION] = 1.0


@jit
def _learn_noise(
    offsets: np.ndarray,
    row: np.ndarray,
    jac: np.ndarray,
    residual: np.ndarray,
    accepted: np.ndarray,
    variance: np.ndarray,
    entries: int,
) -> None:
    """Estimate the sensors' noise: consecutive residuals are anticorrelated by it, not by model error (Mehra, 1970)."""
    share = max(SLOW, 1.0 / (row[SINCE] + 1.0))
    for j in range(entries):
        if row[offsets[ACCEPTED] + j] == 0.0:
            continue
        above, below = 0.0, 0.0
        for i in range(entries):
            if accepted[i] > 0.0:
                above -= jac[i, j] * residual[i] * row[offsets[RESIDUAL] + j] / variance[i]
                below += jac[i, j] * jac[i, j] / variance[i]
        sums = offsets[NOISE_SUMS] + 2 * j
        row[sums] += share * (above - row[sums])
        row[sums + 1] += share * (below - row[sums + 1])
        if row[sums + 1] > 0.0:
            row[offsets[NOISE] + j] = max(0.0, row[sums] / row[sums + 1])


@jit
def _learn_gains(
    dims: np.ndarray, offsets: np.ndarray, row: np.ndarray, action: int, jac: np.ndarray, full: np.ndarray
) -> None:
    """Advance the normal equations of the actuators' gains by the residual full[6] of this decision."""
    entries, actions = dims[0], dims[1]
    residual, variance, accepted = full[6, :entries], full[2, :entries], full[3, :entries]
    share = max(SLOW, 1.0 / (row[SINCE] + 1.0))
    for k in range(actions):
        total = 0.0
        for i in range(entries):
            if accepted[i] > 0.0:
                total += jac[i, entries + k] * residual[i] / variance[i]
        place = offsets[GAIN_SUMS] + k
        row[place] += share * (total * row[action + k] - row[place])
        for m in range(actions):
            total = 0.0
            for i in range(entries):
                if accepted[i] > 0.0:
                    total += jac[i, entries + k] * jac[i, entries + m] / variance[i]
            place = offsets[GAINS] + k * actions + m
            row[place] += share * (total * row[action + k] * row[action + m] - row[place])
