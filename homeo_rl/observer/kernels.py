"""The compiled observer: gate, latency, robust Kalman filter and prediction over the latency, one decision a call.

`tests/support/observer_reference.py` says the same in plain numpy, and tests compare the two. Everything that is known
of a slot is one row of numbers, laid out by `homeo_rl.observer.layout`. Only sums, products, quotients and square roots
are used, in a fixed order: every processor gives the same bits.

Shapes: S slots, D observation entries, K action entries, H hidden units, L latencies.
"""

from typing import Any

import numpy as np
from numba.np.unsafe.ndarray import to_fixed_tuple

from homeo_rl.numerics.jit import jit
from homeo_rl.observer.bias_kernels import advance_biases, begin_biases
from homeo_rl.observer.filter_kernels import filter_measurement, is_missing
from homeo_rl.observer.layout import (
    CAP,
    CERTAIN,
    CLOSE,
    DECISIONS,
    FROM_ESTIMATE,
    FROM_MEASURED,
    GATE,
    INFLATION,
    LAG,
    LAGS,
    LATE,
    LEAST_OPEN,
    LIMIT,
    OPEN,
    PAST,
    QUICK,
    RATE,
    REJECT,
    REPEATED_ERROR,
    SINCE,
    STAMPED,
    SWITCH,
    USED,
    WATCH,
    Offsets,
)
from homeo_rl.observer.model_kernels import Setting, fill, predict, unpack
from homeo_rl.observer.stamped_kernels import begin_stamped, filter_stamped, find_repeated_age, was_moving

_PARTS = len(Offsets._fields)
_to_tuple: Any = to_fixed_tuple


@jit
def advance(
    w: np.ndarray,
    scales: np.ndarray,
    dims: np.ndarray,
    starts: np.ndarray,
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
        starts: of the parts of a row, `Offsets` as an array: numba takes long over a tuple from Python.
        rows: state of every slot [S, F], written in place.
        observations: measured [S, D] float32.
        last: actions of the last decision [S, K] float32.
        out: estimates of the present observation [S, D] float32; untouched where the gate is shut.
        work: scratch (`homeo_rl.observer.layout.work_space`).
        full: scratch (`homeo_rl.observer.layout.number_space`).
    """
    setting = _join(w, scales, dims, starts, work, full)
    offsets, entries = setting.offsets, setting.entries
    z, estimate, count = full[0, :entries], full[1, :entries], 0
    for s in range(rows.shape[0]):
        row, age, past = rows[s], 0.0, offsets.measured
        for i in range(entries):
            value = (np.float64(observations[s, i]) - scales[i]) / scales[entries + i]
            z[i] = min(max(value, -LIMIT), LIMIT)
        if row[DECISIONS] > 0.0:
            _push_action(setting, row, last[s])
            age = _gate(setting, row, z)
        elif _start(setting, row, z):
            row[OPEN], row[INFLATION] = 1.0, 1.0
            begin_biases(setting, row, z, True)
            for i in range(entries):
                estimate[i] = row[offsets.state + i]
        if row[OPEN] > 0.0:
            count += 1
            if row[STAMPED] > 0.0:
                age = filter_stamped(setting, row, z, age)
            elif row[DECISIONS] > 0.0:
                if row[SINCE] == 0.0:
                    _begin(setting, row)
                advance_biases(setting, row, z, row[past : past + entries], 0)
                filter_measurement(setting, row, z, row[past : past + entries], 0)
            row[SINCE] = max(row[SINCE], 1.0)
            for i in range(entries):
                out[s, i] = np.float32(estimate[i] * scales[entries + i] + scales[i])
        _push_measurement(offsets, row, z, age)
        row[DECISIONS] += 1.0
    return count


@jit
def _join(
    w: np.ndarray, scales: np.ndarray, dims: np.ndarray, starts: np.ndarray, work: np.ndarray, full: np.ndarray
) -> Setting:
    entries, actions, offsets = dims[0], dims[1], Offsets(*_to_tuple(starts, _PARTS))
    return Setting(unpack(w, dims), scales, offsets, entries, actions, 2 * entries + 2 * actions, work, full)


@jit
def _push_measurement(offsets: Offsets, row: np.ndarray, z: np.ndarray, age: float) -> None:
    entries, past, ages = len(z), offsets.measured, offsets.ages
    for k in range(PAST * entries - 1, entries - 1, -1):
        row[past + k] = row[past + k - entries]
    for i in range(entries):
        row[past + i] = z[i]
    for k in range(PAST - 1, 0, -1):
        row[ages + k] = row[ages + k - 1]
    row[ages] = max(age, 0.0)


@jit
def _push_action(setting: Setting, row: np.ndarray, action: np.ndarray) -> None:
    scales, entries, actions, first = setting.scales, setting.entries, setting.actions, setting.offsets.actions
    for k in range((LAGS + PAST) * actions - 1, actions - 1, -1):
        row[first + k] = row[first + k - actions]
    for k in range(actions):
        value = (np.float64(action[k]) - scales[2 * entries + k]) / scales[2 * entries + actions + k]
        row[first + k] = min(max(value, -1.0), 1.0)
        if row[DECISIONS] == 1.0:  # before the first action there was none: it stands for those
            for lag in range(1, LAGS + PAST):
                row[first + lag * actions + k] = row[first + k]


@jit
def _gate(setting: Setting, row: np.ndarray, z: np.ndarray) -> float:
    """Compare the measurement with the prediction from the last one; open or shut the gate.

    Returns the age of a measurement that repeats an earlier one; 0 without an alarm, and -1 where it is not known.
    """
    scales, offsets, entries, actions = setting.scales, setting.offsets, setting.entries, setting.actions
    moves, full = setting.moves, setting.full
    mean, variance, x = full[1, :entries], full[2, :entries], setting.work[5]
    fill(x, row[offsets.measured : offsets.measured + entries], row, offsets.actions, entries, actions)
    predict(setting.net, x, mean, variance, setting.work)
    limits, limit = moves + 3 * entries + 1, scales[moves + entries]
    total, count, broken, missing = 0.0, 0.0, False, False
    for i in range(entries):
        same = z[i] == row[offsets.measured + i]
        row[offsets.still + i] = row[offsets.still + i] + 1.0 if same else 0.0
        if scales[moves + i] > 0.0:
            missing = missing or is_missing(scales, z[i], i, entries, actions)
            broken = broken or row[offsets.still + i] > scales[limits + 2 * entries + i]
            error = z[i] - mean[i]
            square = error * error / variance[i]
            broken = broken or square > scales[limits + i]
            square = min(square, CAP)
            running = row[offsets.sensor + i]
            running += QUICK * (square - running)
            row[offsets.sensor + i] = running
            broken = broken or running > scales[limits + entries + i]
            total += square
            count += 1.0
    error = total / max(count, 1.0)
    row[GATE] += RATE * (error - row[GATE])
    moving = was_moving(setting, row)
    missing = missing and (moving or row[CERTAIN] > 0.0)
    doubtful = error > REPEATED_ERROR and moving
    age = find_repeated_age(setting, row, z) if doubtful or row[STAMPED] > 0.0 else -1.0
    late = row[OPEN] == 0.0 and _watch_latency(setting, row, z, error)
    if row[OPEN] == 0.0 and (broken or late or missing or age > 0.0 or row[GATE] > limit):
        row[OPEN], row[SINCE], row[LAG], row[INFLATION] = 1.0, 0.0, 0.0, 1.0
        row[FROM_MEASURED] = row[FROM_ESTIMATE] = row[CERTAIN] = row[STAMPED] = 0.0
        for k in range(offsets.state, len(row)):
            row[k] = 0.0
    elif row[OPEN] > 0.0 and not (broken or missing) and row[SINCE] > LEAST_OPEN and row[GATE] < CLOSE * limit:
        row[OPEN], row[USED], row[CERTAIN], row[STAMPED] = 0.0, 0.0, 0.0, 0.0
    if row[OPEN] > 0.0 and (missing or age > 0.0):
        row[CERTAIN] = 1.0
    if row[OPEN] > 0.0 and age > 0.0 and row[STAMPED] == 0.0:
        begin_stamped(setting, row)
    return age if row[OPEN] > 0.0 else 0.0


@jit
def _watch_latency(setting: Setting, row: np.ndarray, z: np.ndarray, error: float) -> bool:
    """Compare one latency a decision, in turn, with none; return whether one explains the measurements better."""
    net, scales, offsets, entries, actions, moves, work, full = setting
    lag = 1 + int(row[DECISIONS]) % (LAGS - 1)
    x, mean, variance = work[5], full[4, :entries], full[5, :entries]
    before = row[offsets.measured : offsets.measured + entries]
    fill(x, before, row, offsets.actions + lag * actions, entries, actions)
    predict(net, x, mean, variance, work)
    total, count = 0.0, 0.0
    for i in range(entries):
        if scales[moves + i] > 0.0:
            other = z[i] - mean[i]
            total += min(other * other / variance[i], CAP)
            count += 1.0
    place = offsets.watched + 2 * lag
    if row[place] == 0.0:
        row[place] = row[place + 1] = 1.0
    row[place] += WATCH * (total / max(count, 1.0) - row[place])
    row[place + 1] += WATCH * (error - row[place + 1])
    late: bool = row[place + 1] > LATE and row[place] < SWITCH * row[place + 1]
    return late


@jit
def _start(setting: Setting, row: np.ndarray, z: np.ndarray) -> bool:
    """Begin the estimate at the first observation and at how episodes begin; return whether a sensor contradicts it."""
    _, scales, offsets, entries, _, moves, _, _ = setting
    start, contradicts = moves + entries + 1, False
    for i in range(entries):
        center, variance = scales[start + i], scales[start + entries + i]
        innovation = z[i] - center
        wrong = scales[moves + i] > 0.0 and innovation * innovation > 4.0 * REJECT * variance
        contradicts = contradicts or wrong
        begun = center if wrong else z[i]
        row[offsets.state + i] = row[offsets.cleaned + i] = begun
        row[offsets.covariance + i * entries + i] = variance if wrong else 0.01 * variance
    return contradicts


@jit
def _begin(setting: Setting, row: np.ndarray) -> None:
    """Run the estimate through the measurements that are kept: it begins before the fault, or at the start."""
    _, _, offsets, entries, _, _, _, full = setting
    past = offsets.measured
    count = int(min(row[DECISIONS], 1.0 * PAST))  # measurements that are kept; the newest is at 0
    oldest = past + (count - 1) * entries
    begin_biases(setting, row, row[oldest : oldest + entries], row[DECISIONS] <= PAST)
    if row[DECISIONS] <= PAST:
        _start(setting, row, row[oldest : oldest + entries])
    else:
        for i in range(entries):
            row[offsets.state + i] = row[offsets.cleaned + i] = row[oldest + i]
            row[offsets.covariance + i * entries + i] = full[2, i]
    for back in range(count - 2, -1, -1):
        first = past + back * entries
        z, before = row[first : first + entries], row[first + entries : first + 2 * entries]
        advance_biases(setting, row, z, before, back + 1)
        filter_measurement(setting, row, z, before, back + 1)
