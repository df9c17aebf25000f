"""Actors out of Stable-Baselines3's zips: weights alone, into an architecture that the user names.

Nothing of a zip is unpickled (`homeo_rl.storage.torch_pickle`). What its ``data`` says in plain JSON is believed only
against silence: where it contradicts what would be assumed, the user is asked to say which.
"""

import json
import os
import shlex
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from homeo_rl.agents.controller import Controller, controller_from
from homeo_rl.agents.presets import PRESETS, controller_spec
from homeo_rl.agents.sb3.names import Actor, find_actor
from homeo_rl.agents.sb3.vec_normalize import NONE, Statistics, read_statistics, signs_beside
from homeo_rl.errors import StorageFault, UsageError
from homeo_rl.spec import ControllerSpec, NetworkSpec
from homeo_rl.storage import strict_json, torch_archive, zip_archive
from homeo_rl.storage.files import printable
from homeo_rl.storage.torch_archive import TensorArchive

DEFAULT_AGENT = "mlp"

_ACTIVATION = {"ppo": "tanh", "sac": "relu", "td3": "relu"}  # Stable-Baselines3's defaults


def import_sb3_zip(
    path: Path,
    env: gym.Env[np.ndarray, np.ndarray],
    *,
    agent: str = "",
    overrides: Mapping[str, Any] | None = None,
    normalize_from: Path | None = None,
) -> Controller:
    """Read the actor of a policy that Stable-Baselines3 saved, or that our ``train`` exported.

    Args:
        agent: a preset; "mlp" by default, and the only one for policies of Stable-Baselines3's own.
        overrides: network fields in place of the preset's; hidden widths that are not among them are the weights'.
        normalize_from: statistics of the VecNormalize that it was trained behind; the name "none" says that there was
            none. Without either, a zip is refused where anything in it or beside it says that there was one.

    Raises UsageError: the file is missing, damaged or hostile, does not fit the environment, or holds what such an
    architecture cannot represent.
    """
    if not os.path.lexists(path):
        raise UsageError(f"{path}: expected a zip of Stable-Baselines3, found none; check the path")
    try:
        with _open_zip(path) as (archive, document):
            actor = find_actor(archive.entries, path)
            policy_kwargs = document.get("policy_kwargs")
            policy_kwargs = policy_kwargs if isinstance(policy_kwargs, dict) else {}
            spec = _spec(actor, archive, env, agent, dict(overrides or {}), policy_kwargs, path)
            statistics = _statistics(actor, spec, document, normalize_from, path)
            if statistics is not None:
                spec = replace(spec, normalise=True, clip=statistics.clip, epsilon=statistics.epsilon)
            return _controller(actor, archive, spec, path, statistics)
    except StorageFault as fault:
        raise UsageError(str(fault)) from None


def read_sb3_zip(path: Path, spec: ControllerSpec) -> Controller:
    """Read the actor of a zip that our ``train`` exported beside a run, into the run's own architecture.

    Raises:
        StorageFault: the file is missing, damaged or hostile.
        UsageError: it holds another policy.
    """
    with _open_zip(path) as (archive, _):
        actor = find_actor(archive.entries, path)
        if not actor.ours:
            raise UsageError(
                f"{path}: expected a policy of homeo-rl, found one of Stable-Baselines3's own; homeo-rl import sb3-zip "
                "makes a run of it"
            )
        return _controller(actor, archive, spec, path)


def read_policy(path: Path) -> dict[str, np.ndarray]:
    """Return all tensors of the policy in a zip, by their names in it.

    Raises UsageError: the file is damaged or hostile, or no such zip.
    """
    try:
        with _open_zip(path) as (archive, _):
            return archive.read(archive.entries)
    except StorageFault as fault:
        raise UsageError(str(fault)) from None


@contextmanager
def _open_zip(path: Path) -> Iterator[tuple[TensorArchive, dict[str, Any]]]:
    """Open a zip; yield the policy's tensors, and what its ``data`` say in plain JSON; its pickles stay closed."""
    with zip_archive.open_zip(path) as archive:
        infos = {info.filename: info for info in archive.infolist()}
        if "policy.pth" not in infos:
            raise UsageError(f"{path}: expected a zip of Stable-Baselines3 with a policy.pth, found none in it")
        document = _document(archive, infos.get("data"), path)
        with torch_archive.open_member(archive, infos["policy.pth"], f"{path}: policy.pth") as tensors:
            yield tensors, document


def _document(archive: zipfile.ZipFile, info: zipfile.ZipInfo | None, path: Path) -> dict[str, Any]:
    if info is None:
        return {}
    where = f"{path}: data"
    return strict_json.decode(zip_archive.read_member(archive, info, strict_json.SMALL.size, where), where)


def _statistics(
    actor: Actor, spec: ControllerSpec, document: Mapping[str, Any], normalize_from: Path | None, path: Path
) -> Statistics | None:
    """Return the statistics that the user names; None where observations go in as they are."""
    if actor.ours:
        if normalize_from is not None:
            raise UsageError(f"{path}: has a normaliser of its own, as train leaves it; leave --normalize-from out")
        return None
    if normalize_from is not None:
        return None if str(normalize_from) == NONE else read_statistics(normalize_from, spec.network.inputs)
    sign = next(signs_beside(path), "")
    if not sign and actor.algo == "ppo" and document.get("_last_original_obs") is not None:
        sign = "its data (_last_original_obs)"  # which on-policy algorithms keep behind a VecNormalize only
    if sign:
        file = sign if sign.endswith(".pkl") else "FILE"
        raise UsageError(
            f"{path}: {sign} says that it was trained on normalised observations; give --normalize-from "
            f"{shlex.quote(file)}, or --normalize-from {NONE} if that is wrong"
        )
    return None


def _spec(
    actor: Actor,
    archive: TensorArchive,
    env: gym.Env[np.ndarray, np.ndarray],
    agent: str,
    overrides: dict[str, Any],
    policy_kwargs: dict[str, Any],
    path: Path,
) -> ControllerSpec:
    _require_agreement(actor, agent, overrides, policy_kwargs, path)
    if not actor.ours:
        _require_mlp(agent, overrides, path)
    fields = dict(overrides)
    if "hidden" not in fields:
        fields["hidden"] = _hidden(actor, archive, path)
    if not actor.ours:
        fields = {"activation": _ACTIVATION[actor.algo], **fields}
    spec = controller_spec(
        agent or DEFAULT_AGENT, env.observation_space, env.action_space, algo=actor.algo, overrides=fields
    )
    discrete = actor.algo in ("ppo", "recurrent_ppo") and "log_std" not in archive.entries
    if spec.discrete != discrete:
        kinds = {True: "a choice", False: "numbers"}
        raise UsageError(
            f"{path}: expected actions that are {kinds[spec.discrete]}, as this environment takes them, found a policy "
            f"for {kinds[discrete]}; check --env"
        )
    if actor.ours:
        return spec
    # PPO and A2C clip what the network says; the others squash it.
    return replace(spec, squash="none" if actor.algo == "ppo" else "tanh", normalise=False)


def _require_mlp(agent: str, overrides: Mapping[str, Any], path: Path) -> None:
    other = agent in PRESETS and agent != DEFAULT_AGENT
    if other or overrides.get("body", "mlp") != "mlp" or overrides.get("activation", "relu") not in ("relu", "tanh"):
        raise UsageError(
            f"{path}: expected --agent mlp with activation relu or tanh for a policy of Stable-Baselines3's own, got "
            "something else; import it as that, and homeo-rl convert or distill make a spiking policy of it"
        )


def _require_agreement(
    actor: Actor, agent: str, overrides: Mapping[str, Any], policy_kwargs: Mapping[str, Any], path: Path
) -> None:
    """Compare what the zip says about its architecture with what the user leaves open."""
    says = ""
    if actor.ours:
        named, more = policy_kwargs.get("agent", "popsan"), policy_kwargs.get("agent_kwargs")
        if not agent and named in [name for name in PRESETS if name != DEFAULT_AGENT]:
            says = f"--agent {named}"
        for key, value in (more if isinstance(more, dict) else {}).items():
            if key not in overrides and key != "hidden" and not says:
                says = f"--agent-kwargs {shlex.quote(f'{printable(key, 40)}:{printable(json.dumps(value), 80)}')}"
    elif "activation" not in overrides and (named := policy_kwargs.get("activation_fn")) is not None:
        name = str(named).removesuffix("'>").rpartition(".")[2].lower()
        if name in _ACTIVATION.values() and name != _ACTIVATION[actor.algo]:
            says = f"--agent-kwargs activation:{name}"
        elif name != _ACTIVATION[actor.algo]:
            raise UsageError(
                f"{path}: its data say that its activation is {printable(name, 40)}; only relu and tanh are read. If "
                "that is wrong, say so by --agent-kwargs activation:relu"
            )
    if says:
        raise UsageError(f"{path}: its data say {says}; if that is right give these words, or others in their place")


def _hidden(actor: Actor, archive: TensorArchive, path: Path) -> list[int]:
    widths: list[int] = []
    while (name := actor.names.get(f"network.layers.{len(widths)}.weight")) is not None:
        shape = archive.entries[name].shape
        if len(shape) != 2 or not 1 <= shape[0] <= 65536:
            raise UsageError(f"{path}: {printable(name)}: expected weights of 1 to 65536 neurons, found {shape}")
        widths.append(shape[0])
    return widths[:-1]


def _controller(
    actor: Actor, archive: TensorArchive, spec: ControllerSpec, path: Path, statistics: Statistics | None = None
) -> Controller:
    # Layers come first: they are most of a network, and it is not built before they are known to be there.
    expected = {name: (shape, "float32") for name, shape in _layers(spec.network)}
    _compare(expected, actor, archive, path)
    shapes = {
        name: (tuple(value.shape), str(value.dtype).removeprefix("torch."))
        for name, value in Controller(spec).state_dict().items()
    }
    unexpected = sorted(set(actor.names) - set(shapes))
    if unexpected and actor.ours:
        raise UsageError(f"{path}: {printable(unexpected[0])}: not part of this architecture; check --agent")
    _compare({name: shapes[name] for name in shapes if actor.ours or name in actor.names}, actor, archive, path)
    read = archive.read(actor.names.values())
    tensors = {name: read[theirs] for name, theirs in actor.names.items()}
    if not actor.ours:  # it has no normaliser: that of a new controller lets observations pass as they are
        tensors |= {
            name: np.zeros(shape, dtype) for name, (shape, dtype) in shapes.items() if name.startswith("normaliser.")
        }
        tensors["normaliser.running_var"] += 1.0
    if statistics is not None:
        tensors |= {"normaliser.running_mean": statistics.mean, "normaliser.running_var": statistics.var}
    return controller_from(spec, tensors, where=str(path))


def _layers(network: NetworkSpec) -> Iterator[tuple[str, tuple[int, ...]]]:
    for index, (inputs, outputs) in enumerate(pairwise(network.widths)):
        yield f"network.layers.{index}.weight", (outputs, inputs)
        yield f"network.layers.{index}.bias", (outputs,)


def _compare(
    expected: Mapping[str, tuple[tuple[int, ...], str]], actor: Actor, archive: TensorArchive, path: Path
) -> None:
    for name, (shape, dtype) in expected.items():
        theirs = actor.names.get(name)
        if theirs is None:
            raise UsageError(
                f"{path}: expected tensor {name!r} of this architecture, found none; check --agent and --agent-kwargs"
            )
        entry = archive.entries[theirs]
        if entry.shape != shape or entry.storage.dtype != np.dtype(dtype):
            raise UsageError(
                f"{path}: {printable(theirs)}: expected {dtype} {shape} for this environment and architecture, found "
                f"{entry.storage.dtype} {entry.shape}; check --env, --agent and --agent-kwargs"
            )
