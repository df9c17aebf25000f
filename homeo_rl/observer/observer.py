"""The observer: estimates in the place of measurements, where a rehearsal shows that they help the policy.

A gate compares each measurement with what the forward model expects. Where it opens, a Kalman filter estimates the
state (`homeo_rl.observer.kernels`). Where readings are missing or whole measurements repeat, the estimate is used at
once. Elsewhere it has to predict the other sensors better than the measurement does (`is_supported`), and the fault
that was identified is put on remembered sequences: the estimate is used if the policy's actions come closer to the
remembered ones with it than without it. Otherwise observations pass untouched.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from homeo_rl.observer import bias_kernels, kernels
from homeo_rl.observer.diagnosis import Diagnosis, diagnose
from homeo_rl.observer.layout import (
    BIAS_SINCE,
    CERTAIN,
    DECISIONS,
    ESTIMATE,
    FROM_ESTIMATE,
    FROM_MEASURED,
    GATE,
    NOTHING,
    OFFSETS,
    OPEN,
    SCALES,
    USED,
    WITHOUT_OFFSETS,
    Offsets,
    number_space,
    offsets_of,
    work_space,
)
from homeo_rl.observer.memory import ObserverMemory
from homeo_rl.observer.rehearsal import MOST_SCALE, Distance, Policy, Rehearsal

GATE_LIMIT = 2.6
"""Least running error that opens the gate; its expected value is 1."""

GATE_MARGIN = 1.4
"""Factor over the largest running error in clean sequences."""

SINGLE_LIMIT, SINGLE_MARGIN = 100.0, 4.0
"""The same for a single sensor in one decision."""

SENSOR_LIMIT, SENSOR_MARGIN = 8.0, 1.5
"""The same for the running error of a single sensor."""

STILL_LIMIT = 4.0
"""Decisions for which a sensor may read the same that never does so in remembered sequences."""

LEAST_R2 = 0.8
"""Median share of the change of a sensor that a model must explain; below it, faults are diagnosed, not replaced."""

REHEARSED_AT = (0, 4, 7, 10, 14, 20, 28, 40, 55, 70)
"""Decisions after an opening at which the use of the estimate is rehearsed, and then every `REHEARSED_EVERY`."""

REHEARSED_EVERY = 100

BIAS_EVERY = 10
"""Decisions of an alarm after which a bias is looked for where none is used; in the first `EARLY`, each one."""

BETTER, STILL_BETTER, NOT_WORSE = 0.6, 0.75, 1.5
"""Largest errors of what the last estimate predicts, as shares of those of what the last measurement predicts, at which
its use begins, goes on, and does either early."""

BIAS_BETTER, BIAS_STILL_BETTER = 0.4, 0.6
"""The same shares for measurements less a bias. A bias explains all errors, so more is asked."""

FEW, SUSPECT = 2, 0.25
"""Sensors that are few, and share of disagreements from which on a sensor counts."""

EARLY = 30
"""Decisions of an episode, and of an alarm, in which few rejected sensors are evidence enough: the model knows how
episodes begin, and the comparison needs time."""

LEAST_BIAS_SINCE = 2
"""Decisions over which biases are compared before one of them is believed."""

LEAST_ERROR = 2.0
"""Error of what the last measurement predicts, 1 in health, below which no estimate is used."""


class Observer:
    """Estimate the observations of ``slots`` episodes, each on its own.

    Owns its state: one row of numbers a slot. `__call__` takes the measurements before a decision, `record` the actions
    after it.
    """

    def __init__(self, memory: ObserverMemory, slots: int, policy: Policy, *, margin: float = 0.8) -> None:
        """Begin at rest.

        Args:
            memory: model and remembered sequences.
            slots: episodes side by side.
            policy: maps observations [N, D] to actions [N, K] of one scale, without memory of earlier ones.
            margin: the estimate is used where it brings actions closer than this share of their distance without it.
        """
        model = memory.model
        self.memory, self.model, self._policy = memory, model, policy
        self._dims = np.array([model.entries, model.actions, len(model.b1)])
        self.offsets, self._size = offsets_of(model.entries, model.actions)
        self._starts = np.array(self.offsets)
        self._scales = scales_of(memory)
        self._work = work_space(model.entries, model.actions, len(model.b1))
        self._full = number_space(model.entries, model.actions)
        self.rows = np.zeros((slots, self._size))
        self._allocate(slots)
        self._margin = margin
        # A lidar is hardly predictable: there, estimates were seen to lead robots into walls.
        self.explains = bool(model.moves.any() and np.median(model.r2[model.moves]) >= LEAST_R2)
        self.openings = [0] * slots
        self.used = [0] * slots
        self.alarmed_at: list[int | None] = [None] * slots
        self._alarmed_since = np.zeros(slots)
        self._alarmed, self._any_alarmed = np.zeros(slots, bool), False  # after the last decision

    def _allocate(self, slots: int) -> None:
        self._last = np.zeros((slots, self.model.actions), np.float32)
        self._out = np.zeros((slots, self.model.entries), np.float32)

    def begin(self, slot: int) -> None:
        """Forget everything about ``slot``: an episode begins."""
        self.rows[slot] = 0.0
        self.rows[slot, GATE] = 1.0
        self.openings[slot] = self.used[slot] = 0
        self.alarmed_at[slot] = None
        self._alarmed[slot] = False

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        """Return what the policy gets for the measurements [S, D] float32; itself where every gate is shut."""
        count = self.advance(observations)
        if not (count or self._any_alarmed):  # as always in health: nothing more is computed
            return observations
        was_open, is_open = self._alarmed, self.rows[:, OPEN] > 0.0
        self._alarmed, self._any_alarmed = is_open, count > 0
        result = observations.copy() if count else observations
        for slot in map(int, np.nonzero(is_open)[0]):
            row, opens = self.rows[slot], not was_open[slot]
            if opens:
                self.alarmed_at[slot] = int(row[DECISIONS]) - 1
                self._alarmed_since[slot] = row[DECISIONS]
            source = self._choose_source(slot)
            self.openings[slot] += int(source != NOTHING and row[USED] == NOTHING)
            row[USED] = source
            self.used[slot] += int(source != NOTHING)
            if source == ESTIMATE:
                result[slot] = self._out[slot]
            elif source != NOTHING:
                kind = source - WITHOUT_OFFSETS
                bias_kernels.correct(self._scales, self._dims, self.offsets, row, kind, result[slot])
                self._out[slot] = result[slot]
        return result

    def _choose_source(self, slot: int) -> int:
        """Return what the policy gets, one of `layout.SOURCES`; it is asked again now and then."""
        row, since = self.rows[slot], int(self.rows[slot, DECISIONS] - self._alarmed_since[slot])
        if not self.explains:
            return NOTHING
        if row[CERTAIN] > 0.0:
            return ESTIMATE if len(self.memory.observations) else NOTHING
        asked = since in REHEARSED_AT or since % REHEARSED_EVERY == 0
        if not asked and (row[USED] >= WITHOUT_OFFSETS or (since > EARLY and since % BIAS_EVERY)):
            return int(row[USED])
        # What is used goes on being used by half of the margin, so that a verdict does not alternate.
        margin = 0.5 * (1.0 + self._margin) if row[USED] > 0.0 else self._margin
        kind = find_bias(row, self.offsets, self.model.entries)
        if kind is not None and self.rehearsal.of_bias(row, kind).helps(margin):
            return WITHOUT_OFFSETS + kind
        if not asked:
            return int(row[USED])
        return ESTIMATE if self._is_supported(slot) and self.rehearse(slot).helps(margin) else NOTHING

    def advance(self, observations: np.ndarray) -> int:
        """Advance gates and filters by the measurements [S, D] float32, without a rehearsal; return the open gates."""
        return self._advance(self.rows, observations, self._last, self._out)

    def rehearse(self, slot: int) -> Distance:
        """Return how far the policy's actions are from the remembered ones under the fault of ``slot``."""
        return self.rehearsal(self.rows[slot])

    @cached_property
    def rehearsal(self) -> Rehearsal:
        """The rehearsal, made when it is first needed."""
        return Rehearsal(self.memory, self.offsets, self._policy, self._advance)

    def _is_supported(self, slot: int) -> bool:
        first = self.offsets.rejected
        return is_supported(self.rows[slot], self.rows[slot, first : first + self.model.entries],
                            self._alarmed_since[slot])  # fmt: skip

    def record(self, actions: np.ndarray) -> None:
        """See the actions [S, K] of the decision."""
        self._last[:] = actions

    def estimates(self) -> np.ndarray:
        """Return the estimates of the last decision [S, D]; of use where there was an alarm."""
        return self._out.copy()

    def is_used(self, slot: int) -> bool:
        """Whether the estimate took the place of the measurement in the last decision of ``slot``."""
        return bool(self.rows[slot, USED] > 0.0)

    def alarms(self) -> np.ndarray:
        """Return whether there is an alarm in each slot [S] bool."""
        result: np.ndarray = self.rows[:, OPEN] > 0.0
        return result

    def select(self, slots: Sequence[int]) -> None:
        """Drop all slots but these."""
        kept = list(slots)
        self.rows, last = np.ascontiguousarray(self.rows[kept]), self._last[kept]
        self._allocate(len(kept))
        self._last[:] = last
        self.openings = [self.openings[slot] for slot in kept]
        self.used = [self.used[slot] for slot in kept]
        self.alarmed_at = [self.alarmed_at[slot] for slot in kept]
        self._alarmed_since, self._alarmed = self._alarmed_since[kept], self._alarmed[kept]

    def diagnose(self, slot: int) -> Diagnosis:
        """Return what is found broken in ``slot``."""
        return diagnose(self.model, self.rows[slot], self.offsets, self.alarmed_at[slot])

    def _advance(self, rows: np.ndarray, observations: np.ndarray, last: np.ndarray, out: np.ndarray) -> int:
        return kernels.advance(
            self.model.packed, self._scales, self._dims, self._starts, rows, observations, last, out, self._work,
            self._full,
        )  # fmt: skip


def is_supported(row: np.ndarray, rejected: np.ndarray, since: float) -> bool:
    """Whether the sensors that are trusted are predicted better from the estimate than from the measurement.

    They are where a sensor is broken. Where the robot does what the model has not seen, because its network is damaged
    or because it stumbled, measurements are right and the estimate predicts them worse.

    Args:
        row: of the slot.
        rejected: share of disagreements of each sensor [D].
        since: decision of the episode at which the alarm began.
    """
    measured, estimated = row[FROM_MEASURED], row[FROM_ESTIMATE]
    early = since <= EARLY and row[DECISIONS] - since <= EARLY and (rejected > SUSPECT).sum() <= FEW
    if early or (row[USED] > 0.0 and row[DECISIONS] - since <= EARLY):
        return bool(estimated < NOT_WORSE * measured)
    if row[USED] > 0.0:
        return bool(estimated < STILL_BETTER * measured)
    return bool(measured > LEAST_ERROR and estimated < BETTER * measured)


def find_bias(row: np.ndarray, offsets: Offsets, entries: int) -> int | None:
    """Return the bias, `OFFSETS` or `SCALES`, without which measurements are what the model expects; None is neither.

    Its errors must be smaller than those of the measurements as they are, and smaller than those of the estimate.
    """
    if row[BIAS_SINCE] < LEAST_BIAS_SINCE:
        return None
    errors = row[offsets.bias_error : offsets.bias_error + 4].reshape(2, 2)
    scale = row[offsets.bias + entries : offsets.bias + 2 * entries]
    kinds = [OFFSETS, SCALES] if np.abs(scale).max() < MOST_SCALE else [OFFSETS]
    best = min(kinds, key=lambda kind: errors[kind, 1] / max(errors[kind, 0], 1e-9))
    measured, without = errors[best]
    share = BIAS_STILL_BETTER if row[USED] == WITHOUT_OFFSETS + best else BIAS_BETTER
    supported = measured > LEAST_ERROR and without < min(share * measured, row[FROM_ESTIMATE])
    return best if supported else None


def scales_of(memory: ObserverMemory) -> np.ndarray:
    """Return what the kernels know of a model beside its weights, in the order of `kernels.advance`."""
    model = memory.model
    gate = max(GATE_LIMIT, GATE_MARGIN * model.gate)
    single = np.maximum(SINGLE_LIMIT, SINGLE_MARGIN * model.largest)
    sensor = np.maximum(SENSOR_LIMIT, SENSOR_MARGIN * model.largest_running)
    units = (model.center, model.spread, model.action_center, model.action_spread, model.moves)
    limits = (np.array([gate]), model.start_mean, model.start_variance, single, sensor, _still(memory.observations))
    zeros = (memory.observations == 0.0).any((0, 1))
    return np.concatenate([np.asarray(part, np.float64) for part in (*units, *limits, zeros)])


def _still(observations: np.ndarray) -> np.ndarray:
    """Return the limit [D] of decisions for which a sensor reads the same: twice as many as in remembered sequences."""
    longest, run = np.zeros(observations.shape[2]), np.zeros((len(observations), observations.shape[2]))
    for step in range(1, observations.shape[1]):
        run = np.where(observations[:, step] == observations[:, step - 1], run + 1.0, 0.0)
        longest = np.maximum(longest, run.max(0, initial=0.0))
    return STILL_LIMIT + 2.0 * longest
