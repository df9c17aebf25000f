"""The contents of a run folder, a policy bundle or an archive; nothing of it is executed or built."""

import os
import stat
from itertools import islice
from pathlib import Path
from typing import Any

from homeo_rl.errors import HomeoError, StorageFault, UsageError
from homeo_rl.inspection.archive import brief, describe_archive
from homeo_rl.observer.forward_model import ForwardModel
from homeo_rl.observer.health_card import health_card
from homeo_rl.run import Run
from homeo_rl.spec import ControllerSpec, dump, parse
from homeo_rl.storage import bundle, files, zip_archive
from homeo_rl.storage.pretrained import FOLDER, list_pretrained, near_runs

_BUNDLES = ("policy", "best", "calibration", "observer", "experience", "network")
"""Bundles of a run: policies, the rates that homeostasis aims at, an observer's forward model, a sample of the
training, a compiled network."""

_MAX_LISTED = 1000  # entries of a folder that are looked at
_ARCHIVES = (b"PK\x03\x04", b"PK\x05\x06")  # what a zip begins with; the second is that of an empty one


def describe(path: Path) -> dict[str, Any]:
    """Return what lies at ``path``, as plain data; ``kind`` is "run", "bundle", "sb3" or "npz".

    ``path`` may be the name of an agent that comes with the package.
    A damaged part of a run is listed under ``faults``, beside the sound ones.

    Raises:
        UsageError: it is none of these.
        StorageFault: it is one, and damaged.
    """
    if str(path) in list_pretrained() and not os.path.lexists(path):
        return _run(FOLDER / path)
    try:
        mode = os.lstat(path).st_mode
    except OSError as error:
        raise _not_ours(path, error.strerror or "nothing there") from None
    if stat.S_ISREG(mode):
        with files.open_regular(path, zip_archive.MAX_ARCHIVE) as file:
            begins = file.read(4) or b""
        if begins in _ARCHIVES:
            return describe_archive(path)
        raise _not_ours(path, "a file that is no zip")
    if not stat.S_ISDIR(mode):
        raise _not_ours(path, "a link or a special file")
    if os.path.lexists(path / "run.json"):
        return _run(path)
    if os.path.lexists(path / "manifest.json"):
        return _bundle(path)
    raise _not_ours(path, "a folder with neither run.json nor manifest.json")


def _not_ours(path: Path, what: str) -> UsageError:
    near = near_runs(str(path))
    return UsageError(
        f"{path}: expected a run folder, a policy bundle, a Stable-Baselines3 zip or an .npz, found {what}; "
        + (f"did you mean {near[0]!r}?" if near else "give the path of one")
    )


def _run(path: Path) -> dict[str, Any]:
    run = Run.open(path)
    spec = dump(run.spec)
    spec.pop("controller")
    contents: dict[str, Any] = {"kind": "run", "path": str(path), "spec": spec, "policy": _policy(run.spec.controller)}
    faults: list[str] = []
    contents["bundles"] = {
        name: _part(path / name, faults)
        for name in _BUNDLES
        if os.path.lexists(path / name) or os.path.lexists(path / f"{name}.old")  # as `bundle.load` has it
    }
    has_model = contents["bundles"].get("observer", {}).get("sound", False)
    contents["forward_model"] = _forward_model(run, faults) if has_model else None
    steps = [name for name in _names(path / "checkpoints") if name.isdigit()]
    contents["checkpoints"] = {name: _part(path / "checkpoints" / name, faults) for name in steps}
    contents["replay_segments"] = len(_names(path / "checkpoints" / "replay"))
    contents["evaluations"] = [
        _evaluation(path / "evaluations" / name, faults) for name in _names(path / "evaluations")
    ]
    contents["archives"] = [name for name in _names(path, folders=False) if name.endswith((".zip", ".npz"))]
    contents["faults"] = faults
    return contents


def _forward_model(run: Run, faults: list[str]) -> dict[str, Any] | None:
    """Return the health card of an observer's forward model as plain data; None where it is damaged."""
    try:
        stored = run.load_observer()
        if stored is None:
            return None
        return health_card(ForwardModel.from_bundle(*stored, where=str(run.path / "observer")))._asdict()
    except HomeoError as fault:
        faults.append(str(fault))
        return None


def _bundle(path: Path) -> dict[str, Any]:
    tensors, document = bundle.load(path)
    policy = None
    if "controller" in document:
        try:
            policy = _policy(parse(ControllerSpec, document["controller"], where=str(path)))
        except UsageError as error:
            raise StorageFault(str(error)) from None
    return {
        "kind": "bundle",
        "path": str(path),
        "policy": policy,
        "compiled": _describe_compiled(document),
        "document": {key: brief(value) for key, value in document.items()},
        "numbers": sum(array.size for array in tensors.values()),
        "bytes": sum(array.nbytes for array in tensors.values()),
        "tensors": [
            {"name": name, "dtype": str(array.dtype), "shape": list(array.shape)} for name, array in tensors.items()
        ],
    }


def _part(path: Path, faults: list[str]) -> dict[str, Any]:
    try:
        contents = _bundle(path)
    except HomeoError as fault:
        faults.append(str(fault))
        return {"sound": False}
    sizes = {key: contents[key] for key in ("numbers", "bytes", "compiled")}
    return {"sound": True, "tensors": len(contents["tensors"]), **sizes}


def _evaluation(path: Path, faults: list[str]) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": path.name, "finished": os.path.lexists(path / "scores.csv")}
    try:
        document = bundle.read_json(path / "evaluation.json")
    except StorageFault as fault:
        faults.append(str(fault))
        return entry
    return {**entry, **{key: brief(document.get(key)) for key in ("suite", "arms", "episodes", "seed", "policy")}}


def _policy(spec: ControllerSpec | None) -> dict[str, Any] | None:
    if spec is None:
        return None
    network = spec.network
    return {
        "body": network.body,
        "inputs": network.inputs,
        "hidden": list(network.hidden),
        "outputs": network.outputs,
        "steps": network.steps if network.body == "spiking" else 0,
        "neuron": network.neuron.kind if network.body == "spiking" else "",
        "action": "discrete" if spec.discrete else f"{len(spec.low)} numbers",
        "reflex": spec.reflex.name if spec.reflex is not None else "",
    }


def _describe_compiled(document: dict[str, Any]) -> dict[str, Any] | None:
    network = document.get("network")
    if not isinstance(network, dict):
        return None
    fields = {key: brief(network.get(key)) for key in ("lines", "neurons", "beta", "reset", "latency")}
    return {**fields, "certificate": brief(document.get("certificate"))}


def _names(folder: Path, *, folders: bool = True) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            listed = list(islice(entries, _MAX_LISTED))
    except OSError:
        return []
    return sorted(
        entry.name
        for entry in listed
        if (entry.is_dir(follow_symlinks=False) if folders else entry.is_file(follow_symlinks=False))
    )
