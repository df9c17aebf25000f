"""Let an observer explain episodes under a condition: what it found broken, since when, and what it did about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np

from homeo_rl.agents.session import Session
from homeo_rl.degradations.observation import DelayedSensors
from homeo_rl.degradations.protocol import Condition
from homeo_rl.envs.make import load_modules, make_env
from homeo_rl.evaluation.calibrate import calibrate_for, make_session, sessions_for
from homeo_rl.evaluation.episode import Step, episode_seed
from homeo_rl.evaluation.evaluate import incompatibility
from homeo_rl.evaluation.observer_memory import observer_memory_for
from homeo_rl.evaluation.plan import EvaluationPlan, require_width
from homeo_rl.evaluation.progress import NullProgress, Progress
from homeo_rl.evaluation.recording import Course
from homeo_rl.evaluation.rollout import Env, rollout
from homeo_rl.homeostasis import split_observer
from homeo_rl.observer.confusion import ConfusionRow, Draw, condense_diagnosis, confuse, name_true_kind
from homeo_rl.observer.diagnosis import Diagnosis
from homeo_rl.run import Run


@dataclass(frozen=True)
class Explained:
    """One episode under an observer."""

    total: float  # its return
    plain: float  # the return of the same episode without the observer
    diagnosis: Diagnosis  # at its last decision
    detected: int | None  # decisions from the onset to the alarm; None where there was none after the onset
    estimated: int  # decisions in which the estimate was used
    course: Course  # sensors over time


class _Observed:
    """A run and an arm that observes, made ready to play episodes."""

    def __init__(self, run: Run, plan: EvaluationPlan, progress: Progress) -> None:
        self.run, self.plan = run, plan
        load_modules(run.spec.modules)
        self.controller, self.arm = plan.policy_of(run), plan.parsed_arms[0]
        self.arm.require_fitting(self.controller)
        self.memory = observer_memory_for(plan, run, self.controller, progress)
        self.adapts = split_observer(self.arm.plugin).network
        self._calibration = None if self.adapts is None else calibrate_for(plan, run, self.controller)

    def play(self, condition: Condition, index: int, recorder: _Recorder | None) -> float:
        """Play an episode, without the observer where there is no recorder, and return its return."""
        name, kwargs = self.plan.env_of(condition, self.run)

        def new_session(slots: int) -> Session:
            if recorder is None:
                return make_session(self.controller, slots, plugin=self.adapts, calibration=self._calibration)
            recorder.session = sessions_for(self.arm, self.controller, self._calibration, self.memory)(slots)
            return recorder.session

        def new_env() -> Env:
            env = make_env(name, kwargs)
            return env if recorder is None else _Truth(env, recorder)

        routes = self.plan.routes
        (done,) = rollout(
            new_session, new_env, [episode_seed(self.plan.seed, "evaluation", index)], condition=condition, num_envs=1,
            options=[routes[index % len(routes)].options] if routes else [],
            on_step=None if recorder is None else recorder.add,
        )  # fmt: skip
        return done.total


def diagnose_run(
    run: Run, plan: EvaluationPlan, condition: Condition, *, progress: Progress | None = None
) -> list[Explained]:
    """Play the episodes of a plan's first arm, which observes, under one condition.

    Raises:
        UsageError: the arm does not fit the policy, or the environment does not.
    """
    progress = progress or NullProgress()
    load_modules(run.spec.modules)
    name, kwargs = plan.env_of(condition, run)
    probe = make_env(name, kwargs)
    require_width(probe, name, plan.policy_of(run), run)
    probe.close()
    observed = _Observed(run, plan, progress)
    progress.start("episodes", 2 * plan.episodes)
    results = []
    for index in range(plan.episodes):
        recorder = _Recorder()
        total = observed.play(condition, index, recorder)
        progress.advance()
        plain = observed.play(condition, index, None)
        progress.advance()
        results.append(recorder.explain(total, plain, condition.onset))
    return results


def confuse_run(run: Run, plan: EvaluationPlan, *, progress: Progress | None = None) -> list[ConfusionRow]:
    """Compare what is broken with what is identified, over a plan's episodes under every condition of its suite.

    Conditions that do not apply to the policy or its environment are left out, and noted.

    Raises:
        UsageError: the arm does not fit the policy, or the environment does not.
    """
    progress = progress or NullProgress()
    load_modules(run.spec.modules)
    controller, chosen = plan.policy_of(run), []
    for condition in plan.suite.conditions:
        if reason := incompatibility(condition, plan, run, controller):
            progress.note(f"skipped {condition.label}: {reason}")
        else:
            chosen.append(condition)
    observed = _Observed(run, plan, progress)
    progress.start("draws", plan.episodes * len(chosen))
    draws = []
    for condition in chosen:
        for index in range(plan.episodes):
            recorder = _Recorder()
            observed.play(condition, index, recorder)
            draws.append(recorder.draw(condition))
            progress.advance()
    return confuse(draw for draw in draws if draw is not None)


@dataclass
class _Recorder:
    """What is recorded of an episode while it runs."""

    session: Session | None = None
    true: list[np.ndarray] = field(default_factory=list)
    measured: list[np.ndarray] = field(default_factory=list)
    estimated: list[np.ndarray] = field(default_factory=list)
    used: list[bool] = field(default_factory=list)
    alarms: list[int] = field(default_factory=list)  # decisions in which there was one
    diagnosis: Diagnosis | None = None

    def add(self, step: Step) -> None:
        assert self.session is not None
        assert self.session.observer is not None
        observer = self.session.observer
        self.measured.append(np.array(step.observation))
        self.estimated.append(observer.estimates()[0])
        self.used.append(observer.is_used(0))
        self.diagnosis = observer.diagnose(0)  # the slot is gone once its episode ended
        if observer.alarms()[0]:
            self.alarms.append(len(self.used) - 1)

    def count_until_alarm(self, onset: int) -> int | None:
        """Return the decisions from the onset to the alarm, 0 where there was one already; None without one."""
        return next((now - onset for now in self.alarms if now >= onset), None)

    def explain(self, total: float, plain: float, onset: int) -> Explained:
        assert self.diagnosis is not None
        steps = len(self.measured)
        course = Course(
            np.array(self.true[:steps]), np.array(self.measured), np.array(self.estimated), np.array(self.used)
        )
        return Explained(total, plain, self.diagnosis, self.count_until_alarm(onset), int(course.used.sum()), course)

    def draw(self, condition: Condition) -> Draw | None:
        """Return what was broken and what was identified; None where the episode ended before the onset.

        Of late observations no sensor is wrong by itself.
        """
        if len(self.measured) <= condition.onset:
            return None
        assert self.diagnosis is not None
        measured, onset, diagnosis = np.array(self.measured), condition.onset, self.diagnosis
        wrong = (measured != np.array(self.true[: len(measured)]))[onset:].any(0)
        late = condition.severity > 0 and any(isinstance(part, DelayedSensors) for part in condition.degradations)
        return Draw(
            true=name_true_kind([part.kind for part in condition.degradations], condition.severity),
            identified=condense_diagnosis(
                self.count_until_alarm(onset) is not None,
                diagnosis.latency,
                [fault.kind for fault in diagnosis.sensors],
                diagnosis.gains,
            ),
            broken=None if late else frozenset(map(int, np.nonzero(wrong)[0])),
            reported=frozenset(fault.entry for fault in diagnosis.sensors),
        )


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
