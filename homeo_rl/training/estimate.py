"""What a training will need, compared with what there is, before it starts."""

import contextlib
import importlib.util
import os
import resource
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

BASE = 600 * 2**20  # memory of the packages and of an environment, about (bytes)

_PACKAGES_SPACE = 850 * 2**20
"""Addresses that the packages take besides torch's libraries, which are mapped as a whole: more than memory."""

_ENVIRONMENT, _WORKER = 64 << 10, 30 << 20
"""Memory of a small environment with its wrappers, and of a process of its own, which shares most of it."""

_FILES, _FILES_OF_WORKER, _PROCESSES = 64, 4, 4
"""Descriptors of everything else, and of a worker's pipes; processes that there are besides workers."""


@dataclass(frozen=True)
class Estimate:
    """What a training takes: bytes of memory and of disk, files that are open at once, and processes.

    ``buffer`` is the part of the memory that transitions take, ``apart`` the number of environments that have a file
    each.
    """

    memory: int
    disk: int
    buffer: int
    descriptors: int = 0
    processes: int = 0
    apart: int = 0


def estimate(
    algo: str,
    hyperparams: dict[str, Any],
    spaces: tuple[Any, Any],
    controller: ControllerSpec,
    *,
    apart: int = 0,
    workers: int = 0,
) -> Estimate:
    """Return what a training needs.

    ``apart`` environments are not rows of one vectorised environment and write a file each; ``workers`` of them are
    processes.
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
    return Estimate(
        memory=BASE + buffer + 4 * weights + apart * _ENVIRONMENT + workers * _WORKER,
        disk=3 * state + buffer * off_policy,
        buffer=buffer,
        descriptors=_FILES + apart + _FILES_OF_WORKER * workers,
        processes=workers + _PROCESSES if workers else 0,
        apart=apart,
    )


def require(needed: Estimate, folder: Path) -> None:
    """Compare what is needed with what there is.

    Raises UsageError: there is too little memory, disk, or too few files or processes, or the folder cannot be written
    to; with the figures.
    """
    smaller = "give -params buffer_size:N smaller" if needed.apart <= 1 else "give -params n_envs:N smaller"
    free = available_memory()
    needs = f"{_gb(needed.memory)} GB ({_gb(needed.buffer)} of them for the buffer); {smaller}"
    if free is not None and needed.memory > free:
        raise UsageError(
            f"memory: expected at most {_gb(free)} GB, which are available, this training needs about {needs}"
        )
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    space = needed.memory - BASE + _PACKAGES_SPACE + _size_of_torch()
    if most != resource.RLIM_INFINITY and space > most:
        raise UsageError(
            f"memory: expected at most {_gb(most)} GB of addresses, which this shell allows (ulimit -v), this training "
            f"needs about {_gb(space)} GB ({_gb(needed.buffer)} of them for the buffer); raise it, or {smaller}"
        )
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files != resource.RLIM_INFINITY and needed.descriptors > files:
        raise UsageError(
            f"open files: expected at most {files:,}, which this shell allows, {needed.apart:,} environments need "
            f"about {needed.descriptors:,}; raise it (ulimit -n), or give -params n_envs:N smaller"
        )
    processes = available_processes() if needed.processes else None
    if processes is not None and needed.processes > processes:
        raise UsageError(
            f"processes: expected at most {processes:,}, which are available, --vec-env workers needs about "
            f"{needed.processes:,}; give -params n_envs:N smaller"
        )
    parent_folder = next(parent for parent in (folder.resolve(), *folder.resolve().parents) if parent.exists())
    if not parent_folder.is_dir() or not os.access(parent_folder, os.W_OK | os.X_OK):
        raise UsageError(
            f"{folder}: expected a folder that can be written to, {parent_folder} cannot; choose another place"
        )
    disk = shutil.disk_usage(parent_folder).free
    if needed.disk > disk:
        raise UsageError(
            f"{folder}: expected {_gb(needed.disk)} GB of disk for checkpoints, {_gb(disk)} GB are free; make room, or "
            "give -params buffer_size:N smaller"
        )


def available_memory() -> int | None:
    """Return the bytes that this process may still take: the machine's and its groups' limits; None if unknown."""
    limits = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        limits += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    for folder in group_folders("memory"):
        for limit_file, used, returned in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),  # version 1
        ):
            with contextlib.suppress(OSError, ValueError, IndexError):  # not there, or "max"
                limit_bytes, taken = (int((folder / name).read_text(encoding="ascii")) for name in (limit_file, used))
                stat = (folder / "memory.stat").read_text(encoding="ascii").split()
                cached = int(stat[stat.index(returned) + 1])  # the system takes that back when it is asked for
                limits.append(max(limit_bytes - taken + cached, 0))
    return min(limits) if limits else None


def available_processes() -> int | None:
    """Return how many processes may still be started; None if unknown."""
    counts = []
    most, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if most != resource.RLIM_INFINITY and os.geteuid() != 0:  # which does not hold for root
        counts.append(most)
    for folder in group_folders("pids"):
        with contextlib.suppress(OSError, ValueError):
            allowed, running = (
                int((folder / f"pids.{name}").read_text(encoding="ascii")) for name in ("max", "current")
            )
            counts.append(max(allowed - running, 0))
    return min(counts) if counts else None


def group_folders(
    kind: str, root: Path = Path("/sys/fs/cgroup"), table: Path = Path("/proc/self/cgroup")
) -> list[Path]:
    """Return the folders that tell the limits of this process's control groups, of both versions, outer ones too."""
    folders = [root, root / kind]
    with contextlib.suppress(OSError, UnicodeDecodeError):
        for line in table.read_text(encoding="utf-8").splitlines():
            _, kinds, path = line.split(":", 2)
            if kinds and kind not in kinds.split(","):
                continue
            inner = Path(path.lstrip("/"))
            above = root / kind if kinds else root
            folders += [above / part for part in (inner, *inner.parents)]
    return list(dict.fromkeys(folders))


def _size_of_torch() -> int:
    """Return the bytes of torch's libraries, without loading them."""
    spec = importlib.util.find_spec("torch")
    folders = spec.submodule_search_locations if spec is not None else None
    return sum(file.stat().st_size for folder in folders or () for file in Path(folder, "lib").glob("*.so*"))


def _bytes(space: gym.Space[Any]) -> int:
    shape = space.shape or (1,)
    return int(np.prod(shape)) * np.dtype(space.dtype or np.float32).itemsize


def _gb(size: int) -> str:
    return f"{size / 1e9:,.1f}"
