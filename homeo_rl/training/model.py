"""From a specification to an algorithm of Stable-Baselines3 that is ready to learn."""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import NormalActionNoise

from homeo_rl.errors import UsageError
from homeo_rl.spec import RunSpec
from homeo_rl.training.algorithms import ALGORITHMS
from homeo_rl.training.environments import make_training_envs
from homeo_rl.training.plan import TrainingPlan
from homeo_rl.training.sb3_arguments import split_hyperparams


def resumable(kind: type[BaseAlgorithm]) -> type[BaseAlgorithm]:
    """Return ``kind`` with a method that is called before each rollout: set its ``at_boundary``.

    SB3's callbacks are called in the middle of an iteration. Before a rollout nothing is half done: there a training
    can be stopped, saved and resumed.
    """

    class Resumable(kind):  # type: ignore[misc, valid-type]  # the class is an argument
        """An algorithm with a hook that is called when nothing is half done."""

        at_boundary: Callable[[], None] | None = None

        def collect_rollouts(self, *args: Any, **kwargs: Any) -> Any:
            """Call the hook, then collect a rollout."""
            if self.at_boundary is not None:
                self.at_boundary()
            return super().collect_rollouts(*args, **kwargs)

        def _excluded_save_params(self) -> list[str]:  # words: keep
            return [*super()._excluded_save_params(), "at_boundary"]

    Resumable.__name__ = Resumable.__qualname__ = kind.__name__
    return Resumable


_SPEC = "spec"


def build_model(plan: TrainingPlan, spec: RunSpec) -> BaseAlgorithm:
    """Build the algorithm with its environments; its actor is the one that ``spec`` describes.

    Raises UsageError: the algorithm does not take these hyper-parameters, or the environments do not fit the actor.
    """
    kind, policy = ALGORITHMS[plan.algo].classes()
    arguments, policy_kwargs, ours = split_hyperparams(spec.hyperparams)
    envs = make_training_envs(plan, spec)
    if ours.get("noise_std"):
        size = int(np.prod(envs.action_space.shape or (1,)))
        arguments["action_noise"] = NormalActionNoise(np.zeros(size), np.full(size, float(ours["noise_std"])))
    try:
        model = resumable(kind)(
            policy,
            envs,
            seed=plan.seed,
            device=plan.device,
            policy_kwargs={"agent": plan.agent, **policy_kwargs, _SPEC: spec.controller},
            **arguments,
        )
    except UsageError:
        envs.close()
        raise
    except (TypeError, ValueError, AssertionError) as error:
        envs.close()
        raise UsageError(
            f"{plan.algo} cannot be built for {plan.env}: {' '.join(str(error).split()) or type(error).__name__}; "
            "check -params and that the algorithm fits the action space"
        ) from None
    model.policy_kwargs.pop(_SPEC)  # a zip names the actor in plain JSON
    return model


def parameter_digest(model: BaseAlgorithm) -> str:
    """Return the SHA-256 of all parameters of the policy, critics and targets included."""
    digest = hashlib.sha256()
    for name, value in sorted(model.policy.state_dict().items()):
        array = np.ascontiguousarray(value.detach().cpu().numpy())
        digest.update(f"{name} {array.dtype} {array.shape} ".encode() + array.tobytes())
    return digest.hexdigest()
