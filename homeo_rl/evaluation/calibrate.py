"""Calibration: what the firing rates of a healthy policy are, from a few clean episodes.

The plug-in observes and does not write; no weight is touched, no return is used, no gradient taken. The episodes'
seeds belong to a purpose of their own, so no evaluation ever meets them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from homeo_rl.agents.controller import Controller
from homeo_rl.agents.session import Session
from homeo_rl.degradations.protocol import Condition
from homeo_rl.envs.making import make_env
from homeo_rl.evaluation.rollout import Episode, episode_seed, rollout
from homeo_rl.homeostasis.protocol import LayerReference
from homeo_rl.homeostasis.statistics import RateMoments
from homeo_rl.run import Run
from homeo_rl.snn.network import SpikingNetwork


@dataclass(frozen=True)
class Calibration:
    """Mean rates and mean squared rates [N] of each spiking layer over clean decisions."""

    rates: tuple[np.ndarray, ...]
    squares: tuple[np.ndarray, ...]
    decisions: int

    def references(self, network: SpikingNetwork) -> tuple[LayerReference, ...]:
        """Join with the trained weights of ``network``."""
        return network.references([torch.tensor(r) for r in self.rates], [torch.tensor(s) for s in self.squares])


def calibration_of(
    run: Run,
    controller: Controller,
    *,
    which: str,
    episodes: int,
    env: tuple[str, dict[str, Any]] | None = None,
    num_envs: int = 8,
    on_episode: Callable[[Episode], None] | None = None,
) -> Calibration:
    """Return the stored calibration of a run, or make and store it.

    It is made anew when the policy, the environment or the number of episodes is another than the stored one's. It
    belongs to the policy, not to an experiment: its episodes are the same for every seed of an evaluation.

    Args:
        run: the run.
        controller: its policy.
        which: name of the policy bundle.
        episodes: how many clean episodes.
        env: environment and arguments where the robot is healthy; None is the run's own.
        num_envs: episodes side by side.
        on_episode: told of each episode that ended.
    """
    name, kwargs = env or (run.spec.env, run.spec.env_kwargs)
    document: dict[str, Any] = {"policy": run.policy_digest(which=which), "episodes": episodes, "env": name}
    document["steps"] = controller.spec.network.steps  # of a policy that may be cut
    stored = run.load_calibration()
    if stored is not None and {**stored[1], "decisions": None} == {**document, "decisions": None}:
        tensors, found = stored
        layers = range(len(tensors) // 2)
        return Calibration(
            tuple(tensors[f"rate.{i}"] for i in layers),
            tuple(tensors[f"square.{i}"] for i in layers),
            int(found["decisions"]),
        )
    done = rollout(
        lambda slots: Session(controller, slots),
        lambda: make_env(name, kwargs),
        [episode_seed(0, "calibration", index) for index in range(episodes)],
        condition=Condition(name="clean"),
        num_envs=num_envs,
        on_episode=on_episode,
    )
    moments = RateMoments()
    for episode in done:
        moments.merge(episode.rates)
    rates, squares = moments.means()
    calibration = Calibration(tuple(rates), tuple(squares), moments.decisions)
    run.save_calibration(
        {f"rate.{i}": rate for i, rate in enumerate(rates)} | {f"square.{i}": sq for i, sq in enumerate(squares)},
        {**document, "decisions": moments.decisions},
    )
    return calibration
