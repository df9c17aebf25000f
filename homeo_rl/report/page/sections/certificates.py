"""Certificates of conversions: a trained network against the spiking one that was made of it."""

from collections.abc import Callable
from typing import Any

from homeo_rl.errors import StorageFault
from homeo_rl.report.page import phrasing
from homeo_rl.report.page.blocks import Section, Table, block_section
from homeo_rl.report.page.context import PageContext
from homeo_rl.storage import bundle


def _list(value: Any) -> str:
    return ", ".join(str(entry) for entry in value)


_FIGURES: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("source", "converted from", str),
    ("form", "form", str),
    ("neuron", "neuron", str),
    ("widths", "layers", _list),
    ("levels", "levels of the hidden layers", _list),
    ("time_steps", "time steps per decision", str),
    ("latency_seconds", "latency of a decision", lambda v: f"{1e3 * v:g} ms"),
    ("effective_steps", "effective time steps (arithmetic)", lambda v: f"{v:.1f}"),
    ("states", "visited states compared", lambda v: f"{v:,}"),
    ("equal_actions", "bit-identical actions", lambda v: f"{v:,}"),
    ("equal_rounded", "equal to the network with rounded weights", lambda v: f"{v:,}"),
    ("max_action_error", "largest action error", lambda v: f"{v:.3g}"),
    ("rms_action_error", "root mean square action error", lambda v: f"{v:.3g}"),
    ("flipped_counts", "hidden counts that differ", lambda v: f"{v:,}"),
    ("hidden_counts", "hidden counts compared", lambda v: f"{v:,}"),
    ("multiply_accumulates", "multiply-accumulates of the trained network", lambda v: f"{v:,.0f}"),
    ("synaptic_operations", "synaptic operations", lambda v: f"{v:,.0f}"),
    ("spikes", "spikes per decision", lambda v: f"{v:,.1f}"),
    ("energy_trained_joules", "energy of a decision, trained", phrasing.joules),
    ("energy_converted_joules", "energy of a decision, converted", phrasing.joules),
)
"""Entries of certificate.json, their names, and their formats."""


def conversions(context: PageContext) -> Section | None:
    """Return the section with certificates; None where no run was converted with one.

    Raises StorageFault: a certificate is damaged.
    """
    blocks = []
    for member in context.data.members:
        path = member.run.path / "certificate.json"
        if not path.exists():
            continue
        certificate = bundle.read_json(path)
        try:
            tables = _tables(certificate)
        except (KeyError, TypeError, ValueError) as error:
            raise StorageFault(f"{path}: expected a certificate of homeo-rl convert ({error!r})") from None
        note = "Bit-identical." if certificate.get("exact") is True else "Not bit-identical."
        blocks.append({"name": member.name, "note": note, "tables": tables})
    how = "A trained network and the spiking one that it was converted into, on the states that the policy visits."
    return block_section("conversion", "Conversion certificate", how, "table_blocks.html.j2", blocks)


def _tables(certificate: dict[str, Any]) -> list[Table]:
    rows = [[name, write(certificate[key])] for key, name, write in _FIGURES if certificate.get(key) is not None]
    differing = [step for step in certificate["diverged_at"] if step is not None]
    rows.append(["paired episodes that differ", f"{len(differing)} of {len(certificate['diverged_at'])}"])
    returns = [
        [
            str(entry["what"]),
            phrasing.plain(float(entry["iqm"])),
            phrasing.plain_interval(float(entry["low"]), float(entry["high"])),
        ]
        for entry in certificate["returns"]
    ]
    tables = [
        Table("What was compared", ["", ""], rows, 1),
        Table("Returns of paired episodes", ["episodes of", "IQM", "95 % interval"], returns, 1),
    ]
    if kept := [
        [f"{k['time_steps']}", _list(k["levels"]), f"{k['largest_error']:.3g}, {k['rms_error']:.3g}", _share(k)]
        for k in certificate.get("kept", ())
    ]:
        header = ["time steps", "levels", "action error: largest, rms", "return kept"]
        tables.append(Table("Against the policy before fine-tuning", header, kept, 2))
    return tables


def _share(kept: dict[str, Any]) -> str:
    return "-" if kept["share"] is None else "{:.1%} [{:.1%}, {:.1%}]".format(*kept["share"])
