"""``homeo-rl export``."""

from __future__ import annotations

from typing import Any

from homeo_rl.commands.common import open_run
from homeo_rl.errors import UsageError, unknown
from homeo_rl.flags import Export

TARGETS = ("nir", "onnx", "safetensors", "sb3-zip")


def run(args: Export, words: list[str]) -> dict[str, Any]:
    """Write a run's policy as a file for other tools."""
    _check(args)
    run = open_run(args.run)

    from homeo_rl import checkpoint

    blob, told = _compiled(args, run) if run.spec.origin == "compile" else _policy(args, run)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.replace(args.out, blob)
    for line in told:
        print(line)
    print(f"file: {args.out} ({len(blob):,} bytes)")
    return {"run": str(run.path), "to": args.to, "file": str(args.out), "bytes": len(blob), "told": told}


def _check(args: Export) -> None:
    """Refuse flags that do not go together before anything heavy is loaded."""
    if args.to not in TARGETS:
        raise unknown("--to", args.to, TARGETS)
    if args.out.is_dir():
        raise UsageError(f"{args.out}: expected a file to write, found a folder; choose another --out")
    if args.to == "nir":
        from homeo_rl.exchange.flavours import settle

        settle(args.flavour, args.dt, args.decay)
    elif args.flavour != "standard" or args.dt is not None or args.decay != "euler":
        raise UsageError(f"--flavour, --dt and --decay: expected --to nir, got --to {args.to}; leave them out")
    if args.spikes and args.to != "onnx":
        raise UsageError(f"--spikes: expected --to onnx, got --to {args.to}; leave it out")


def _compiled(args: Export, run: Any) -> tuple[bytes, list[str]]:
    from homeo_rl.compiler.storage import load_compiled
    from homeo_rl.exchange.flavours import settle
    from homeo_rl.exchange.nir_compiled import Names, nir_of_compiled

    if args.to != "nir" or args.best:
        raise UsageError(f"{run.path}: a compiled network is exported with --to nir and without --best")
    network, document, _ = load_compiled(run)
    names = Names(tuple(document.inputs), tuple(document.outputs))
    written = nir_of_compiled(network, names, *settle(args.flavour, args.dt, args.decay))
    return written.blob, list(written.told)


def _policy(args: Export, run: Any) -> tuple[bytes, list[str]]:
    from homeo_rl.agents.controller import load_controller

    controller = load_controller(run, which="best" if args.best else "policy")
    if args.to == "nir":
        from homeo_rl.exchange.flavours import settle
        from homeo_rl.exchange.nir_graph import nir_of

        written = nir_of(controller, *settle(args.flavour, args.dt, args.decay))
    elif args.to == "onnx":
        from homeo_rl.exchange.onnx_model import onnx_of

        written = onnx_of(controller, spikes=args.spikes)
    elif args.to == "safetensors":
        from homeo_rl.exchange.plain_tensors import safetensors_of

        written = safetensors_of(controller, run.spec)
    else:
        from homeo_rl.training.zip_export import zip_of

        blob, opens = zip_of(controller, run.spec)
        return blob, [f"open it with {opens}.load; critics and optimisers in it are fresh"]
    return written.blob, list(written.told)
