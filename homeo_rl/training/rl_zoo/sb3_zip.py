"""Stable-Baselines3's zip of a policy, made again from a run's bundle.

`train` leaves such a zip beside every run for rl-zoo's scripts; this one is for ``best``, and for policies that were
imported or distilled. A bundle holds the actor and its normaliser, so critics and optimisers in the zip are fresh: it
is there to act. Nothing of ours reads it.
"""

from __future__ import annotations

import io
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import DummyVecEnv

from homeo_rl.agents.controller import Controller
from homeo_rl.agents.presets import PRESETS, controller_spec
from homeo_rl.agents.sb3.policies import SpikingPolicyMixin
from homeo_rl.envs.make import load_modules, make_env
from homeo_rl.errors import UsageError
from homeo_rl.spec import ControllerSpec, RunSpec, dump
from homeo_rl.training.algorithms import ALGORITHMS
from homeo_rl.training.hyperparams import OURS, SCHEDULED, schedule

_GUESSED = ("ppo", "td3", "sac")
"""Algorithms whose policies are tried for a run that none trained."""


def zip_of(controller: Controller, run: RunSpec) -> tuple[bytes, str]:
    """Return the zip, and the class that opens it, as ``stable_baselines3.PPO``.

    Args:
        controller: the policy.
        run: what it was trained as, and for which environment.

    Raises:
        UsageError: none of the algorithms has such a policy.
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
        policy = model.policy
        assert isinstance(policy, SpikingPolicyMixin)
        policy.head().network.load_state_dict(controller.network.state_dict())
        for normaliser in _normalisers(policy):
            normaliser.load_state_dict(controller.normaliser.state_dict())
        model.num_timesteps = run.steps
        file = io.BytesIO()
        model.save(file)
    finally:
        environments.close()
    kind = type(model)
    return file.getvalue(), f"{kind.__module__.partition('.')[0]}.{kind.__name__}"


def _policy(spec: ControllerSpec, run: RunSpec, environments: DummyVecEnv) -> tuple[str, str, dict[str, Any]]:
    """Return algorithm, preset and network fields that make a policy of this specification."""
    whole = dump(spec.network)
    whole.pop("inputs"), whole.pop("outputs")
    tried = [(run.algo, run.agent, run.hyperparams.get("agent_kwargs") or {})] if run.algo in ALGORITHMS else []
    names = [run.agent] * (run.agent in PRESETS) + [name for name in PRESETS if name != run.agent]
    algorithms = [run.algo] if run.algo in ALGORITHMS else list(_GUESSED)
    tried += [(algo, agent, whole) for algo in algorithms for agent in names]
    spaces = environments.observation_space, environments.action_space
    for algo, agent, changes in tried:
        try:
            made = controller_spec(agent, *spaces, algo=algo, overrides=changes)
        except UsageError:
            continue
        if made == spec:
            return algo, agent, changes
    raise UsageError(
        f"--to sb3-zip: no policy of {', '.join(algorithms)} acts as this one in {run.env} (normaliser, squashing or "
        "bounds differ); take --to onnx or --to safetensors"
    )


def _model(algo: str, agent: str, changes: dict[str, Any], run: RunSpec, environments: DummyVecEnv) -> BaseAlgorithm:
    kind, policy = ALGORITHMS[algo].classes()
    given = dict(run.hyperparams) if run.algo == algo else {}
    ours = {name: given.pop(name) for name in OURS if name in given}
    for name in SCHEDULED:
        if isinstance(given.get(name), str):
            given[name] = LinearSchedule(schedule(name, given[name]), 0.0, 1.0)
    policy_kwargs = {"agent": agent, "agent_kwargs": changes}
    policy_kwargs |= {name: ours[name] for name in ("net_arch", "log_std_init") if name in ours}
    try:
        return kind(policy, environments, seed=run.seed, policy_kwargs=policy_kwargs, device="cpu", **given)
    except (TypeError, ValueError, AssertionError) as error:
        told = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(f"--to sb3-zip: {algo} cannot be built for {run.env}: {told}") from None


def _normalisers(policy: SpikingPolicyMixin) -> list[Any]:
    """Return the policy's normaliser, and that of its target where it has one of its own."""
    target = getattr(policy, "actor_target", None)
    others = [] if target is None else [target.features_extractor.normaliser]
    return [policy.normaliser(), *others]
