"""Everything that the rest of a training depends on, as tensors and plain data, and back again to the last bit.

Taken between two iterations of an algorithm, before a rollout is collected: policy and targets, optimisers, counters,
the replay ring, the generators of torch, numpy, Python and of every space, the environments in the middle of their
episodes, normalised rewards, what callbacks and the logger remember, the state of a plug-in that adapts in training.
"""

import copy
import random
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecMonitor, VecNormalize

from homeo_rl.agents.sb3.adam import align_moments
from homeo_rl.agents.sb3.policies import policy_of
from homeo_rl.agents.sb3.vec_env import GymVecEnv
from homeo_rl.envs.replayable import plain
from homeo_rl.errors import StorageFault
from homeo_rl.training.batched_vec_env import BatchedVecEnv
from homeo_rl.training.update_guard import optimisers

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Snapshot:
    """A training between two iterations: ``tensors`` by name and a JSON ``document``; the replay ring is kept apart."""

    tensors: Arrays
    document: dict[str, Any]


COUNTERS = ("num_timesteps", "_n_updates", "_episode_num", "_current_progress_remaining")  # that are numbers
SPACES = ("action_space", "observation_space")  # that have generators


def capture(model: BaseAlgorithm, callbacks: list[BaseCallback]) -> Snapshot:
    """Return where a training is. Only between iterations is that all there is."""
    tensors: Arrays = {}
    document: dict[str, Any] = {"steps": model.num_timesteps}
    document["counters"] = {name: getattr(model, name) for name in COUNTERS if hasattr(model, name)}
    for name, value in model.policy.state_dict().items():
        tensors[f"policy/{name}"] = _array(value)
    document["optimisers"] = {}
    for name, optimiser in optimisers(model):
        state, arrays = _optimiser_state(optimiser)
        document["optimisers"][name] = state
        tensors |= {f"optimiser/{name}/{key}": value for key, value in arrays.items()}
    entropy = getattr(model, "log_ent_coef", None)
    if isinstance(entropy, torch.Tensor):
        tensors["log_ent_coef"] = _array(entropy)
    tensors["rng/torch"] = torch.get_rng_state().numpy()
    if torch.cuda.is_available() and model.device.type == "cuda":
        tensors["rng/cuda"] = torch.cuda.get_rng_state(model.device).numpy()
    kind, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002  # SB3 samples its replay with it
    tensors["rng/numpy"] = np.asarray(keys)
    document["rng"] = {
        "numpy": [kind, int(position), int(has_gauss), float(cached)],
        "python": plain(random.getstate()),
        **{name: getattr(model, name).np_random.bit_generator.state for name in SPACES},
    }
    for name in ("_last_obs", "_last_original_obs", "_last_episode_starts"):
        value = getattr(model, name, None)
        if isinstance(value, np.ndarray):
            tensors[f"last/{name}"] = value
    for index, value in enumerate(_memory_of(model)):  # of recurrent policies
        tensors[f"last/memory/{index}"] = _array(value)
    document["episodes"] = [plain(info) for info in model.ep_info_buffer or ()]
    document["successes"] = [plain(value) for value in model.ep_success_buffer or ()]
    noise = getattr(model, "action_noise", None)
    if noise is not None and hasattr(noise, "noise_prev"):
        tensors["noise"] = np.asarray(noise.noise_prev)
    assert model.env is not None
    document["env"], arrays = _env_state(model.env)
    tensors |= {f"env/{key}": value for key, value in arrays.items()}
    document["callbacks"] = []
    for index, callback in enumerate(callbacks):
        state, arrays = callback.state_dict() if hasattr(callback, "state_dict") else ({}, {})
        document["callbacks"].append({"kind": type(callback).__name__, "n_calls": callback.n_calls, "memory": state})
        tensors |= {f"callback/{index}/{key}": value for key, value in arrays.items()}
    pending = model.logger.name_to_value
    document["logger"] = {
        "values": {name: float(value) for name, value in pending.items() if isinstance(value, int | float | np.number)},
        "counts": {name: int(count) for name, count in model.logger.name_to_count.items()},
        "excluded": {name: plain(formats) for name, formats in model.logger.name_to_excluded.items()},
    }
    online = policy_of(model).head().online  # a mechanism that adapts while rollouts are collected
    document["online"], arrays = (None, {}) if online is None else online.state_dict()
    tensors |= {f"online/{key}": value for key, value in arrays.items()}
    # Copies: the training continues, and a snapshot may be written later.
    return Snapshot({name: np.array(value) for name, value in tensors.items()}, copy.deepcopy(document))


def restore(model: BaseAlgorithm, callbacks: list[BaseCallback], snapshot: Snapshot) -> bool:
    """Restore a freshly built training from ``snapshot``.

    Returns whether every environment came back to the same observation and the same generator, bit for bit. Raises
    StorageFault: the snapshot does not fit this training.
    """
    tensors, document = snapshot.tensors, snapshot.document
    for name, value in document["counters"].items():
        setattr(model, name, value)
    expected = model.policy.state_dict()
    loaded = {}
    for name, value in expected.items():
        array = tensors.get(f"policy/{name}")
        if array is None or array.shape != tuple(value.shape):
            shape = tuple(value.shape)
            raise StorageFault(f"checkpoint: expected policy tensor {name!r} of shape {shape}, got another")
        loaded[name] = torch.as_tensor(array.copy())
    model.policy.load_state_dict(loaded)
    for name, optimiser in optimisers(model):
        state = document["optimisers"].get(name)
        if state is None:
            raise StorageFault(f"checkpoint: expected the state of optimiser {name!r}, found none")
        _load_optimiser(optimiser, state, _under(tensors, f"optimiser/{name}/"))
    entropy = getattr(model, "log_ent_coef", None)
    if isinstance(entropy, torch.Tensor):
        with torch.no_grad():
            entropy.copy_(torch.as_tensor(tensors["log_ent_coef"].copy()))
    for name in ("_last_obs", "_last_original_obs", "_last_episode_starts"):
        if f"last/{name}" in tensors:
            setattr(model, name, tensors[f"last/{name}"].copy())
    for index, value in enumerate(_memory_of(model)):
        value.copy_(torch.as_tensor(tensors[f"last/memory/{index}"]))
    window = model._stats_window_size
    model.ep_info_buffer = deque(document["episodes"], maxlen=window)
    model.ep_success_buffer = deque(document["successes"], maxlen=window)
    assert model.env is not None
    exact = _load_env(model.env, document["env"], _under(tensors, "env/"))
    # The last callback, which remembers nothing, is not in checkpoints of version 0.2.
    for index, (callback, state) in enumerate(zip(callbacks, document["callbacks"], strict=False)):
        if state["kind"] != type(callback).__name__:
            raise StorageFault(f"checkpoint: expected callback {type(callback).__name__}, found {state['kind']}")
        callback.n_calls = state["n_calls"]
        if hasattr(callback, "load_state_dict"):
            callback.load_state_dict(state["memory"], _under(tensors, f"callback/{index}/"))
    online = policy_of(model).head().online
    if online is not None and document["online"] is not None:
        online.load_state_dict(document["online"], _under(tensors, "online/"))
    return exact


def restore_generators(model: BaseAlgorithm, snapshot: Snapshot) -> None:
    """Restore all generators, action noise and the logger's pending means: the last step before learning."""
    tensors, rng = snapshot.tensors, snapshot.document["rng"]
    torch.set_rng_state(torch.as_tensor(tensors["rng/torch"].copy()))
    if "rng/cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(torch.as_tensor(tensors["rng/cuda"].copy()), model.device)
    kind, position, has_gauss, cached = rng["numpy"]
    np.random.set_state((kind, tensors["rng/numpy"], position, has_gauss, cached))  # noqa: NPY002  # as above
    random.setstate(_tuples(rng["python"]))
    for name in SPACES:
        getattr(model, name).np_random.bit_generator.state = rng[name]
    noise = getattr(model, "action_noise", None)
    if noise is not None and "noise" in tensors:
        noise.noise_prev = tensors["noise"].copy()
    model.logger.name_to_value.update(snapshot.document["logger"]["values"])
    model.logger.name_to_count.update(snapshot.document["logger"]["counts"])
    excluded = snapshot.document["logger"]["excluded"]
    model.logger.name_to_excluded.update({name: _tuples(formats) for name, formats in excluded.items()})


def _memory_of(model: BaseAlgorithm) -> list[torch.Tensor]:
    """Return the states of a recurrent policy and its critic, [] where there are none."""
    return [value for pair in getattr(model, "_last_lstm_states", None) or () for value in pair]


def _optimiser_state(optimiser: torch.optim.Optimizer) -> tuple[dict[str, Any], Arrays]:
    state = optimiser.state_dict()
    arrays: Arrays = {}
    scalars: dict[str, Any] = {}
    for index, entries in state["state"].items():
        for key, value in entries.items():
            if isinstance(value, torch.Tensor):
                arrays[f"{index}/{key}"] = _array(value)
            else:
                scalars[f"{index}/{key}"] = value
    groups = [{key: value for key, value in group.items() if key != "params"} for group in state["param_groups"]]
    return {"groups": [plain(group) for group in groups], "scalars": scalars}, arrays


def _load_optimiser(optimiser: torch.optim.Optimizer, document: dict[str, Any], arrays: Arrays) -> None:
    state = optimiser.state_dict()
    entries: dict[int, dict[str, Any]] = {}
    for name, value in [*arrays.items(), *document["scalars"].items()]:
        index, _, key = name.partition("/")
        loaded = torch.as_tensor(value.copy()) if isinstance(value, np.ndarray) else value
        entries.setdefault(int(index), {})[key] = loaded
    groups = [
        {**group, **{key: tuple(v) if isinstance(v, list) else v for key, v in kept.items()}}
        for group, kept in zip(state["param_groups"], document["groups"], strict=True)
    ]
    optimiser.load_state_dict({"state": entries, "param_groups": groups})
    align_moments(optimiser)  # a checkpoint keeps numbers, not how they lay in memory


def _env_state(env: VecEnv) -> tuple[dict[str, Any], Arrays]:
    """Return the state of a vectorised environment and of everything around it, outermost first."""
    if isinstance(env, VecNormalize):
        document, arrays = _env_state(env.venv)
        for name in ("ret_rms", "obs_rms"):
            rms = getattr(env, name, None)
            if rms is not None and not isinstance(rms, dict):
                arrays |= {f"{name}/mean": np.asarray(rms.mean), f"{name}/var": np.asarray(rms.var)}
                arrays[f"{name}/count"] = np.asarray(float(rms.count))
        arrays["normalised/returns"] = env.returns
        for name in ("old_reward", "old_obs"):
            value = getattr(env, name, None)
            if isinstance(value, np.ndarray) and value.size:
                arrays[f"normalised/{name}"] = value
        return document, arrays
    if isinstance(env, VecMonitor):
        document, arrays = _env_state(env.venv)
        arrays |= {"monitor/returns": env.episode_returns, "monitor/lengths": env.episode_lengths}
        return {**document, "monitored": env.episode_count}, arrays
    if isinstance(env, GymVecEnv):
        inner: Any = env.env.unwrapped
        if not hasattr(inner, "snapshot"):
            return {"rows": None}, {}
        document, arrays = inner.snapshot()
        return {"rows": [document]}, {f"0/{key}": value for key, value in arrays.items()}
    states = env.env_method("snapshot")
    arrays = {f"{i}/{key}": value for i, (_, parts) in enumerate(states) for key, value in parts.items()}
    return {"rows": [plain(document) for document, _ in states], "engine": _engine_of(env)}, arrays


def _load_env(env: VecEnv, document: dict[str, Any], arrays: Arrays) -> bool:
    if isinstance(env, VecNormalize):
        exact = _load_env(env.venv, document, arrays)
        for name in ("ret_rms", "obs_rms"):
            rms = getattr(env, name, None)
            if rms is not None and f"{name}/mean" in arrays:
                rms.mean, rms.var = arrays[f"{name}/mean"].copy(), arrays[f"{name}/var"].copy()
                rms.count = float(arrays[f"{name}/count"])
        env.returns = arrays["normalised/returns"].copy()
        for name in ("old_reward", "old_obs"):
            if f"normalised/{name}" in arrays:
                setattr(env, name, arrays[f"normalised/{name}"].copy())
        return exact
    if isinstance(env, VecMonitor):
        exact = _load_env(env.venv, document, arrays)
        env.episode_returns, env.episode_lengths = arrays["monitor/returns"].copy(), arrays["monitor/lengths"].copy()
        env.episode_count = document["monitored"]
        return exact
    rows = document["rows"]
    if rows is None:
        return False
    if isinstance(env, GymVecEnv):
        inner: Any = env.env.unwrapped
        env.reset()
        return bool(inner.restore((rows[0], _under(arrays, "0/"))))
    engine = document.get("engine", "gymnasium")
    if engine != _engine_of(env):
        raise StorageFault(
            f"checkpoint: expected one of --engine {_engine_of(env)}, found {engine}; use --engine {engine}"
        )
    if len(rows) != env.num_envs:
        raise StorageFault(f"checkpoint: expected {env.num_envs} environments, found {len(rows)}")
    done = [env.env_method("restore", (row, _under(arrays, f"{i}/")), indices=[i])[0] for i, row in enumerate(rows)]
    if isinstance(env, DummyVecEnv):
        env._seeds = [None] * env.num_envs
    return all(done)


def _engine_of(env: VecEnv) -> str:
    return "rollout" if isinstance(env, BatchedVecEnv) else "gymnasium"


def _array(value: torch.Tensor) -> np.ndarray:
    array: np.ndarray = value.detach().cpu().numpy()
    return array


def _under(arrays: Arrays, prefix: str) -> Arrays:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}


def _tuples(value: Any) -> Any:
    return tuple(_tuples(entry) for entry in value) if isinstance(value, list) else value
