"""``homeo-rl export``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from homeo_rl.cli.command import MAKE, Command
from homeo_rl.cli.common import open_run
from homeo_rl.cli.flags import Common, Flag, Positional, Short
from homeo_rl.errors import UsageError, unknown

COMMAND = Command(MAKE, 2, "write a policy for other tools")


@dataclass(frozen=True, kw_only=True)
class Export(Common):
    """Write the policy of a run, or a compiled network, as a file for other tools (docs/exchange.md)."""

    run: Positional[Path]
    """Run folder, or the name of an agent that comes with the package (homeo-rl agents)."""
    to: str
    """nir (spiking networks, also compiled ones), onnx (the whole decision), sb3-zip (as train leaves beside a run) or
    safetensors (everything in one file)."""
    out: Path
    """The file; an earlier one is replaced."""
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


def run(args: Export, words: list[str]) -> dict[str, Any]:
    """Write a run's policy as a file for other tools.

    The JSON has ``notes``, and beside it `told`, its name of version 0.1, for one more version.
    """
    from homeo_rl.workflows.exporters import EXPORTERS, ExportOptions, check_options

    if args.to not in EXPORTERS:
        raise unknown("--to", args.to, EXPORTERS)
    if args.out.is_dir():
        raise UsageError(f"{args.out}: expected a file to write, found a folder; choose another --out")
    exporter = EXPORTERS[args.to]
    options = ExportOptions(dialect=args.dialect, dt=args.dt, decay=args.decay, spikes=args.spikes)
    check_options(args.to, options)
    run = open_run(args.run)

    from homeo_rl.storage import bundle

    if run.spec.origin == "compile":
        if exporter.compiled is None or args.best:
            takers = " or ".join(f"--to {name}" for name, entry in EXPORTERS.items() if entry.compiled)
            raise UsageError(f"{run.path}: a compiled network is exported with {takers} and without --best")
        file = exporter.compiled(run, options)
    else:
        from homeo_rl.agents.controller import load_controller

        file = exporter.write(load_controller(run, which="best" if args.best else "policy"), run, options)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    bundle.replace(args.out, file.blob)
    for line in file.notes:
        print(line)
    print(f"file: {args.out} ({len(file.blob):,} bytes)")
    notes = list(file.notes)
    return {
        "run": str(run.path), "to": args.to, "file": str(args.out), "bytes": len(file.blob), "notes": notes,
        "told": notes,
    }  # fmt: skip
