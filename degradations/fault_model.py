"""Faults for any policy and any simulator: arrays [num_envs, D] in, arrays out; NumPy or PyTorch, any device.

A `FaultModel` applies the kinds of this room to all rows of a batch, each row with its own severity, onset, duration,
recovery and seed. It knows no simulator: `homeo_rl.degradations.adapters` connects it to several.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import numpy as np

from homeo_rl.degradations.array_fault import ArrayDegradation, FaultRows, Rows
from homeo_rl.degradations.draws import CounterDraws, Draws, GeneratorDraws
from homeo_rl.degradations.protocol import Degradation
from homeo_rl.degradations.schedule import ALWAYS, Clock, Schedule
from homeo_rl.degradations.suites import DEGRADATIONS, build
from homeo_rl.errors import InputError, UsageError
from homeo_rl.numerics.arrays import whole_number
from homeo_rl.numerics.backend import Array, Backend, cast
from homeo_rl.seeding import derive, generator

Bounds = tuple[Any, Any]
"""Least and largest reading or action of each entry: numbers or arrays [D]."""


class FaultModel:
    """Faults of sensors and actuators in a batch of episodes.

    In each step call `observe` on what the simulator returns and `act` on what the policy answers; call `reset` for the
    rows whose episode is over, before their next observation. Either call may be left out. Row i depends on its own
    seed and episode only, so it equals row 0 of a model of one environment with the seed ``seed + i``, bit for bit.

    Args:
        faults: degradations, or dictionaries ``{"kind": ..., parameter: value}``; those of observations are applied in
            this order, those of actions in the opposite one, as nested wrappers do.
        num_envs: N.
        seed: row i has the seed ``seed + i``; a sequence [N] gives the seed of each row.
        schedule: severity, onset, duration and recovery.
        observation_bounds: least and largest reading; None for no bounds.
        action_bounds: least and largest action; None for no bounds, and a half-range of 1.
        joints: entries of the observation that hold joint positions ("qpos") and velocities ("qvel"), for the kinds
            ``pose`` and ``velocity``.
        device: None for NumPy; for PyTorch the device of all tensors.
        streams: "counter", or "suite" for the random numbers of the suites' wrappers (NumPy only, slower).
        control: leave everything as it is, and count steps and episodes: the control arm.

    Raises:
        UsageError: an unknown or unsuitable kind, or a wrong parameter.
    """

    def __init__(
        self,
        faults: Sequence[Degradation | Mapping[str, Any]],
        num_envs: int,
        *,
        seed: int | Sequence[int] = 0,
        schedule: Schedule = ALWAYS,
        observation_bounds: Bounds | None = None,
        action_bounds: Bounds | None = None,
        joints: Mapping[str, Sequence[int]] | None = None,
        device: Any = None,
        streams: Literal["counter", "suite"] = "counter",
        control: bool = False,
    ) -> None:
        self._arguments = {
            "faults": faults, "num_envs": num_envs, "schedule": schedule, "joints": joints, "device": device,
            "observation_bounds": observation_bounds, "action_bounds": action_bounds, "streams": streams,
        }  # fmt: skip
        self.num_envs = whole_number(num_envs, what="num_envs", least=1)
        self.schedule, self.streams, self.control = schedule, streams, control
        self.faults = tuple(_take_fault(fault, joints or {}) for fault in faults)
        self.backend = _choose_backend(device, streams)
        self._episode = self.backend.zeros((num_envs, 1), self.backend.xp.int64)
        times = schedule.rows(num_envs)
        self._joints = {k: self.backend.array(v, self.backend.xp.int64) for k, v in (joints or {}).items()}
        self.seeds = self._read_seeds(seed)
        self._bounds = {
            on_actions: None if bounds is None else [np.asarray(each).tolist() for each in bounds]
            for on_actions, bounds in ((False, observation_bounds), (True, action_bounds))
        }
        limits = {False: self._limits(observation_bounds), True: self._limits(action_bounds)}
        self._parts = [
            FaultRows(fault, self._make_rows(position, limits[fault.on_actions]))
            for position, fault in enumerate(self.faults)
        ]
        self._observations, self._actions = (
            _Side([part for part in self._parts if part.fault.on_actions == on_actions], Clock(self.backend, times))
            for on_actions in (False, True)
        )
        self._actions.parts.reverse()

    def observe(self, observations: Array, env_ids: Any = None) -> Array:
        """Return what the policy sees of ``observations`` [N, D], or of those of ``env_ids`` [K, D].

        Each call is a step of its rows. The input is not written; types stay.

        Raises:
            InputError: another shape, type or kind of array.
        """
        return self._call(self._observations, observations, env_ids)

    def act(self, actions: Array, env_ids: Any = None) -> Array:
        """Return what is executed of ``actions`` [N, A], or of those of ``env_ids`` [K, A]; as `observe`."""
        return self._call(self._actions, actions, env_ids)

    def reset(self, env_ids: Any = None, *, seed: int | Sequence[int] | None = None) -> None:
        """Begin the next episode of rows: indices [K], a mask [N], or None for all.

        Rows that were not used since their last reset stay where they are.

        Args:
            env_ids: the rows.
            seed: give all rows new seeds, and begin at their first episode; with ``env_ids`` a list, a seed for each.

        Raises:
            UsageError: another number of seeds.
        """
        if seed is not None and env_ids is not None:
            self._take_seeds(env_ids, seed)
            return
        sides = (self._observations, self._actions)
        with self._outside_autograd():
            mask = (sides[0].clock.steps > 0) | (sides[1].clock.steps > 0)
            if env_ids is not None:
                mask = mask & self._mask(env_ids)
            self._episode = self._episode + cast(mask, self.backend.xp.int64)
            if seed is not None:
                self.seeds, self._episode, mask = self._read_seeds(seed), self._episode * 0, mask | True
                for position, part in enumerate(self._parts):
                    part.rows.draws = self._make_draws(position, self.seeds)
            for side in sides:
                side.begin(self._episode, mask)

    def observe_step(self, observations: Array, done: Array, final: Array | None = None) -> tuple[Array, Array]:
        """Observe after a step of environments that reset themselves: an episode begins where ``done`` [N] holds.

        Args:
            observations: [N, D], the first of the new episode where one begins.
            done: mask [N].
            final: [N, D], the last observations of the episodes that are over, read there only; None where the
                simulator does not give them.

        Returns:
            What the policy sees of ``observations``, and of ``final`` where an episode is over.
        """
        xp = self.backend.xp
        over = self._mask(done)
        if final is None or (xp is np and not over.any()):
            self.reset(done)
            seen = self.observe(observations)
            return seen, seen
        last = self.observe(xp.where(over, final, observations))
        self.reset(done)
        with self._outside_autograd():
            first = self._observations.apply(observations, over, self.control)
        return xp.where(over, first, last), last

    def severity(self) -> Array:
        """Return the severity [N] of the last observation; in a control arm, what it would have been."""
        clock = self._observations.clock
        return clock.severity(clock.steps - 1)[:, 0]

    def twin(self) -> FaultModel:
        """Return the matched control arm: the same rows, seeds and schedule, at their beginning, and no fault."""
        return FaultModel(**{**self._arguments, "seed": self.seeds, "control": True})

    def describe(self) -> dict[str, Any]:
        """Return all that the numbers depend on, as plain data."""
        schedule = {
            name: None if value is None else np.asarray(value).tolist() for name, value in vars(self.schedule).items()
        }
        return {
            "format": 1, "faults": [fault.to_dict() for fault in self.faults], "num_envs": self.num_envs,
            "seeds": self.seeds, "schedule": schedule, "streams": self.streams, "control": self.control,
            "observation_bounds": self._bounds[False], "action_bounds": self._bounds[True],
            "joints": {name: entries.tolist() for name, entries in self._joints.items()},
        }  # fmt: skip

    def _take_seeds(self, env_ids: Any, seed: Any) -> None:
        """Give rows new seeds, and begin at their first episode."""
        mask, count = self._mask(env_ids), len(env_ids)
        if np.shape(seed) != (count,) or int(mask.sum()) != count:
            raise UsageError(f"reset: expected a seed for all rows, or one for each of env_ids, got {seed!r:.60}")
        rows, seeds = [int(row) for row in env_ids], [int(each) for each in seed]
        for row, value in zip(rows, seeds, strict=True):
            self.seeds[row] = value
        self._episode = self.backend.xp.where(mask, 0 * self._episode, self._episode)
        for position, part in enumerate(self._parts):
            part.rows.draws.take_seeds(self._make_draws(position, seeds), rows)
        with self._outside_autograd():
            for side in (self._observations, self._actions):
                side.begin(self._episode, mask)

    def _outside_autograd(self) -> AbstractContextManager[None]:
        return nullcontext() if self.backend.xp is np else _outside_autograd(self.backend.xp)

    def _read_seeds(self, seed: int | Sequence[int]) -> list[int]:
        seeds = int(seed) + np.arange(self.num_envs) if np.ndim(seed) == 0 else np.asarray(seed)  # type: ignore[arg-type]
        if seeds.shape != (self.num_envs,):
            raise UsageError(f"seed: expected a number or {self.num_envs} of them, got shape {seeds.shape}")
        return [int(each) for each in seeds]

    def _make_draws(self, position: int, seeds: Sequence[int]) -> Draws:
        kind = self.faults[position].kind
        if self.streams == "suite":
            return GeneratorDraws([generator(seed, "environment", kind) for seed in seeds])
        place = sum(fault.kind == kind for fault in self.faults[:position])
        return CounterDraws(self.backend.array([[derive(seed, "faults", kind, place)] for seed in seeds]))

    def _limits(self, bounds: Bounds | None) -> tuple[Array, Array]:
        low, high = bounds or (-np.inf, np.inf)
        return tuple(self.backend.array(np.atleast_1d(np.asarray(each, np.float64))) for each in (low, high))

    def _make_rows(self, position: int, limits: tuple[Array, Array]) -> Rows:
        full = self.backend.array(self.schedule.rows(self.num_envs)[0])
        rows = full, self._episode, self._episode
        return Rows(self.backend, self._make_draws(position, self.seeds), *limits, *rows, joints=self._joints)

    def _mask(self, env_ids: Any) -> Array:
        """Return the rows of ``env_ids``, indices [K] or a mask [N], as a mask [N, 1]."""
        xp, size = self.backend.xp, self.num_envs
        if xp is np or not isinstance(env_ids, xp.Tensor):  # tensors are not looked at: that would wait for a device
            env_ids = np.asarray(env_ids)
            is_mask = env_ids.dtype == np.bool_
            if not is_mask and env_ids.size and not 0 <= env_ids.min() <= env_ids.max() < size:
                raise InputError(f"env_ids: expected rows from 0 to {size - 1}, got {env_ids.tolist()}")
            env_ids = self.backend.array(env_ids, None if is_mask else xp.int64)
        if env_ids.dtype != xp.bool:
            mask = self.backend.zeros((size, 1), xp.bool)
            mask[env_ids] = True
            return mask
        if tuple(env_ids.shape) != (size,):
            raise InputError(f"env_ids: expected a mask of {size} rows, got shape {tuple(env_ids.shape)}")
        return env_ids[:, None]

    def _call(self, side: _Side, x: Array, env_ids: Any) -> Array:
        rows = self.num_envs if env_ids is None else len(env_ids)
        side.check(x, rows, "actions" if side is self._actions else "observations")
        with self._outside_autograd():
            if env_ids is None:
                return side.apply(x, None, self.control)
            mask = self._mask(env_ids)
            if rows == self.num_envs and len(mask) == rows and getattr(env_ids, "dtype", None) == self.backend.xp.bool:
                raise InputError("env_ids: expected indices of rows, got a mask; give the indices that it holds")
            whole = self.backend.zeros((self.num_envs, x.shape[1]), x.dtype)
            whole[env_ids] = x
            changed: Array = side.apply(whole, mask, self.control)[env_ids]
            return changed


class _Side:
    """The faults of the observations, or of the actions, and the steps of each row."""

    def __init__(self, parts: list[FaultRows], clock: Clock) -> None:
        self.parts, self.clock = parts, clock
        self.takes_integers = all(part.fault.takes_integers for part in parts)
        self._like: Array | None = None

    def begin(self, episode: Array, mask: Array) -> None:
        """Begin an episode of the rows of ``mask`` [N, 1]."""
        self.clock.begin(mask)
        for part in self.parts:
            part.rows.draws.begin_episode(episode)
            if self._like is not None:
                part.rows.severity = self.clock.full
                part.begin(self._like, mask)

    def apply(self, x: Array, mask: Array | None, control: bool) -> Array:
        """Take a step of the rows of ``mask`` [N, 1], None for all, and return ``x`` [N, D] as it leaves."""
        if control or not self.parts:
            self.clock.advance(mask)
            return x
        now = self.clock.tick(mask)
        if self._like is None:
            self._like = self.clock.backend.xp.zeros_like(x)
            for part in self.parts:
                part.begin(self._like)
        for part in self.parts:
            rows = part.rows
            rows.step, rows.since, rows.severity, rows.dtype = now.step, now.since, now.severity, x.dtype
            part.record(x)
            if not now.idle:
                x = part.change(x, now.active)
        return x

    def check(self, x: Array, rows: int, what: str) -> None:
        """Check what a caller gives."""
        xp = self.clock.backend.xp
        kind = np.ndarray if xp is np else xp.Tensor
        if not isinstance(x, kind):
            raise InputError(
                f"{what}: expected a {kind.__name__}, got {type(x).__name__}; give FaultModel the device of the arrays"
            )
        if x.ndim != 2 or x.shape[0] != rows:
            raise InputError(f"{what}: expected shape [{rows}, D], got {list(x.shape)}; give one row an environment")
        home, device = self.clock.backend.device, getattr(x, "device", None)
        if xp is not np and getattr(device, "type", None) != home.type:
            raise InputError(f"{what}: expected tensors on {home}, got {device}; move them")
        if self._like is None:
            for part in self.parts:
                part.check_width(x.shape[1], what)
        elif x.shape[1] != self._like.shape[1] or x.dtype != self._like.dtype:
            expected = f"{self._like.shape[1]} columns of {self._like.dtype}"
            raise InputError(f"{what}: expected {expected} as before, got {x.shape[1]} of {x.dtype}; convert them")
        dtype: Any = x.dtype
        floats = dtype.kind == "f" if xp is np else dtype.is_floating_point
        if not floats and self.parts and not self.takes_integers:
            raise InputError(f"{what}: expected floats, got {x.dtype}; convert them, or leave these faults out")


def _take_fault(fault: Degradation | Mapping[str, Any], joints: Mapping[str, Any]) -> ArrayDegradation:
    part = build(dict(fault), where="faults") if isinstance(fault, Mapping) else fault
    if not isinstance(part, ArrayDegradation):
        kinds = ", ".join(kind for kind, cls in DEGRADATIONS.items() if issubclass(cls, ArrayDegradation))
        raise UsageError(f"faults: expected sensors or actuators that fail, got {part.kind}; there are {kinds}")
    group = getattr(part, "group", None)
    if group is not None and not len(joints.get(group, ())):
        raise UsageError(f"{part.kind}: expected joints={{{group!r}: [...]}}, the entries of the observation, got none")
    return part


def _choose_backend(device: Any, streams: str) -> Backend:
    if streams not in ("counter", "suite"):
        raise UsageError(f"streams: expected counter or suite, got {streams!r}")
    if device is None:
        return Backend()
    if streams == "suite":
        raise UsageError("streams: expected counter for tensors, got suite; its generators are NumPy's")
    import torch

    return Backend(torch, torch.device(device))


@contextmanager
def _outside_autograd(torch: Any) -> Iterator[None]:
    """Keep tensors that outlive a call free of graphs, and writable whatever mode the next call is in."""
    with torch.inference_mode(False), torch.no_grad():
        yield
