"""How many jobs this machine carries at once, and which GPU each of them gets."""

import math
import os
import subprocess
from collections.abc import Callable

from homeo_rl.errors import UsageError
from homeo_rl.processes.executor import Resources


def local_slots(
    workers: int | None, resources: Resources, memory: int | None, note: Callable[[str], None]
) -> tuple[int, tuple[str, ...]]:
    """Return how many jobs run side by side, and CUDA_VISIBLE_DEVICES of each (() leaves them alone).

    Args:
        workers: what the user asks for; None is what the cores allow.
        memory: bytes that are free; None if unknown.
        note: gets a line where memory or GPUs allow fewer than were asked for.

    Raises UsageError: there is not room for one job.
    """
    if workers is not None and workers < 1:
        raise UsageError(f"--workers: expected at least 1, got {workers}")
    count = workers or max(math.floor((os.cpu_count() or 1) / resources.cpus), 1)
    limits = {}
    if resources.memory_gb is not None and memory is not None:
        limits[f"memory ({memory / 2**30:.1f} GB are free)"] = math.floor(memory / 2**30 / resources.memory_gb)
    devices: tuple[str, ...] = ()
    if resources.gpus > 0:
        gpus = visible_gpus()
        devices = gpu_shares(gpus, resources.gpus)
        limits[f"GPUs ({len(gpus)} are here)"] = len(devices)
    for what, limit in limits.items():
        if limit < 1:
            raise UsageError(f"resources: expected room for one cell at least, {what} are not enough; ask for less")
        if limit < count:
            count = limit
            note(f"{count} cells side by side: {what} allow no more")
    return count, devices[:count]


def gpu_shares(gpus: list[str], each: float) -> tuple[str, ...]:
    """Return the GPUs of every slot: one or more of its own, or one shared by several slots."""
    if each >= 1:
        size = math.ceil(each)
        return tuple(",".join(gpus[start : start + size]) for start in range(0, len(gpus) - size + 1, size))
    return tuple(name for name in gpus for _ in range(math.floor(1 / each)))


def visible_gpus() -> list[str]:
    """Return the GPUs that CUDA would see, without loading it."""
    names = os.environ.get("CUDA_VISIBLE_DEVICES")
    if names is not None:
        return [name.strip() for name in names.split(",") if name.strip() not in ("", "-1")]
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(number) for number, line in enumerate(listing.stdout.splitlines()) if line.startswith("GPU ")]
