"""What is known of a slot, one row of numbers, and the constants of the observer: one setting for all hosts."""

from itertools import accumulate
from typing import NamedTuple

import numpy as np

(
    DECISIONS, GATE, OPEN, LAG, INFLATION, SINCE, USED, FROM_MEASURED, FROM_ESTIMATE, CERTAIN, STAMPED, FRAME, IGNORED,
    BIAS_SINCE,
) = range(14)  # fmt: skip
"""Scalars of a row: decisions so far, running error, whether the gate is open, latency in decisions, factor of the
process noise, decisions since the gate opened, what takes the place of the measurement (`SOURCES`), and the running
errors of what the last measurement and the last estimate predict of the sensors that are trusted; whether the fault of
this alarm is unmistakable, whether measurements have been repeated whole, so that each has an age of its own, the
decision whose state is estimated then, how many measurements in a row were of no use to it, and decisions since the
biases began to be estimated."""

SOURCES = NOTHING, ESTIMATE, WITHOUT_OFFSETS, WITHOUT_SCALES = range(4)
"""What the policy gets: the measurement, the estimate of the filter, or the measurement less an identified bias."""

OFFSETS, SCALES = range(2)
"""Biases that are estimated: each sensor adds something, or multiplies by something."""

_SCALARS = 16


class Offsets(NamedTuple):
    """Where the parts of a row begin."""

    actions: int  # [LAGS + PAST, K] executed actions, newest first
    measured: int  # [PAST, D] measurements, newest first
    sensor: int  # [D] running error of each sensor
    watched: int  # [LAGS, 2] before an alarm: running errors at each latency, and at none in the same decisions
    still: int  # [D] decisions for which each reading has been the same
    ages: int  # [PAST] age of each measurement when it was read, in decisions, newest first
    state: int  # [D] the estimate
    covariance: int  # [D, D] of its error
    cleaned: int  # [D] last measurement, with estimates in place of rejected entries
    residual: int  # [D] last residual
    noise: int  # [D] variance of each sensor's noise
    noise_sums: int  # [D, 2] the running sums that it is the quotient of
    latency: int  # [LAGS] running error of each latency
    accepted: int  # [D] whether the last measurement was used
    rejected: int  # [D] running share of disagreements
    agreed: int  # [D] decisions since the last one
    repeated: int  # [D] running share of readings that are equal to the one before
    zero: int  # [D] running share of readings of exactly 0
    shift: int  # [D] running mean of measurement minus estimate
    scatter: int  # [D] running mean of its square
    gains: int  # [K, K] normal equations of the actuators' gains
    gain_sums: int  # [K] their right-hand side
    bias: int  # [2, D] offsets, and shares of the readings that are too much (`OFFSETS`, `SCALES`)
    bias_covariance: int  # [2, D, D] of their errors
    bias_error: int  # [2, 2] running errors of the last measurement's prediction, as it is and without the bias
    bias_inflation: int  # [2] factors of the process noise under them


LAGS = 6
"""Latencies that are compared, 0 to 5 decisions."""

PAST = 8
"""Measurements that are kept: when the gate opens, the estimate begins before the fault did."""

RATE = 1.0 / 20.0
"""Weight of the newest decision in running means of errors."""

QUICK = 1.0 / 5.0
"""Weight of the newest decision in the running error of a single sensor."""

FAST = 1.0 / 10.0
"""Weight of the newest decision in the share of disagreements, and rate of the process noise."""

SLOW = 1.0 / 100.0
"""Least weight of the newest decision in the estimates of noise and gains, which are means at first."""

CAP = 25.0
"""Largest normalised squared error that counts in a running mean."""

LIMIT = 1000.0
"""Scaled observations are clipped to this."""

WATCH = 0.3
"""Weight of the newest comparison of a latency, one in LAGS - 1 decisions, before an alarm."""

LATE = 1.3
"""Least running error without a latency at which another one raises an alarm."""

SWITCH = 0.6
"""Another latency is taken where its error is below this share of the present one's."""

SETTLED = 5.0
"""Decisions after which latencies are compared."""

REJECT = 16.0
"""Squared innovations over their variance from which on a sensor is left out of the update."""

AGREE = 3.0
"""Decisions in a row in which a sensor that was mostly wrong must agree before it is used again."""

REPEATED_ERROR = 3.0
"""Error from which on a measurement that is equal to an earlier one in all sensors was not measured anew."""

MOVING = 0.01
"""Mean squared change of the sensors, 1 on average, from which on a robot moves."""

IGNORE = 9.0
"""Error at every age from which on a measurement is not used: it is older than what is known."""

MOST_IGNORED = 6.0
"""Measurements in a row that are not used before the estimate begins again."""

CLOSE = 0.6
"""The gate shuts where its running error falls below this share of its limit."""

LEAST_OPEN = 50.0
"""Decisions for which it stays open."""

PRIOR = 0.4
"""Standard deviation of a bias before the first measurement, in those of the sensor or of its reading."""

OFFSET_WALK, SCALE_WALK = 5e-5, 1e-7
"""Variance by which a bias may change in a decision. With the first, both constant offsets of 0.2 and a drift of 0.5 in
1,000 decisions were estimated well; smaller and larger ones served one of them only."""

REJECT_BIAS = 25.0
"""Squared residual over its variance from which on it does not count for a bias."""

UNLIKELY, PROBATION, SPARSE = 0.9, 30.0, 4.0
"""A bias that does not lower errors to this share after so many decisions is updated in one of so many only."""

CHI_MEDIAN = 0.455
"""Median of the square of a standard normal variable."""


def offsets_of(entries: int, actions: int) -> tuple[Offsets, int]:
    """Return the offsets of the parts of a row, and its length."""
    d, k = entries, actions
    sizes = [(LAGS + PAST) * k, PAST * d, d, 2 * LAGS, d, PAST, d, d * d, d, d, d, 2 * d, LAGS]  # up to latency
    sizes += [*[d] * 7, k * k, k, 2 * d, 2 * d * d, 4, 2]
    *starts, length = accumulate(sizes, initial=_SCALARS)
    return Offsets(*starts), length


def work_space(entries: int, actions: int, hidden: int) -> np.ndarray:
    """Return the float32 scratch space of the kernels: six rows of a prediction, three for each input or latency."""
    width = max(hidden, 2 * entries, entries + max(7, actions))
    return np.zeros((6 + 3 * max(entries + actions, LAGS), width), np.float32)


def number_space(entries: int, actions: int) -> np.ndarray:
    """Return the float64 scratch space of the kernels: ten rows of numbers, and two for each entry or latency."""
    return np.zeros((10 + 2 * max(entries, LAGS), max(entries + actions, 2)))
