"""Let an observer explain episodes under a condition: what it found broken, since when, and what it did about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from homeo_rl.agents.session import Session
from homeo_rl.degradations.protocol import Condition
from homeo_rl.envs.make import load_modules, make_env
from homeo_rl.evaluation.calibrate import calibrate_for, make_session
from homeo_rl.evaluation.episode import Step, episode_seed
from homeo_rl.evaluation.observer_memory import observer_memory_for
from homeo_rl.evaluation.plan import EvaluationPlan, require_width
from homeo_rl.evaluation.progress import NullProgress, Progress
from homeo_rl.evaluation.rollout import Env, rollout
from homeo_rl.homeostasis import split_observer
from homeo_rl.observer.diagnosis import Diagnosis
from homeo_rl.run import Run


class Course(NamedTuple):
    """One episode: what was true, measured and estimated [T, D], and whether the estimate was used [T]."""

    true: np.ndarray
    measured: np.ndarray
    estimated: np.ndarray
    used: np.ndarray


@dataclass(frozen=True)
class Explained:
    """One episode under an observer.

    Attributes:
        total: its return.
        plain: the return of the same episode without the observer.
        diagnosis: at its last decision.
        detected: decisions from the onset to the alarm; None where there was none after the onset.
        estimated: decisions in which the estimate was used.
        course: sensors over time.
    """

    total: float
    plain: float
    diagnosis: Diagnosis
    detected: int | None
    estimated: int
    course: Course


def diagnose_run(
    run: Run, plan: EvaluationPlan, condition: Condition, *, progress: Progress | None = None
) -> list[Explained]:
    """Play the episodes of a plan's first arm, which observes, under one condition.

    Raises:
        UsageError: the arm does not fit the policy, or the environment does not.
    """
    progress = progress or NullProgress()
    load_modules(run.spec.modules)
    controller, arm = plan.policy_of(run), plan.parsed_arms[0]
    arm.require_fitting(controller)
    name, kwargs = plan.env_of(condition, run)
    probe = make_env(name, kwargs)
    require_width(probe, name, controller, run)
    probe.close()
    memory = observer_memory_for(plan, run, controller, progress)
    adapts = split_observer(arm.plugin).network
    calibration = None if adapts is None else calibrate_for(plan, run, controller)
    progress.start("episodes", 2 * plan.episodes)
    results = []
    for index in range(plan.episodes):
        seeds = [episode_seed(plan.seed, "evaluation", index)]
        options = [plan.routes[index % len(plan.routes)].options] if plan.routes else []
        recorder = _Recorder()

        def new_session(slots: int, recorder: _Recorder = recorder) -> Session:
            recorder.session = make_session(
                controller, slots, plugin=arm.plugin, calibration=calibration, observer_memory=memory, reflex=arm.reflex
            )
            return recorder.session

        def new_env(recorder: _Recorder = recorder) -> Env:
            return _Truth(make_env(name, kwargs), recorder)

        (done,) = rollout(
            new_session, new_env, seeds, condition=condition, num_envs=1, options=options, on_step=recorder.add
        )
        progress.advance()
        (plain,) = rollout(lambda slots: make_session(controller, slots, plugin=adapts, calibration=calibration),
                           lambda: make_env(name, kwargs), seeds, condition=condition, num_envs=1,
                           options=options)  # fmt: skip
        progress.advance()
        results.append(recorder.explain(done.total, plain.total, condition.onset))
    return results


@dataclass
class _Recorder:
    """What is recorded of an episode while it runs."""

    session: Session | None = None
    true: list[np.ndarray] = field(default_factory=list)
    measured: list[np.ndarray] = field(default_factory=list)
    estimated: list[np.ndarray] = field(default_factory=list)
    used: list[bool] = field(default_factory=list)
    alarm: int | None = None
    diagnosis: Diagnosis | None = None

    def add(self, step: Step) -> None:
        assert self.session is not None
        assert self.session.observer is not None
        observer = self.session.observer
        self.measured.append(np.array(step.observation))
        self.estimated.append(observer.estimates()[0])
        self.used.append(observer.is_used(0))
        self.diagnosis = observer.diagnose(0)  # the slot is gone once its episode ended
        if self.alarm is None:
            self.alarm = observer.alarmed_at[0]

    def explain(self, total: float, plain: float, onset: int) -> Explained:
        assert self.diagnosis is not None
        steps = len(self.measured)
        course = Course(
            np.array(self.true[:steps]), np.array(self.measured), np.array(self.estimated), np.array(self.used)
        )
        detected = None if self.alarm is None or self.alarm < onset else self.alarm - onset
        return Explained(total, plain, self.diagnosis, detected, int(course.used.sum()), course)


class _Truth(gym.Wrapper[Any, Any, Any, Any]):
    """Record what the sensors would say without faults."""

    def __init__(self, env: Env, recorder: _Recorder) -> None:
        super().__init__(env)
        self._recorder = recorder

    def reset(self, **options: Any) -> Any:
        result = self.env.reset(**options)
        self._recorder.true = [np.array(result[0])]
        return result

    def step(self, action: Any) -> Any:
        result = self.env.step(action)
        self._recorder.true.append(np.array(result[0]))
        return result
