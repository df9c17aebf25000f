"""When rows of a batch are damaged: severity, onset, duration and recovery, by a clock for each row."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from homeo_rl.errors import UsageError
from homeo_rl.numerics.backend import Array, Backend, cast


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When each row is damaged and how severely. Each field is a number, or one for each row [N].

    Attributes:
        severity: in [0, 1]; 0 changes no bit.
        onset: first step of an episode with the fault; step 0 is that of the first observation.
        duration: steps of full severity; None for the rest of the episode.
        recovery: steps after them in which the severity falls linearly to 0, which it reaches thereafter.
    """

    severity: Any = 1.0
    onset: Any = 0
    duration: Any = None
    recovery: Any = 0

    def rows(self, num_envs: int) -> np.ndarray:
        """Return severity, onset, end of the full severity and recovery of each row, float64 [4, N, 1].

        Raises:
            UsageError: a field has another shape, or a number out of its range.
        """
        duration = np.inf if self.duration is None else self.duration
        result = []
        for name, value, high in (
            ("severity", self.severity, 1.0), ("onset", self.onset, np.inf), ("duration", duration, np.inf),
            ("recovery", self.recovery, np.inf),
        ):  # fmt: skip
            numbers = np.asarray(value, np.float64)
            if numbers.shape not in ((), (num_envs,)):
                raise UsageError(f"{name}: expected a number or {num_envs} of them, got shape {numbers.shape}")
            whole = name == "severity" or np.array_equal(numbers, np.floor(numbers))
            if not (whole and ((numbers >= 0.0) & (numbers <= high)).all()):
                kind = "numbers from 0 to 1" if name == "severity" else "whole numbers >= 0"
                raise UsageError(f"{name}: expected {kind}, got {numbers.tolist()}")
            result.append(np.broadcast_to(numbers, num_envs))
        result[2] = result[1] + result[2]
        return np.stack(result)[:, :, None]


ALWAYS = Schedule()
"""Full severity from the first step of each episode on."""


class Now(NamedTuple):
    """A step of each row, arrays [N, 1]."""

    step: Array
    """Steps since the beginning of the episode, int64."""
    since: Array
    """Steps since the onset, int64."""
    severity: Array
    """Float64."""
    active: Array | None
    """Which rows are damaged; None for all."""
    idle: bool
    """Whether no row is damaged. False also where a device would have to be asked."""


class Clock:
    """The steps of each row, from which its severity follows."""

    def __init__(self, backend: Backend, times: np.ndarray) -> None:
        """Take what `Schedule.rows` returned, [4, N, 1]."""
        self.backend, self._rows = backend, times[:, :, 0].copy()
        self._times = backend.array(times)
        self.full = self._times[0]
        self.steps = backend.zeros((times.shape[1], 1), backend.xp.int64)
        if backend.xp is np:
            from homeo_rl.degradations.schedule_kernel import read_clock  # here: numba takes a second to load

            self._read = read_clock

    def begin(self, mask: Array) -> None:
        """Go to step 0 in the rows of ``mask`` [N, 1]."""
        self.steps = self.backend.xp.where(mask, 0 * self.steps, self.steps)

    def advance(self, mask: Array | None) -> None:
        """Take a step of the rows of ``mask`` [N, 1], None for all."""
        self.steps = self.steps + (1 if mask is None else cast(mask, self.backend.xp.int64))

    def tick(self, mask: Array | None) -> Now:
        """Return the step of the rows of ``mask`` [N, 1], None for all, and go to their next one."""
        steps = self.steps
        self.advance(mask)
        if self.backend.xp is np:
            severity, since = np.empty(steps.shape), np.empty(steps.shape, np.int64)
            active = np.empty(steps.shape, np.bool_)
            damaged = self._read(steps, self._rows, severity, since, active)
            if mask is not None:
                active &= mask
            everywhere = mask is None and damaged == len(steps)
            return Now(steps, since, severity, None if everywhere else active, damaged == 0)
        severity = self.severity(steps)
        active = severity > 0 if mask is None else (severity > 0) & mask
        return Now(steps, steps - cast(self._times[1], self.backend.xp.int64), severity, active, False)

    def severity(self, steps: Array) -> Array:
        """Return the severity of each row at a step, [N, 1]; 0 out of the time of the fault."""
        full, onset, end, recovery = self._times
        left = (end + recovery - steps) / (recovery + 1.0)
        return full * self.backend.xp.clip(left, 0.0, 1.0) * (steps >= onset)
