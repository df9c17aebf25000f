"""What a training will need, compared with what there is, before it starts."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from homeo_rl.errors import UsageError
from homeo_rl.spec import ControllerSpec
from homeo_rl.training.algorithms import ALGORITHMS

BASE = 600 * 2**20
"""Memory of the packages and of an environment, about (bytes)."""


@dataclass(frozen=True)
class Estimate:
    """Bytes of memory and of disk; ``buffer`` is the part of the memory that transitions take."""

    memory: int
    disk: int
    buffer: int


def estimate(algo: str, hyperparams: dict[str, Any], spaces: tuple[Any, Any], controller: ControllerSpec) -> Estimate:
    """Return what a training needs.

    Args:
        algo: its algorithm.
        hyperparams: resolved ones.
        spaces: of observations and actions.
        controller: the policy.
    """
    seen, done = spaces
    envs = int(hyperparams.get("n_envs", 1))
    observation = _bytes(seen)
    action = _bytes(done)
    off_policy = ALGORITHMS[algo].off_policy
    if off_policy:
        rows = int(hyperparams.get("buffer_size", 1_000_000))
        buffer = rows * (2 * observation + action + 3 * 4)
    else:
        rows = int(hyperparams.get("n_steps", 2048)) * envs
        buffer = rows * (4 * int(np.prod(seen.shape or (1,))) + action + 6 * 4)
    widths = controller.network.widths
    actor = sum(i * o + o for i, o in pairwise(widths))
    arch = hyperparams.get("net_arch") or (256, 256)
    sizes = [int(np.prod(seen.shape or (1,))) + int(np.prod(done.shape or (1,))), *arch, 1]
    critic = sum(i * o + o for i, o in pairwise(sizes))
    weights = 4 * (actor + 4 * critic)
    state = 3 * weights  # the weights and Adam's two moments
    return Estimate(BASE + buffer + 4 * weights, 3 * state + buffer * off_policy, buffer)


def require(needed: Estimate, folder: Path) -> None:
    """Compare what is needed with what there is.

    Args:
        needed: the estimate.
        folder: where the run goes; it need not be there yet.

    Raises:
        UsageError: there is too little memory or disk, or the folder cannot be written to; with the figures.
    """
    free = available_memory()
    if free is not None and needed.memory > free:
        raise UsageError(
            f"memory: expected at most {_gb(free)} GB, which are available, this training needs about "
            f"{_gb(needed.memory)} GB ({_gb(needed.buffer)} of them for the buffer); give -params buffer_size:N smaller"
        )
    place = next(parent for parent in (folder.resolve(), *folder.resolve().parents) if parent.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise UsageError(f"{folder}: expected a folder that can be written to, {place} cannot; choose another place")
    disk = shutil.disk_usage(place).free
    if needed.disk > disk:
        raise UsageError(
            f"{folder}: expected {_gb(needed.disk)} GB of disk for checkpoints, {_gb(disk)} GB are free; make room, or "
            "give -params buffer_size:N smaller"
        )


def available_memory() -> int | None:
    """Return the bytes that this process may still take: the machine's and the container's limit; None if unknown."""
    found = []
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    except (OSError, ValueError, IndexError):
        pass
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
        stat = Path("/sys/fs/cgroup/memory.stat").read_text(encoding="ascii").split()
        cached = int(stat[stat.index("inactive_file") + 1])  # the system takes that back when it is asked for
        if limit != "max":
            found.append(int(limit) - used + cached)
    except (OSError, ValueError, IndexError):
        pass
    return min(found) if found else None


def _bytes(space: gym.Space[Any]) -> int:
    shape = space.shape or (1,)
    return int(np.prod(shape)) * np.dtype(space.dtype or np.float32).itemsize


def _gb(size: int) -> str:
    return f"{size / 1e9:,.1f}"
