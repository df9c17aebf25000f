"""Statistics of Stable-Baselines3's VecNormalize: what a policy that was trained behind one has to be given with it.

They lie beside the policy's zip, in another file. Here they are read from arrays (.npz, .safetensors) or from the
``vecnormalize.pkl`` itself, of which nothing is unpickled (`homeo_rl.storage.pickle_outline`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from homeo_rl.errors import StorageFault, UsageError
from homeo_rl.numerics.limits import LIMIT
from homeo_rl.storage import files, safetensors_file
from homeo_rl.storage.npz_header import read_arrays
from homeo_rl.storage.pickle_outline import MAX_BYTES, Object, array_of, outline

CLIP, EPSILON = 10.0, 1e-8  # Stable-Baselines3's defaults, where a file of arrays says nothing else
NONE = "none"  # what a user says in place of a file where observations were not normalised

_NAMES = {"mean": ("mean", "obs_mean", "obs_rms.mean"), "var": ("var", "obs_var", "obs_rms.var")}
_SINGLE = {"clip": ("clip_obs", "clip"), "epsilon": ("epsilon",)}

_CONFIG = 1 << 20
_CONFIGS = ("config.yml", "config.yaml")


@dataclass(frozen=True)
class Statistics:
    """Mean and variance of each entry of the observation [D]; z-scores are clipped to ``clip``."""

    mean: np.ndarray
    var: np.ndarray
    clip: float = CLIP
    epsilon: float = EPSILON


def read_statistics(path: Path, size: int) -> Statistics:
    """Read the statistics of observations of ``size`` entries; nothing of the file is executed.

    ``path``: .npz or .safetensors with ``mean`` and ``var`` (or ``obs_mean``, ``obs_var``) and, where they differ from
    SB3's defaults, ``clip_obs`` and ``epsilon``; or what ``VecNormalize.save`` wrote. Raises UsageError: the file is
    missing, damaged or hostile, or does not fit.
    """
    flag = f"--normalize-from {path}"
    if not path.is_file():
        raise UsageError(f"{flag}: expected a file of statistics (.npz, .safetensors or .pkl), found none")
    try:
        arrays = _arrays(path)
    except (StorageFault, UsageError) as fault:
        raise UsageError(f"--normalize-from {fault}") from None
    values: dict[str, np.ndarray] = {}
    for name, names in {**_NAMES, **_SINGLE}.items():
        array = next((arrays[one] for one in names if one in arrays), None)
        if array is None and name in _NAMES:
            raise UsageError(f"{flag}: expected the arrays mean and var, found {', '.join(sorted(arrays)) or 'none'}")
        if array is None:
            continue
        shape = (size,) if name in _NAMES else ()
        if array.dtype.kind not in "fiu" or array.size != max(size if name in _NAMES else 1, 1):
            raise UsageError(
                f"{flag}: {name}: expected {size if shape else 1} numbers for this environment, found {array.dtype} "
                f"{array.shape}; check --env"
            )
        values[name] = array.astype(np.float64).reshape(shape)
        if not np.all(np.abs(values[name]) <= (LIMIT**2 if name == "var" else LIMIT)):
            raise UsageError(f"{flag}: {name}: expected finite numbers within {LIMIT:g}, found others")
    statistics = Statistics(
        values["mean"], values["var"], float(values.get("clip", np.float64(CLIP))),
        float(values.get("epsilon", np.float64(EPSILON))),
    )  # fmt: skip
    if not (statistics.var >= 0).all() or statistics.clip <= 0 or statistics.epsilon <= 0:
        raise UsageError(f"{flag}: expected variances of at least 0, clip_obs and epsilon above 0, found others")
    return statistics


def signs_beside(path: Path) -> Iterator[str]:
    """Yield what lies beside a zip, or in a folder beside it as rl-zoo puts it, and says that it needs statistics."""
    folders = [path.parent, *(folder for folder in sorted(path.parent.iterdir()) if folder.is_dir())]
    for folder in folders:
        for file in sorted(folder.glob("*.pkl")):
            if "norm" in file.name.lower() and "vec" in file.name.lower():
                yield str(file)
    for folder in folders:
        for name in _CONFIGS:
            if (folder / name).is_file() and _says_normalize(folder / name):
                yield f"{folder / name} (normalize: true)"


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with files.open_regular(path.resolve(), MAX_BYTES) as file:
        blob = file.readall()
    if path.suffix == ".safetensors":
        with files.open_regular(path.resolve(), MAX_BYTES) as file:
            return safetensors_file.read(file, safetensors_file.read_table(file, len(blob), path), path)
    if blob.startswith(b"PK"):
        return read_arrays(path.resolve())
    return _of_pickle(outline(blob, str(path)), path)


def _of_pickle(made: Any, path: Path) -> dict[str, np.ndarray]:
    state = made.state if isinstance(made, Object) else made
    if not isinstance(state, dict) or "obs_rms" not in state:
        raise StorageFault(f"{path}: expected what VecNormalize.save of Stable-Baselines3 writes, found something else")
    if state.get("norm_obs") is False:
        raise StorageFault(f"{path}: observations were not normalised (norm_obs false); say --normalize-from {NONE}")
    inner = state["obs_rms"].state if isinstance(state["obs_rms"], Object) else None
    if not isinstance(inner, dict):
        raise StorageFault(f"{path}: expected statistics of one observation, found several (norm_obs_keys)")
    fields = {"mean": inner.get("mean"), "var": inner.get("var")}
    fields |= {name: state[name] for name in ("clip_obs", "epsilon") if name in state}
    arrays = {name: array_of(value) for name, value in fields.items()}
    missing = next((name for name, array in arrays.items() if array is None), None)
    if missing is not None:
        raise StorageFault(f"{path}: {missing}: expected a plain array, found another form; save it as an .npz")
    return {name: array for name, array in arrays.items() if array is not None}


def _says_normalize(path: Path) -> bool:
    """Whether rl-zoo's configuration of a training normalises observations.

    It is a mapping, or the tagged list of pairs as which rl-zoo dumps an OrderedDict; no tag of it is followed.
    """
    try:
        with files.open_regular(path.resolve(), _CONFIG) as file:
            node = yaml.compose(file.readall().decode("utf-8"), Loader=yaml.SafeLoader)
    except (StorageFault, yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError):
        return False
    stack, steps = [node], 0
    while stack and steps < 10_000:
        entry, steps = stack.pop(), steps + 1
        pairs: Any = entry.value if isinstance(entry, yaml.MappingNode) else ()
        if isinstance(entry, yaml.SequenceNode):
            pairs = [entry.value] if len(entry.value) == 2 else []
            stack += [part for part in entry.value if isinstance(part, yaml.SequenceNode)]
        for key, value in pairs:
            if isinstance(key, yaml.ScalarNode) and key.value == "normalize":
                return _normalizes(value)
    return False


def _normalizes(value: yaml.Node) -> bool:
    if not isinstance(value, yaml.ScalarNode):
        pairs: Mapping[str, Any] = {k.value: v.value for k, v in value.value if isinstance(k, yaml.ScalarNode)}
        return str(pairs.get("norm_obs", "true")).lower() == "true"
    text = value.value.replace(" ", "").replace("'", "").replace('"', "").lower()
    return text not in ("false", "no", "null", "") and "norm_obs=false" not in text and "norm_obs:false" not in text
