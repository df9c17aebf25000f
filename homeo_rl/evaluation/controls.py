"""Control arms: what could be gained if a fault were known. They are given what only a simulator knows.

- ``oracle``: the policy gets the true observation, undamaged and at once. Actuators and body stay as they are. It is
  the most that restoring observations can do; late actions it does not foresee.
- ``mask``: readings that say nothing of the truth (stuck, dropped, a faulty joint) are replaced by the sensor's healthy
  mean. Noise, offsets and latency stay.
- ``kalman``: the forward model and a Kalman filter that is given which readings are lost, the noise of the others,
  offsets and scales exactly, the age of readings, and the actions that are executed. It estimates in every decision
  under a fault, without a rehearsal. Drift is not revealed: a walk is no noise that a filter of the state models.

Where nothing is revealed, observations pass to the bit, so under clean conditions and damage of the network or the body
an episode is that of the arm without a control. What is revealed of a degradation is a row of `REVEALED`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from homeo_rl.degradations.lidar import BEAMS, NEAR
from homeo_rl.degradations.protocol import Condition, Env, EnvDegradation, wrap_sensors
from homeo_rl.errors import UsageError

if TYPE_CHECKING:
    from homeo_rl.observer.memory import ObserverMemory


class Stage(gym.Wrapper[Any, Any, Any, Any]):
    """Keep what passes at one place between robot and policy: the observations of an episode, and its actions.

    ``inner`` is the stage within the degradation that this one is around; None for the innermost, which has the truth.
    """

    def __init__(
        self, env: Env, degradation: Any = None, inner: Stage | None = None, condition: Condition | None = None
    ) -> None:
        super().__init__(env)
        self.degradation, self.inner = degradation, inner
        self.severity: float = 0.0 if condition is None else condition.severity
        self.onset: int = 0 if condition is None else condition.onset
        self.observations: list[Any] = []
        self.actions: list[Any] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        self.observations, self.actions = [observation], []
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step."""
        self.actions.append(np.array(action))
        observation, *rest = self.env.step(action)
        self.observations.append(observation)
        return observation, *rest

    @property
    def changed(self) -> Any:
        """What the degradation left of the present observation less what it got [D], float64."""
        assert self.inner is not None
        return self.observations[-1].astype(np.float64) - self.inner.observations[-1]


@dataclass
class KnownFault:
    """What is known of the present decision."""

    readings: np.ndarray  # as the policy gets them, less the errors that are known exactly [D]
    lost: np.ndarray  # readings that say nothing of the truth [D] bool
    variance: np.ndarray  # of the other readings' noise [D], in the square of their units
    age: int = 0  # decisions since the readings were measured
    pending: list[Any] = field(default_factory=list)  # actions that are executed next, whatever the policy does


def _lose(stage: Stage, fault: KnownFault) -> None:
    """Reveal which readings are replaced; one that is replaced by the truth is right."""
    fault.lost |= stage.changed != 0.0


def _correct(stage: Stage, fault: KnownFault) -> None:
    """Take the errors away."""
    fault.readings = fault.readings - stage.changed


def _scatter(stage: Stage, fault: KnownFault) -> None:
    """Reveal the variance of noise, in the unit of each entry where it has one."""
    unit = np.asarray(getattr(stage.degradation, "spread", ()) or 1.0)
    fault.variance += (stage.severity * stage.degradation.std * unit) ** 2


def _scatter_beams(stage: Stage, fault: KnownFault) -> None:
    """Reveal the variance of the beams, whose entries are NEAR / range, to first order at the reading."""
    slope = fault.readings[-BEAMS:] ** 2 / NEAR
    fault.variance[-BEAMS:] += (stage.severity * stage.degradation.std * slope) ** 2


def _date(stage: Stage, fault: KnownFault) -> None:
    """Reveal the age: the last observation that is the one that left."""
    assert stage.inner is not None
    past = stage.inner.observations[: -round(stage.severity * stage.degradation.steps) - 2 : -1]
    fault.age += next(age for age, earlier in enumerate(past) if np.array_equal(earlier, stage.observations[-1]))


def _schedule(stage: Stage, fault: KnownFault) -> None:
    """Reveal the actions that are on their way; the first one after the onset is executed until they arrive."""
    late, since = round(stage.severity * stage.degradation.steps), stage.actions[stage.onset :]
    fault.pending = ([since[0]] * late + since)[-late:] if since and late else []


REVEALED: dict[str, Callable[[Stage, KnownFault], None]] = {
    **dict.fromkeys(("obs-stuck", "obs-dropped", "obs-markov", "obs-spikes", "pose", "velocity", "lidar-stuck"), _lose),
    **dict.fromkeys(("obs-offset", "obs-scale"), _correct),
    **dict.fromkeys(("obs-gaussian", "obs-gaussian-normalised"), _scatter),
    "lidar-gaussian": _scatter_beams,
    **dict.fromkeys(("obs-delayed", "obs-jitter"), _date),
    "action-delay": _schedule,
}
"""What is revealed of a degradation, by its kind; of others, nothing is."""

_LATE = ("obs-delayed", "action-delay")


def latency_of(condition: Condition) -> int:
    """Return by how many decisions sensors and actuators together are late, always; jitter does not count."""
    late = [part for part in condition.degradations if part.kind in _LATE]
    return sum(round(condition.severity * part.steps) for part in late)  # type: ignore[attr-defined]


class Control(gym.Wrapper[Any, Any, Any, Any]):
    """Base of the controls: a layer between the degraded environment and the policy."""

    needs_memory = True

    def __init__(self, env: Stage, memory: Any) -> None:
        super().__init__(env)
        self.stages = [env]  # outermost first; the last one has the truth
        while self.stages[-1].inner is not None:
            self.stages.append(self.stages[-1].inner)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        self.begin()
        return self.restore(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step."""
        observation, *rest = self.env.step(action)
        return self.restore(observation), *rest

    def begin(self) -> None:
        """Forget the last episode."""

    def restore(self, observation: Any) -> Any:
        """Return what the policy gets in the place of ``observation``."""
        raise NotImplementedError

    def fault(self, observation: Any) -> KnownFault:
        """Return what is known of the present decision."""
        readings = observation.astype(np.float64)
        fault = KnownFault(readings, np.zeros(readings.shape, bool), np.zeros(readings.shape))
        for stage in self.stages[:-1]:
            reveal = REVEALED.get(stage.degradation.kind)
            if reveal is not None and len(stage.actions) >= stage.onset:
                reveal(stage, fault)
        return fault


class Oracle(Control):
    """The true observation."""

    needs_memory = False

    def restore(self, observation: Any) -> Any:
        """Return the true observation."""
        return self.stages[-1].observations[-1]


class Mask(Control):
    """The healthy mean in the place of lost readings."""

    def __init__(self, env: Stage, memory: ObserverMemory) -> None:
        super().__init__(env, memory)
        sequences = memory.observations
        self._mean = sequences.mean((0, 1), dtype=np.float64) if len(sequences) else memory.model.center

    def restore(self, observation: Any) -> Any:
        """Replace lost readings."""
        return np.where(self.fault(observation).lost, self._mean, observation).astype(observation.dtype)


class Kalman(Control):
    """The forward model and a filter that is given the fault."""

    def __init__(self, env: Stage, memory: ObserverMemory) -> None:
        from homeo_rl.observer.informed_filter import InformedFilter  # compiled functions take time to load

        super().__init__(env, memory)
        self._filter = InformedFilter(memory.model)
        self._time = -1

    def begin(self) -> None:
        """Return to how episodes begin."""
        self._filter.begin()
        self._time = -1  # of the last reading that the filter knows

    def restore(self, observation: Any) -> Any:
        """Estimate the present state, or that in which the next action will be executed."""
        fault, executed = self.fault(observation), self.stages[-1].actions
        now = len(executed)
        measured = now - fault.age
        is_exact = not fault.age and not fault.lost.any() and not fault.variance.any()
        if is_exact and np.array_equal(fault.readings, observation):
            self._filter.restart(observation)
            if not fault.pending:
                self._time = now
                return observation
        elif measured > self._time:
            for action in executed[max(self._time, 0) : measured]:
                self._filter.advance(action)
            self._filter.update(fault.readings, fault.lost, fault.variance)
        self._time = max(self._time, measured)
        return self._filter.ahead([*executed[self._time :], *fault.pending]).astype(observation.dtype)


CONTROLS: dict[str, type[Control]] = {"oracle": Oracle, "mask": Mask, "kalman": Kalman}
"""All controls by the name of their arm."""


@dataclass(frozen=True, kw_only=True)
class ControlledCondition(Condition):
    """A condition in which the policy is given what a control makes of the damaged observations."""

    control: str
    memory: ObserverMemory | None = None

    def wrap(self, env: Env, observation_std: np.ndarray | None = None) -> Env:
        """Return the damaged environment inside the control; undamaged environments stay as they are.

        Raises:
            UsageError: the forward model is missing, or its entries are not those of the observation.
        """
        if self.severity == 0 or not any(isinstance(part, EnvDegradation) for part in self.degradations):
            return env

        def inform(env: Env) -> Env:
            kind, entries = CONTROLS[self.control], 0 if self.memory is None else self.memory.model.entries
            if kind.needs_memory and env.observation_space.shape != (entries,):
                raise UsageError(
                    f"arm {self.control}: expected a forward model of observations {env.observation_space.shape}, got "
                    f"{f'one of {entries} entries' if entries else 'none'}; homeo-rl calibrate --practice makes it, "
                    "but not for a policy that sees a stack of observations"
                )
            stage = Stage(env)
            for part in self.degradations:
                if isinstance(part, EnvDegradation):
                    one = Condition(name=self.name, severity=self.severity, degradations=(part,), onset=self.onset)
                    damaged = one.wrap(stage, observation_std)
                    stage = Stage(damaged, getattr(damaged, "degradation", part), stage, self)
            return kind(stage, self.memory)

        return wrap_sensors(env, inform)
