"""What a degradation is: a name, a severity in [0, 1], a seed; 0 changes nothing, leaving restores every bit.

There are two kinds. An `EnvDegradation` changes what passes between policy and environment (sensors, actuators, the
body). A `NetworkDegradation` maps the trained weights to damaged copies; the trained tensors are never written.

Both draw from generators that depend on the episode's seed and the degradation's name only, so every arm of an
experiment meets the same damage.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from homeo_rl.numerics.typed_fields import require_fields
from homeo_rl.seeding import generator

if TYPE_CHECKING:
    from homeo_rl.snn.state import Weights

Env = gym.Env[Any, Any]


_RENAMED = (("incompatibility", "reason_against"), ("with_observation_std", "knowing"))
"""Methods that had another name; a subclass that defines the older one is understood for one more version."""


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """Base of all degradations. Fields are the magnitude at severity 1; a severity in between scales it."""

    kind: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        for name, older in _RENAMED:
            method = cls.__dict__.get(name) or cls.__dict__.get(older)
            if method is not None:
                setattr(cls, name, method)
                setattr(cls, older, method)

    def incompatibility(self, env: Env, *, spiking: bool) -> str | None:
        """Return why it does not apply to this environment or policy, or None if it does."""
        return None

    reason_against = incompatibility

    def to_dict(self) -> dict[str, Any]:
        """Return kind and parameters as plain data."""
        return {"kind": self.kind, **dataclasses.asdict(self)}


class DegradationWrapper(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """The wrapper of every environment degradation: counts steps, owns the generator and calls the hooks.

    ``reset(seed=s)`` seeds the generator from s and the degradation's name; a reset without a seed draws the next
    numbers of the same generator. Each hook is the degradation's, which finds here ``severity``, ``rng`` and
    ``memory``, what its `EnvDegradation.on_reset` returned for this episode.
    """

    def __init__(self, env: Env, degradation: EnvDegradation, severity: float, onset: int = 0) -> None:
        RecordConstructorArgs.__init__(self, degradation=degradation, severity=severity, onset=onset)
        gym.Wrapper.__init__(self, env)
        self.degradation, self.severity, self.onset = degradation, severity, onset
        self.elapsed = 0
        self.rng = np.random.default_rng()
        self.memory: Any = None

    @property
    def active(self) -> bool:
        """Whether the onset has come."""
        return self.elapsed >= self.onset

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        if seed is not None:
            self.rng = generator(seed, "environment", self.degradation.kind)
        self.elapsed = 0
        self.before_reset()
        observation, info = self.env.reset(seed=seed, options=options)
        self.after_reset(observation)
        return self.sense(observation, info) if self.active else (observation, info)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step: the action passes `act`, what comes back `sense`, both once the onset has come."""
        if self.elapsed == self.onset:
            self.begin()
        observation, reward, terminated, truncated, info = self.env.step(self.act(action) if self.active else action)
        self.elapsed += 1
        self.record(observation)
        if self.active:
            observation, info = self.sense(observation, info)
        return observation, reward, terminated, truncated, info

    def before_reset(self) -> None:
        """Undo what the last episode did to the environment."""

    def begin(self) -> None:
        """Change the environment at the onset."""

    def after_reset(self, observation: Any) -> None:
        """Draw what is drawn once an episode."""
        self.memory = self.degradation.on_reset(self, observation)

    def record(self, observation: Any) -> None:
        """See the true observation of every step, before the onset too."""
        self.degradation.record(self, observation)

    def act(self, action: Any) -> Any:
        """Return the action that is executed."""
        return self.degradation.act(self, action)

    def sense(self, observation: Any, info: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Return observation and info as they leave the wrapper; neither that came in may be written."""
        return self.degradation.sense(self, observation, info)

    def observe(self, observation: Any) -> Any:
        """Return the observation that the policy sees."""
        return self.degradation.observe(self, observation)


@dataclass(frozen=True, kw_only=True)
class EnvDegradation(Degradation):
    """A degradation of what happens between policy and world, given by hooks that its ``wrapper`` calls.

    Every hook but `on_reset` and `record` is called from the onset on. None may write an observation or an info.
    """

    wrapper: ClassVar[type[DegradationWrapper]] = DegradationWrapper

    def on_reset(self, at: DegradationWrapper, observation: Any) -> Any:
        """Return what the episode remembers (``at.memory``): what is drawn once, what was seen before."""

    def record(self, at: DegradationWrapper, observation: Any) -> None:
        """See the true observation of every step."""

    def act(self, at: DegradationWrapper, action: Any) -> Any:
        """Return the action that is executed."""
        return action

    def sense(self, at: DegradationWrapper, observation: Any, info: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Return observation and info as the policy gets them."""
        return at.observe(observation), info

    def observe(self, at: DegradationWrapper, observation: Any) -> Any:
        """Return the observation that the policy sees."""
        return observation

    def with_observation_std(self, std: np.ndarray) -> EnvDegradation:
        """Return this degradation for a policy whose sensors usually deviate by ``std`` [D] from their means."""
        return self

    knowing = with_observation_std

    def wrap(self, env: Env, severity: float, onset: int = 0) -> Env:
        """Return ``env`` degraded from step ``onset`` of every episode on; severity 0 returns ``env`` itself."""
        return self.wrapper(env, self, severity, onset) if severity > 0 else env


@dataclass(frozen=True, kw_only=True)
class NetworkDegradation(Degradation):
    """A degradation of the policy's own weights and neurons."""

    period: ClassVar[int] = 0
    """Decisions between two calls of `advance`; 0 for damage that happens once."""

    @abstractmethod
    def damage(self, weights: Weights, severity: float, rng: np.random.Generator) -> Weights:
        """Return damaged copies of ``weights``; tensors that do not change may be shared."""

    def advance(self, weights: Weights, severity: float, rng: np.random.Generator) -> Weights:
        """Return the weights after ``period`` more decisions."""
        return weights


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One column of a robustness table: degradations that happen together, at one severity, from one step on.

    ``env`` is the Gymnasium id of the environment that it takes place in; "" is the run's own.
    """

    name: str
    severity: float = 0.0
    degradations: tuple[Degradation, ...] = ()
    onset: int = 0
    env: str = ""

    def __post_init__(self) -> None:
        require_fields(self)

    @property
    def label(self) -> str:
        """Name for tables: the severity is shown where it is neither 0 nor 1."""
        return self.name if self.severity in (0.0, 1.0) else f"{self.name}@{self.severity:g}"

    def wrap(self, env: Env, observation_std: np.ndarray | None = None) -> Env:
        """Return ``env`` with all environment degradations around it, the first one innermost.

        They stand beneath a stack of observations, where ``env`` has one (`wrap_sensors`).

        Args:
            env: the healthy environment.
            observation_std: standard deviation of each entry of the observation [D], as the policy knows it; None
                where it does not.
        """
        degradations = [part for part in self.degradations if isinstance(part, EnvDegradation)]
        if self.severity == 0 or not degradations:
            return env

        def damage(env: Env) -> Env:
            std = observation_std
            if std is not None and env.observation_space.shape:
                std = std[-env.observation_space.shape[0] :]  # of a stack, the newest observation's
            for part in degradations:
                known = part if std is None else part.with_observation_std(std)
                env = known.wrap(env, self.severity, self.onset)
            return env

        return wrap_sensors(env, damage)

    def network_damage(self, seed: int) -> NetworkDamage | None:
        """Return the damage that an episode of seed ``seed`` does to the network, or None if there is none."""
        parts = tuple(d for d in self.degradations if isinstance(d, NetworkDegradation))
        return NetworkDamage(self, parts, seed) if parts and self.severity > 0 else None

    def incompatibility(self, env: Env, *, spiking: bool) -> str | None:
        """Return why this condition does not apply, or None if it does."""
        stack = _find_stack(env)
        env = env if stack is None else stack.env
        reasons = (d.incompatibility(env, spiking=spiking) for d in self.degradations)
        return next((reason for reason in reasons if reason), None)

    reason_against = incompatibility

    def to_dict(self) -> dict[str, Any]:
        """Return the condition as plain data."""
        degradations = [part.to_dict() for part in self.degradations]
        return {
            "name": self.name, "severity": self.severity, "onset": self.onset, "env": self.env,
            "degradations": degradations,
        }  # fmt: skip


class NetworkDamage:
    """The course of one episode's network damage."""

    def __init__(self, condition: Condition, parts: tuple[NetworkDegradation, ...], seed: int) -> None:
        self._condition = condition
        self._parts = [(part, generator(seed, "network", i, part.kind)) for i, part in enumerate(parts)]
        self._weights: Weights | None = None

    def at(self, step: int, trained: Weights) -> Weights | None:
        """Return the weights to run decision ``step`` with where they change then, else None.

        Must be asked for every step of the episode in order.
        """
        severity, since = self._condition.severity, step - self._condition.onset
        if since < 0:
            return None
        if since == 0:
            self._weights = trained
            for part, rng in self._parts:
                self._weights = part.damage(self._weights, severity, rng)
            return self._weights
        changed = False
        for part, rng in self._parts:
            if part.period and since % part.period == 0 and self._weights is not None:
                self._weights = part.advance(self._weights, severity, rng)
                changed = True
        return self._weights if changed else None


def wrap_sensors(env: Env, wrap: Callable[[Env], Env]) -> Env:
    """Return ``env`` with ``wrap`` around what a policy senses and does.

    Where a wrapper inside stacks observations (a class with ``stacks_observations = True``), ``wrap`` goes beneath it,
    into ``env`` itself: the stack holds damaged observations, each damaged once.
    """
    stack = _find_stack(env)
    if stack is None:
        return wrap(env)
    stack.env = wrap(stack.env)
    return env


def _find_stack(env: Env) -> gym.Wrapper[Any, Any, Any, Any] | None:
    while isinstance(env, gym.Wrapper):
        if getattr(type(env), "stacks_observations", False) is True:
            return env
        env = env.env
    return None


def require_box(space: gym.Space[Any], what: str) -> str | None:
    """Return why ``space`` is not a one-dimensional Box, or None if it is."""
    if isinstance(space, gym.spaces.Box) and len(space.shape) == 1:
        return None
    return f"needs a one-dimensional Box {what} space, this environment has {space}"


fields_of = Degradation.to_dict  # the older name
