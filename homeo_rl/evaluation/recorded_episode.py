"""One episode of an evaluation, played again to be looked at: every neuron's rates, rewards, and pictures.

It is the evaluation's first episode, with its seed, its damage and its calibration, so its return is the one in
scores.csv (unless it was cut off at `LIMIT`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import pydantic
from PIL import Image

from homeo_rl.agents.session import Session
from homeo_rl.degradations.protocol import Condition
from homeo_rl.degradations.suites import Suite
from homeo_rl.envs.make import load_modules, make_env
from homeo_rl.envs.rendering import Filmed, camera, choose_backend, pace_of
from homeo_rl.errors import HomeoError
from homeo_rl.evaluation.arm import Arm
from homeo_rl.evaluation.calibrate import calibrate_for, sessions_for
from homeo_rl.evaluation.episode import Step, episode_seed
from homeo_rl.evaluation.observer_memory import observer_memory_for
from homeo_rl.evaluation.plan import EvaluationPlan
from homeo_rl.evaluation.recording import RecordedEpisode as RecordedEpisode
from homeo_rl.evaluation.rollout import rollout
from homeo_rl.evaluation.routes import Route
from homeo_rl.homeostasis import split_observer
from homeo_rl.numerics.same_fields import make_plan
from homeo_rl.run import Run
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.spec import parse

Env = gym.Env[Any, Any]

LIMIT = 1000  # decisions after which an episode is cut off
FRAMES, SIDE = 48, 288  # pictures of an episode at most, and the pixels of their longer side

CLEAN = Condition(name="clean")


@pydantic.with_config(pydantic.ConfigDict(extra="ignore"))
@dataclass(frozen=True, kw_only=True)
class _EvaluationRecord:
    """What is needed of an ``evaluation.json``."""

    arms: tuple[str, ...] = ("none",)
    seed: int = 0
    policy: Literal["policy", "best"] = "policy"
    calibration_episodes: int = 5
    env: str = ""
    time_steps: int | None = None
    max_episode_steps: int | None = None
    routes: tuple[Route, ...] = ()
    modules: tuple[str, ...] = ()


def modules_of(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the packages that an evaluation was given. Raises UsageError: the document is not one of ours."""
    return parse(_EvaluationRecord, dict(document), where="evaluation.json").modules


def plan_of(document: Mapping[str, Any], suite: Suite | None) -> EvaluationPlan:
    """Return the plan of an ``evaluation.json``; of an empty one, a clean episode of the last policy.

    ``suite``: the one that was evaluated, where it is at hand; else only a clean condition can be played. Raises
    UsageError: the document is not one of ours.
    """
    record = parse(_EvaluationRecord, dict(document), where="evaluation.json")
    clean = Suite(name="clean", version=1, description="", conditions=(CLEAN,))
    return make_plan(EvaluationPlan, record, suite=suite or clean, episodes=1, which=record.policy)


def play(
    run: Run, plan: EvaluationPlan, arm: str, condition: Condition, *, name: str, film: bool = False
) -> RecordedEpisode:
    """Play the first episode of ``plan`` under one arm and condition.

    ``film``: take pictures, which may fail; the result then says why.

    Raises:
        UsageError: the policy or the environment is not at hand.
        EnvironmentFault: the environment failed.
    """
    load_modules(run.spec.modules)
    controller = plan.policy_of(run)
    network = controller.network
    parsed = Arm.parse(arm)
    calibration = None
    observer = observer_memory_for(plan, run, controller)
    layered = parsed.add_layer(condition, observer)
    if split_observer(parsed.plugin).network is not None and isinstance(network, SpikingNetwork):
        calibration = calibrate_for(plan, run, controller, num_envs=10)
    env, kwargs = plan.env_of(condition, run)
    sessions: list[Session] = []
    rates: list[list[np.ndarray]] = []
    steps: list[Step] = []

    def new_session(slots: int) -> Session:
        sessions.append(sessions_for(parsed, controller, calibration, observer)(slots))
        return sessions[-1]

    def on_step(step: Step) -> None:
        steps.append(step)
        rates.append([layer[0].copy() for layer in sessions[-1].rates()])

    def episode(new_env: Callable[[], Env], observer: Callable[[Step], None] | None) -> float:
        seeds = [episode_seed(plan.seed, "evaluation", 0)]
        options = [route.options for route in plan.routes[:1]]
        (done,) = rollout(new_session, new_env, seeds, condition=layered, num_envs=1, options=options, on_step=observer)
        return done.total

    total = episode(lambda: Filmed(make_env(env, kwargs), lambda _: None, LIMIT, every=0), on_step)
    recorded = RecordedEpisode(
        run=name,
        arm=arm,
        condition=condition.label,
        total=total,
        steps=controller.spec.network.steps,
        rates=tuple(np.stack(layer) for layer in zip(*rates, strict=True)) if rates[0] else (),
        rewards=np.array([step.reward for step in steps]),
        observations=np.stack([np.asarray(step.observation) for step in steps]),
    )
    return _film(recorded, env, kwargs, lambda new_env: episode(new_env, None)) if film else recorded


def _film(
    recorded: RecordedEpisode, env: str, kwargs: dict[str, Any], replay: Callable[[Callable[[], Env]], float]
) -> RecordedEpisode:
    frames: list[np.ndarray] = []

    def keep(frame: np.ndarray) -> None:
        picture = Image.fromarray(frame)
        picture.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC)
        frames.append(np.asarray(picture))

    every = -(-(len(recorded.rewards) + 1) // FRAMES)
    try:
        probe = make_env(env, kwargs)
        if hasattr(probe.unwrapped, "mujoco_renderer"):
            choose_backend()
        arguments = {**camera(probe), **kwargs}
        pace = pace_of(probe)
        probe.close()
        replay(lambda: Filmed(make_env(env, arguments, render_mode="rgb_array"), keep, LIMIT, every))
    except (HomeoError, gym.error.Error, ImportError, RuntimeError, OSError) as error:
        return replace(recorded, missing=" ".join(str(error).split()) or type(error).__name__)
    return replace(recorded, frames=tuple(frames), pause=max(20, round(1000 * every / pace)))
