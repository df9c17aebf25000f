"""Calibration: what is normal for a healthy policy, from a few clean episodes.

The plug-in observes and does not write; no weight is touched, no return is used, no gradient taken. The episodes'
seeds belong to a purpose of their own, so no evaluation ever meets them.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from homeo_rl.agents.controller import Controller, require_spiking
from homeo_rl.agents.session import Session
from homeo_rl.degradations.protocol import Condition
from homeo_rl.envs.make import make_env
from homeo_rl.evaluation.arm import Arm
from homeo_rl.evaluation.episode import Episode, episode_seed
from homeo_rl.evaluation.plan import EvaluationPlan
from homeo_rl.evaluation.rollout import rollout
from homeo_rl.homeostasis import Both, make
from homeo_rl.homeostasis.memory import Memory
from homeo_rl.homeostasis.observer import split_observer
from homeo_rl.homeostasis.protocol import Homeostasis, LayerReference
from homeo_rl.homeostasis.sleep import needs_memory
from homeo_rl.homeostasis.statistics import RateMoments
from homeo_rl.numerics.arrays import instance_of, whole_number
from homeo_rl.observer.memory import ObserverMemory
from homeo_rl.run import Run
from homeo_rl.seeding import generator
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.snn.replay import pack_responses, recall, remember
from homeo_rl.snn.replay_layers import is_replayable, require_replayable

OBSERVATIONS = 200
"""Clean observations that are remembered; `homeo_rl.homeostasis.sleep` replays them."""


@dataclass(frozen=True)
class Calibration:
    """What is normal: rates and squared rates over clean decisions, and a memory of single ones.

    Attributes:
        rates: mean rates [N] of each spiking layer.
        squares: mean squared rates [N].
        decisions: how many clean decisions.
        inputs: remembered observations as the network sees them [M, inputs], in random order.
        answers: what each layer answered to them (`homeo_rl.snn.replay.pack_responses`); () of a converted network.
    """

    rates: tuple[np.ndarray, ...]
    squares: tuple[np.ndarray, ...]
    decisions: int
    inputs: np.ndarray
    answers: tuple[np.ndarray, ...]

    def references(self, network: SpikingNetwork) -> tuple[LayerReference, ...]:
        """Join with the trained weights of ``network``."""
        return network.references([torch.tensor(r) for r in self.rates], [torch.tensor(s) for s in self.squares])

    def memory(self, network: SpikingNetwork) -> Memory:
        """Return the memory that sleep replays.

        Raises:
            UsageError: a converted network has none.
        """
        require_replayable(network)
        return recall(network, self.inputs, self.answers)


def make_session(
    controller: Controller,
    slots: int,
    *,
    plugin: Homeostasis | None = None,
    calibration: Calibration | None = None,
    observer_memory: ObserverMemory | None = None,
    reflex: bool = True,
    auto_sleep: bool = True,
) -> Session:
    """Return a session whose plug-in knows what is normal.

    ``auto_sleep`` False leaves self-tests and sleeps to `Session.needs_sleep` and `Session.sleep`.

    Raises:
        UsageError: a plug-in without a calibration or a spiking network, or one that sleeps or rehearses, of a
            converted network.
    """
    instance_of(controller, Controller, what="controller", advice="load_controller reads that of a run")
    network = controller.network
    if plugin is None:
        return Session(controller, slots, reflex=reflex)
    instance_of(plugin, Homeostasis, what="plugin", advice="homeo_rl.homeostasis.make makes one of an arm's name")
    adapts = split_observer(plugin).network
    if adapts is None:
        return Session(controller, slots, plugin=plugin, observer_memory=observer_memory, reflex=reflex)
    network = require_spiking(controller, f"plug-in {adapts.name}")
    advice = "homeo_rl.calibrate makes a calibration"
    instance_of(calibration, Calibration, what=f"plug-in {plugin.name}", advice=advice)
    assert calibration is not None
    return Session(
        controller,
        slots,
        plugin=plugin,
        references=calibration.references(network),
        memory=calibration.memory(network) if needs_memory(adapts) else None,
        observer_memory=observer_memory,
        reflex=reflex,
        auto_sleep=auto_sleep,
    )


def sessions_for(
    arm: Arm, controller: Controller, calibration: Calibration | None, observer_memory: ObserverMemory | None
) -> Callable[[int], Session]:
    """Return what makes a session of so many slots for an arm of an evaluation, as `make_session` does."""
    known: dict[str, Any] = {"calibration": calibration, "observer_memory": observer_memory}
    return partial(make_session, controller, plugin=arm.plugin, reflex=arm.reflex, **known)


def calibrate(
    run: Run | Path | str,
    controller: Controller,
    *,
    which: str,
    episodes: int,
    env: tuple[str, dict[str, Any]] | None = None,
    num_envs: int = 8,
    observations: int = OBSERVATIONS,
    on_episode: Callable[[Episode], None] | None = None,
) -> Calibration:
    """Return the stored calibration of a run, or make and store it.

    A policy that was trained with thresholds that move is healthy with them. It is made anew when the policy, the
    environment or the number of episodes is another than the stored one's. It belongs to the policy, not to an
    experiment: its episodes are the same for every seed of an evaluation.

    ``env`` is the environment, with its arguments, in which the robot is healthy; None is the run's own.
    ``observations`` says how many are remembered.

    Raises:
        UsageError: there is no such run, or the policy does not spike.
    """
    run = Run.of(run)
    instance_of(controller, Controller, what="controller", advice="load_controller reads that of a run")
    require_spiking(controller, "calibration")
    episodes = whole_number(episodes, what="episodes", least=1)
    num_envs = whole_number(num_envs, what="num_envs", least=1)
    observations = whole_number(observations, what="observations", least=1)
    name, kwargs = env or (run.spec.env, run.spec.env_kwargs)
    document: dict[str, Any] = {"policy": run.policy_digest(which=which), "episodes": episodes, "env": name}
    document |= {"steps": controller.spec.network.steps, "observations": observations}  # steps: it may be cut
    limits = [part.get("max_episode_steps") for part in (kwargs, run.spec.env_kwargs)]
    document |= {} if limits[0] == limits[1] else {"max_episode_steps": limits[0]}
    stored = run.load_calibration()
    if stored is not None and {**stored[1], "decisions": None} == {**document, "decisions": None}:
        return _read(*stored)
    seen: dict[int, list[np.ndarray]] = {}
    done = rollout(
        lambda slots: _healthy(run, controller, slots),
        lambda: make_env(name, kwargs),
        [episode_seed(0, "calibration", index) for index in range(episodes)],
        condition=Condition(name="clean"),
        num_envs=num_envs,
        on_step=lambda step: seen.setdefault(step.episode, []).append(np.array(step.observation, np.float32)),
        on_episode=on_episode,
    )
    every = [each for index in sorted(seen) for each in seen[index]]
    calibration = _condense(controller, done, every, observations)
    if os.access(run.path, os.W_OK):  # it is a cache: where it cannot be kept it is made anew
        run.save_calibration(_tensors(calibration), {**document, "decisions": calibration.decisions})
    return calibration


def calibrate_for(plan: EvaluationPlan, run: Run, controller: Controller, **options: Any) -> Calibration:
    """Return the calibration that the arms of a plan adapt towards, from its clean condition; see `calibrate`."""
    env = plan.env_of(plan.suite.conditions[0], run)
    return calibrate(run, controller, which=plan.which, episodes=plan.calibration_episodes, env=env, **options)


session_of, calibration_of = make_session, calibrate  # the older names


def _condense(
    controller: Controller, episodes: Sequence[Episode], observations: Sequence[np.ndarray], count: int
) -> Calibration:
    """Return the moments of the rates, and some of the observations with the network's responses."""
    network = require_spiking(controller, "calibration")
    moments = RateMoments()
    for episode in episodes:
        moments.merge(episode.rates)
    rates, squares = moments.means()
    inputs = _sample(controller, observations, count)
    answers: tuple[np.ndarray, ...] = ()
    if is_replayable(network):
        answers = pack_responses(network, remember(network, torch.as_tensor(inputs)))
    return Calibration(tuple(rates), tuple(squares), moments.decisions, inputs, answers)


def _healthy(run: Run, controller: Controller, slots: int) -> Session:
    """Return a session of the policy as it was trained: with the thresholds that moved in its training, if any did."""
    network, mechanism = controller.network, make(run.spec.homeostasis_in_training or "none")
    if (
        mechanism is None
        or not mechanism.adapts_threshold
        or not isinstance(network, SpikingNetwork)
        or needs_memory(mechanism)
    ):
        return Session(controller, slots)
    plugin = mechanism.thresholds if isinstance(mechanism, Both) else mechanism
    rates = [torch.zeros(width) for width in network.spec.widths[1:]]  # thresholds know nothing of rates
    return Session(controller, slots, plugin=plugin, references=network.references(rates, rates))


@torch.inference_mode()
def _sample(controller: Controller, observations: Sequence[np.ndarray], count: int) -> np.ndarray:
    """Return ``count`` of all observations, drawn without replacement, as the network sees them."""
    draws = generator(0, "reservoir").permutation(len(observations))[:count]
    chosen: np.ndarray = controller.normaliser(torch.as_tensor(np.stack([observations[i] for i in draws]))).numpy()
    return chosen


def _tensors(calibration: Calibration) -> dict[str, np.ndarray]:
    groups = {"rate": calibration.rates, "square": calibration.squares, "answer": calibration.answers}
    listed = {f"{name}.{i}": array for name, arrays in groups.items() for i, array in enumerate(arrays)}
    return {**listed, "inputs": calibration.inputs}


def _read(tensors: dict[str, np.ndarray], document: dict[str, Any]) -> Calibration:
    def group(name: str) -> tuple[np.ndarray, ...]:
        return tuple(tensors[f"{name}.{i}"] for i in range(len(tensors)) if f"{name}.{i}" in tensors)

    return Calibration(group("rate"), group("square"), int(document["decisions"]), tensors["inputs"], group("answer"))
