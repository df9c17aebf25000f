"""Damage the network of a run, let it test itself and sleep, and compare its layers before and after."""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from homeo_rl.agents.controller import load_controller, require_spiking
from homeo_rl.degradations.protocol import NetworkDamage
from homeo_rl.envs.make import arguments_for
from homeo_rl.evaluation.calibrate import calibration_of
from homeo_rl.evaluation.rollout import one_thread
from homeo_rl.homeostasis import SleepHomeostat
from homeo_rl.run import Run
from homeo_rl.snn.offline_repair.request import Repair
from homeo_rl.snn.replay import Replay, SelfTest, memory_for

CALIBRATION_EPISODES = 5


class SleepTrial(NamedTuple):
    """The self-test of a damaged network, and the effect of sleep."""

    test: SelfTest  # the self-test; ``passed`` says whether the network needed no sleep
    passed: bool
    # before, after: distance of each layer's outputs from the remembered ones (`Replay.errors`)
    before: list[float]
    after: list[float]
    seconds: float
    rates: dict[str, list[np.ndarray]]  # mean rates [N] of each layer: "remembered", "damaged" and "after sleep"
    chosen: tuple[str, ...]  # the candidate that each layer kept


def try_sleep(
    run: Run, plugin: SleepHomeostat, damage: NetworkDamage, onset: int, *, which: str, env: str,
    on_episode: Callable[[], None],
) -> SleepTrial:  # fmt: skip
    """Damage the network of a run at step ``onset`` and let it sleep; nothing is stored but the calibration.

    ``env`` is the environment of the calibration, "" the run's own; ``on_episode`` is called after each of its
    `CALIBRATION_EPISODES` episodes.

    Raises UsageError: the policy ``which`` does not spike, or cannot be replayed.
    """
    controller = load_controller(run, which=which)
    network, name = require_spiking(controller, "sleep"), env or run.spec.env
    clean = name, arguments_for(name, run.spec.env, run.spec.env_kwargs)
    calibration = calibration_of(
        run, controller, which=which, episodes=CALIBRATION_EPISODES, env=clean, on_episode=lambda _: on_episode()
    )
    trained = network.parameters_of_layers()
    replay = Replay(network, memory_for(plugin, calibration.memory(network), trained), controller.unit_action)
    damaged = next(weights for step in range(onset + 1) if (weights := damage.at(step, trained)) is not None)
    test = replay.test(damaged)
    passed = test.passed(plugin.tolerance)
    start = time.perf_counter()
    with one_thread():
        repair = Repair(damaged, ("keep",) * len(damaged)) if passed else replay.rehearse(plugin, damaged)
    seconds = time.perf_counter() - start
    outputs = {
        "remembered": replay.memory.trains[1:],
        "damaged": replay.network_responses(damaged),
        "after sleep": replay.network_responses(repair.weights),
    }
    rates = {state: [layer.mean((0, 1)).numpy() for layer in layers] for state, layers in outputs.items()}
    return SleepTrial(
        test, passed, replay.errors(damaged), replay.errors(repair.weights), seconds, rates, repair.chosen
    )
