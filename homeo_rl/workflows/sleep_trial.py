"""Damage the network of a run, let it test itself and sleep, and compare its layers before and after."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from homeo_rl.agents.controller import load_controller, require_spiking
from homeo_rl.degradations.protocol import Condition
from homeo_rl.envs.make import arguments_for
from homeo_rl.errors import UsageError
from homeo_rl.evaluation.calibrate import calibration_of
from homeo_rl.evaluation.rollout import one_thread
from homeo_rl.homeostasis import SleepHomeostat
from homeo_rl.run import Run
from homeo_rl.snn.replay import Replay, SelfTest

if TYPE_CHECKING:
    import numpy as np

CALIBRATION_EPISODES = 5


@dataclass(frozen=True)
class SleepTrial:
    """The result of one sleep.

    Attributes:
        test: the self-test of the damaged network.
        passed: whether it passed, so that the network did not sleep.
        before, after: distance of each layer's outputs from the remembered ones (`Replay.errors`).
        seconds: duration of the sleep.
        remembered: mean rates [N] of each layer in the memory.
        rates: the same of the damaged network and after its sleep.
    """

    test: SelfTest
    passed: bool
    before: list[float]
    after: list[float]
    seconds: float
    remembered: list[np.ndarray]
    rates: dict[str, list[np.ndarray]]


def try_sleep(
    run: Run,
    plugin: SleepHomeostat,
    condition: Condition,
    *,
    seed: int = 0,
    which: str = "policy",
    env: str = "",
    on_episode: Callable[[], None] = lambda: None,
) -> SleepTrial:
    """Damage the network of a run and let it sleep; nothing is stored but the calibration.

    Args:
        run: the run.
        plugin: the parameters of sleep.
        condition: the damage.
        seed: seed of the damage.
        which: name of the policy bundle.
        env: environment of the calibration; "" is the run's own.
        on_episode: called after each episode of the calibration.

    Raises:
        UsageError: the condition does not damage the network, or the policy does not spike.
    """
    damage = condition.network_damage(seed)
    if damage is None:
        raise UsageError(f"{condition.label}: expected damage of the network, this damages its environment")
    controller = load_controller(run, which=which)
    network, name = require_spiking(controller, "sleep"), env or run.spec.env
    calibration = calibration_of(
        run, controller, which=which, episodes=CALIBRATION_EPISODES,
        env=(name, arguments_for(name, run.spec.env, run.spec.env_kwargs)), on_episode=lambda _: on_episode(),
    )  # fmt: skip
    replay = Replay(network, calibration.memory(network).first(plugin.observations))
    trained = network.parameters_of_layers()
    damaged = next(w for step in range(condition.onset + 1) if (w := damage.at(step, trained)) is not None)
    test = replay.test(damaged)
    passed = test.passed(plugin.tolerance)
    start = time.perf_counter()
    with one_thread():
        repaired = damaged if passed else replay.mended(plugin, damaged)
    seconds = time.perf_counter() - start
    return SleepTrial(
        test, passed, replay.errors(damaged), replay.errors(repaired), seconds,
        remembered=[spikes.mean((0, 1)).numpy() for spikes in replay.memory.trains[1:]],
        rates={
            label: [spikes.mean((0, 1)).numpy() for spikes in replay.through(weights)]
            for label, weights in (("damaged", damaged), ("after sleep", repaired))
        },
    )  # fmt: skip
