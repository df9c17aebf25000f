"""Published policies of other groups, brought in as runs."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from homeo_rl.agents.controller import Controller, controller_from
from homeo_rl.agents.presets import controller_spec
from homeo_rl.errors import UsageError


def import_popsan(path: Path, env: gym.Env[np.ndarray, np.ndarray]) -> Controller:
    """Read a PopSAN actor (Tang et al., CoRL 2020), exported as arrays.

    Args:
        path: an ``.npz`` with ``encoder.mean|std [1, D, 10]``, ``snn.hidden_layers.{0,1}.weight|bias``,
            ``snn.out_pop_layer.weight|bias``, ``decoder.decoder.weight [K, 1, 10]|bias`` and ``obs_mean``,
            ``obs_var`` [D] of the observation normaliser.
        env: the environment it was trained for.

    Raises:
        UsageError: the file is missing or malformed, or does not fit the environment.
    """
    arrays = read_arrays(path)
    layers = ["snn.hidden_layers.0", "snn.hidden_layers.1", "snn.out_pop_layer"]
    named = {
        "normaliser.running_mean": "obs_mean",
        "normaliser.running_var": "obs_var",
        "network.encoder.mean": "encoder.mean",
        "network.encoder.std": "encoder.std",
        "network.readout.weight": "decoder.decoder.weight",
        "network.readout.bias": "decoder.decoder.bias",
        **{f"network.layers.{i}.weight": f"{layer}.weight" for i, layer in enumerate(layers)},
        **{f"network.layers.{i}.bias": f"{layer}.bias" for i, layer in enumerate(layers)},
    }
    missing = sorted(set(named.values()) - set(arrays))
    if missing:
        raise UsageError(f"{path}: expected PopSAN's array {missing[0]!r}, found {', '.join(sorted(arrays)[:4])}, ...")
    hidden = [int(arrays[f"{layer}.weight"].shape[0]) for layer in layers[:2]]
    spec = controller_spec("popsan", env.observation_space, env.action_space, algo="td3", overrides={"hidden": hidden})
    tensors = {"normaliser.running_count": np.zeros(())}
    for name, value in Controller(spec).state_dict().items():
        if name in named:
            array = np.asarray(arrays[named[name]])
            shape = tuple(value.shape)
            if (
                array.dtype.kind != "f"
                or array.size != value.numel()
                or tuple(n for n in array.shape if n > 1) != tuple(n for n in shape if n > 1)
            ):
                raise UsageError(
                    f"{path}: {named[name]}: expected {shape} floats for this environment, "
                    f"found {array.dtype} {array.shape}; check --env"
                )
            if not np.all(np.isfinite(array)):
                raise UsageError(f"{path}: {named[name]} holds NaN or infinity; export the policy again")
            tensors[name] = array.reshape(shape).astype(np.float64 if "normaliser" in name else np.float32)
    return controller_from(spec, tensors, where=str(path))


def import_san(path: Path, env: gym.Env[np.ndarray, np.ndarray]) -> Controller:
    """Read a SAN navigation actor (Tang et al., IROS 2020), exported as arrays.

    Bernoulli inputs, T = 5, current-based LIF in every layer, state zeroed per decision, action = output rate.

    Args:
        path: an ``.npz`` with weights ``w0``, ``w1``, ... [out, in] and biases ``b0``, ``b1``, ... [out] of all layers.
        env: the environment that it drives, with spike-coded observations.

    Raises:
        UsageError: the file is missing or malformed, or does not fit the environment.
    """
    arrays = read_arrays(path)
    count = sum(name.startswith("w") for name in arrays)
    names = [f"{kind}{i}" for i in range(count) for kind in "wb"]
    if count < 2 or set(names) != set(arrays):
        raise UsageError(f"{path}: expected the arrays w0, b0, w1, b1, ..., found {', '.join(sorted(arrays)[:6])}")
    inputs, outputs = (int(np.prod(space.shape or ())) for space in (env.observation_space, env.action_space))
    hidden = [len(arrays[f"b{i}"]) if arrays[f"b{i}"].ndim == 1 else 0 for i in range(count - 1)]
    widths = [inputs, *hidden, outputs]
    for i in range(count):
        for name, shape in ((f"w{i}", (widths[i + 1], widths[i])), (f"b{i}", (widths[i + 1],))):
            array = arrays[name]
            if array.dtype.kind != "f" or array.shape != shape:
                raise UsageError(
                    f"{path}: {name}: expected {shape} floats for this environment, "
                    f"found {array.dtype} {array.shape}; check --env"
                )
            if not np.all(np.isfinite(array)):
                raise UsageError(f"{path}: {name} holds NaN or infinity; export the policy again")
    spec = controller_spec("san", env.observation_space, env.action_space, algo="ddpg", overrides={"hidden": hidden})
    tensors = {
        name: value.numpy() for name, value in Controller(spec).normaliser.state_dict(prefix="normaliser.").items()
    }
    for i in range(count):
        tensors[f"network.layers.{i}.weight"] = arrays[f"w{i}"].astype(np.float32)
        tensors[f"network.layers.{i}.bias"] = arrays[f"b{i}"].astype(np.float32)
    return controller_from(spec, tensors, where=str(path))


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read an ``.npz`` without unpickling anything.

    Raises:
        UsageError: the file is missing or not such an archive.
    """
    if not path.is_file():
        raise UsageError(f"{path}: expected an .npz file, found none; check the path")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path}: expected an .npz of plain arrays, cannot read it ({error})") from None


@dataclass(frozen=True)
class Importer:
    """How a kind of published policy is read, and the environment arguments that it needs (a user's own come first)."""

    read: Callable[[Path, gym.Env[np.ndarray, np.ndarray]], Controller]
    env_kwargs: dict[str, Any] = field(default_factory=dict)


IMPORTERS = {"popsan": Importer(import_popsan), "san": Importer(import_san, {"spike_coded": True})}
"""Kinds of published policies that `homeo-rl import` knows."""
