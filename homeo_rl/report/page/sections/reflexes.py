"""Compiled reflexes: proof, size, events, outputs, gates and graph."""

from pathlib import Path
from typing import Any

from homeo_rl.report.page.blocks import Section, Table, block_section, data_uri
from homeo_rl.report.page.context import PageContext
from homeo_rl.report.page.report_data import NamedRun
from homeo_rl.spec import EventSpec, GateSpec, ReflexSpec
from homeo_rl.storage import files

_MAX_PICTURE_BYTES = 1 << 20


def reflexes(context: PageContext) -> Section | None:
    """Return the section on compiled reflexes; None where no run has one."""
    blocks = []
    for member in context.data.members:
        controller = member.run.spec.controller
        if controller is None or controller.reflex is None:
            continue
        reflex = controller.reflex
        about = str(reflex.document.get("about", "")).strip() if isinstance(reflex.document, dict) else ""
        blocks.append(
            {
                "name": f"{member.name}: {reflex.name}",
                "note": about,
                "tables": [Table("The reflex", ["", ""], _rows(reflex), 2)],
                "picture": _picture(member),
            }
        )
    how = (
        "A compiled spiking network beside the policy: sensor events are its inputs, and its spikes gate the action. "
        "The proof covers every infinite spike train of events. Circles are neurons, arrow heads excite, bars inhibit."
    )
    return block_section("reflex", "Compiled reflex", how, "table_blocks.html.j2", blocks)


def _rows(reflex: ReflexSpec) -> list[list[str]]:
    network = reflex.network
    return [
        ["proved", reflex.certificate or "no certificate"],
        ["neurons, weights read", f"{network.neurons:,}, {len(network.taps):,}"],
        ["leak, reset, latency", f"{network.beta:g}, {network.reset}, {network.latency} decisions"],
        *(["event", _event(event)] for event in reflex.events),
        *(["output", f"{name}: {text}"] for name, text in _functions(reflex.document).items()),
        *(["gate", _gate(gate)] for gate in reflex.gates),
    ]


def _picture(member: NamedRun) -> str:
    """Return the graph that homeo-rl compose drew, as an image, which cannot run scripts; "" without one."""
    path: Path = member.run.path / "reflex.svg"
    if not path.exists():
        return ""
    with files.open_regular(path, _MAX_PICTURE_BYTES) as file:
        return data_uri("image/svg+xml", file.readall())


def _functions(document: dict[str, Any]) -> dict[str, str]:
    outputs = document.get("outputs")
    return {str(name): str(text) for name, text in outputs.items()} if isinstance(outputs, dict) else {}


def _event(event: EventSpec) -> str:
    level = f"above {event.above:g}" if event.above is not None else f"below {event.below:g}"
    return f"at least {event.least} of the observation's entries {', '.join(map(str, event.entries))} {level}"


def _gate(gate: GateSpec) -> str:
    more = {
        "inhibit": ", keeping their difference" if gate.keep_difference else "",
        "clamp": f" to {gate.low} ... {gate.high}",
        "override": f" by {', '.join(map(str, gate.values))}",
    }[gate.kind]
    return f"while {gate.when} spikes: {gate.kind} action entries {', '.join(map(str, gate.entries)) or 'all'}{more}"
