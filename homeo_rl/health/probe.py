"""Short measurements: decisions, environment steps, and a training that really trains, in a folder that vanishes."""

import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from homeo_rl.agents.controller import Controller
from homeo_rl.agents.session import Session
from homeo_rl.envs.make import make_env
from homeo_rl.evaluation.rollout import one_thread
from homeo_rl.health.eta import Measured, Pace, Point, iterations, pace, stretches
from homeo_rl.seeding import generator
from homeo_rl.snn import kernels
from homeo_rl.snn.network import SpikingNetwork
from homeo_rl.spec import ControllerSpec, RunSpec
from homeo_rl.training.algorithms import algorithm
from homeo_rl.training.plan import TrainingPlan
from homeo_rl.training.train import train

SPACING = 200  # environment steps between two reports of a training
_WAITING = 2 * SPACING  # steps of a measured training before it learns, if it waits at all

_WINDOWS = 3
_DEADLINE = 4.0  # a measurement ends after so many windows and seconds, or after so many times the seconds


class _Enough(Exception):
    """A training was measured."""


@dataclass(frozen=True)
class Rate:
    """How often a second: the median of several stretches, and the slowest and the fastest."""

    median: float
    low: float
    high: float


def decisions(spec: ControllerSpec, seconds: float) -> tuple[Rate, str]:
    """Time single decisions of an untrained policy; return the rate and what computed them."""
    controller = Controller(spec).eval()
    session = Session(controller, 1)
    rng = generator(0, "doctor", "observations")
    session.begin(0, generator(0, "doctor", "encoder"))
    seen = rng.normal(size=(256, 1, spec.network.inputs)).astype(np.float32)
    with one_thread():
        session.act(seen[0])  # compiles
        rate = _time(lambda index: session.act(seen[index % 256]), seconds)
    if not isinstance(controller.network, SpikingNetwork):
        return rate, "torch"
    return rate, kernels.serving(torch.zeros(1), spec.network.neuron)


def env_steps(plan: TrainingPlan, seconds: float) -> tuple[Rate, float, int | None]:
    """Time steps of one environment with random actions; return the rate, steps of an episode, and their limit."""
    with closing(make_env(plan.env, plan.env_kwargs)) as env:
        env.reset(seed=0)
        env.action_space.seed(0)
        ended = total = 0

        def step(index: int) -> None:
            nonlocal ended, total
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            total += 1
            if terminated or truncated:
                ended += 1
                env.reset()

        rate = _time(step, seconds)
        limit = None if env.spec is None else env.spec.max_episode_steps
        return rate, total / max(ended, 1), limit


def training(
    plan: TrainingPlan, spec: RunSpec, seconds: float, note: Callable[[str], None] = lambda text: None
) -> tuple[float, Pace | None, Pace, int]:
    """Train for some seconds in a temporary folder.

    It takes about so many seconds, at least until there are some windows.

    Returns seconds until the first step, pace before learning starts, pace of learning, environment steps done.
    """
    hyperparams = dict(spec.hyperparams)
    off_policy = algorithm(plan.algo).off_policy
    starts = min(int(hyperparams.get("learning_starts", 100)), _WAITING) if off_policy else 0
    if off_policy:
        hyperparams["learning_starts"] = starts
    rollout = 0 if off_policy else int(hyperparams.get("n_steps", 2048)) * int(hyperparams.get("n_envs", 1))
    points: list[Point] = []

    def report(done: int, mean: float | None) -> None:
        now = time.perf_counter()
        points.append((done, now))
        learned = now - next((when for steps, when in points if steps > starts), now)
        if learned > seconds * _DEADLINE or (learned > seconds and len(_learning(points, starts, rollout)) >= _WINDOWS):
            raise _Enough

    folder = Path(tempfile.mkdtemp(prefix="homeo-rl-measure-"))
    begun = time.perf_counter()
    try:
        train(
            replace(
                plan, hyperparams=hyperparams, out=folder / "run", tensorboard=None, eval_freq=-1, save_freq=-1,
                steps=max(spec.planned, 4 * rollout), fresh=True,
            ),
            report=report,
            note=note,
        )  # fmt: skip
    except _Enough:
        pass
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    learning = pace(_learning(points, starts, rollout))
    if learning is None:  # a training of a moment, or iterations that take minutes
        learning = pace([(points[-1][1] - points[0][1]) / max(points[-1][0] - points[0][0], 1)])
    assert learning is not None
    collecting = pace(stretches([point for point in points if point[0] <= starts]))
    return points[0][1] - begun, collecting if off_policy else None, learning, points[-1][0]


def measure(plan: TrainingPlan, spec: RunSpec, seconds: float) -> tuple[Measured, dict[str, Rate], str]:
    """Measure decisions, environment and training.

    The training takes ``seconds``, decisions and environment steps a quarter of that each.

    Returns what an estimate needs, the rates, and what computes decisions.
    """
    assert spec.controller is not None
    decided, by = decisions(spec.controller, seconds / 4)
    stepped, episode, limit = env_steps(plan, seconds / 4)
    setup, collecting, learning, steps = training(plan, spec, seconds)
    measured = Measured(setup, collecting, learning, steps, 1 / stepped.median, 1 / decided.median, episode, limit)
    training_rate = Rate(1 / learning.seconds, 1 / learning.high, 1 / learning.low)
    return measured, {"decisions": decided, "env_steps": stepped, "training_steps": training_rate}, by


def _learning(points: list[Point], starts: int, rollout: int) -> list[float]:
    """Return the windows of learning; the first one, which loads and compiles everything, only if it is alone."""
    learning = [point for point in points if point[0] > starts]
    windows = iterations(learning, rollout) if rollout > 2 * SPACING else stretches(learning, max(4 * rollout, SPACING))
    return windows[1:] or windows


def _time(act: Callable[[int], object], seconds: float, stretches: int = 5) -> Rate:
    """Time an action in several stretches; the clock is read after every 16 of them."""
    rates, count = [], 0
    for _ in range(stretches):
        begun, before = time.perf_counter(), count
        while time.perf_counter() - begun < seconds / stretches:
            for _ in range(16):
                act(count)
                count += 1
        rates.append((count - before) / (time.perf_counter() - begun))
    return Rate(float(np.median(rates)), min(rates), max(rates))
