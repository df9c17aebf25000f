"""``homeo-rl export``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from homeo_rl.cli.command import MAKE, Command
from homeo_rl.cli.common import check_target, open_run, write_exported
from homeo_rl.cli.flags import Common, Flag, Positional, Short
from homeo_rl.errors import UsageError, unknown

if TYPE_CHECKING:
    from homeo_rl.exchange.exported_file import ExportedFile, ExportedFolder

COMMAND = Command(MAKE, 2, "write a policy for other tools")


@dataclass(frozen=True, kw_only=True)
class Export(Common):
    """Write the policy of a run, or a compiled network, as a file for other tools (docs/exchange.md)."""

    run: Positional[Path]
    """Run folder, or the name of an agent that comes with the package (homeo-rl agents)."""
    to: str
    """nir (spiking networks, also compiled ones), onnx (the whole decision), c (a folder with a controller in C99 that
    adapts and repairs itself, docs/export-c.md), sb3-zip (as train leaves beside a run) or safetensors (everything in
    one file)."""
    out: Path
    """The file; an earlier one is replaced. For c, a new or empty folder."""
    best: Flag = False
    """Export the best policy seen in training instead of the last one."""
    dialect: Annotated[str, Short(("--flavour",))] = "standard"
    """Reader of NIR: standard, snntorch, spikingjelly or norse."""
    dt: float | None = None
    """Seconds that NIR takes a spike step for; by default the reader's own (1e-4, norse 1e-3)."""
    decay: str = "euler"
    """How a reader of NIR gets from time constants to decays: euler (1 - dt / tau) or exponential."""
    spikes: Flag = False
    """Give an ONNX model the spikes of every layer as outputs."""
    homeostasis: str = "none"
    """Mechanism of a C controller: none, dwam, dwam-paper, bdett, sleep, observer, sleep+observer, ..."""
    number: Literal["float32", "int"] = "float32"
    """Numbers of a C controller; int uses no floating point, is equal on every compiler, and does not adapt."""


def run(args: Export, words: list[str]) -> dict[str, Any]:
    """Write a run's policy as a file for other tools.

    The JSON has ``notes``, and beside it `told`, its name of version 0.1, for one more version.
    """
    from homeo_rl.workflows.exporters import EXPORTERS, ExportOptions, check_options, require_exportable

    if args.to not in EXPORTERS:
        raise unknown("--to", args.to, EXPORTERS)
    exporter = EXPORTERS[args.to]
    check_target(args.out, folder=exporter.folder)
    options = ExportOptions(
        dialect=args.dialect, dt=args.dt, decay=args.decay, spikes=args.spikes, homeostasis=args.homeostasis,
        number=args.number, which="best" if args.best else "policy",
    )  # fmt: skip
    check_options(args.to, options)
    run = open_run(args.run)

    file: ExportedFile | ExportedFolder
    left_out = ""
    if run.spec.origin == "compile":
        if exporter.compiled is None or args.best:
            takers = " or ".join(f"--to {name}" for name, entry in EXPORTERS.items() if entry.compiled)
            raise UsageError(f"{run.path}: a compiled network is exported with {takers} and without --best")
        file = exporter.compiled(run, options)
    else:
        from homeo_rl.agents.controller import load_controller

        controller = load_controller(run, which=options.which)
        require_exportable(controller, run)
        file, left_out = exporter.write(controller, run, options), exporter.leaves_out
    size = write_exported(args.out, file)
    for line in file.notes:
        print(line)
    if left_out:
        print(f"left out: {left_out}")
    print(f"{'folder' if exporter.folder else 'file'}: {args.out} ({size:,} bytes)")
    notes = list(file.notes)
    return {
        "run": str(run.path), "to": args.to, "file": str(args.out), "bytes": size, "notes": notes, "told": notes,
        "left_out": left_out,
    }  # fmt: skip
