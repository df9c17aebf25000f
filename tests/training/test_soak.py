"""An hour of training: what it holds, opens and writes does not grow with its length."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from homeo_rl.storage import bundle

SECONDS = float(os.environ.get("HOMEO_RL_SOAK_SECONDS", "3600"))

KINDS = {
    "ppo": ["--env", "Pendulum-v1", "--agent", "mlp", "-params", "n_steps:256", "n_envs:4"],
    "sac": ["--env", "InvertedPendulum-v5", "--agent", "mlp", "-params", "buffer_size:50000", "train_freq:16"],
}
"""Short iterations and short episodes: what is told or kept once in each comes often."""


def resident(process: int) -> float:
    """Return the memory of a process in MB."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


@pytest.mark.long
@pytest.mark.parametrize("algo", KINDS)
def test_soak(algo: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [
        sys.executable, "-W", "ignore", "-m", "homeo_rl", "train", "--algo", algo, "-n", "1000000000",
        "--out", str(out), "--no-progress", *KINDS[algo],
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    taken: list[tuple[float, float, int]] = []  # environment steps, MB, open files
    begin = time.monotonic()
    while time.monotonic() - begin < SECONDS / len(KINDS):
        time.sleep(min(10.0, SECONDS / 100))
        assert process.poll() is None, process.communicate()[1]
        if (out / "run.json").exists():
            steps = bundle.read_json(out / "run.json")["steps"]  # as of the last checkpoint
            taken.append((steps, resident(process.pid), len(os.listdir(f"/proc/{process.pid}/fd"))))
    process.terminate()
    said = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 143, said
    steps, memory, files = (np.array(column) for column in zip(*taken, strict=True))
    settled = steps > steps[-1] / 4  # buffers are full, caches warm
    growth = np.polyfit(steps[settled] / 1e5, memory[settled], 1)[0]
    curves = sum(path.stat().st_size for path in (out / "tb").rglob("*") if path.is_file()) / 1e6
    written = curves / steps[-1] * 1e6
    # A file that is being written is open for a moment; one that stays open is a leak.
    half = len(files) // 2
    before, after = files[half // 2 : half].min(), files[half:].min()
    print(
        f"{algo}: {steps[-1]:,.0f} steps, {memory[-1]:.0f} MB, growing by {growth:+.3f} MB per 100k steps, "
        f"{before} open files, then {after} (at most {files.max()}), TensorBoard {written:.2f} MB per 1M steps"
    )
    assert growth <= 0.1
    assert before == after
    assert written <= 5
