"""Control arms: what could be gained if a fault were known. They are given what only a simulator knows.

- ``oracle``: the policy gets the true observation, undamaged and at once. Actuators and body stay as they are. It is
  the most that restoring observations can do; late actions it does not foresee.
- ``mask``: readings that say nothing of the truth (stuck, dropped, a faulty joint) are replaced by the sensor's healthy
  mean. Noise, offsets and latency stay.
- ``kalman``: the forward model and a Kalman filter that is given which readings are lost, the noise of the others,
  offsets and scales exactly, the age of readings, and the actions that are executed. It estimates in every decision
  under a fault, without a rehearsal. Drift is not revealed: a walk is no noise that a filter of the state models.

Where nothing is revealed, observations pass to the bit, so under clean conditions and damage of the network or the body
an episode is that of the arm without a control.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from homeo_rl.degradations.protocol import Condition, DegradationWrapper, Env, EnvDegradation, KnownFault
from homeo_rl.errors import UsageError

if TYPE_CHECKING:
    from homeo_rl.observer.memory import ObserverMemory


class _Truth(gym.Wrapper[Any, Any, Any, Any]):
    """Keep the true observation and the executed actions of the episode; every degradation is around it."""

    observation: Any = None
    executed: list[Any]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        self.observation, info = self.env.reset(seed=seed, options=options)
        self.executed = []
        return self.observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step."""
        self.executed.append(np.array(action))
        self.observation, *rest = self.env.step(action)
        return self.observation, *rest


class Control(gym.Wrapper[Any, Any, Any, Any]):
    """Base of the controls: a layer between the degraded environment and the policy."""

    needs_memory = True

    def __init__(self, env: Env, truth: _Truth, memory: ObserverMemory | None) -> None:
        super().__init__(env)
        self.truth = truth

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
        """Return what is known of the present decision, of the outermost degradation first."""
        readings = observation.astype(np.float64)
        fault = KnownFault(readings, np.zeros(readings.shape, bool), np.zeros(readings.shape))
        inner = self.env
        while isinstance(inner, gym.Wrapper):
            if isinstance(inner, DegradationWrapper) and inner.active:
                inner.degradation.reveal(inner, fault)
            inner = inner.env
        return fault


class Oracle(Control):
    """The true observation."""

    needs_memory = False

    def restore(self, observation: Any) -> Any:
        """Return the true observation."""
        return self.truth.observation


class Mask(Control):
    """The healthy mean in the place of lost readings."""

    def __init__(self, env: Env, truth: _Truth, memory: ObserverMemory) -> None:
        super().__init__(env, truth, memory)
        sequences = memory.observations
        self._mean = sequences.mean((0, 1), dtype=np.float64) if len(sequences) else memory.model.center

    def restore(self, observation: Any) -> Any:
        """Replace lost readings."""
        return np.where(self.fault(observation).lost, self._mean, observation).astype(observation.dtype)


class Kalman(Control):
    """The forward model and a filter that is given the fault."""

    def __init__(self, env: Env, truth: _Truth, memory: ObserverMemory) -> None:
        from homeo_rl.observer.informed_filter import InformedFilter  # compiled functions take time to load

        super().__init__(env, truth, memory)
        self._filter = InformedFilter(memory.model)
        self._time = -1

    def begin(self) -> None:
        """Return to how episodes begin."""
        self._filter.begin()
        self._time = -1  # of the last reading that the filter knows

    def restore(self, observation: Any) -> Any:
        """Estimate the present state, or that in which the next action will be executed."""
        fault, executed = self.fault(observation), self.truth.executed
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
        kind, memory = CONTROLS[self.control], self.memory
        if kind.needs_memory and (memory is None or env.observation_space.shape != (memory.model.entries,)):
            entries = "none" if memory is None else f"one of {memory.model.entries} entries"
            raise UsageError(
                f"arm {self.control}: expected a forward model of observations {env.observation_space.shape}, got "
                f"{entries}; homeo-rl calibrate --practice makes it"
            )
        truth = _Truth(env)
        return kind(super().wrap(truth, observation_std), truth, memory)
