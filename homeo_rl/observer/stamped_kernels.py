"""The compiled filter where whole measurements repeat: each new one has an age of its own, which is searched for.

`homeo_rl.observer.kernels` has the whole of a decision and explains rows, scales and offsets.
"""

import numpy as np

from homeo_rl.numerics.jit import jit
from homeo_rl.observer.filter_kernels import is_missing, propagate, update_by_sensors
from homeo_rl.observer.layout import (
    CAP,
    DECISIONS,
    FRAME,
    IGNORE,
    IGNORED,
    INFLATION,
    LAG,
    LAGS,
    MOST_IGNORED,
    MOVING,
    PAST,
    SINCE,
    STAMPED,
)
from homeo_rl.observer.model_kernels import Setting, fill, jacobian, predict


@jit
def was_moving(setting: Setting, row: np.ndarray) -> bool:
    """Whether the last two measurements differ; True at the second one.

    The measurements of a robot at rest repeat, and its velocities are exactly 0.
    """
    scales, offsets, entries, moves = setting.scales, setting.offsets, setting.entries, setting.moves
    change = setting.net[6]
    total, count, first = 0.0, 0.0, offsets.measured
    for i in range(entries):
        if scales[moves + i] > 0.0:
            step = (row[first + i] - row[first + entries + i]) / change[i]
            total += step * step
            count += 1.0
    return bool(row[DECISIONS] < 2.0 or total > MOVING * count)


@jit
def find_repeated_age(setting: Setting, row: np.ndarray, z: np.ndarray) -> float:
    """Return the age of a measurement that is equal to one of the last ones in all sensors that move; else -1."""
    scales, offsets, entries, moves = setting.scales, setting.offsets, setting.entries, setting.moves
    for back in range(int(min(row[DECISIONS], 1.0 * PAST))):
        first, equal = offsets.measured + back * entries, False
        for i in range(entries):
            if scales[moves + i] > 0.0:
                equal = z[i] == row[first + i]
                if not equal:
                    break
        if equal:
            return float(1.0 + back + row[offsets.ages + back])
    return -1.0


@jit
def begin_stamped(setting: Setting, row: np.ndarray) -> None:
    """Begin the estimate at the last measurement, in an alarm in which measurements have ages of their own."""
    offsets, entries, full = setting.offsets, setting.entries, setting.full
    row[STAMPED], row[IGNORED], row[INFLATION] = 1.0, 0.0, 1.0
    row[FRAME] = row[DECISIONS] - 1.0 - row[offsets.ages]
    for k in range(offsets.state, len(row)):
        row[k] = 0.0
    for i in range(entries):
        row[offsets.state + i] = row[offsets.cleaned + i] = row[offsets.measured + i]
        row[offsets.covariance + i * entries + i] = full[2, i]


@jit
def filter_stamped(setting: Setting, row: np.ndarray, z: np.ndarray, age: float) -> float:
    """Update the estimate by a measurement whose age is its own, and predict it to the present (full[1]).

    ``age`` is that of a measurement that repeats an earlier one, which is of no use; else -1, and the age that explains
    the measurement best is found and returned.
    """
    net, _, offsets, entries, actions, _, work, full = setting
    now, state = row[DECISIONS], row[offsets.state : offsets.state + entries]
    if age < 0.0:
        steps = _steps_to(setting, row, z)
        if steps > 0:
            _advance_stamped(setting, row, z, steps)
        age = now - row[FRAME] + (1.0 if row[IGNORED] > 0.0 else 0.0)
    row[LAG] = min(now - row[FRAME], 1.0 * LAGS)
    row[SINCE] += 1.0
    estimate, x, mean = full[1, :entries], work[5], full[4, :entries]
    for i in range(entries):
        estimate[i] = state[i]
    for back in range(min(int(now - row[FRAME]), LAGS + PAST) - 1, -1, -1):  # no more actions are kept
        fill(x, estimate, row, offsets.actions + back * actions, entries, actions)
        predict(net, x, mean, full[5, :entries], work)
        for i in range(entries):
            estimate[i] = mean[i]
    return age


@jit
def _steps_to(setting: Setting, row: np.ndarray, z: np.ndarray) -> int:
    """Return how many decisions after the estimated one a measurement is, by what explains it best; 0 if nothing does.

    Where nothing has for long, the estimate begins again at the measurement, as if it were of the present.
    """
    net, scales, offsets, entries, actions, moves, work, full = setting
    ahead, mean, variance, x = full[7, :entries], full[4, :entries], full[5, :entries], work[5]
    behind = int(row[DECISIONS] - row[FRAME])
    best, least = 0, IGNORE
    for i in range(entries):
        ahead[i] = row[offsets.state + i]
    for step in range(1, min(behind, LAGS) + 1):
        back = min(behind - step, LAGS + PAST - 1)
        fill(x, ahead, row, offsets.actions + back * actions, entries, actions)
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
            row[offsets.state + i] = z[i]
            for j in range(entries):
                row[offsets.covariance + i * entries + j] = full[2, i] if i == j else 0.0
        return 0
    return best


@jit
def _advance_stamped(setting: Setting, row: np.ndarray, z: np.ndarray, steps: int) -> None:
    """Predict the estimate ``steps`` decisions ahead and update it by the measurement."""
    net, _, offsets, entries, actions, _, work, full = setting
    covariance = offsets.covariance
    estimate, variance, x, jac = full[1, :entries], full[2, :entries], work[5], full[10 : 10 + entries]
    p = row[covariance : covariance + entries * entries].reshape((entries, entries))
    state, behind = row[offsets.state : offsets.state + entries], int(row[DECISIONS] - row[FRAME])
    for step in range(1, steps + 1):
        fill(x, state, row, offsets.actions + (behind - step) * actions, entries, actions)
        predict(net, x, estimate, variance, work)
        jacobian(net, work, work[6:].ravel(), jac, entries)
        propagate(jac, p, full[10 + entries : 10 + 2 * entries], variance, row[INFLATION], entries)
        for i in range(entries):
            state[i] = estimate[i]
    row[FRAME] += 1.0 * steps
    update_by_sensors(setting, row, z, row[offsets.measured : offsets.measured + entries], p)
    for i in range(entries):
        state[i] = row[offsets.cleaned + i] = estimate[i]
        row[offsets.accepted + i] = full[3, i]
