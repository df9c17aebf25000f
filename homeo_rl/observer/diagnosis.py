"""What is found broken: which sensors and how, what latency, which actuators; in the units of the robot."""

from dataclasses import dataclass

import numpy as np

from homeo_rl.observer.forward_model import ForwardModel
from homeo_rl.observer.layout import (
    LAG,
    OFFSETS,
    OPEN,
    PRIOR,
    SINCE,
    USED,
    WITHOUT_OFFSETS,
    Offsets,
)

KINDS = ("noise", "stuck", "dropped", "offset", "scale", "unreliable")

MOST_CHANGE = 2.0
"""Distance from 1 up to which a gain is one; what is further away says that the actions do not show."""

LEAST_BIAS = 0.05
"""Bias that is reported, in deviations of the sensor or in readings, where it is three deviations of its error."""


@dataclass(frozen=True)
class SensorFault:
    """One sensor that does not measure what the model expects."""

    entry: int  # of the observation
    kind: str  # one of `KINDS`
    # standard deviation or offset in the sensor's own unit; the share of lost readings where it drops out; the relative
    # error where its scale is wrong
    size: float
    # share of the last decisions in which it disagreed, or the noise's share of what is left unexplained; of a bias, by
    # how much its variance fell
    confidence: float


@dataclass(frozen=True)
class Diagnosis:
    """The state of one episode's observer."""

    alarm: bool  # whether measurements are not what the model expects
    since: int | None  # decision of the episode at which the alarm began; None where it never did
    used: bool  # whether estimates take the place of measurements
    latency: int  # decisions between an action and the measurement that shows it, beyond the usual
    sensors: tuple[SensorFault, ...]  # sensors at fault, the one with the largest errors in its own deviations first
    gains: np.ndarray  # estimated gain of each actuator [K]; NaN where its actions do not show


def diagnose(model: ForwardModel, row: np.ndarray, offsets: Offsets, since: int | None) -> Diagnosis:
    """Read a diagnosis from the row of a slot."""
    is_open = bool(row[OPEN])
    sensors = _sensors(model, row, offsets) if is_open and row[SINCE] >= 2 else ()
    gains = _gains(model, row, offsets) if is_open and row[SINCE] >= 20 else np.ones(model.actions)
    return Diagnosis(is_open, since, bool(row[USED]), int(row[LAG]) if is_open else 0, sensors, gains)


def _sensors(model: ForwardModel, row: np.ndarray, offsets: Offsets) -> tuple[SensorFault, ...]:
    if row[USED] >= WITHOUT_OFFSETS:
        return _biases(model, row, offsets)

    starts = offsets.rejected, offsets.repeated, offsets.zero, offsets.noise, offsets.shift, offsets.scatter
    rejected, repeated, zero, noise, shift, scatter = (row[first : first + model.entries] for first in starts)
    noise, faults = np.sqrt(noise), []
    for i in np.nonzero(model.moves)[0]:
        unit = float(model.spread[i])
        if repeated[i] > 0.5:
            faults.append(SensorFault(int(i), "stuck", float(np.sqrt(scatter[i])) * unit, float(repeated[i])))
        elif zero[i] > 0.03:
            faults.append(SensorFault(int(i), "dropped", float(zero[i]), float(zero[i])))
        elif rejected[i] > 0.5:
            steady = shift[i] ** 2 > 0.7 * scatter[i]
            size = float(shift[i]) if steady else float(np.sqrt(scatter[i]))
            faults.append(SensorFault(int(i), "offset" if steady else "noise", size * unit, float(rejected[i])))
        elif noise[i] > 0.05:
            share = float(np.clip(noise[i] ** 2 / max(scatter[i], 1e-12), 0.0, 1.0))
            faults.append(SensorFault(int(i), "noise", float(noise[i]) * unit, share))
        elif rejected[i] > 0.2:
            faults.append(SensorFault(int(i), "unreliable", float(np.sqrt(scatter[i])) * unit, float(rejected[i])))
    return tuple(sorted(faults, key=lambda fault: -scatter[fault.entry]))


def _biases(model: ForwardModel, row: np.ndarray, offsets: Offsets) -> tuple[SensorFault, ...]:
    kind, size = int(row[USED]) - WITHOUT_OFFSETS, model.entries
    first, square = offsets.bias + kind * size, offsets.bias_covariance + kind * size * size
    bias, variance = row[first : first + size], row[square : square + size * size : size + 1]
    biased = model.moves & (np.abs(bias) > LEAST_BIAS) & (bias**2 > 9.0 * variance)
    faults = []
    for i in np.nonzero(biased)[0]:
        amount = bias[i] * model.spread[i] if kind == OFFSETS else bias[i] / (1.0 - bias[i])
        name, confidence = ("offset", "scale")[kind], float(np.clip(1.0 - variance[i] / PRIOR**2, 0.0, 1.0))
        faults.append(SensorFault(int(i), name, float(amount), confidence))
    return tuple(sorted(faults, key=lambda fault: -abs(bias[fault.entry])))


def _gains(model: ForwardModel, row: np.ndarray, offsets: Offsets) -> np.ndarray:
    k = model.actions
    matrix = row[offsets.gains : offsets.gains + k * k].reshape(k, k)
    sums = row[offsets.gain_sums : offsets.gain_sums + k]
    diagonal = np.diag(matrix)
    shows = diagonal > 1e-3 * max(float(diagonal.max(initial=0.0)), 1e-12)
    gains = np.full(k, np.nan)
    if shows.any():
        kept = np.ix_(shows, shows)
        ridge = 0.01 * np.diag(diagonal[shows])
        solved = 1.0 + np.linalg.solve(matrix[kept] + ridge, sums[shows])
        gains[shows] = np.where(np.abs(solved - 1.0) <= MOST_CHANGE, solved, np.nan)
    return gains
