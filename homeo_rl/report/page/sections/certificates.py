"""Where policies come from besides training: certificates of conversions, and compiled reflexes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from homeo_rl.errors import StorageFault
from homeo_rl.report.page import phrasing
from homeo_rl.report.page.blocks import Section, Table
from homeo_rl.report.page.data_uri import data_uri
from homeo_rl.report.page.report_data import ReportData, NamedRun
from homeo_rl.spec import EventSpec, GateSpec
from homeo_rl.storage import bundle, files

_MAX_PICTURE = 1 << 20


def _list(value: Any) -> str:
    return ", ".join(str(entry) for entry in value)


_FIGURES: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("source", "converted from", str),
    ("form", "form", str),
    ("neuron", "neuron", str),
    ("widths", "layers", _list),
    ("levels", "levels of the hidden layers", _list),
    ("time_steps", "time steps a decision", str),
    ("latency_seconds", "latency of a decision", lambda v: f"{1e3 * v:g} ms"),
    ("effective_steps", "effective time steps (arithmetic)", lambda v: f"{v:.1f}"),
    ("states", "visited states compared", lambda v: f"{v:,}"),
    ("equal_actions", "equal actions, to the last bit", lambda v: f"{v:,}"),
    ("equal_rounded", "equal to the network with rounded weights", lambda v: f"{v:,}"),
    ("max_action_error", "largest action error", lambda v: f"{v:.3g}"),
    ("rms_action_error", "root mean square action error", lambda v: f"{v:.3g}"),
    ("flipped_counts", "hidden counts that differ", lambda v: f"{v:,}"),
    ("hidden_counts", "hidden counts compared", lambda v: f"{v:,}"),
    ("multiply_accumulates", "multiply-accumulates of the trained network", lambda v: f"{v:,.0f}"),
    ("synaptic_operations", "synaptic operations", lambda v: f"{v:,.0f}"),
    ("spikes", "spikes a decision", lambda v: f"{v:,.1f}"),
    ("energy_trained_joules", "energy of a decision, trained", phrasing.joules),
    ("energy_converted_joules", "energy of a decision, converted", phrasing.joules),
)
"""Entries of certificate.json, what they are, and how they are written."""


def conversions(material: ReportData) -> Section | None:
    """Return the section with certificates; None where no run was converted with one.

    Raises:
        StorageFault: a certificate is damaged.
    """
    blocks = []
    for member in material.members:
        path = member.run.path / "certificate.json"
        if not path.exists():
            continue
        told = bundle.read_json(path)
        try:
            rows = [[name, write(told[key])] for key, name, write in _FIGURES if told.get(key) is not None]
            returns = [
                [str(one["what"]), phrasing.plain(float(one["iqm"])),
                 f"[{phrasing.plain(float(one['low']))}, {phrasing.plain(float(one['high']))}]"]
                for one in told["returns"]
            ]  # fmt: skip
            apart = [step for step in told["diverged_at"] if step is not None]
            rows.append(["paired episodes that differ", f"{len(apart)} of {len(told['diverged_at'])}"])
        except (KeyError, TypeError, ValueError) as error:
            raise StorageFault(f"{path}: expected a certificate of homeo-rl convert ({error!r})") from None
        exact = told.get("exact") is True
        said = "The same to the last bit." if exact else "Not the same to the last bit."
        blocks.append(
            {
                "name": member.name,
                "said": said,
                "tables": [
                    Table("What was compared", ["", ""], rows, 1),
                    Table("Returns of paired episodes", ["episodes of", "IQM", "95 % interval"], returns, 1),
                ],
            }
        )
    if not blocks:
        return None
    how = "A trained network and the spiking one that it was converted into, on the states that the policy visits."
    return Section("conversion", "Conversion certificate", how, "tables.html.j2", {"blocks": blocks})


def reflexes(material: ReportData) -> Section | None:
    """Return the section on compiled reflexes; None where no run has one."""
    blocks = []
    for member in material.members:
        controller = member.run.spec.controller
        if controller is None or controller.reflex is None:
            continue
        reflex, network = controller.reflex, controller.reflex.network
        rows = [
            ["proved", reflex.certificate or "no certificate"],
            ["neurons, weights read", f"{network.neurons:,}, {len(network.taps):,}"],
            ["leak, reset, latency", f"{network.beta:g}, {network.reset}, {network.latency} decisions"],
            *(["event", _event(event)] for event in reflex.events),
            *(["output", f"{name}: {text}"] for name, text in _functions(reflex.document).items()),
            *(["gate", _gate(gate)] for gate in reflex.gates),
        ]
        about = str(reflex.document.get("about", "")).strip() if isinstance(reflex.document, dict) else ""
        blocks.append(
            {
                "name": f"{member.name}: {reflex.name}",
                "said": about,
                "tables": [Table("The reflex", ["", ""], rows, 2)],
                "picture": _picture(member),
            }
        )
    if not blocks:
        return None
    how = (
        "A compiled spiking network beside the policy: sensor events go in, its spikes gate the action. The proof "
        "covers every infinite train of events. Circles are neurons, arrow heads excite, bars inhibit."
    )
    return Section("reflex", "Compiled reflex", how, "tables.html.j2", {"blocks": blocks})


def _picture(member: NamedRun) -> str:
    """Return the drawing that homeo-rl compose left in the run, as an image that can run nothing; "" without one."""
    path: Path = member.run.path / "reflex.svg"
    if not path.exists():
        return ""
    with files.opened(path, _MAX_PICTURE) as file:
        return data_uri("image/svg+xml", file.readall())


def _functions(document: dict[str, Any]) -> dict[str, str]:
    outputs = document.get("outputs")
    return {str(name): str(text) for name, text in outputs.items()} if isinstance(outputs, dict) else {}


def _event(event: EventSpec) -> str:
    level = f"above {event.above:g}" if event.above is not None else f"below {event.below:g}"
    return f"at least {event.least} of the observation's entries {_list(event.entries)} {level}"


def _gate(gate: GateSpec) -> str:
    more = {
        "inhibit": ", keeping their difference" if gate.keep_difference else "",
        "clamp": f" to {gate.low} ... {gate.high}",
        "override": f" by {_list(gate.values)}",
    }[gate.kind]
    return f"while {gate.when} spikes: {gate.kind} action entries {_list(gate.entries) or 'all'}{more}"
