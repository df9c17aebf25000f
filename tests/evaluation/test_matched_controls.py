"""The control of a damaged episode: the same start, and the same random numbers of policy and environment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from homeo_rl.agents.controller import Controller, load_controller
from homeo_rl.agents.import_external import import_function
from homeo_rl.agents.session import Session
from homeo_rl.degradations import DEGRADATIONS, Condition, build
from homeo_rl.envs.make import make_env
from homeo_rl.evaluation.arm import Arm
from homeo_rl.evaluation.calibrate import calibrate, make_session
from homeo_rl.evaluation.episode import Step, episode_seed
from homeo_rl.evaluation.rollout import rollout
from homeo_rl.run import Run

ONSET = 6
POINT = "toy_envs:Point-v0"  # its steps are noisy

CLEAN = Condition(name="clean")

Steps = dict[int, list[Step]]


def steps_of(new_session: Callable[[int], Session], env: str, condition: Condition, num_envs: int) -> Steps:
    """Return the steps of four episodes: what was seen, done and earned."""
    steps: Steps = {}
    rollout(
        new_session, lambda: make_env(env, {"max_episode_steps": 20}),
        [episode_seed(3, "evaluation", i) for i in range(4)], condition=condition,
        num_envs=num_envs, on_step=lambda step: steps.setdefault(step.episode, []).append(step),
    )  # fmt: skip
    return steps


def same(a: Step, b: Step) -> bool:
    return bool(np.array_equal(a.observation, b.observation) and np.array_equal(a.action, b.action)) and (
        a.reward == b.reward
    )


def begins_alike(damaged: Steps, control: Steps) -> bool:
    """Check that nothing differs before the onset; return whether anything does after it."""
    assert damaged.keys() == control.keys() == {0, 1, 2, 3}
    for episode, steps in damaged.items():
        pairs = list(zip(steps, control[episode], strict=False))
        assert len(pairs) > ONSET
        assert all(same(*pair) for pair in pairs[:ONSET])
    pairs = [pair for episode, steps in damaged.items() for pair in zip(steps, control[episode], strict=False)]
    return any(not same(*pair) for pair in pairs)


@pytest.mark.parametrize("env", [POINT, "HalfCheetah-v5"])
def test_before_the_onset_an_episode_is_its_control_bit_for_bit(make_run: Callable[..., Run], env: str) -> None:
    """With every kind of damage, an encoder that draws its spikes, and any number of episodes side by side."""
    controller = load_controller(make_run(env, "san"))
    control = steps_of(lambda slots: Session(controller, slots), env, CLEAN, 4)
    differ = []
    for kind in sorted(DEGRADATIONS):
        condition = Condition(
            name=kind, severity=1.0, onset=ONSET, degradations=(build({"kind": kind}, where="test"),)
        )  # fmt: skip
        if condition.incompatibility(make_env(env), spiking=True) is None:
            damaged = steps_of(lambda slots: Session(controller, slots), env, condition, 3)
            differ += [kind] * begins_alike(damaged, control)
    assert len(differ) >= 10


@pytest.mark.parametrize("text", ["dwam", "sleep"])
def test_the_control_of_an_arm_is_that_of_the_arm(make_run: Callable[..., Run], text: str) -> None:
    run = make_run(POINT, "san")
    controller, plugin = load_controller(run), Arm.parse(text).plugin
    calibration = calibrate(run, controller, which="policy", episodes=2)

    def session(slots: int) -> Session:
        return make_session(controller, slots, plugin=plugin, calibration=calibration)

    noise = build({"kind": "weights-gaussian", "std": 0.3}, where="test")
    damage = Condition(name="late", severity=1.0, onset=ONSET, degradations=(noise,))
    assert begins_alike(steps_of(session, POINT, damage, 4), steps_of(session, POINT, CLEAN, 2))


@pytest.mark.parametrize("name", ["home", "smooth", "Noisy"])
def test_functions_have_matched_controls(name: str) -> None:
    controller: Controller = import_function(Path(f"own_policies:{name}"), make_env(POINT))
    stuck: Any = build({"kind": "obs-gaussian", "std": 1.0}, where="test")
    damage = Condition(name="late", severity=1.0, onset=ONSET, degradations=(stuck,))
    damaged = steps_of(lambda slots: Session(controller, slots), POINT, damage, 3)
    assert begins_alike(damaged, steps_of(lambda slots: Session(controller, slots), POINT, CLEAN, 4))


def test_the_second_arm_of_a_random_policy_draws_as_the_first() -> None:
    """A policy's own random numbers are those of the episode's seed, under damage too."""
    controller = import_function(Path("own_policies:Noisy"), make_env(POINT))
    noise = Condition(name="noise", severity=1.0, degradations=(build({"kind": "obs-gaussian"}, where="test"),))
    first, second = (steps_of(lambda slots: Session(controller, slots), POINT, each, 4) for each in (CLEAN, noise))
    for episode, steps in first.items():
        assert all(np.array_equal(a.action, b.action) for a, b in zip(steps, second[episode], strict=True))
