"""Domain randomisation: every episode of a training draws a fault, or none, from a list of conditions.

The faults are those of the suites (`homeo_rl.degradations.protocol`). Damage of the network is refused: a rollout would
be collected with damaged weights while the update evaluates the trained ones, so the policy would not be trained for
what it met.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from homeo_rl.degradations.action import ActionBias, ActionDelay, ActionGain, ActionNoise, DeadActuator
from homeo_rl.degradations.dynamics import ActuatorGain, BodyMass, GroundFriction
from homeo_rl.degradations.observation import (
    DelayedSensors,
    DroppedSensors,
    NormalisedGaussianObservation,
    StuckSensors,
)
from homeo_rl.degradations.protocol import Condition, Degradation, Env, NetworkDegradation, wrap_sensors
from homeo_rl.degradations.suites import read_suite, suite_from_dicts
from homeo_rl.errors import UsageError, unknown
from homeo_rl.seeding import generator

CLEAN_SHARE = 0.25
"""Probability that an episode draws no fault."""

_SENSES: tuple[Degradation, ...] = (
    NormalisedGaussianObservation(std=0.2),
    DroppedSensors(probability=0.2),
    StuckSensors(fraction=0.2),
    DelayedSensors(steps=2),
)

PRESETS: dict[str, tuple[Degradation, ...]] = {
    "senses": _SENSES,
    "all": (
        *_SENSES,
        ActionNoise(std=0.33), ActionDelay(steps=2), ActionGain(factor=0.53), ActionBias(), DeadActuator(),
        BodyMass(factor=1.67), GroundFriction(factor=0.46), ActuatorGain(factor=0.53),
    ),
}  # fmt: skip
"""Faults of each preset, with their largest magnitudes: the middle severities of the suite ``standard``, and those of
``senses`` and ``actuators`` where it lacks the fault."""

_NETWORK = (
    "a rollout would be collected with damaged weights while the update evaluates the trained ones, so the policy "
    "would not be trained for this damage"
)


@dataclass(frozen=True)
class Randomisation:
    """What the episodes of a training draw from."""

    name: str  # of the preset, or of the suite in the file
    # one is drawn for each faulty episode, all equally likely; the severity is drawn evenly between 0 and the
    # condition's
    conditions: tuple[Condition, ...]
    clean_share: float = CLEAN_SHARE  # probability of an episode without a fault
    # conditions that do not apply to the environment, with the reasons
    skipped: dict[str, str] = field(default_factory=dict)

    def for_env(self, env: Env) -> Randomisation:
        """Return the conditions that apply to ``env``.

        Raises:
            UsageError: none does.
        """
        reasons = {one.name: one.incompatibility(env, spiking=True) for one in self.conditions}
        skipped = {name: reason for name, reason in reasons.items() if reason is not None}
        kept = tuple(one for one in self.conditions if one.name not in skipped)
        if not kept:
            raise UsageError(
                f"--randomise {self.name}: expected a fault that applies to the environment, got none: "
                f"{next(iter(skipped.values()))}; choose another preset or file"
            )
        return replace(self, conditions=kept, skipped=skipped)

    def wrap(self, env: Env) -> Env:
        """Return ``env`` with faults that are drawn anew for each episode, beneath a stack of observations."""
        return wrap_sensors(env, lambda inner: RandomisedEnv(inner, self))

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, from which `randomisation_from` makes it again."""
        conditions = [condition.to_dict() for condition in self.conditions]
        return {
            "name": self.name, "clean_share": self.clean_share, "conditions": conditions, "skipped": dict(self.skipped),
        }  # fmt: skip


def load_randomisation(name: str) -> Randomisation:
    """Return a preset by its name, or what a suite file says.

    Of conditions of one name, which differ in their severities, the median severity is the largest that is drawn.

    Raises:
        UsageError: there is no such preset or file, or it damages the network or names an environment.
    """
    if name in PRESETS:
        conditions = tuple(Condition(name=part.kind, severity=1.0, degradations=(part,)) for part in PRESETS[name])
        return Randomisation(name, conditions)
    if name == "weights":
        raise UsageError(
            f"--randomise weights: expected faults of sensors, actions or body, got damage of the network: {_NETWORK}; "
            f"give {' or '.join(PRESETS)}"
        )
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        raise unknown("preset of --randomise", name, [*PRESETS, "weights"])
    suite = read_suite(path, "--randomise")
    severities: dict[str, list[float]] = {}
    for condition in suite.conditions:
        severities.setdefault(condition.name, []).append(condition.severity)
    firsts = {one.name: one for one in reversed(suite.conditions)}
    conditions = tuple(replace(firsts[one], severity=statistics.median(levels)) for one, levels in severities.items())
    faults = tuple(condition for condition in conditions if condition.degradations and condition.severity > 0)
    for condition in suite.conditions:
        _require_outside(condition, str(path))
    if not faults:
        raise UsageError(f"--randomise {path}: expected a condition with a degradation, found none; add one")
    return Randomisation(suite.name, faults)


def randomisation_from(data: Mapping[str, Any]) -> Randomisation:
    """Return what `Randomisation.to_dict` wrote.

    Raises:
        UsageError: it is not that.
    """
    where = "run.json: randomise"
    try:
        name, share, entries = str(data["name"]), float(data["clean_share"]), list(data["conditions"])
        skipped = dict(data.get("skipped", {}))
    except (KeyError, TypeError, ValueError):
        raise UsageError(
            f"{where}: expected name, clean_share and conditions, got others; train the run anew"
        ) from None
    if not 0.0 <= share <= 1.0 or not entries:
        raise UsageError(f"{where}: expected a clean_share in [0, 1] and conditions, got {share} and {len(entries)}")
    conditions = suite_from_dicts(name, 1, entries, where=where).conditions
    for condition in conditions:
        _require_outside(condition, where)
    return Randomisation(name, conditions, share, skipped)


def _require_outside(condition: Condition, where: str) -> None:
    """Refuse damage of the network, and another environment."""
    for part in condition.degradations:
        if isinstance(part, NetworkDegradation):
            raise UsageError(f"{where}: {condition.name}: {part.kind} cannot be drawn in a training: {_NETWORK}")
    if condition.env:
        raise UsageError(f"{where}: {condition.name}: expected no env in a training, got {condition.env}; leave it out")


class RandomisedEnv(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Put a fault, or none, around each episode.

    The draws of an episode depend on the seed of the last seeded reset, on the number of episodes since and on nothing
    else; an environment that was never seeded has the seed 0.
    """

    def __init__(self, env: Env, randomisation: Randomisation) -> None:
        RecordConstructorArgs.__init__(self, randomisation=randomisation)
        gym.Wrapper.__init__(self, env)
        self.fault = Condition(name="clean")
        self._randomisation = randomisation
        self._damaged = env
        self._seed, self._episode = 0, -1
        self._std: np.ndarray | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode under the fault that it draws."""
        if seed is not None:
            self._seed, self._episode = int(seed), -1
        self._episode += 1
        for wrapper in self._wrappers():
            wrapper.before_reset()
        self.fault = self._draw(generator(self._seed, "randomise", self._episode))
        self._damaged = self.fault.wrap(self.env, self._std)
        for index, wrapper in enumerate(self._wrappers()):
            wrapper.rng = generator(self._seed, "randomise", self._episode, index)
        return self._damaged.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step."""
        return self._damaged.step(action)

    def close(self) -> None:
        """Leave the environment as it was, and close it."""
        self._damaged.close()

    def set_observation_std(self, std: np.ndarray) -> None:
        """Tell how much the sensors usually deviate from their means, [D] or a stack's [frames * D].

        It is the unit of noise and offsets from the next episode on, and 1 until then.
        """
        self._std = std

    def episode_state(self) -> dict[str, Any]:
        """Return what the draws of the next episode depend on, as plain data."""
        std = None if self._std is None else self._std.tolist()
        return {"seed": self._seed, "episode": self._episode, "std": std}

    def set_episode_state(self, state: dict[str, Any]) -> None:
        """Take over what `episode_state` returned."""
        self._seed, self._episode = state["seed"], state["episode"]
        self._std = None if state["std"] is None else np.asarray(state["std"])

    def _draw(self, rng: np.random.Generator) -> Condition:
        drawn, index, share = rng.random(), rng.integers(len(self._randomisation.conditions)), rng.random()
        if drawn < self._randomisation.clean_share:
            return Condition(name="clean")
        condition = self._randomisation.conditions[int(index)]
        return replace(condition, severity=condition.severity * share)

    def _wrappers(self) -> list[Any]:
        """Return the wrappers of the episode's fault, outermost first."""
        wrappers, env = [], self._damaged
        while env is not self.env and isinstance(env, gym.Wrapper):
            wrappers.append(env)
            env = env.env
        return wrappers
