"""Faults of sensors and actuators as functions of arrays [N, D]: a row is an episode; NumPy or PyTorch, any device.

An `ArrayDegradation` states the mathematics of a kind once. `DegradationWrapper` applies it to one Gymnasium
environment (N = 1), and `homeo_rl.degradations.fault_model.FaultModel` to the rows of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from homeo_rl.degradations.draws import Draws, GeneratorDraws
from homeo_rl.degradations.protocol import DegradationWrapper, Env, EnvDegradation, require_box
from homeo_rl.errors import UsageError
from homeo_rl.numerics.backend import Array, Backend, cast

Memory = dict[str, Array]
"""What a fault remembers of each row: arrays [N, ...] by name."""


@dataclass
class Rows:
    """What a fault knows of N episodes at one step. Arrays are [N, 1] where nothing else is said.

    Attributes:
        backend: NumPy or PyTorch.
        draws: the random numbers.
        low: least reading or action, float64, [D] or [1]; -inf where there is none.
        high: largest reading or action, alike.
        dtype: of clipped readings or actions, the type of their space; set before each step.
        joints: entries of the observation by group ("qpos", "qvel"), int64 [K].
        severity: of this step, in [0, 1], float64.
        step: steps since the beginning of the episode, int64; -1 before the first.
        since: steps since the onset, int64.
        past: the last inputs, [N, length, D]; None where the fault needs none.
    """

    backend: Backend
    draws: Draws
    low: Array
    high: Array
    severity: Array
    step: Array
    since: Array
    dtype: Any = None
    joints: Mapping[str, Array] = field(default_factory=dict)
    past: Array | None = None

    def __post_init__(self) -> None:
        self._index = self.backend.arange(len(self.severity))
        self._units: dict[tuple[float, ...], Array] = {}
        self._bounded = bool(self.xp.isfinite(self.low).any() | self.xp.isfinite(self.high).any())

    @property
    def xp(self) -> Any:
        """The module ``numpy`` or ``torch``."""
        return self.backend.xp

    @property
    def half(self) -> Array:
        """Half the range of each entry, [D] or [1]; 1 where it has no bounds."""
        half = 0.5 * (self.high - self.low)
        return self.xp.where(self.xp.isfinite(half), half, self.xp.ones_like(half))

    def unit(self, values: tuple[float, ...]) -> Array:
        """Return the unit of each entry as float64 [D]; 1 where ``values`` is empty."""
        if values and values not in self._units:
            self._units[values] = self.backend.array(values, self.xp.float64)
        return self._units[values] if values else 1.0

    def clip_to_bounds(self, x: Array) -> Array:
        """Return ``x`` [N, D] between the bounds, in the type of their space."""
        if self._bounded:
            x = self.xp.minimum(self.xp.maximum(cast(x, self.xp.float64), self.low), self.high)
        return cast(x, self.dtype)

    def age(self, steps: float) -> Array:
        """Return severity * steps, rounded to int64, halves to even."""
        return cast(self.xp.round(self.severity * steps), self.xp.int64)

    def record(self, x: Array, length: int) -> None:
        """Put the input of this step beside the last ``length`` - 1."""
        if self.past is None:
            self.past = self.backend.zeros((x.shape[0], length, x.shape[1]), x.dtype)
        self.past[self._index, (self.step % length)[:, 0]] = x

    def input_of(self, age: Array) -> Array:
        """Return the inputs of ``age`` steps ago, [N, D]."""
        assert self.past is not None
        return self.past[self._index, ((self.step - age) % self.past.shape[1])[:, 0]]


@dataclass(frozen=True, kw_only=True)
class ArrayDegradation(EnvDegradation):
    """Base: a fault that needs nothing but rows of readings or actions. Both hooks return what they change."""

    on_actions: ClassVar[bool] = False
    """Whether it changes actions; otherwise it changes observations."""

    takes_integers: ClassVar[bool] = False
    """Whether it changes nothing but the time of its inputs, so that it takes discrete actions too."""

    @property
    def length(self) -> int:
        """How many inputs ``rows.past`` holds, that of the step included; 0 for none."""
        return 0

    def start(self, rows: Rows, like: Array) -> Memory:
        """Return what new episodes remember: what is drawn once. ``like`` [N, D] has the shape of their inputs."""
        return {}

    def change(self, rows: Rows, memory: Memory, x: Array) -> tuple[Array, Memory]:
        """Return what leaves where ``x`` [N, D] enters, and what is remembered then; write neither."""
        raise NotImplementedError

    def on_reset(self, at: DegradationWrapper, observation: Any) -> FaultRows:
        """Begin an episode of one environment."""
        space = at.action_space if self.on_actions else at.observation_space
        like = np.zeros(space.shape or (1,), space.dtype) if self.on_actions else observation
        low, high = getattr(space, "low", -np.inf), getattr(space, "high", np.inf)
        rows = Rows(
            Backend(), GeneratorDraws([at.rng]),
            low=np.ravel(np.float64(low)), high=np.ravel(np.float64(high)), dtype=space.dtype,
            severity=np.full((1, 1), float(at.severity)), step=np.zeros((1, 1), np.int64),
            since=np.zeros((1, 1), np.int64), joints=_Joints(at.env),
        )  # fmt: skip
        part = FaultRows(self, rows)
        part.begin(like.reshape(1, -1))
        return part

    def _change(self, at: DegradationWrapper, value: np.ndarray) -> np.ndarray:
        part: FaultRows = at.memory
        part.rows.step[...], part.rows.since[...] = at.elapsed, at.elapsed - at.onset
        x = value.reshape(1, -1)
        part.record(x)
        changed: np.ndarray = part.change(x).reshape(value.shape)
        return changed


class SignedDegradation(ArrayDegradation):
    """Base: every entry has a sign, drawn per episode."""

    def start(self, rows: Rows, like: Array) -> Memory:
        """Draw the signs: -1 or 1 for each entry of each row, float64 [N, D]."""
        signs = cast(rows.draws.uniform(like.shape[1]) >= 0.5, rows.xp.float64)
        return {"signs": 2.0 * signs - 1.0}


@dataclass(frozen=True, kw_only=True)
class SensorDegradation(ArrayDegradation):
    """Base: needs a vector of sensor readings."""

    def record(self, at: DegradationWrapper, observation: Any) -> None:
        """See the true observation of every step, before the onset too."""
        if self.length and not at.active:
            at.memory.rows.step[...] = at.elapsed
            at.memory.record(observation.reshape(1, -1))

    def on_reset(self, at: DegradationWrapper, observation: Any) -> FaultRows:
        """Begin an episode of one environment."""
        part = super().on_reset(at, observation)
        part.record(observation.reshape(1, -1))
        return part

    def observe(self, at: DegradationWrapper, observation: Any) -> Any:
        """Return the observation that the policy sees."""
        return self._change(at, observation)

    def incompatibility(self, env: Env, *, spiking: bool) -> str | None:
        """Refuse anything but a vector."""
        return require_box(env.observation_space, "observation")


@dataclass(frozen=True, kw_only=True)
class ActuatorDegradation(ArrayDegradation):
    """Base: changes the action on its way to the environment."""

    on_actions: ClassVar[bool] = True

    def act(self, at: DegradationWrapper, action: Any) -> Any:
        """Return the action that is executed."""
        executed = self._change(at, np.asarray(action))
        return executed if isinstance(action, np.ndarray) else executed.item()


class FaultRows:
    """One fault in N episodes: its rows and what it remembers of them."""

    def __init__(self, fault: ArrayDegradation, rows: Rows) -> None:
        self.fault, self.rows = fault, rows
        self.memory: Memory = {}

    def begin(self, like: Array, mask: Array | None = None) -> None:
        """Begin the episodes of the rows of ``mask`` [N, 1], None for all."""
        rows, step = self.rows, self.rows.step
        rows.step = self.rows.xp.full_like(step, -1)
        rows.draws.move_to(rows.step, mask)
        self._keep(self.fault.start(rows, like), mask)
        rows.step = step

    def check_width(self, width: int, what: str) -> None:
        """Check that bounds, units and joints fit inputs of ``width`` entries. Raises UsageError: one does not."""
        counts = {"bounds": len(self.rows.low), f"{self.fault.kind}: spread": len(getattr(self.fault, "spread", ()))}
        for name, count in counts.items():
            if count > 1 and count != width:
                raise UsageError(f"{name}: expected {width} numbers, as {what} have entries, got {count}")
        entries = self.rows.joints.get(getattr(self.fault, "group", ""), ())
        if len(entries) and int(entries.max()) >= width:
            raise UsageError(f"{self.fault.kind}: expected joints from 0 to {width - 1}, got {entries.tolist()}")

    def record(self, x: Array) -> None:
        """See the true input of a step."""
        if self.fault.length:
            self.rows.record(x, self.fault.length)

    def change(self, x: Array, mask: Array | None = None) -> Array:
        """Return ``x`` [N, D] with the rows of ``mask`` [N, 1] changed, None for all."""
        self.rows.draws.move_to(self.rows.step, mask)
        changed, memory = self.fault.change(self.rows, self.memory, x)
        self._keep(memory, mask)
        return changed if mask is None else self.rows.xp.where(mask, changed, x)

    def _keep(self, memory: Memory, mask: Array | None) -> None:
        if mask is not None and self.memory:
            memory = {name: self.rows.xp.where(mask, value, self.memory[name]) for name, value in memory.items()}
        self.memory = memory


class _Joints(dict[str, np.ndarray]):
    """The entries of an environment's joints, looked up when they are asked for."""

    def __init__(self, env: Env) -> None:
        self._env = env

    def __missing__(self, group: str) -> np.ndarray:
        return joint_entries(self._env, group)


def joint_entries(env: Env, group: str) -> np.ndarray:
    """Return the observation entries that hold joint positions ("qpos") or velocities ("qvel").

    MuJoCo environments of Gymnasium list them first, in this order (HalfCheetah: 0-7 and 8-16, Ant: 0-12 and 13-26).
    """
    structure = getattr(env.unwrapped, "observation_structure", {})
    if not isinstance(structure, Mapping):
        return np.arange(0)
    positions, velocities = int(structure.get("qpos", 0)), int(structure.get("qvel", 0))
    return np.arange(positions) if group == "qpos" else np.arange(positions, positions + velocities)
