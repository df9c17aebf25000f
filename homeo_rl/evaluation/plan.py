"""What an evaluation is to do."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from homeo_rl.degradations.protocol import Condition
from homeo_rl.degradations.suites import Suite
from homeo_rl.envs.make import Env, arguments_for, width_advice
from homeo_rl.errors import UsageError
from homeo_rl.evaluation.arm import Arm
from homeo_rl.evaluation.routes import Route
from homeo_rl.numerics.arrays import whole_number
from homeo_rl.numerics.typed_fields import require_fields
from homeo_rl.run import Run

if TYPE_CHECKING:  # torch takes seconds to load, which somebody with a typing error should not wait for
    from homeo_rl.agents.controller import Controller


def require_width(env: Env, name: str, controller: Controller, run: Run) -> None:
    """Check that observations of ``env`` are as wide as the inputs of a run's policy.

    Raises:
        UsageError: they are not.
    """
    inputs, shape = controller.spec.network.inputs, env.observation_space.shape
    if shape != (inputs,):
        raise UsageError(
            f"environment {name!r}: expected observations of {inputs} entries, as this policy was made for, got "
            f"{shape}; give a suite or an --env that fits the run (it was made for {run.spec.env})" + width_advice(env)
        )


def check_sizes(num_envs: int, workers: int | None) -> None:
    """Check what says how an evaluation is done, and not what is done.

    Raises:
        UsageError: there would be nobody to do it.
    """
    num_envs = whole_number(num_envs, what="--num-envs")
    workers = None if workers is None else whole_number(workers, what="--workers")
    if num_envs < 1:
        raise UsageError(f"--num-envs: expected at least 1, got {num_envs}")
    if workers is not None and workers < 1:
        raise UsageError(f"--workers: expected at least 1, got {workers}")


@dataclass(frozen=True, kw_only=True)
class EvaluationPlan:
    """What is to be evaluated; equal plans give equal scores.

    Attributes:
        suite: the conditions (`homeo_rl.degradations.suites`).
        arms: texts of arms (`homeo_rl.evaluation.arm`), ``none`` is the frozen policy.
        episodes: of each arm under each condition.
        seed: of starts, damage and spikes.
        which: ``policy`` (the last) or ``best``.
        calibration_episodes: clean episodes from which reference rates are learnt.
        env: takes the place of the run's environment, where neither the suite nor a condition names one.
        routes: episode i follows ``routes[i % len(routes)]``; () lets the environment draw.
        time_steps: spike steps after which the policy's decisions are cut short; None cuts none.
        max_episode_steps: steps after which episodes are cut; None leaves each environment its own limit.
    """

    suite: Suite
    arms: tuple[str, ...]
    episodes: int
    seed: int
    which: str = "policy"
    calibration_episodes: int = 5
    env: str = ""
    routes: tuple[Route, ...] = ()
    time_steps: int | None = None
    max_episode_steps: int | None = None

    @cached_property
    def parsed_arms(self) -> tuple[Arm, ...]:
        """The arms as values, parsed once."""
        return tuple(Arm.parse(text) for text in self.arms)

    def policy_of(self, run: Run) -> Controller:
        """Return the run's policy that is evaluated.

        Raises:
            UsageError: the run has none, or it cannot be cut to so many time steps.
        """
        from homeo_rl.agents.controller import load_controller

        controller = load_controller(run, which=self.which)
        return controller if self.time_steps is None else controller.cut(self.time_steps)

    def env_of(self, condition: Condition, run: Run) -> tuple[str, dict[str, Any]]:
        """Return the environment that a condition takes place in, and its arguments."""
        name = condition.env or self.env or run.spec.env
        limit = {} if self.max_episode_steps is None else {"max_episode_steps": self.max_episode_steps}
        return name, arguments_for(name, run.spec.env, run.spec.env_kwargs) | limit

    def __post_init__(self) -> None:
        require_fields(self)
        if self.episodes < 1:
            raise UsageError(f"--episodes: expected at least 1, got {self.episodes}; 20 or more give useful intervals")
        if self.max_episode_steps is not None and self.max_episode_steps < 1:
            raise UsageError(f"--max-episode-steps: expected at least 1, got {self.max_episode_steps}")
        if self.calibration_episodes < 1:
            raise UsageError(f"--calibration-episodes: expected at least 1, got {self.calibration_episodes}")
        if not self.arms:
            raise UsageError("--homeostasis: expected at least one arm, got none; write none,dwam")
        twice = next((arm for arm in self.arms if self.arms.count(arm) > 1), None)
        if twice:
            raise UsageError(f"--homeostasis: arm {twice!r} is given twice; give each once")
        _ = self.parsed_arms  # raises where an arm is not known


Plan = EvaluationPlan  # the older name
