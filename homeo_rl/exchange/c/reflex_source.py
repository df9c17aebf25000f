"""The reflex of a composed policy as C tables."""

import numpy as np

from homeo_rl.agents.reflex import Reflex
from homeo_rl.exchange.c.tables import Tables, indent, initialiser, real
from homeo_rl.spec import EventSpec, GateSpec

_KINDS = {"inhibit": "HOMEO_INHIBIT", "clamp": "HOMEO_CLAMP", "override": "HOMEO_OVERRIDE"}
_RESETS = {"soft": "HOMEO_SOFT", "hard": "HOMEO_HARD", "soft_next": "HOMEO_SOFT_NEXT"}
_LARGEST = float(np.finfo(np.float32).max)


def write_reflex(tables: Tables, reflex: Reflex | None, inputs: int, actions: int) -> str:
    """Add the tables of a reflex for ``inputs`` observations and ``actions``, and return what the policy points to."""
    if reflex is None:
        return "NULL"
    spec, network = reflex.spec, reflex.network
    places = np.array([delay * network.sources + source + 1 for source, delay in spec.network.taps])
    events = [_event(tables, event, index, inputs) for index, event in enumerate(spec.events)]
    gates = [_gate(tables, reflex, gate, index, actions) for index, gate in enumerate(spec.gates)]
    fields = {
        "lines": str(spec.network.lines), "neurons": str(spec.network.neurons), "taps": str(len(places)),
        "stages": str(max(spec.network.layers) + 1), "gates": str(len(gates)), "reach": str(network.reach),
        "reset": _RESETS[spec.network.reset], "beta": real(spec.network.beta),
        "weight": tables.reals("reflex_weight", network.weight.detach().numpy()),
        "place": tables.integers("reflex_place", places),
        "stage": tables.integers("reflex_stage", np.array(spec.network.layers)),
        "event": "table_events", "gate": "table_gates",
    }  # fmt: skip
    for name, kind, rows in (("events", "homeo_event", events), ("gates", "homeo_gate", gates)):
        text = indent(",\n".join(rows))
        tables.text.append(f"static const {kind} table_{name}[{len(rows)}] = {{\n{text}\n}};\n")
    tables.text.append(f"static const homeo_reflex table_reflex = {initialiser(fields)};\n")
    return "&table_reflex"


def _event(tables: Tables, event: EventSpec, index: int, inputs: int) -> str:
    entries = np.array(event.entries) % inputs
    level = event.above if event.above is not None else event.below
    assert level is not None
    return initialiser(
        {
            "entry": tables.integers(f"event_{index}", entries), "entries": str(len(entries)),
            "least": str(event.least), "above": str(int(event.above is not None)), "level": real(level),
        }
    )  # fmt: skip


def _gate(tables: Tables, reflex: Reflex, gate: GateSpec, index: int, actions: int) -> str:
    entries = np.array(gate.entries or (0,)) % actions  # a choice is entry 0
    return initialiser(
        {
            "output": str(reflex.spec.network.outputs[reflex.spec.outputs.index(gate.when)]),
            "kind": _KINDS[gate.kind], "keep_difference": str(int(gate.keep_difference)),
            "entries": str(len(entries)), "entry": tables.integers(f"gate_{index}", entries),
            "low": real(-_LARGEST if gate.low is None else gate.low),
            "high": real(_LARGEST if gate.high is None else gate.high),
            "values": tables.reals(f"gate_values_{index}", np.array(gate.values) if gate.values else None),
        }
    )  # fmt: skip
