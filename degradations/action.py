"""Actuators that fail: degradations of the action on its way to the environment."""

from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium as gym

from homeo_rl.degradations.array_fault import ActuatorDegradation, Memory, Rows, SignedDegradation
from homeo_rl.degradations.protocol import DegradationWrapper, Env, require_box
from homeo_rl.numerics.backend import Array, cast


@dataclass(frozen=True, kw_only=True)
class ActionNoise(ActuatorDegradation):
    """Continuous: += N(0, severity * std) half-ranges, clipped to the bounds. Discrete: a uniformly drawn action with
    probability severity * std."""  # fmt: skip

    kind: ClassVar[str] = "action-noise"
    std: float = 0.5

    def change(self, rows: Rows, memory: Memory, x: Array) -> tuple[Array, Memory]:
        """Add the noise."""
        noise = rows.draws.normal(x.shape[1]) * (rows.severity * self.std)
        return rows.clip_to_bounds(x + noise * rows.half), memory

    def act(self, at: DegradationWrapper, action: Any) -> Any:
        """Add the noise, or draw another action."""
        space = at.action_space
        if isinstance(space, gym.spaces.Box):
            return super().act(at, action)
        if isinstance(space, gym.spaces.Discrete):
            other, hit = int(at.rng.integers(space.n)) + int(space.start), at.rng.random() < at.severity * self.std
            return other if hit else action
        return action  # Discrete and Box are the only spaces that an agent of ours accepts


@dataclass(frozen=True, kw_only=True)
class ActionDelay(ActuatorDegradation):
    """The action of round(severity * steps) steps ago is executed (at first: the one given at the onset)."""

    kind: ClassVar[str] = "action-delay"
    takes_integers: ClassVar[bool] = True
    steps: int = 4

    @property
    def length(self) -> int:
        """The oldest action that is executed, and all after it."""
        return self.steps + 1

    def change(self, rows: Rows, memory: Memory, x: Array) -> tuple[Array, Memory]:
        """Return the action that is so old."""
        return rows.input_of(rows.xp.minimum(rows.age(self.steps), rows.since)), memory


@dataclass(frozen=True, kw_only=True)
class ActionHold(ActuatorDegradation):
    """With probability severity * probability, drawn at every step, the last executed action is executed once more.

    All actuators hold together, as when a command is lost. The action of the onset is always executed.
    """

    kind: ClassVar[str] = "action-hold"
    takes_integers: ClassVar[bool] = True
    probability: float = 0.5

    def start(self, rows: Rows, like: Array) -> Memory:
        """Nothing has been executed."""
        return {"last": rows.xp.zeros_like(like)}

    def change(self, rows: Rows, memory: Memory, x: Array) -> tuple[Array, Memory]:
        """Hold the last action, or execute the new one."""
        held = (rows.draws.uniform(1) < rows.severity * self.probability) & (rows.since > 0)
        executed = rows.xp.where(held, cast(memory["last"], x.dtype), x)
        return executed, {"last": executed}


class _VectorOfActions(ActuatorDegradation):
    def incompatibility(self, env: Env, *, spiking: bool) -> str | None:
        """Refuse anything but a vector of actions."""
        return require_box(env.action_space, "action")


@dataclass(frozen=True, kw_only=True)
class ActionGain(_VectorOfActions):
    """The action is multiplied by 1 + severity * (factor - 1)."""

    kind: ClassVar[str] = "action-gain"
    factor: float = 0.3

    def change(self, rows: Rows, memory: Memory, x: Array) -> tuple[Array, Memory]:
        """Scale the action."""
        return rows.clip_to_bounds(x * cast(1.0 + rows.severity * (self.factor - 1.0), x.dtype)), memory


@dataclass(frozen=True, kw_only=True)
class ActionBias(SignedDegradation, _VectorOfActions):
    """Every entry += s * severity * size half-ranges, clipped to the bounds; its sign s is drawn per episode."""

    kind: ClassVar[str] = "action-bias"
    size: float = 0.2

    def change(self, rows: Rows, memory: Memory, x: Array) -> tuple[Array, Memory]:
        """Add the bias."""
        return rows.clip_to_bounds(x + memory["signs"] * rows.severity * self.size * rows.half), memory

    def incompatibility(self, env: Env, *, spiking: bool) -> str | None:
        """Refuse anything but a vector of actions between bounds."""
        space = env.action_space
        reason = super().incompatibility(env, spiking=spiking)
        if reason is None and isinstance(space, gym.spaces.Box) and not space.is_bounded():
            reason = f"needs actions between bounds, this environment has {space}"
        return reason


@dataclass(frozen=True, kw_only=True)
class _FewActuators(_VectorOfActions):
    """Base: ``count`` entries, drawn per episode, or all where there are not so many."""

    count: int = 1

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count: expected at least 1, got {self.count}")

    def start(self, rows: Rows, like: Array) -> Memory:
        """Draw the entries."""
        size = like.shape[1]
        count = rows.xp.full_like(rows.step, min(self.count, size))
        return {"chosen": rows.draws.ranks(size, count) < count}


@dataclass(frozen=True, kw_only=True)
class DeadActuator(_FewActuators):
    """``count`` entries, drawn per episode, are multiplied by 1 - severity, and clipped to the bounds.

    At severity 1 a joint has no force, and a wheel of a driving robot is at its slowest. All entries are weakened where
    there are not so many.
    """

    kind: ClassVar[str] = "action-dead"

    def change(self, rows: Rows, memory: Memory, x: Array) -> tuple[Array, Memory]:
        """Weaken the entries."""
        weak = x * cast(1.0 - rows.severity, x.dtype)
        return rows.clip_to_bounds(rows.xp.where(memory["chosen"], weak, x)), memory


@dataclass(frozen=True, kw_only=True)
class StuckActuator(_FewActuators):
    """``count`` entries, drawn per episode, keep their value of the onset; severity mixes it with the action."""

    kind: ClassVar[str] = "action-stuck"

    def start(self, rows: Rows, like: Array) -> Memory:
        """Draw the entries."""
        return {**super().start(rows, like), "kept": rows.xp.zeros_like(like)}

    def change(self, rows: Rows, memory: Memory, x: Array) -> tuple[Array, Memory]:
        """Mix the action of the onset in."""
        kept = rows.xp.where(rows.since == 0, x, cast(memory["kept"], x.dtype))
        mixed = cast(1.0 - rows.severity, x.dtype) * x + cast(rows.severity, x.dtype) * kept
        return rows.clip_to_bounds(rows.xp.where(memory["chosen"], mixed, x)), {**memory, "kept": kept}
