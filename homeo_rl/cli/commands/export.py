"""``homeo-rl export``."""

from __future__ import annotations

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


TARGETS = ("nir", "onnx", "safetensors", "sb3-zip")


def run(args: Export, words: list[str]) -> dict[str, Any]:
    """Write a run's policy as a file for other tools.

    The JSON has ``notes``, and beside it ``told``, its name of version 0.1, for one more version.
    """
    _check(args)
    run = open_run(args.run)

    from homeo_rl.storage import bundle

    blob, told = _compiled(args, run) if run.spec.origin == "compile" else _policy(args, run)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    bundle.replace(args.out, blob)
    for line in told:
        print(line)
    print(f"file: {args.out} ({len(blob):,} bytes)")
    return {"run": str(run.path), "to": args.to, "file": str(args.out), "bytes": len(blob), "notes": told, "told": told}


def _check(args: Export) -> None:
    """Refuse flags that do not go together before anything heavy is loaded."""
    if args.to not in TARGETS:
        raise unknown("--to", args.to, TARGETS)
    if args.out.is_dir():
        raise UsageError(f"{args.out}: expected a file to write, found a folder; choose another --out")
    if args.to == "nir":
        from homeo_rl.exchange.dialects import settle

        settle(args.dialect, args.dt, args.decay)
    elif args.dialect != "standard" or args.dt is not None or args.decay != "euler":
        raise UsageError(f"--dialect, --dt and --decay: expected --to nir, got --to {args.to}; leave them out")
    if args.spikes and args.to != "onnx":
        raise UsageError(f"--spikes: expected --to onnx, got --to {args.to}; leave it out")


def _compiled(args: Export, run: Any) -> tuple[bytes, list[str]]:
    from homeo_rl.compiler.storage import load_compiled
    from homeo_rl.exchange.dialects import settle
    from homeo_rl.exchange.nir_compiled import Names, nir_of_compiled

    if args.to != "nir" or args.best:
        raise UsageError(f"{run.path}: a compiled network is exported with --to nir and without --best")
    network, document, _ = load_compiled(run)
    names = Names(tuple(document.inputs), tuple(document.outputs))
    written = nir_of_compiled(network, names, *settle(args.dialect, args.dt, args.decay))
    return written.blob, list(written.told)


def _policy(args: Export, run: Any) -> tuple[bytes, list[str]]:
    from homeo_rl.agents.controller import load_controller

    controller = load_controller(run, which="best" if args.best else "policy")
    if args.to == "nir":
        from homeo_rl.exchange.dialects import settle
        from homeo_rl.exchange.nir_graph import nir_of

        written = nir_of(controller, *settle(args.dialect, args.dt, args.decay))
    elif args.to == "onnx":
        from homeo_rl.exchange.onnx_model import onnx_of

        written = onnx_of(controller, spikes=args.spikes)
    elif args.to == "safetensors":
        from homeo_rl.exchange.safetensors_policy import safetensors_of

        written = safetensors_of(controller, run.spec)
    else:
        from homeo_rl.training.rl_zoo.sb3_zip import zip_of

        blob, opens = zip_of(controller, run.spec)
        return blob, [f"open it with {opens}.load; critics and optimisers in it are fresh"]
    return written.blob, list(written.told)
