"""Agent presets: what ``--agent popsan`` means, as data."""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from homeo_rl.errors import UsageError, unknown
from homeo_rl.numerics.limits import LIMIT
from homeo_rl.spec import ControllerSpec, Squash, dump, parse
from homeo_rl.storage.files import printable

PRESETS: dict[str, dict[str, Any]] = {
    # Tang et al., CoRL 2020: population coding in and out.
    "popsan": {
        "hidden": [256, 256],
        "steps": 5,
        "encoder": {"kind": "population-regular", "size": 10},
        "readout": {"kind": "population", "size": 10},
    },
    # Tang et al., IROS 2020: bounded inputs as Bernoulli rates, actions as output rates.
    "san": {
        "hidden": [256, 256, 256],
        "steps": 5,
        "encoder": {"kind": "bernoulli", "span": 3.0, "signed": True},
        "readout": {"kind": "mean"},
    },
    # Decisions that can be cut short: every step's potentials are an answer (`homeo-rl distill --loss tet-s`).
    "anytime": {
        "hidden": [256, 256],
        "steps": 4,
        "encoder": {"kind": "current"},
        "neuron": {"kind": "lif", "threshold": 1.0, "tau": 2.0, "surrogate": "arctan"},
        "readout": {"kind": "membrane"},
        "initial": "neuron",
    },
    # The control arm: a ReLU network of PopSAN's widths.
    "mlp": {"body": "mlp", "hidden": [256, 256]},
    # Bu et al., ICLR 2022: activations of a few levels, which become spiking neurons exactly (`homeo-rl convert`).
    "qcfs": {"body": "mlp", "hidden": [256, 256], "activation": "qcfs", "levels": [8, 4]},
}
"""Network fields of every preset; the sizes of observation and action come from the environment."""


def controller_spec(
    agent: str,
    observation_space: gym.Space[Any],
    action_space: gym.Space[Any],
    *,
    algo: str = "ppo",
    overrides: Mapping[str, Any] | None = None,
) -> ControllerSpec:
    """Return the controller of ``agent`` for an environment's spaces.

    Args:
        algo: the algorithm that will train it; SAC, TQC and CrossQ squash by tanh, recurrent ones keep membranes.
        overrides: network fields that replace the preset's, such as ``{"hidden": [64, 64], "steps": 8}``; nested
            fields are merged.

    Raises UsageError: unknown preset or field, or spaces that no preset serves.
    """
    if agent not in PRESETS:
        raise unknown("agent preset", agent, PRESETS)
    if not isinstance(observation_space, gym.spaces.Box) or len(observation_space.shape) != 1:
        raise UsageError(
            f"observation space: expected a one-dimensional Box, got {_short(observation_space)}; "
            "--flatten-observations makes it one (in Python gymnasium.wrappers.FlattenObservation)"
        )
    preset = PRESETS[agent]
    # Observations in [0, 1] are firing rates already: a Bernoulli encoder takes them as they are, and so does the
    # control arm beside it. A population's units are spread around 0 and want z-scores.
    bernoulli = preset.get("encoder", {}).get("kind") == "bernoulli"
    in_unit_interval = bool((observation_space.low >= 0.0).all() and (observation_space.high <= 1.0).all())
    rates = (bernoulli or preset.get("body") == "mlp") and in_unit_interval
    if rates and bernoulli:
        preset = _merge(preset, {"encoder": {"span": 1.0, "signed": False}})
    if algo.startswith("recurrent_") and preset.get("body") != "mlp":
        preset = _merge(preset, {"membrane": "episode"})
    fields = _merge(preset, dict(overrides or {}))
    rate_coded = fields.get("body") != "mlp" and fields["readout"]["kind"] in ("mean", "last")
    outputs, low, high = _outputs(action_space)
    squashing = algo.endswith(("sac", "tqc", "crossq"))
    squash: Squash = "none" if not low else "identity" if rate_coded and not squashing else "tanh"
    if rate_coded and "gain" not in fields["readout"] and squash != "identity":
        # Rates reach [-1, 1] only: widen them before SAC's tanh, and more before a soft maximum.
        fields["readout"]["gain"] = 2.0 if squash == "tanh" else 4.0
    network = {"inputs": int(observation_space.shape[0]), "outputs": outputs, **fields}
    return parse(
        ControllerSpec,
        {"network": network, "squash": squash, "low": low, "high": high, "normalise": not rates},
        where=f"agent {agent}",
    )


_ADAPTED = "homeo_rl.make_env adapts such actions"


def _outputs(space: gym.Space[Any]) -> tuple[int, tuple[float, ...], tuple[float, ...]]:
    """Return the number of outputs of an action space, and the bounds of its entries, () for choices."""
    if isinstance(space, gym.spaces.Box) and len(space.shape) == 1:
        _check_bounds(space)
        return int(space.shape[0]), tuple(map(float, space.low)), tuple(map(float, space.high))
    if isinstance(space, gym.spaces.Discrete):
        if space.start != 0:
            raise UsageError(f"action space: expected choices from 0 on, got {space}; {_ADAPTED}")
        return int(space.n), (), ()
    raise UsageError(
        f"action space: expected a one-dimensional Box or a Discrete, got {_short(space)}; give the "
        "environment one of these by a wrapper of its actions (--env-wrapper)"
    )


def _check_bounds(space: gym.spaces.Box) -> None:
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    unbounded = ~((np.abs(low) <= LIMIT) & (np.abs(high) <= LIMIT))
    if unbounded.any():
        raise UsageError(
            f"action space: expected finite bounds, entry {int(unbounded.argmax())} of {_short(space)} has none; "
            "--env-wrapper 'homeo_rl.envs.actions.BoundAction:{low: -1, high: 1}' gives it some"
        )
    if (low == high).any():
        entry = int((low == high).argmax())
        raise UsageError(f"action space: entry {entry}: expected low < high, got {low[entry]:g} twice; {_ADAPTED}")
    if space.dtype.kind != "f":
        raise UsageError(f"action space: expected floats, got {_short(space)}; {_ADAPTED}")


def _short(space: gym.Space[Any]) -> str:
    text = " ".join(str(space).split())
    return text if len(text) <= 120 else text[:117] + "..."


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = {key: dict(value) if isinstance(value, Mapping) else value for key, value in base.items()}
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = {**old, **value} if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged


def describe(spec: ControllerSpec) -> str:
    """Return one line about a controller, for progress output."""
    network = spec.network
    shape = "-".join(str(width) for width in network.widths)
    if network.external is not None:
        kind = {"onnx": "ONNX graph", "function": "function"}[network.external.kind]
        return f"{kind} {printable(network.external.name)}, {network.inputs} observations to {network.outputs} outputs"
    if network.body == "mlp":
        activation = {"relu": "", "tanh": ", tanh", "qcfs": f", QCFS {network.levels_of_layers}"}[network.activation]
        return f"MLP {shape}{activation}"
    plain = dump(network)
    return f"{plain['neuron']['kind']} {shape}, T = {network.steps}, encoder {network.encoder.kind}"
