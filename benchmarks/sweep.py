"""How evaluations spread over processes: the cells of a robustness suite on one worker and on one a core.

``python -m benchmarks.sweep [--json]``. Starting the processes, which import torch anew, counts; calibration does not.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import torch

from benchmarks.common import arguments, report
from benchmarks.evaluation_suite import ARMS, LENGTH, agent
from homeo_rl.degradations.suites import load_suite
from homeo_rl.evaluation.evaluate import evaluate
from homeo_rl.evaluation.plan import Plan


def main() -> None:
    """Measure and print."""
    told = arguments(__doc__)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    workers = max(os.cpu_count() or 1, 2)
    conditions, episodes, rounds = (1, 1, 1) if told.tiny else (12, 40, 1)
    suite = load_suite("standard")
    suite = dataclasses.replace(suite, conditions=suite.conditions[:conditions])
    names = {1: "1 worker", workers: f"{workers} workers"}
    times: dict[int, list[float]] = {count: [] for count in names}
    with tempfile.TemporaryDirectory() as folder:
        run = agent(Path(folder) / "run", [16, 16] if told.tiny else [256, 256])
        clean = dataclasses.replace(suite, conditions=suite.conditions[:1])
        evaluate(run, Plan(suite=clean, arms=("none",), episodes=1, seed=99), workers=1)  # calibrates
        for seed in range(rounds):
            for count, spent in times.items():
                begin = time.perf_counter()
                evaluate(run, Plan(suite=suite, arms=ARMS, episodes=episodes, seed=seed), workers=count)
                spent.append(time.perf_counter() - begin)
    medians = {names[count]: statistics.median(spent) for count, spent in times.items()}
    speedup = medians["1 worker"] / medians[names[workers]]
    cells = len(ARMS) * conditions
    note = (
        f"{cells} cells of {episodes * LENGTH:,} steps; speedup: goal >= 0.9 x {workers}; efficiency: speedup / workers"
    )
    report(medians, {"speedup": speedup, "efficiency": speedup / workers}, as_json=told.json, unit="s", note=note)


if __name__ == "__main__":
    main()
