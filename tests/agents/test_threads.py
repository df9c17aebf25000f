"""However many threads a machine offers, a training gives the same parameters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KINDS = {
    "ppo": ["-n", "2048", "-params", "n_steps:512", "n_envs:2"],
    "sac": ["-n", "400", "-params", "learning_starts:100"],
}


@pytest.mark.long
@pytest.mark.parametrize("algo", KINDS)
def test_digests_do_not_depend_on_threads(algo: str, tmp_path: Path) -> None:
    found = {}
    for threads in ("1", "2", "4"):
        command = [
            sys.executable, "-W", "ignore", "-m", "homeo_rl", "train", "--algo", algo, "--env", "HalfCheetah-v5",
            "--out", str(tmp_path / threads), "--eval-freq", "-1", "--json", *KINDS[algo],
        ]  # fmt: skip
        own = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        done = subprocess.run(command, env=own, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found[threads] = json.loads(done.stdout.splitlines()[-1])["digest"]
    print(f"{algo}: OMP_NUM_THREADS 1, 2, 4: {len(set(found.values()))} digest")
    assert len(set(found.values())) == 1
