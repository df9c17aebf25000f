"""Published policies of other groups, brought in as runs."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from homeo_rl.agents.controller import Controller, controller_from
from homeo_rl.agents.presets import controller_spec
from homeo_rl.errors import StorageFault, UsageError
from homeo_rl.storage import files, torch_archive
from homeo_rl.storage.files import printable
from homeo_rl.storage.npz_header import read_arrays
from homeo_rl.storage.pickle_outline import MAX_BYTES, array_of, outline
from homeo_rl.storage.torch_legacy import MAGIC, MAX_FILE, read_legacy

SUFFIXES = (".pt", ".pth")


def read_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """Return the parameters by upstream's names (github.com/combra-lab/pop-spiking-deep-rl), ``obs_mean``, ``obs_var``.

    A training there leaves ``model0_e100.pt``, the actor's parameters as torch saves them, and beside it
    ``model0_e100_mean_var.p``, a list of the mean and the variance of observations. Neither is executed.

    Raises UsageError: one of the files is missing, damaged or hostile, or something else.
    """
    statistics = path.with_name(f"{path.stem}_mean_var.p")
    for file, what in ((path, "the actor's parameters"), (statistics, "the statistics of its observations")):
        if not file.is_file():
            raise UsageError(f"{file}: expected {what}, found none; upstream stores both files side by side")
    try:
        arrays = _read_tensors(path)
        listed = _read_statistics(statistics)
    except StorageFault as fault:
        raise UsageError(f"{fault}; expected a checkpoint of PopSAN as its authors' code stores it") from None
    return {**arrays, "obs_mean": listed[0], "obs_var": listed[1]}


def _read_tensors(path: Path) -> dict[str, np.ndarray]:
    with files.open_regular(path, MAX_FILE) as file:
        head = file.read(len(MAGIC))
    if head == MAGIC:
        return read_legacy(path)
    with torch_archive.open_file(path) as archive:
        return archive.read(archive.entries)


def _read_statistics(path: Path) -> list[np.ndarray]:
    with files.open_regular(path, MAX_BYTES) as file:
        made = outline(file.readall(), str(path))
    listed = [array_of(entry) for entry in made] if isinstance(made, list) else []
    arrays = [array for array in listed if array is not None and array.ndim == 1]
    if len(listed) != 2 or len(arrays) != 2 or arrays[0].shape != arrays[1].shape:
        raise StorageFault(f"{path}: expected a list of two arrays of one length, the mean and the variance")
    return arrays


def import_popsan(path: Path, env: gym.Env[np.ndarray, np.ndarray]) -> Controller:
    """Read a PopSAN actor (Tang et al., CoRL 2020), as its authors' code stores it or exported as arrays.

    ``path``: a ``.pt`` of theirs, with its ``_mean_var.p`` beside it (see `read_checkpoint`); or an ``.npz`` with
    ``encoder.mean|std [1, D, 10]``, ``snn.hidden_layers.{0,1}.weight|bias``, ``snn.out_pop_layer.weight|bias``,
    ``decoder.decoder.weight [K, 1, 10]|bias`` and ``obs_mean``, ``obs_var`` [D] of the observation normaliser. Raises
    UsageError: the file is missing or malformed, or does not fit the environment.
    """
    arrays = read_checkpoint(path) if path.suffix in SUFFIXES else read_arrays(path)
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
        raise UsageError(f"{path}: expected PopSAN's array {missing[0]!r}, found {_some(arrays)}")
    hidden = [len(arrays[f"{layer}.bias"]) if arrays[f"{layer}.bias"].ndim == 1 else 0 for layer in layers[:2]]
    spec = controller_spec("popsan", env.observation_space, env.action_space, algo="td3", overrides={"hidden": hidden})
    for layer, (inputs, outputs) in zip(layers, pairwise(spec.network.widths), strict=True):
        # Before a network is built that has as many weights as two short arrays say.
        _require_floats(arrays, f"{layer}.weight", (outputs, inputs), path, env)
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
                    f"found {array.dtype} {array.shape}; {_remedy(env)}"
                )
            kept = np.float64 if "normaliser" in name else np.float32
            tensors[name] = _finite(arrays, named[name], kept, path).reshape(shape)
    return controller_from(spec, tensors, where=str(path))


def import_san(path: Path, env: gym.Env[np.ndarray, np.ndarray]) -> Controller:
    """Read a SAN navigation actor (Tang et al., IROS 2020), exported as arrays.

    Bernoulli inputs, T = 5, current-based LIF in every layer, state zeroed per decision, action = output rate.

    Raises UsageError: the file is missing or malformed, or does not fit the environment.
    """
    arrays = read_arrays(path)
    count = sum(name.startswith("w") for name in arrays)
    names = [f"{kind}{i}" for i in range(count) for kind in "wb"]
    if count < 2 or set(names) != set(arrays):
        raise UsageError(f"{path}: expected the arrays w0, b0, w1, b1, ..., found {_some(arrays)}")
    inputs, outputs = (int(np.prod(space.shape or ())) for space in (env.observation_space, env.action_space))
    hidden = [len(arrays[f"b{i}"]) if arrays[f"b{i}"].ndim == 1 else 0 for i in range(count - 1)]
    widths = [inputs, *hidden, outputs]
    for i in range(count):
        for name, shape in ((f"w{i}", (widths[i + 1], widths[i])), (f"b{i}", (widths[i + 1],))):
            _require_floats(arrays, name, shape, path, env)
    spec = controller_spec("san", env.observation_space, env.action_space, algo="ddpg", overrides={"hidden": hidden})
    tensors = {
        name: value.numpy() for name, value in Controller(spec).normaliser.state_dict(prefix="normaliser.").items()
    }
    for i in range(count):
        tensors[f"network.layers.{i}.weight"] = _finite(arrays, f"w{i}", np.float32, path)
        tensors[f"network.layers.{i}.bias"] = _finite(arrays, f"b{i}", np.float32, path)
    return controller_from(spec, tensors, where=str(path))


def _require_floats(
    arrays: dict[str, np.ndarray], name: str, shape: tuple[int, ...], path: Path, env: gym.Env[Any, Any]
) -> None:
    array = arrays[name]
    if array.dtype.kind != "f" or array.shape != shape:
        raise UsageError(
            f"{path}: {name}: expected {shape} floats for this environment, "
            f"found {array.dtype} {array.shape}; {_remedy(env)}"
        )


def _remedy(env: gym.Env[Any, Any]) -> str:
    if env.spec is not None and env.spec.name == "Ant":
        return "check --env; policies of Ant-v4 and before need --env-kwargs include_cfrc_ext_in_observation:False"
    return "check --env"


def _finite(arrays: dict[str, np.ndarray], name: str, dtype: type[np.floating[Any]], path: Path) -> np.ndarray:
    with np.errstate(over="ignore"):
        array = arrays[name].astype(dtype)
    if not np.all(np.isfinite(array)):
        raise UsageError(f"{path}: {name} holds NaN or infinity as a {array.dtype}; export the policy again")
    return array


def _some(arrays: dict[str, np.ndarray]) -> str:
    names = [printable(name, 40) for name in sorted(arrays)]
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
