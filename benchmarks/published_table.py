"""Trained runs beside the published table of spiking actors: best of training, final, and held-out returns.

``python -m benchmarks.published_table RUN ... [--episodes 50] [--json]``. A row is a run folder of ``homeo-rl train``
with evaluations: the mean return of the best evaluation in training, which is what the table reports and which is
biased upwards; that of the last evaluation; and that of held-out episodes, the same ones for every run of a body, of
the final policy and of the one that evaluated best.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch

from homeo_rl.agents.controller import Controller, load_controller
from homeo_rl.envs.make import make_env
from homeo_rl.run import Run

PUBLISHED = {
    "InvertedDoublePendulum": (7503, 9352),
    "Ant": (4770, 5584),
    "HalfCheetah": (10857, 9784),
    "Hopper": (3410, 3592),
    "Walker2d": (4340, 4537),
}
"""TD3 at 1,000,000 steps, five seeds: the network without spikes, and the best spiking entry of any method (CaRe-BN,
ICLR 2026, arXiv 2509.23791). Bodies of version 4."""

FIRST_SEED = 20_000  # no training and no evaluation in training comes near it


def main() -> None:
    """Print a row a run, and its difference to the published entries."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row_of(path, given.episodes) for path in given.runs]
    if given.json:
        print(json.dumps(rows))
        return
    print(f"{'run':26}{'steps':>10}{'best':>8}{'final':>8}{'held-out':>10}{'of best':>9}{'ANN':>8}{'spiking':>9}")
    for row in sorted(rows, key=lambda row: (row["body"], row["run"])):
        network, spiking = PUBLISHED.get(row["body"], (math.nan, math.nan))
        numbers = f"{row['steps']:10,}{row['best']:8,.0f}{row['final']:8,.0f}{row['held_out']:10,.0f}"
        print(f"{row['run']:26}{numbers}{row['held_out_of_best']:9,.0f}{network:8,.0f}{spiking:9,.0f}")
    print(f"published: best of training, mean of five seeds; held-out: {given.episodes} episodes, deterministic")


def row_of(path: Path, episodes: int) -> dict[str, Any]:
    """Return what is known of a run, its held-out returns included."""
    run = Run.open(path)
    curve = np.load(path / "evaluations.npz")
    means = curve["results"].mean(1)
    final = load_controller(run)
    best = load_controller(run, which="best")
    return {
        "run": path.name,
        "body": run.spec.env.partition("-")[0],
        "agent": run.spec.agent,
        "algo": run.spec.algo,
        "steps": run.spec.steps,
        "parameters": sum(part.numel() for part in final.network.parameters()),
        "best": float(means.max()),
        "best_at": int(curve["timesteps"][means.argmax()]),
        "final": float(means[-1]),
        "held_out": held_out(final, run, episodes),
        "held_out_of_best": held_out(best, run, episodes),
    }


def held_out(controller: Controller, run: Run, episodes: int) -> float:
    """Return the mean return of episodes that no training saw."""
    env = make_env(run.spec.env, run.spec.env_kwargs)
    totals = []
    for seed in range(FIRST_SEED, FIRST_SEED + episodes):
        observation, _ = env.reset(seed=seed)
        state, rewards, over = None, [], False
        while not over:
            with torch.no_grad():
                action, state = controller(torch.as_tensor(observation[None], dtype=torch.float32), state)
            observation, reward, terminated, truncated, _ = env.step(action[0].numpy())
            rewards.append(float(reward))
            over = terminated or truncated
        totals.append(math.fsum(rewards))
    env.close()
    return statistics.fmean(totals)


if __name__ == "__main__":
    main()
