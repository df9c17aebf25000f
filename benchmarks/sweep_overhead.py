"""What a sweep costs beside its cells: 24 short trainings with their evaluations, two at a time.

``python -m benchmarks.sweep_overhead [--json]``. The command's wall time, from its start to its tables, over the time
that the cells themselves took divided by the number of workers: starting Python, loading libraries in every process,
reading the file, waiting for the last cell and the tables all count against us.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from benchmarks.common import arguments, report
from homeo_rl.sweeps.store import journal

WORKERS = 2


def main() -> None:
    """Measure and print."""
    told = arguments(__doc__)
    rates, seeds, steps = (2, 1, 64) if told.tiny else (4, 6, 4096)
    document = {
        "train": {
            "algo": "ppo",
            "env": "InvertedPendulum-v5",
            "agent": "popsan",
            "n_timesteps": steps,
            "eval_freq": -1,
            "params": {"n_steps": 32 if told.tiny else 512, "batch_size": 32, "agent_kwargs": {"hidden": [64, 64]}},
        },
        "grid": {"params.learning_rate": [1e-3 / 2**power for power in range(rates)]},
        "seeds": seeds,
        "evaluate": {"episodes": 2 if told.tiny else 10},
    }
    with tempfile.TemporaryDirectory() as folder:
        grid, out = Path(folder) / "grid.yml", Path(folder) / "out"
        grid.write_text(yaml.safe_dump(document), encoding="utf-8")
        words = ["sweep", str(grid), "--out", str(out), "--workers", str(WORKERS), "--no-progress", "--json"]
        begin = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "homeo_rl", *words], stdout=subprocess.PIPE, text=True, check=True)
        wall = time.perf_counter() - begin
        cells = json.loads(done.stdout.splitlines()[-1])["cells"]
        spent = [entry["seconds"] for entry in journal(out) if entry["event"] == "finished"]
    assert len(spent) == cells
    ideal = sum(spent) / WORKERS
    medians = {"sweep": wall, f"cells / {WORKERS}": ideal, "beside them": wall - ideal, "a cell": sum(spent) / cells}
    note = f"{cells} cells, {WORKERS} workers; vs_cells: goal <= 1.15"
    report(medians, {"vs_cells": wall / ideal}, as_json=told.json, unit="s", note=note)


if __name__ == "__main__":
    main()
