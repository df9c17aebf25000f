"""Policies in a safetensors file: one that this package exported, or a third party's MLP with a contract beside it."""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import gymnasium as gym
import numpy as np
import pydantic

from homeo_rl.agents.controller import Controller, controller_from
from homeo_rl.agents.import_external import read_file
from homeo_rl.agents.presets import controller_spec
from homeo_rl.errors import StorageFault, UsageError
from homeo_rl.spec import ControllerSpec, NetworkSpec, parse
from homeo_rl.storage import safetensors_file, strict_json
from homeo_rl.storage.files import printable

Env = gym.Env[np.ndarray, np.ndarray]

CONTRACT = "contract.json"

_TABLE = strict_json.Limits(size=4 << 20, values=400_000, containers=60_001, depth=3)

_UNCLIPPED = 1e6  # of a contract that names no limit of normalised observations

_LENIENT = pydantic.ConfigDict(extra="ignore", allow_inf_nan=False)  # a contract says more than is needed here


@pydantic.with_config(_LENIENT)
@dataclass(frozen=True, kw_only=True)
class _Entry:
    mean: float | None = None
    deviation: float | None = None
    low: float | None = None
    high: float | None = None


@pydantic.with_config(_LENIENT)
@dataclass(frozen=True, kw_only=True)
class _Observation:
    size: int
    clip: float | None = None
    entries: tuple[_Entry, ...] = ()


@pydantic.with_config(_LENIENT)
@dataclass(frozen=True, kw_only=True)
class _Action:
    size: int
    squash: Literal["tanh", "identity", "none", "clip", "choice"] = "none"
    entries: tuple[_Entry, ...] = ()


@pydantic.with_config(_LENIENT)
@dataclass(frozen=True, kw_only=True)
class _Layers:
    activation: Literal["relu", "tanh"]
    layers: tuple[str, ...] = ()


@pydantic.with_config(_LENIENT)
@dataclass(frozen=True, kw_only=True)
class _Contract:
    """What is read of a contract."""

    observation: _Observation
    action: _Action
    network: _Layers


def import_safetensors(path: Path, env: Env) -> Controller:
    """Read a policy that `homeo-rl export --to safetensors` wrote, or an MLP with a contract beside it.

    The contract, ``NAME.contract.json`` or ``contract.json``, has the keys ``observation`` and ``action`` of the one
    that ``export --to c`` writes, and ``network``: {"activation": "relu" or "tanh", "layers": [prefixes of the
    tensors .weight [N_out, N_in] and .bias, in order]}; without ``layers`` all tensors are layers, in the order of the
    numbers in their names.

    Raises UsageError: the files are missing or malformed, or do not fit the environment.
    """
    try:
        tensors, metadata = _read_tensors(path)
        if "controller" in metadata:
            document = strict_json.decode(metadata["controller"].encode(), f"{path}: controller")
            spec = parse(ControllerSpec, document, where=f"{path}: controller")
            if spec.network.external is not None:
                raise UsageError(f"{path}: expected the weights of a network, found a {spec.network.external.kind}")
            count = tensors.get("normaliser.running_count")
            if count is not None and count.size == 1:
                tensors["normaliser.running_count"] = count.reshape(())  # the export writes a row of one
        else:
            spec, tensors = _read_mlp(path, tensors, env)
        _require_fit(spec, env, path)
        return controller_from(spec, tensors, where=str(path))
    except StorageFault as fault:
        raise UsageError(str(fault)) from None


def _require_fit(spec: ControllerSpec, env: Env, path: Path) -> None:
    """Check a policy against an environment. Raises UsageError: its observations or actions are others."""
    wanted = controller_spec("mlp", env.observation_space, env.action_space)
    actions = spec.network.outputs if spec.discrete else len(spec.low)
    expected = wanted.network.outputs if wanted.discrete else len(wanted.low)
    if (spec.network.inputs, actions, spec.discrete) != (wanted.network.inputs, expected, wanted.discrete):
        kinds = {True: "choices", False: "numbers"}
        raise UsageError(
            f"{path}: expected {wanted.network.inputs} observations and {expected} {kinds[wanted.discrete]} as action, "
            f"as this environment has them, found {spec.network.inputs} and {actions} {kinds[spec.discrete]}; "
            "check --env"
        )


def _read_tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the tensors, and the texts of the metadata, which the reader of our bundles does not accept."""
    blob = read_file(path)
    length = int.from_bytes(blob[:8], "little")
    if not 2 <= length <= min(len(blob) - 8, _TABLE.size):
        raise StorageFault(f"{path}: expected a safetensors file, found something else; export it again")
    table = strict_json.decode(blob[8 : 8 + length], f"{path}: table of tensors", _TABLE)
    metadata = table.pop("__metadata__", {})
    texts = (
        {name: text for name, text in metadata.items() if isinstance(text, str)} if isinstance(metadata, dict) else {}
    )
    head = json.dumps(table).encode()
    whole = len(head).to_bytes(8, "little") + head + blob[8 + length :]
    file = io.BytesIO(whole)
    return safetensors_file.read(file, safetensors_file.read_table(file, len(whole), path), path), texts


def _read_contract(path: Path) -> tuple[_Contract, Path]:
    for place in (path.with_name(f"{path.stem}.{CONTRACT}"), path.with_name(CONTRACT)):
        if place.exists():
            return parse(_Contract, strict_json.decode(read_file(place), place), where=str(place)), place
    raise UsageError(
        f"{path}: expected a file of homeo-rl export --to safetensors, or {path.stem}.{CONTRACT} beside it, which says "
        "what goes in and out; found neither"
    )


def _read_mlp(path: Path, tensors: dict[str, np.ndarray], env: Env) -> tuple[ControllerSpec, dict[str, np.ndarray]]:
    """Return the specification that a contract gives, and the tensors by our names."""
    contract, where = _read_contract(path)
    layers = _layers(path, tensors, contract, where)
    widths = (contract.observation.size, *(len(bias) for _, bias in layers))
    if widths[-1] != contract.action.size or [weight.shape for weight, _ in layers] != [
        (o, i) for i, o in pairwise(widths)
    ]:
        raise UsageError(
            f"{path}: expected layers from {widths[0]} observations to {contract.action.size} actions, as {where.name} "
            f"says, found weights {[list(weight.shape) for weight, _ in layers]}; correct one of the two"
        )
    network = NetworkSpec(
        inputs=widths[0], outputs=widths[-1], body="mlp", hidden=widths[1:-1], activation=contract.network.activation
    )
    base = controller_spec("mlp", env.observation_space, env.action_space)
    low, high = base.low, base.high
    entries = contract.action.entries
    if len(entries) == len(low) and all(entry.low is not None and entry.high is not None for entry in entries):
        low, high = tuple(e.low or 0.0 for e in entries), tuple(e.high or 0.0 for e in entries)
    if low and len(low) != widths[-1]:
        raise UsageError(
            f"{path}: expected {len(low)} actions, as this environment has, found {widths[-1]}; check --env"
        )
    seen = contract.observation.entries
    known = len(seen) == widths[0] and all(e.mean is not None and e.deviation is not None for e in seen)
    squash = contract.action.squash if contract.action.squash in ("tanh", "identity") and low else "none"
    spec = ControllerSpec(
        network=network, squash=squash, low=low, high=high, normalise=known,
        clip=contract.observation.clip or _UNCLIPPED, epsilon=1e-12,
    )  # fmt: skip
    named = {"normaliser.running_mean": np.zeros(widths[0]), "normaliser.running_var": np.ones(widths[0])}
    named["normaliser.running_count"] = np.zeros(())
    if known:
        named["normaliser.running_mean"] = np.array([entry.mean for entry in seen], np.float64)
        named["normaliser.running_var"] = np.array([entry.deviation for entry in seen], np.float64) ** 2
    for index, (weight, bias) in enumerate(layers):
        named |= {f"network.layers.{index}.weight": weight, f"network.layers.{index}.bias": bias}
    return spec, named


def _layers(
    path: Path, tensors: dict[str, np.ndarray], contract: _Contract, where: Path
) -> list[tuple[np.ndarray, np.ndarray]]:
    names = [name.removesuffix(".weight") for name in tensors if name.endswith(".weight")]
    prefixes = contract.network.layers or tuple(sorted(names, key=_natural))
    layers = []
    for prefix in prefixes:
        weight, bias = tensors.get(f"{prefix}.weight"), tensors.get(f"{prefix}.bias")
        if weight is None or bias is None or weight.ndim != 2 or bias.shape != weight.shape[:1]:
            raise UsageError(
                f"{path}: expected {printable(prefix)}.weight [N_out, N_in] and .bias [N_out], found others; name the "
                f"layers in {where.name}, network: layers"
            )
        layers.append((weight.astype(np.float32), bias.astype(np.float32)))
    if not layers:
        raise UsageError(f"{path}: expected tensors NAME.weight and NAME.bias, found none")
    return layers


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts numbers inside names by their value."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
