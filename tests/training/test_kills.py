"""Trainings killed with SIGKILL at random moments, as users' machines do it, end with the digest of one that lived."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

ON = ["-n", "4096", "--save-freq", "512", "--eval-freq", "1024"]
OFF = ["-n", "800", "--save-freq", "100", "--eval-freq", "200"]
HYPERPARAMS = {
    "ppo": [*ON, "-params", "n_steps:256", "n_envs:1", "batch_size:64"],
    "sac": [*OFF, "-params", "learning_starts:100"],
    "td3": [*OFF, "-params", "learning_starts:100", "noise_std:0.1"],
}
AGENTS = {"Pendulum-v1": "mlp", "HalfCheetah-v5": "mlp", "Ant-v5": "mlp", "homeo_rl/NavigationTrain-v0": "san"}
STARTED = 2.0  # s: before that a process has only imported


def training(algo: str, env: str, out: Path) -> list[str]:
    asked = ["--algo", algo, "--env", env, "--agent", AGENTS[env], "--eval-episodes", "2", "--out", str(out)]
    return [sys.executable, "-W", "ignore", "-m", "homeo_rl", "train", *asked, "--json", *HYPERPARAMS[algo]]


@dataclass
class Attempt:
    killed: bool
    digest: str = ""


def attempt(command: list[str], life: float) -> Attempt:
    """Run the command and kill it after ``life`` seconds, should it still run then."""
    own = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            out, said = process.communicate(timeout=life)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            return Attempt(killed=True)
    assert process.returncode == 0, said[-2000:]
    return Attempt(killed=False, digest=json.loads(out.splitlines()[-1])["digest"])


def killed_at_random(command_for: list[str], out: Path, kills: int, seed: int) -> tuple[int, int]:
    """Kill trainings ``kills`` times in all, each going on until its end; return trainings and mismatches."""
    rng = random.Random(seed)
    begin = time.monotonic()
    whole = attempt([str(out / "whole") if word == "OUT" else word for word in command_for], life=3600).digest
    duration = time.monotonic() - begin
    met = trainings = mismatches = 0
    while met < kills:
        command = [str(out / f"cut{trainings}") if word == "OUT" else word for word in command_for]
        trainings += 1
        done = Attempt(killed=True)
        while done.killed:
            life = rng.uniform(STARTED, duration * 1.02) if met < kills else 3600.0
            done = attempt(command, life)
            met += done.killed
        mismatches += done.digest != whole
    return trainings, mismatches


@pytest.mark.long
@pytest.mark.parametrize("env", AGENTS)
@pytest.mark.parametrize("algo", HYPERPARAMS)
def test_killed_at_random(algo: str, env: str, tmp_path: Path) -> None:
    """17 kills in each of twelve kinds of training, 204 in all."""
    command = [str(word) for word in training(algo, env, Path("OUT"))]
    trainings, mismatches = killed_at_random(command, tmp_path, kills=17, seed=hash_of(algo, env))
    print(f"{algo} {env}: 17 kills in {trainings} trainings, {mismatches} mismatches")
    assert mismatches == 0


def hash_of(*words: str) -> int:
    return sum(ord(letter) * (place + 1) for place, letter in enumerate("".join(words)))
