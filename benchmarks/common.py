"""What every benchmark shares: arms timed in turn in one process, medians, ratios last, ``--json``."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

Arm = Callable[[], object]


def arguments(description: str | None) -> argparse.Namespace:
    """Parse the flags of a benchmark."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--tiny", action="store_true", help="sizes that show that it works, not how fast")
    return parser.parse_args()


def alternate(
    arms: Mapping[str, Arm], *, rounds: int, inner: int = 1, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Time the arms in turn, A B C A B C, on one thread, and return the median microseconds of a call of each.

    Args:
        arms: what is timed; each is called a few times before.
        rounds: how often.
        inner: calls a measurement, for arms so short that reading the clock would count.
        clock: seconds; `time.process_time` leaves out what other programs take of the core
    """
    torch.set_num_threads(1)
    for arm in arms.values():
        for _ in range(3):
            arm()
    times: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(rounds):
        for name, arm in arms.items():
            begin = clock()
            for _ in range(inner):
                arm()
            times[name].append((clock() - begin) / inner)
    return {name: 1e6 * statistics.median(values) for name, values in times.items()}


def fastest(medians: Mapping[str, float], names: Mapping[str, Any]) -> float | None:
    """Return the least median among ``names``, or None if there is none."""
    found = [medians[name] for name in names if name in medians]
    return min(found) if found else None


def over(numerator: float | None, denominator: float) -> float | None:
    """Return a ratio, or None where the peer is not installed."""
    return None if numerator is None else numerator / denominator


def report(
    medians: Mapping[str, float], ratios: Mapping[str, float | None], *, as_json: bool, unit: str = "us", note: str = ""
) -> None:
    """Print the medians and, last, the ratios."""
    if as_json:
        told = {name: value for name, value in ratios.items() if value is not None}
        print(json.dumps({"medians": dict(medians), "ratios": told, "unit": unit, "machine": machine(), "note": note}))
        return
    print(machine())
    width = max(len(name) for name in [*medians, *ratios])
    for name, value in medians.items():
        print(f"{name:<{width}}  {value:12,.1f} {unit}")
    if note:
        print(note)
    for name, ratio in ratios.items():
        print(f"{name:<{width}}  {'not installed' if ratio is None else f'{ratio:12.2f}'}")


def machine() -> str:
    """Return the processor and the versions that matter."""
    names = ["torch", "numba", "snntorch", "spikingjelly", "norse", "stable-baselines3"]
    versions = []
    for name in names:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return f"{_processor()}, Python {platform.python_version()}, {', '.join(versions)}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
