"""Recorded sequences: what was true, what was done, step by step. The forward model is fitted to them.

A recording comes from practice (`homeo_rl.evaluation.practice`) or from the log of a robot, an ``.npz`` file of

===============  ==========  ==========================================================================
``observations``  [N, D]      true observations, in the order and units in which the policy gets them
``actions``       [N, K]      the action that was executed after each, in the units of the action space
``ends``          [N]         True where an episode ended with this step: the next row begins another
===============  ==========  ==========================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from homeo_rl.errors import StorageFault, UsageError
from homeo_rl.numerics.limits import LIMIT

LEAST_STEPS = 1000
"""Steps below which no model is fitted."""


class Transitions(NamedTuple):
    """Pairs of consecutive rows of a recording: indices [M] of the first of each."""

    observations: np.ndarray
    actions: np.ndarray
    following: np.ndarray


@dataclass(frozen=True)
class Recording:
    """Sequences of true observations and executed actions."""

    observations: np.ndarray  # [N, D] float32
    actions: np.ndarray  # [N, K] float32; the action executed after each observation
    ends: np.ndarray  # [N] bool; True where the next row belongs to another sequence
    clean: np.ndarray  # [N] bool; True where the policy acted without a fault

    def __post_init__(self) -> None:
        rows = len(self.observations)
        for name in ("observations", "actions"):
            value = getattr(self, name)
            if value.ndim != 2 or len(value) != rows or not value.shape[1]:
                raise UsageError(f"recording: {name}: expected shape [{rows}, columns], got {list(value.shape)}")
            if not np.all(np.abs(value) <= LIMIT):
                row = int(np.nonzero(~(np.abs(value) <= LIMIT).all(1))[0][0])
                raise UsageError(f"recording: {name}: expected finite numbers within {LIMIT:g}, row {row} has others")
        for name in ("ends", "clean"):
            if getattr(self, name).shape != (rows,):
                raise UsageError(f"recording: {name}: expected shape [{rows}], got {list(getattr(self, name).shape)}")
        if rows < LEAST_STEPS:
            raise UsageError(f"recording: expected at least {LEAST_STEPS} steps to fit a model to, got {rows}")

    def to_tensors(self) -> dict[str, np.ndarray]:
        """Return tensors, from which `from_tensors` makes it again."""
        return {name: np.asarray(value) for name, value in vars(self).items()}

    @classmethod
    def from_tensors(cls, tensors: dict[str, np.ndarray], *, where: str) -> Recording:
        """Return the recording of a bundle.

        Raises:
            StorageFault: a tensor is missing or does not fit the others.
        """
        try:
            rows = [np.array(tensors[name], np.float32) for name in ("observations", "actions")]
            return cls(*rows, *(np.array(tensors[name], bool) for name in ("ends", "clean")))
        except (KeyError, UsageError) as error:
            raise StorageFault(f"{where}: expected observations, actions, ends and clean: {error}") from None

    def transitions(self) -> np.ndarray:
        """Return the rows [M] after which the same sequence goes on."""
        return np.nonzero(~self.ends[:-1])[0]

    def windows(self, length: int, *, clean: bool = True) -> np.ndarray:
        """Return the first rows of all stretches of ``length`` rows of one sequence, without overlap."""
        starts: list[int] = []
        begin = 0
        for last in [*np.nonzero(self.ends)[0], len(self.ends) - 1]:
            within = range(begin, int(last) + 2 - length, length)
            starts += [start for start in within if not clean or self.clean[start : start + length].all()]
            begin = int(last) + 1
        return np.array(starts, dtype=np.int64)


def read_log(path: Path, observations: int, actions: int) -> Recording:
    """Read the log of a robot.

    Args:
        path: an ``.npz`` file; nothing in it is executed.
        observations: D, entries of the policy's observation.
        actions: K, entries of its action.

    Raises:
        UsageError: no such file, an array is missing, or has another shape or numbers that are not finite.
    """
    if not path.is_file():
        raise UsageError(f"{path}: expected an .npz file, found none")
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in ("observations", "actions", "ends") if name not in file]
            if missing:
                raise UsageError(f"{path}: expected the arrays observations, actions and ends, {missing[0]} is missing")
            arrays = {name: file[name] for name in ("observations", "actions", "ends")}
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise UsageError(f"{path}: expected an .npz file of numbers, got {type(error).__name__}: {error}") from None
    for name, width in (("observations", observations), ("actions", actions)):
        value = arrays[name]
        if value.dtype.kind not in "iuf" or value.ndim != 2 or value.shape[1] != width:
            raise UsageError(
                f"{path}: {name}: expected real numbers of shape [steps, {width}], as the policy has them, got "
                f"{value.dtype} {list(value.shape)}"
            )
        arrays[name] = value.astype(np.float32)
    if arrays["ends"].dtype.kind not in "bui" or arrays["ends"].ndim != 1:
        raise UsageError(f"{path}: ends: expected True or False for each step, got {arrays['ends'].dtype}")
    ends = arrays["ends"].astype(bool)
    return Recording(arrays["observations"], arrays["actions"], ends, np.ones(len(ends), bool))
