"""Evaluation of 64 robots with a spiking policy: ``--engine rollout`` against ``--engine gymnasium``, and the physics.

``python -m benchmarks.many_robots [--json]``. Episodes of HalfCheetah with a PopSAN actor of the usual size and random
weights, one process and one thread; making the environments counts. Times are of the processor, microseconds a step of
one robot. The physics alone is what no engine can leave out: one simulation, whose data stay in the cache.
"""

from __future__ import annotations

import statistics
import time
from functools import partial
from typing import Any

import mujoco
import torch

from benchmarks.common import arguments, report
from homeo_rl.agents.controller import Controller
from homeo_rl.agents.presets import controller_spec
from homeo_rl.agents.session import Session
from homeo_rl.degradations.protocol import Condition
from homeo_rl.envs.make import make_env
from homeo_rl.evaluation.engines import Batched
from homeo_rl.evaluation.rollout import rollout

ENV = "HalfCheetah-v5"


def time_episodes(controller: Controller, count: int, length: int, engine: Any) -> tuple[float, list[float]]:
    """Return the microseconds of a step, and the returns of all episodes."""
    begin = time.process_time()
    episodes = rollout(
        partial(Session, controller),
        engine(partial(make_env, ENV, {"max_episode_steps": length})),
        range(count),
        condition=Condition(name="clean"),
        num_envs=count,
    )
    steps = sum(episode.length for episode in episodes)
    return 1e6 * (time.process_time() - begin) / steps, [episode.total for episode in episodes]


def time_physics(steps: int) -> float:
    """Return the microseconds of a step of the simulator alone."""
    env: Any = make_env(ENV)
    env.reset(seed=0)
    model, data = env.unwrapped.model, env.unwrapped.data
    controls = torch.rand(64, model.nu).numpy() * 2.0 - 1.0
    begin = time.process_time()
    for step in range(steps):
        data.ctrl[:] = controls[step % 64]
        mujoco.mj_step(model, data, nstep=env.unwrapped.frame_skip)
    return 1e6 * (time.process_time() - begin) / steps


def main() -> None:
    """Measure and print."""
    args = arguments(__doc__)
    torch.set_num_threads(1)
    count, length, rounds = (3, 20, 1) if args.tiny else (64, 1000, 3)
    env = make_env(ENV)
    torch.manual_seed(0)
    hidden = {"hidden": [16, 16] if args.tiny else [256, 256]}
    controller = Controller(controller_spec("popsan", env.observation_space, env.action_space, overrides=hidden))
    engines = {"gymnasium": lambda new_env: new_env, "rollout": Batched}
    times: dict[str, list[float]] = {"physics alone": [], **{name: [] for name in engines}}
    for engine in engines.values():
        time_episodes(controller, 2, 10, engine)
    for _ in range(rounds):
        times["physics alone"].append(time_physics(20 * length))
        returns = []
        for name, engine in engines.items():
            spent, totals = time_episodes(controller, count, length, engine)
            times[name].append(spent)
            returns.append(totals)
        if returns[0] != returns[1]:
            raise AssertionError("expected the same returns from both engines")
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratios = {
        "times_gymnasium": medians["gymnasium"] / medians["rollout"],
        "times_physics": medians["rollout"] / medians["physics alone"],
    }
    note = "times_gymnasium: how many times faster; times_physics: cost in units of the physics; returns are equal"
    report(medians, ratios, as_json=args.json, note=note)


if __name__ == "__main__":
    main()
