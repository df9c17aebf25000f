"""Hyper-parameters as rl-zoo's files write them, in our names; nothing is evaluated and nothing here loads torch.

n_timesteps                     -n
policy                          checked: one of ours for this algorithm, or the MlpPolicy that ours stands in for
policy_kwargs                   agent, agent_kwargs, net_arch, log_std_init, window
normalize                       normalize_reward; the policy normalises observations itself
noise_type, noise_std           noise_std
env_kwargs, env_wrapper         env_kwargs, and train_env_kwargs where they make the task
learning_rate: lin_1e-3, ...    as they are
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym

from homeo_rl.agents.sb3.net_arch import split_net_arch
from homeo_rl.envs.wrappers import KEY as WRAPPERS
from homeo_rl.envs.wrappers import wrappers_of
from homeo_rl.errors import UsageError, unknown
from homeo_rl.storage.files import printable
from homeo_rl.training.algorithms import algorithm
from homeo_rl.training.hyperparams import OF_POLICY

SPIKE_CODED = "homeo_rl.envs.navigation.coding.SpikeCoded"
"""The one wrapper of environments that is an argument here: ``env_kwargs: {spike_coded: true}``."""

NORMALISING = "homeo_rl.training.callbacks.NormaliserCallback"
"""The callback that moves the policy's normaliser where rl-zoo trains; `homeo-rl train` always has it."""

_REFUSED = {
    "callback": "callbacks are code; homeo-rl train logs, evaluates and saves by its own",
    "frame_stack": "--frame-stack N stacks observations, and the first of an episode stands for those before it",
    "monitor_kwargs": "monitors of homeo-rl train write what they write",
    "replay_buffer_class": "a training is resumed from SB3's own replay buffer alone",
    "replay_buffer_kwargs": "a training is resumed from SB3's own replay buffer alone",
    "sde_sample_freq": "a spiking actor has no state-dependent exploration",
    "use_sde": "a spiking actor has no state-dependent exploration",
    "vec_env_wrapper": "environments are wrapped one by one; register the environment with its wrappers",
}
"""Keys of rl-zoo's files that change what is learned, or what is kept of it, and have no counterpart."""


def policy_path(algo: str) -> str:
    """Return the dotted path under which a file names our policy for an algorithm.

    Raises UsageError: there is no such algorithm.
    """
    return f"homeo_rl.agents.{algorithm(algo).policy.rpartition(':')[2]}"


@dataclass(frozen=True, kw_only=True)
class Section:
    """What a file says about one environment, in our names. ``agent`` and ``steps`` are None where it says nothing."""

    agent: str | None = None
    steps: int | None = None
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    hyperparams: dict[str, Any] = field(default_factory=dict)

    @property
    def flags(self) -> dict[str, Any]:
        """Flags of ``homeo-rl train`` that the file sets."""
        flags = {"agent": self.agent, "n_timesteps": self.steps}
        return {name: value for name, value in flags.items() if value is not None}


def translate(section: Mapping[str, Any], *, algo: str, env: str, where: str) -> Section:
    """Translate a section of an rl-zoo file; names that are ours already stay.

    Raises UsageError: something in it has no counterpart, or is not data.
    """
    left = {name: value for name, value in section.items() if value is not None}
    theirs = _policy(left.pop("policy", "MlpPolicy"), algo, where)
    steps = left.pop("n_timesteps", None)
    if steps is not None:
        steps = _count(steps, f"{where}: n_timesteps")
    env_kwargs, train_env_kwargs = _environment(left, env, where)
    hyperparams = _policy_kwargs(left.pop("policy_kwargs", {}), theirs, where)
    agent = hyperparams.pop("agent", None)
    if train_env_kwargs:
        hyperparams["train_env_kwargs"] = train_env_kwargs
    if "normalize" in left:
        hyperparams["normalize_reward"] = _normalize(left.pop("normalize"), where)
    noise = left.pop("noise_type", "normal")
    if noise != "normal":
        raise UsageError(f"{where}: noise_type: expected normal, got {noise!r}; its noise_std goes with normal noise")
    if left.get("callback") in (NORMALISING, [NORMALISING]):
        del left["callback"]
    if left.get("frame_stack") == 1:
        del left["frame_stack"]
    for name, reason in _REFUSED.items():
        if left.pop(name, None):
            raise UsageError(f"{where}: {name} has no counterpart: {reason}; leave it out")
    return Section(agent=agent, steps=steps, env_kwargs=env_kwargs, hyperparams={**hyperparams, **left})


def plain(value: Any, where: str) -> Any:
    """Return what rl-zoo makes of a value by evaluating it, if it is data: literals and ``dict(name=value)``.

    Raises UsageError: it is a program.
    """
    if not isinstance(value, str):
        return value
    try:
        return _data(ast.parse(value.strip(), mode="eval").body)
    except (SyntaxError, ValueError, RecursionError) as error:
        what = error.args[0] if type(error) is ValueError else value
        raise UsageError(
            f"{where}: expected data such as dict(net_arch=[64, 64]), got {str(what)[:60]!r}, which would have to be "
            "run; leave it out"
        ) from None


def _data(node: ast.expr) -> Any:
    """Return the value of a literal or of ``dict(...)``, all the way down."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
        named = {word.arg: word.value for word in node.keywords}
        if None not in named:
            return {name: _data(value) for name, value in named.items()}
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {_data(key): _data(value) for key, value in zip(node.keys, node.values, strict=True) if key is not None}
    if isinstance(node, ast.List | ast.Tuple):
        return [_data(entry) for entry in node.elts]
    if isinstance(node, ast.Constant | ast.UnaryOp):
        try:
            return ast.literal_eval(node)
        except ValueError:
            pass
    raise ValueError(ast.unparse(node))


def _policy(name: Any, algo: str, where: str) -> bool:
    """Check the policy's name; return whether it is SB3's, whose arguments have another meaning."""
    ours = policy_path(algo)
    if name == "MlpPolicy":
        return True
    if name not in (ours, ours.replace(".agents", "")):
        raise UsageError(f"{where}: policy: expected MlpPolicy or {ours} for {algo}, got {name!r}")
    return False


def _policy_kwargs(value: Any, shared: bool, where: str) -> dict[str, Any]:
    where = f"{where}: policy_kwargs"
    fields = plain(value, where)
    if fields is None:  # None is what rl-zoo evaluates the text None to
        return {}
    if not isinstance(fields, dict):
        raise UsageError(f"{where}: expected names with values, got {printable(repr(fields), 60)}")
    known = ("agent", *OF_POLICY)
    for name in fields:
        if name not in known:
            raise unknown(where, str(name), known)
    arch = fields.pop("net_arch", None)
    actor, critic = split_net_arch(arch, shared=shared, where=where)
    if critic is not None:
        fields["net_arch"] = critic
    if actor is not None:
        fields["agent_kwargs"] = {"hidden": actor, **fields.get("agent_kwargs", {})}
    return fields


def _environment(left: dict[str, Any], env: str, where: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take the environment's arguments out of ``left``: those of every episode, and those of training alone.

    What the environment's registration fixes makes the task (the worlds, a curriculum): another task in training only,
    as rl-zoo does it with everything that stands in a file. The rest is how the robot sees.
    """
    arguments = plain(left.pop("env_kwargs", {}), f"{where}: env_kwargs")
    if not isinstance(arguments, dict):
        raise UsageError(f"{where}: env_kwargs: expected names with values, got {arguments!r}")
    try:
        fixed = gym.spec(env.rpartition(":")[2]).kwargs
    except gym.error.Error:  # reported later, with the nearest name
        fixed = {}
    everywhere = {name: value for name, value in arguments.items() if name not in fixed}
    training = {name: value for name, value in arguments.items() if name in fixed}
    wrappers = left.pop(WRAPPERS, None)
    if wrappers in (SPIKE_CODED, [SPIKE_CODED]):
        everywhere["spike_coded"] = True
    elif wrappers_of(wrappers):
        everywhere[WRAPPERS] = [{name: keywords} if keywords else name for name, keywords in wrappers_of(wrappers)]
    return everywhere, {**left.pop("train_env_kwargs", {}), **training}


def _normalize(entry: Any, where: str) -> bool:
    value = entry if isinstance(entry, bool) else plain(entry, f"{where}: normalize")
    if isinstance(value, bool):
        return value
    if not isinstance(value, dict) or not set(value) <= {"norm_obs", "norm_reward", "gamma"}:
        raise UsageError(f"{where}: normalize: expected true, false or norm_obs and norm_reward, got {entry!r}")
    return bool(value.get("norm_reward", True))


def _count(value: Any, where: str) -> int:
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else -1.0
    if not number.is_integer() or number < 1:
        raise UsageError(f"{where}: expected a whole number of steps, got {value!r}")
    return int(number)
