"""What a robot must give the controller and what it gets: ``contract.json``."""

import hashlib
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from homeo_rl.exchange.c.description import Description
from homeo_rl.exchange.c.observer_source import senses_contract
from homeo_rl.exchange.c.recording import Recording
from homeo_rl.exchange.c.source import actions_of, normalisation, squash_of
from homeo_rl.exchange.exported_file import fingerprint
from homeo_rl.run import versions
from homeo_rl.spec import dump

FORMAT = "homeo-rl c 1"


@dataclass(frozen=True, kw_only=True)
class Plant:
    """What is known of the robot beside the policy."""

    env: str  # the environment's id
    period: float | None = None  # seconds between two decisions; None where the environment does not say
    observations: tuple[str, ...] = ()  # names of the observation's entries, or () for numbers
    actions: tuple[str, ...] = ()  # names of the action's entries, or () for numbers
    units: tuple[str, ...] = ()  # units of the observation's entries, or ()
    action_units: tuple[str, ...] = ()  # units of the action's entries, or ()


def write_contract(made: Description, plant: Plant, arm: str, sizes: dict[str, int]) -> dict[str, Any]:
    """Return the contract of a policy with the mechanism ``arm``."""
    spec, observation = made.controller.spec, _observation(made, plant)
    names = [entry["name"] for entry in observation["entries"]]
    return {
        "format": FORMAT,
        "env": plant.env,
        "control_period_s": plant.period,
        "homeostasis": arm,
        "number": "float32",
        "observation": observation,
        "action": _action(made, plant),
        "reset": {
            "homeo_reset": "at the start of every episode: trained weights, no adaptation, seeded randomness",
            "homeo_restart": "the same with the weights as they are, damaged or repaired",
            "state_between_decisions": spec.network.membrane == "episode" or made.mechanism != type(made.mechanism)(),
        },
        "randomness": _randomness(made),
        **({} if made.senses is None else {"observer": senses_contract(made.senses, names)}),
        "not_finite": "an observation that is not finite or beyond 1e15 gives HOMEO_NOT_FINITE; nothing changes",
        "bytes": sizes,
        "controller": dump(spec),
        "spec_sha256": fingerprint(spec),
        "weights_sha256": hash_weights(made),
        "versions": versions(),
    }


def hash_weights(made: Description) -> str:
    """Return the SHA-256 of all weights and biases, float32 little-endian, layer by layer, input by input."""
    digest = hashlib.sha256()
    for layer in made.layers:
        digest.update(layer.weight.astype("<f4").tobytes())
        digest.update(layer.bias.astype("<f4").tobytes())
    return digest.hexdigest()


def count_operations(made: Description, recording: Recording, spikes: float) -> tuple[int, int]:
    """Return the most additions at synapses that a decision can cost, and ``spikes`` measured, rounded."""
    spec = made.network.spec
    most = 0
    for index, (inputs, size) in enumerate(pairwise(spec.widths)):
        most += inputs * size * (1 if index == 0 and spec.encoder.kind == "current" else spec.steps)
    return most, round(spikes / max(len(recording.observations), 1))


def _observation(made: Description, plant: Plant) -> dict[str, Any]:
    size = made.network.spec.inputs
    shift, scale = normalisation(made.controller)
    entries = _entries("observation", size, plant.observations, plant.units)
    if shift is not None and scale is not None:
        for entry, mean, deviation in zip(entries, shift.tolist(), scale.tolist(), strict=True):
            entry |= {"mean": mean, "deviation": deviation}
    inside = "raw values; (x - mean) / deviation, clipped, is computed inside" if shift is not None else "used as it is"
    return {"size": size, "normalisation": inside, "clip": made.controller.normaliser.clip, "entries": entries}


def _action(made: Description, plant: Plant) -> dict[str, Any]:
    controller = made.controller
    size = actions_of(controller)
    if controller.spec.discrete:
        return {"size": 1, "kind": "choice", "choices": made.network.spec.outputs}
    entries = _entries("action", size, plant.actions, plant.action_units)
    for entry, low, high in zip(entries, controller.spec.low, controller.spec.high, strict=True):
        entry |= {"low": low, "high": high}
    squash = squash_of(controller).removeprefix("HOMEO_").lower()
    return {"size": size, "kind": "continuous", "squash": squash, "entries": entries}


def _entries(what: str, size: int, names: tuple[str, ...], units: tuple[str, ...]) -> list[dict[str, Any]]:
    names = names if len(names) == size else tuple(f"{what}[{k}]" for k in range(size))
    units = units if len(units) == size else ("",) * size
    return [{"index": k, "name": names[k], "unit": units[k]} for k in range(size)]


def _randomness(made: Description) -> str:
    if not made.network.encoder.stochastic:
        return "none: the encoder is deterministic"
    return (
        "PCG64, as numpy.random.default_rng(seed).random(dtype=float32): a number for every spike step and line, in "
        "this order; a line spikes where it is below the rate"
    )
