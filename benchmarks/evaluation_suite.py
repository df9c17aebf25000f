"""A robustness suite against the environment steps alone: HalfCheetah, 13 conditions, 10 episodes, none and DWAM.

``python -m benchmarks.evaluation_suite [--json]``. The agent is a PopSAN actor of the usual size with random weights;
episodes last 1,000 steps whatever it does. The limit is as many bare steps, shared between as many processes;
starting the processes, calibration, damage, adaptation, logs and scores all count against us.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch

from benchmarks.common import arguments, report
from homeo_rl.agents.controller import Controller, save_controller
from homeo_rl.agents.presets import controller_spec
from homeo_rl.degradations.suites import load_suite
from homeo_rl.envs.make import make_env
from homeo_rl.evaluation.evaluate import evaluate
from homeo_rl.evaluation.plan import Plan
from homeo_rl.run import Run, versions
from homeo_rl.spec import RunSpec

ENV = "HalfCheetah-v5"
ARMS = ("none", "dwam-paper")
LENGTH = 1000


def bare(steps: int) -> None:
    """Step the environment with random actions."""
    env = make_env(ENV, {})
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (64, 6)).astype(np.float32)
    for step in range(steps):
        if step % LENGTH == 0:
            env.reset(seed=step)
        env.step(actions[step % 64])


def agent(folder: Path, hidden: list[int]) -> Run:
    """Return a run whose actor has random weights."""
    env = make_env(ENV, {})
    spec = controller_spec("popsan", env.observation_space, env.action_space, algo="td3", overrides={"hidden": hidden})
    torch.manual_seed(0)
    controller = Controller(spec)
    controller.normaliser.update(torch.randn(64, spec.network.inputs))
    run = Run.create(folder, RunSpec(origin="import", env=ENV, agent="popsan", controller=spec, versions=versions()))
    save_controller(run, controller)
    return run


def main() -> None:
    """Measure and print."""
    told = arguments(__doc__)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    workers = 1 if told.tiny else os.cpu_count() or 1
    conditions, episodes, rounds = (2, 1, 1) if told.tiny else (13, 10, 3)
    suite = load_suite("standard")
    full = [condition for condition in suite.conditions if condition.severity == 1.0]
    suite = dataclasses.replace(suite, conditions=(suite.conditions[0], *full[::2])[:conditions])  # of every kind
    steps = len(ARMS) * conditions * episodes * LENGTH
    times: dict[str, list[float]] = {"bare steps": [], "evaluation": []}
    with tempfile.TemporaryDirectory() as folder, multiprocessing.get_context("spawn").Pool(workers) as pool:
        run = agent(Path(folder) / "run", [16, 16] if told.tiny else [256, 256])
        pool.map(bare, [100] * workers)
        for seed in range(rounds):
            begin = time.perf_counter()
            pool.map(bare, [steps // workers] * workers, chunksize=1)
            times["bare steps"].append(time.perf_counter() - begin)
            begin = time.perf_counter()
            evaluate(run, Plan(suite=suite, arms=ARMS, episodes=episodes, seed=seed), workers=workers)
            times["evaluation"].append(time.perf_counter() - begin)
    medians = {name: statistics.median(values) for name, values in times.items()}
    note = (
        f"{steps:,} steps, {workers} processes; vs_limit: times the bare steps' time (goal <= 4); "
        f"{1e6 * workers * medians['evaluation'] / steps:.0f} us of a core a step, "
        f"bare {1e6 * workers * medians['bare steps'] / steps:.0f}"
    )
    report(medians, {"vs_limit": medians["evaluation"] / medians["bare steps"]}, as_json=told.json, unit="s", note=note)


if __name__ == "__main__":
    main()
