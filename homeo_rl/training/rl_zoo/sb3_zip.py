"""Stable-Baselines3's zip of a policy, made again from a run's bundle.

`train` leaves such a zip beside every run for rl-zoo's scripts; this one is for ``best``, and for policies that were
imported or distilled. A bundle holds the actor and its normaliser, so critics and optimisers in the zip are fresh: it
is there to act. Nothing of ours reads it.
"""

import io
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv

from homeo_rl.agents.controller import Controller
from homeo_rl.agents.presets import PRESETS, controller_spec
from homeo_rl.agents.sb3.policies import policy_of
from homeo_rl.envs.make import load_modules, make_env
from homeo_rl.errors import UsageError
from homeo_rl.spec import ControllerSpec, RunSpec, dump
from homeo_rl.training.algorithms import ALGORITHMS
from homeo_rl.training.sb3_arguments import split_hyperparams

_GUESSED = ("ppo", "td3", "sac")  # algorithms whose policies are tried for a run that none trained


def zip_of(controller: Controller, run: RunSpec) -> tuple[bytes, str]:
    """Return the zip, and the class that opens it, as ``stable_baselines3.PPO``.

    Raises UsageError: none of the algorithms has such a policy.
    """
    if controller.spec.bins or controller.spec.reflex is not None:
        what = "a reflex" if controller.spec.reflex is not None else "classes for its actions"
        raise UsageError(f"--to sb3-zip: the policy has {what}, which no policy of Stable-Baselines3 has; --to onnx")
    load_modules(run.modules)
    # As many as it was trained with: what a batch is made of depends on it.
    count = int(run.hyperparams.get("n_envs", 1))
    environments = DummyVecEnv([lambda: make_env(run.env, run.env_kwargs)] * count)
    try:
        algo, agent, changes = _policy(controller.spec, run, environments)
        model = _model(algo, agent, changes, run, environments)
        policy = policy_of(model)
        policy.head().adopt(controller.network.state_dict())
        policy.normaliser().load_state_dict(controller.normaliser.state_dict())
        target = getattr(policy, "actor_target", None)
        if target is not None:  # which has one of its own
            target.features_extractor.normaliser.load_state_dict(controller.normaliser.state_dict())
        model.num_timesteps = run.steps
        file = io.BytesIO()
        model.save(file)
    finally:
        environments.close()
    kind = next(kind for kind in type(model).__mro__ if not kind.__module__.endswith("sb3.algorithms"))
    package = kind.__module__.partition(".")[0]
    return file.getvalue(), f"{kind.__module__ if package == 'homeo_rl' else package}.{kind.__name__}"


def _policy(spec: ControllerSpec, run: RunSpec, environments: DummyVecEnv) -> tuple[str, str, dict[str, Any]]:
    """Return algorithm, preset and network fields that make a policy of this specification."""
    fields = dump(spec.network)
    fields.pop("inputs"), fields.pop("outputs")
    tried = [(run.algo, run.agent, run.hyperparams.get("agent_kwargs") or {})] if run.algo in ALGORITHMS else []
    names = [run.agent] * (run.agent in PRESETS) + [name for name in PRESETS if name != run.agent]
    algorithms = [run.algo] if run.algo in ALGORITHMS else list(_GUESSED)
    tried += [(algo, agent, fields) for algo in algorithms for agent in names]
    spaces = environments.observation_space, environments.action_space
    for algo, agent, changes in tried:
        try:
            candidate = controller_spec(agent, *spaces, algo=algo, overrides=changes)
        except UsageError:
            continue
        if candidate == spec:
            return algo, agent, changes
    raise UsageError(
        f"--to sb3-zip: no policy of {', '.join(algorithms)} acts as this one in {run.env} (normaliser, squashing or "
        "bounds differ); take --to onnx or --to safetensors"
    )


def _model(algo: str, agent: str, changes: dict[str, Any], run: RunSpec, environments: DummyVecEnv) -> BaseAlgorithm:
    kind, policy = ALGORITHMS[algo].classes()
    arguments, policy_kwargs, _ = split_hyperparams(run.hyperparams if run.algo == algo else {})
    policy_kwargs = {"agent": agent, **{**policy_kwargs, "agent_kwargs": changes}}
    try:
        return kind(policy, environments, seed=run.seed, policy_kwargs=policy_kwargs, device="cpu", **arguments)
    except (TypeError, ValueError, AssertionError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(f"--to sb3-zip: {algo} cannot be built for {run.env}: {reason}") from None
