"""Offline repairs of a damaged policy: what each retains, whom it harms, what it stores and how long it computes.

    python -m benchmarks.sleep_repairs RUN [--arms sleep,weight-copy] [--observations 25,50,100,200,400]
        [--conditions zero-30] [--suite repair] [--episodes 20] [--seed 0] [--json] [--tiny]

RUN is a run folder or the name of an agent of the package; it is copied, not changed. Beside each mean retention stand
the share of episodes that the repair harmed (they earn less than the frozen policy under the same damage), and the
worst episode. ``--observations`` evaluates the first arm with memories of these sizes. Calibration remembers 200
observations; larger memories hold more of the same clean episodes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from homeo_rl.agents.controller import Controller, load_controller, require_spiking
from homeo_rl.degradations.protocol import Condition
from homeo_rl.degradations.suites import Suite, load_suite
from homeo_rl.envs.make import make_env
from homeo_rl.evaluation.calibrate import OBSERVATIONS, Calibration, calibrate, make_session
from homeo_rl.evaluation.episode import episode_seed
from homeo_rl.evaluation.rollout import rollout
from homeo_rl.homeostasis import SleepHomeostat, make_homeostasis
from homeo_rl.run import Run, copy_run
from homeo_rl.snn.replay import Replay, memory_for
from homeo_rl.storage.pretrained import FOLDER, list_pretrained


@dataclass(frozen=True)
class Row:
    """One arm under one condition.

    Attributes:
        retention: mean return over the frozen policy's clean mean return.
        error: standard error of it.
        harmed: share of episodes that earn less than the frozen policy's; None of the frozen policy.
        worst: least retention of an episode.
        stored: bytes beside the policy.
        seconds: processor time of one repair, on one thread.
    """

    condition: str
    arm: str
    retention: float
    error: float
    harmed: float | None
    worst: float
    stored: int | None
    seconds: float | None


def main() -> None:
    """Evaluate the arms and print a table."""
    args = _arguments()
    torch.set_num_threads(1)
    suite = load_suite(args.suite)
    wanted = args.conditions.split(",") if args.conditions else [c.label for c in suite.conditions if c.severity]
    arms = args.arms.split(",")
    if args.observations:
        arms = [f"{arms[0]}:observations={count}" for count in args.observations.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        source = FOLDER / args.run if args.run in list_pretrained() else Path(args.run)
        run = copy_run(Run.open(source), Path(folder) / source.name)
        rows = compare(run, suite, wanted, arms, args)
        if args.json:
            print(json.dumps([vars(row) for row in rows]))
            return
        print("| condition | arm | retention | harmed | worst | stored kB | repair s |\n|---|---|---|---|---|---|---|")
        for row in rows:
            _show(row)


def _show(row: Row) -> None:
    print(
        f"| {row.condition} | {row.arm} | {row.retention:.3f} +- {row.error:.3f} | {_share(row.harmed)} | "
        f"{row.worst:.2f} | {'' if row.stored is None else f'{row.stored / 1000:.0f}'} | "
        f"{'' if row.seconds is None else f'{row.seconds:.2f}'} |",
        flush=True,
    )


def compare(run: Run, suite: Suite, wanted: list[str], arms: list[str], args: argparse.Namespace) -> Iterator[Row]:
    """Yield a row for the frozen policy and for every arm under each wanted condition."""
    controller = load_controller(run)
    counts = [OBSERVATIONS, *(int(count) for count in args.observations.split(",") if count)]
    calibration = calibrate(run, controller, which="policy", episodes=5, observations=max(counts))
    clean = float(_returns(run, controller, calibration, "none", Condition(name="clean"), args).mean())
    for condition in (condition for condition in suite.conditions if condition.label in wanted):
        frozen = _returns(run, controller, calibration, "none", condition, args)
        for arm in ("none", *arms):
            total = frozen if arm == "none" else _returns(run, controller, calibration, arm, condition, args)
            shares = total / clean
            stored, seconds = (None, None) if arm == "none" else _cost(controller, calibration, arm, condition)
            yield Row(
                condition.label, arm, float(shares.mean()), float(shares.std() / len(shares) ** 0.5),
                None if arm == "none" else float((total < frozen).mean()), float(shares.min()), stored, seconds,
            )  # fmt: skip


def _returns(
    run: Run, controller: Controller, calibration: Calibration, arm: str, condition: Condition, args: Any
) -> np.ndarray:
    episodes = rollout(
        lambda slots: make_session(controller, slots, plugin=make_homeostasis(arm), calibration=calibration),
        lambda: make_env(run.spec.env, run.spec.env_kwargs),
        [episode_seed(args.seed, "evaluation", index) for index in range(args.episodes)],
        condition=condition,
        num_envs=10,
    )
    return np.array([episode.total for episode in episodes])


def _cost(
    controller: Controller, calibration: Calibration, arm: str, condition: Condition
) -> tuple[int | None, float | None]:
    plugin, network = make_homeostasis(arm), require_spiking(controller, "sleep")
    damage = replace(condition, onset=0).network_damage(1)
    if not isinstance(plugin, SleepHomeostat) or damage is None:
        return None, None
    trained = network.parameters_of_layers()
    replay = Replay(network, memory_for(plugin, calibration.memory(network), trained), controller.unit_action)
    weights = damage.at(0, trained)
    assert weights is not None
    times = []
    for _ in range(3):
        begin = time.process_time()
        replay.repair(plugin, weights)
        times.append(time.process_time() - begin)
    return replay.memory.size, sorted(times)[1]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--arms", default="sleep,sleep:bits=0,sleep:form=delta,weight-copy,ridge,finetune")
    parser.add_argument("--observations", default="")
    parser.add_argument("--conditions", default="")
    parser.add_argument("--suite", default="repair")
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--tiny", action="store_true", help="one episode: shows that it works")
    args = parser.parse_args()
    args.episodes = 1 if args.tiny else args.episodes
    return args


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.0f} %"


if __name__ == "__main__":
    main()
