"""How many cells this machine carries at once, and which GPU each of them gets."""

from __future__ import annotations

import math
import os
import subprocess

from homeo_rl.errors import UsageError
from homeo_rl.sweeps.sweep_spec import Resources
from homeo_rl.training.estimate import available_memory


def local_places(workers: int | None, resources: Resources, note: list[str]) -> tuple[int, tuple[str, ...]]:
    """Return how many cells run side by side, and CUDA_VISIBLE_DEVICES of each (() leaves them alone).

    Args:
        workers: what the user asks for; None is what the cores allow.
        resources: of each cell.
        note: gets a line where memory or GPUs allow fewer than were asked for.

    Raises:
        UsageError: not even one cell finds its place.
    """
    if workers is not None and workers < 1:
        raise UsageError(f"--workers: expected at least 1, got {workers}")
    asked = workers or max(math.floor((os.cpu_count() or 1) / resources.cpus), 1)
    limits = {}
    memory = available_memory()
    if resources.memory_gb is not None and memory is not None:
        limits[f"memory ({memory / 2**30:.1f} GB are free)"] = math.floor(memory / 2**30 / resources.memory_gb)
    devices: tuple[str, ...] = ()
    if resources.gpus > 0:
        found = visible_gpus()
        shares = gpu_shares(found, resources.gpus)
        limits[f"GPUs ({len(found)} are here)"] = len(shares)
        devices = shares
    for what, limit in limits.items():
        if limit < 1:
            raise UsageError(f"resources: expected room for one cell at least, {what} are not enough; ask for less")
        if limit < asked:
            asked = limit
            note.append(f"{asked} cells side by side: {what} allow no more")
    return asked, devices[:asked]


def gpu_shares(found: list[str], each: float) -> tuple[str, ...]:
    """Return the GPUs of every place: whole ones side by side, or one shared by several places.

    Args:
        found: names of GPUs.
        each: how many a cell gets; a fraction below 1 shares one.
    """
    if each >= 1:
        size = math.ceil(each)
        return tuple(",".join(found[start : start + size]) for start in range(0, len(found) - size + 1, size))
    return tuple(name for name in found for _ in range(math.floor(1 / each)))


def visible_gpus() -> list[str]:
    """Return the GPUs that CUDA would see, without loading it."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip() not in ("", "-1")]
    try:
        told = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(number) for number, line in enumerate(told.stdout.splitlines()) if line.startswith("GPU ")]
