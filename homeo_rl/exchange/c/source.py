"""The C file of one policy: a ``homeo_policy`` and its tables."""

import numpy as np
import torch

from homeo_rl.agents.controller import Controller
from homeo_rl.exchange.c.description import (
    ENCODERS,
    NEURONS,
    READOUTS,
    SQUASHES,
    Description,
    LayerTables,
    population_of,
    readout_of,
)
from homeo_rl.exchange.c.mechanism import FORMS
from homeo_rl.exchange.c.memory_size import memory_bytes
from homeo_rl.exchange.c.observer_source import write_senses
from homeo_rl.exchange.c.reflex_source import write_reflex
from homeo_rl.exchange.c.tables import Tables, indent, initialiser, real, real_below
from homeo_rl.snn.offline_repair.healthy_model import DELETED, EXPLAINED


def actions_of(controller: Controller) -> int:
    """Return how many numbers an action has; a choice has one."""
    return 1 if controller.spec.discrete else len(controller.spec.low)


def squash_of(controller: Controller) -> str:
    """Return what becomes of the network's outputs, as C's constant."""
    if controller.spec.discrete:
        return "HOMEO_CHOICE"
    return "HOMEO_BINS" if controller.spec.bins else SQUASHES[controller.spec.squash]


def write_policy(made: Description, name: str) -> tuple[str, str, int]:
    """Return the text of ``NAME.h`` and ``NAME.c``, and the bytes of all tables."""
    tables = Tables()
    bits = 0 if made.mechanism.sleep is None else made.mechanism.sleep.bits
    layers = ",\n".join(_layer(tables, layer, index, bits) for index, layer in enumerate(made.layers))
    fields = {**_network(made), **_surroundings(tables, made), **_mechanism(made), **_memory(tables, made)}
    source = (
        f'#include "{name}.h"\n\n' + "\n".join(tables.text) + "\n"
        f"static const homeo_layer table_layers[{len(made.layers)}] = {{\n{indent(layers)}\n}};\n\n"
        f"const homeo_policy {name} = {initialiser(fields)};\n"
    )
    guard, upper = f"{name.upper()}_H", name.upper()
    plain, writable = (memory_bytes(made, writable=each) for each in (made.writable, True))
    header = (
        f'#ifndef {guard}\n#define {guard}\n\n#include "homeo.h"\n\n'
        f"#define {upper}_INPUTS {made.network.spec.inputs}\n#define {upper}_ACTIONS {actions_of(made.controller)}\n"
        f"/* Bytes of memory for homeo_init, without flags and with HOMEO_WRITABLE. */\n"
        f"#define {upper}_BYTES {plain}\n#define {upper}_WRITABLE_BYTES {writable}\n\n"
        f'#ifdef __cplusplus\nextern "C" {{\n#endif\nextern const homeo_policy {name};\n'
        f"#ifdef __cplusplus\n}}\n#endif\n\n#endif\n"
    )
    return header, source, tables.bytes


def _layer(tables: Tables, layer: LayerTables, index: int, bits: int) -> str:
    inputs, size = layer.shape
    return initialiser(
        {
            "inputs": str(inputs), "size": str(size),
            "weight": tables.reals(f"weight_{index}", layer.weight),
            "bias": tables.reals(f"bias_{index}", layer.bias),
            "initial": tables.reals(f"initial_{index}", layer.initial),
            "tau": real(layer.tau),
            "rate": tables.reals(f"rate_{index}", layer.rate),
            "square": tables.reals(f"square_{index}", layer.square),
            "reference": tables.reals(f"reference_{index}", layer.reference),
            "eta": real(layer.eta), "bound": real(layer.bound), "guard": real(layer.guard),
            "answer": tables.bits(f"answer_{index}", layer.answer),
            "target": tables.reals(f"target_{index}", layer.target),
            "potential": tables.reals(f"potential_{index}", layer.potential),
            "copy": tables.cells(f"copy_{index}", layer.cells, bits),
            "copy_scale": tables.reals(f"copy_scale_{index}", layer.copy_scale),
        }
    )  # fmt: skip


def _network(made: Description) -> dict[str, str]:
    spec = made.network.spec
    neuron = spec.neuron
    kind = NEURONS[neuron.kind]
    if kind == "HOMEO_LIF" and not neuron.decay_input:
        kind = "HOMEO_LIF_PLAIN"
    return {
        "inputs": str(spec.inputs), "outputs": str(spec.outputs), "actions": str(actions_of(made.controller)),
        "layers": str(len(made.layers)), "steps": str(spec.steps), "width": str(spec.widths[0]),
        "encoder": ENCODERS[spec.encoder.kind], "neuron": kind, "hard": str(int(neuron.reset == "hard")),
        "readout": READOUTS[spec.readout.kind], "squash": squash_of(made.controller),
        "bins": str(made.controller.spec.bins), "episode_membranes": str(int(spec.membrane == "episode")),
        "current_decay": real(neuron.current_decay), "voltage_decay": real(neuron.voltage_decay),
        "threshold": real(neuron.threshold), "span": real(spec.encoder.span), "gain": real(spec.readout.gain),
    }  # fmt: skip


def _surroundings(tables: Tables, made: Description) -> dict[str, str]:
    controller = made.controller
    normaliser, squasher = controller.normaliser, controller.squasher
    shift, scale = normalisation(controller)
    bounds: dict[str, np.ndarray] = {}
    if not controller.spec.discrete:
        low, high = squasher.low.float(), squasher.high.float()
        parts = {"low": low, "high": high, "middle": 0.5 * (high + low), "half": 0.5 * (high - low)}
        bounds = {name: part.numpy() for name, part in parts.items()}
    means, widths = population_of(made.network)
    weights, biases = readout_of(made.network)
    return {
        "shift": tables.reals("shift", shift), "scale": tables.reals("scale", scale),
        "clip": real(normaliser.clip),
        "mean": tables.reals("population_mean", means), "std": tables.reals("population_std", widths),
        "readout_weight": tables.reals("readout_weight", weights),
        "readout_bias": tables.reals("readout_bias", biases),
        **{name: tables.reals(name, bounds.get(name)) for name in ("low", "high", "middle", "half")},
        "values": tables.reals("values", None if controller.bins is None else controller.bins.values.numpy()),
        "layer": "table_layers",
    }  # fmt: skip


def normalisation(controller: Controller) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return what is subtracted from observations [D] and what they are divided by, or None: used as they are."""
    normaliser = controller.normaliser
    if not normaliser.active:
        return None, None
    variance = normaliser.running_var.to(torch.float32)
    return normaliser.running_mean.to(torch.float32).numpy(), torch.sqrt(variance + normaliser.epsilon).numpy()


def _mechanism(made: Description) -> dict[str, str]:
    bcm, energy, sleep = made.mechanism.bcm, made.mechanism.energy, made.mechanism.sleep
    rules = [name for name, part in (("HOMEO_BCM", bcm), ("HOMEO_ENERGY", energy)) if part is not None]
    fields = {"rules": " | ".join(rules) or "0"}
    if bcm is not None:
        fields |= {"zeta": real(-1.0 if bcm.zeta is None else bcm.zeta), "window": real(bcm.tau)}
    if energy is not None:
        fields |= {"psi": real(energy.psi), "energy": real(energy.initial)}
    if sleep is not None:
        fields |= {
            "sleeps": "1", "form": FORMS[sleep.form], "passes": str(sleep.passes), "every": str(sleep.every),
            "rest": str(sleep.rest), "observations": str(made.observations), "tolerance": real_below(sleep.tolerance),
            "explained": real_below(EXPLAINED * sleep.tolerance), "deleted": real_below(DELETED * sleep.tolerance),
            "dreams": str(made.dreams), "bits": str(sleep.bits if made.layers[0].cells is not None else 0),
        }  # fmt: skip
    return fields


def _memory(tables: Tables, made: Description) -> dict[str, str]:
    part = made.mechanism.rehearsal
    inputs, actions = made.network.spec.inputs, actions_of(made.controller)
    fields = {
        "reflex": write_reflex(tables, made.controller.reflex, inputs, actions),
        "senses": write_senses(tables, made.senses),
        "train": tables.bits("train", made.train),
        "inputs_remembered": tables.reals("inputs_remembered", made.inputs_remembered),
        "dream": tables.bits("dream", made.dream),
        "inputs_dreamed": tables.reals("inputs_dreamed", made.inputs_dreamed),
    }
    if part is not None:
        fields |= {
            "rates": str(len(part.tried)), "rehearsals": str(part.passes),
            "rate": tables.reals("rehearsed_rates", np.array(part.tried)),
            "least": real(part.least), "eta_awake": real(part.eta), "healthy": tables.reals("healthy", made.healthy),
        }  # fmt: skip
    return fields
