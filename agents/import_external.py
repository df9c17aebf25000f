"""ONNX graphs and functions of Python, brought in as runs.

Each acts once, on the first observation of an episode, before it is accepted.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch

from homeo_rl.agents.controller import Controller, controller_from
from homeo_rl.agents.external import load_function
from homeo_rl.agents.presets import controller_spec
from homeo_rl.errors import StorageFault, UsageError
from homeo_rl.spec import ControllerSpec, ExternalSpec, NetworkSpec
from homeo_rl.storage import files

Env = gym.Env[np.ndarray, np.ndarray]

_LARGEST = 1 << 28  # bytes of a file that is read


def import_onnx(path: Path, env: Env) -> Controller:
    """Read an ONNX graph, which stays one; see `homeo_rl.agents.onnx_graph` for its inputs and outputs.

    Raises:
        UsageError: the file is missing or malformed, does not fit the environment, or onnxruntime is not installed.
        NumericalFault: its action on the first observation is not finite.
    """
    blob = read_file(path)
    digest = hashlib.sha256(blob).hexdigest()
    spec = _external_spec(env, ExternalSpec(kind="onnx", name=path.name, sha256=digest, size=len(blob)))
    tensors = {name: value.numpy() for name, value in Controller(spec).state_dict().items()}
    tensors["network.graph"] = np.frombuffer(blob, np.uint8)
    return _try_out(controller_from(spec, tensors, where=str(path)), env)


def import_function(path: Path, env: Env) -> Controller:
    """Take a function of Python as a policy, by ``module:function``; see `homeo_rl.agents.external.FunctionPolicy`.

    Raises:
        UsageError: there is none, it fails, or it does not fit the environment.
        NumericalFault: its action on the first observation is not finite.
    """
    name = str(path)
    _, digest = load_function(name)
    spec = _external_spec(env, ExternalSpec(kind="function", name=name, sha256=digest))
    return _try_out(Controller(spec).eval(), env)


def read_file(path: Path) -> bytes:
    """Return the bytes of a file. Raises UsageError: it is missing, no regular file, or too large."""
    try:
        with files.open_regular(path, _LARGEST) as file:
            return file.readall()
    except StorageFault as fault:
        raise UsageError(str(fault)) from None


def _external_spec(env: Env, external: ExternalSpec) -> ControllerSpec:
    spec = controller_spec("mlp", env.observation_space, env.action_space)
    network = NetworkSpec(
        inputs=spec.network.inputs, outputs=spec.network.outputs, hidden=(), body="external",
        external=replace(external, choice=spec.discrete),
    )  # fmt: skip
    return replace(spec, network=network, squash="none", normalise=False)


def _try_out(controller: Controller, env: Env) -> Controller:
    observation, _ = env.reset(seed=0)
    controller(torch.as_tensor(np.asarray(observation, np.float32))[None])
    return controller
