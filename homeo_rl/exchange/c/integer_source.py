"""The C files of a policy in integers: its tables, and decisions of the reference that it must repeat exactly."""

import numpy as np

from homeo_rl.exchange.c.description import ENCODERS, READOUTS
from homeo_rl.exchange.c.integer import EXPONENTIAL, ONE, TANGENT, IntegerLayer, IntegerPolicy, to_q16
from homeo_rl.exchange.c.source import actions_of, squash_of
from homeo_rl.exchange.c.tables import Tables, indent, initialiser, matrix
from homeo_rl.snn.kernels.layer import kind_of
from homeo_rl.snn.kernels.scans import CURRENT, IF, LIF

LIBRARY = ("homeo.h", "homeo_observer.h", "homeo_random.c", "homeo_int.h", "homeo_int.c")
"""Sources that are the same for every policy in integers."""

_KINDS = {CURRENT: "HOMEO_CURRENT_LIF", IF: "HOMEO_IF", LIF: "HOMEO_LIF"}


def write_integer_policy(policy: IntegerPolicy, name: str) -> tuple[str, str, int]:
    """Return the text of ``NAME.h`` and ``NAME.c``, and the bytes of all tables."""
    tables = Tables()
    layers = ",\n".join(_layer(tables, layer, index) for index, layer in enumerate(policy.layers))
    fields = {**_numbers(policy), **_arrays(tables, policy), "layer": "table_layers"}
    source = (
        f'#include "{name}.h"\n\n' + "\n".join(tables.text) + "\n"
        f"static const homeo_int_layer table_layers[{len(policy.layers)}] = {{\n{indent(layers)}\n}};\n\n"
        f"const homeo_int_policy {name} = {initialiser(fields)};\n"
    )
    upper = name.upper()
    header = (
        f'#ifndef {upper}_H\n#define {upper}_H\n\n#include "homeo_int.h"\n\n'
        f"#define {upper}_INPUTS {policy.spec.inputs}\n#define {upper}_ACTIONS {actions_of(policy.made.controller)}\n"
        f"#define {upper}_BYTES {integer_memory_bytes(policy)} /* of memory for homeo_int_init */\n\n"
        f'#ifdef __cplusplus\nextern "C" {{\n#endif\nextern const homeo_int_policy {name};\n'
        f"#ifdef __cplusplus\n}}\n#endif\n\n#endif\n"
    )
    return header, source, tables.bytes


def integer_memory_bytes(policy: IntegerPolicy) -> int:
    """Return the bytes that ``homeo_int_init`` needs: what ``homeo_int_memory`` computes."""
    spec = policy.spec
    widest = max(spec.inputs, *spec.widths) + 1
    return 4 * (6 * widest + spec.outputs + 2 * spec.steps + spec.steps * widest + (widest + 3) // 4)


def record_integer(policy: IntegerPolicy, observations: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return observations [n, D] in Q16 and the actions [n, K] of the reference."""
    noise, fixed = np.random.default_rng(seed), to_q16(observations)
    return fixed, np.stack([policy.act(observation, noise) for observation in fixed])


def write_integer_recorded(policy: IntegerPolicy, name: str, observations: np.ndarray, seed: int) -> str:
    """Return the text of ``test/recorded.h``."""
    fixed, actions = record_integer(policy, observations, seed)
    numbers = {
        "POLICY": name, "BYTES": f"{name.upper()}_BYTES", "INPUTS": fixed.shape[1], "ACTIONS": actions.shape[1],
        "DECISIONS": len(fixed), "SEED": seed,
    }  # fmt: skip
    defines = "".join(f"#define RECORDED_{key} {value}\n" for key, value in numbers.items())
    arrays = (matrix("recorded_observations", fixed, "int32_t"), matrix("recorded_actions", actions, "int32_t"))
    return f'#include "{name}.h"\n\n{defines}\n' + "\n".join(arrays)


def integer_contract(policy: IntegerPolicy) -> dict[str, object]:
    """Return what the contract says of the numbers."""
    return {
        "number": "int",
        "format": "observations and actions are int32 Q16 (the number times 65536); see src/homeo_int.h",
        "weight_shifts": [layer.shift for layer in policy.layers],
        "largest_observation": round((2**31 - 1) / ONE, 3),
    }


def _layer(tables: Tables, layer: IntegerLayer, index: int) -> str:
    inputs, size = layer.weight.shape
    return initialiser(
        {
            "inputs": str(inputs), "size": str(size), "shift": str(layer.shift),
            "weight": tables.integers(f"weight_{index}", layer.weight, "int16_t"),
            "bias": tables.integers(f"bias_{index}", layer.bias),
            "initial": tables.integers(f"initial_{index}", layer.initial if layer.initial.any() else None),
            "threshold": str(layer.threshold), "leak": str(layer.leak),
        }
    )  # fmt: skip


def _numbers(policy: IntegerPolicy) -> dict[str, str]:
    spec, controller = policy.spec, policy.made.controller
    return {
        "inputs": str(spec.inputs), "outputs": str(spec.outputs), "actions": str(actions_of(controller)),
        "layers": str(len(policy.layers)), "steps": str(spec.steps), "width": str(spec.widths[0]),
        "encoder": ENCODERS[spec.encoder.kind], "neuron": _KINDS.get(kind_of(spec.neuron), "HOMEO_LIF_PLAIN"),
        "hard": str(int(spec.neuron.reset == "hard")), "readout": READOUTS[spec.readout.kind],
        "squash": squash_of(controller), "bins": str(controller.spec.bins),
        "current_decay": str(policy.decays[0]), "voltage_decay": str(policy.decays[1]),
        "inverse_span": str(policy.inverse_span), "gain": str(policy.gain), "clip": str(policy.clip),
    }  # fmt: skip


def _arrays(tables: Tables, policy: IntegerPolicy) -> dict[str, str]:
    discrete = policy.made.controller.spec.discrete
    bounds = {name: None if discrete else getattr(policy, name) for name in ("low", "high", "middle", "half")}
    arrays = {
        "shift": policy.shift, "scale": policy.scale, "mean": policy.mean, "precision": policy.precision,
        "readout_weight": policy.readout_weight, "readout_bias": policy.readout_bias, "values": policy.values,
        "exponential": EXPONENTIAL, "tangent": TANGENT, **bounds,
    }  # fmt: skip
    return {name: tables.integers(name, values) for name, values in arrays.items()}
