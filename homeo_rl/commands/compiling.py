"""``homeo-rl compile``."""

from __future__ import annotations

import shlex
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from homeo_rl.errors import UsageError
from homeo_rl.flags import Compile

RASTER_STEPS = 60
"""Steps of the random train that a raster shows."""


def run(args: Compile, words: list[str]) -> dict[str, Any]:
    """Compile a specification into a spiking network."""
    from homeo_rl.compiler.build import compile_function
    from homeo_rl.compiler.certify import certify
    from homeo_rl.console import Bars
    from homeo_rl.run import require_new

    if args.out is not None:
        require_new(args.out)
    document, where = _document(args)
    function = document.function(where)
    neurons = document.neurons.neurons()
    compiled = compile_function(function, neurons, minimise=args.minimise, fuse=not args.modular)
    certificate = None
    if args.certify:
        with Bars(enabled=args.progress).shown() as bars:
            certificate = certify(
                compiled.network, function, on_level=lambda depth, states: bars.reach(depth, f"{states:,} states")
            )
    net, bounds = compiled.network, compiled.bounds
    print(
        f"{net.neurons} neurons, {net.weights} weights, latency {net.latency} "
        f"(beta {net.beta}, {net.reset} reset, {net.target} target)"
    )
    print(f"logical: {len(compiled.gates.gates)} gates, {compiled.gates.weights} weights")
    print(
        f"bounds, {bounds.what}: {bounds.neurons_at_least} to {bounds.neurons_at_most} gates, "
        f"{bounds.weights_at_least} to {bounds.weights_at_most} weights"
    )
    told: dict[str, Any] = {
        "neurons": net.neurons,
        "weights": net.weights,
        "latency": net.latency,
        "gates": {"neurons": len(compiled.gates.gates), "weights": compiled.gates.weights},
        "bounds": asdict(bounds),
        "certificate": None,
    }
    if certificate is not None:
        told["certificate"] = certificate.verdict
        print(f"certificate: {certificate.verdict}, {certificate.states:,} pairs of states, depth {certificate.depth}")
        if certificate.counterexample is not None:
            told["certificate"] = asdict(certificate)
            print(
                f"shortest train: {certificate.counterexample}, expected {certificate.expected}, got {certificate.got}"
            )
    title = document.name or ", ".join(document.outputs.values())
    for what, path in _pictures(args, compiled, function, title).items():
        told[what] = str(path)
        print(f"{what}: {path}")
    if args.out is not None:
        from homeo_rl.compiler.storage import save_compiled

        made = save_compiled(args.out, document, compiled, certificate, command=shlex.join(["homeo-rl", *words]))
        told["run"] = str(made.path)
        print(f"run: {made.path}")
    return told


def _document(args: Compile) -> tuple[Any, str]:
    """Return the specification and where it was read: a file, a name that comes with the package, or the text
    itself."""
    from homeo_rl.compiler.specification import Document, read_document, reflex_names

    flags = {"beta": args.beta, "reset": args.reset, "target": args.target, "delays": args.delays}
    given = {name: value for name, value in flags.items() if value}
    text = args.specification
    if Path(text).suffix in (".yml", ".yaml") or text in reflex_names():
        if args.inputs:
            raise UsageError("--inputs: expected none beside a file, which names its inputs itself; leave it out")
        document, where = read_document(text), text
        return replace(document, neurons=replace(document.neurons, **given)), where
    lines = tuple(name.strip() for name in args.inputs.split(",") if name.strip())
    if not lines:
        raise UsageError("--inputs: expected the input lines' names, separated by commas, got none; write --inputs a,b")
    from homeo_rl.spec import parse

    data = {"inputs": list(lines), "outputs": {"out": text}, "neurons": {"target": "unit", **given}}
    return parse(Document, data, where="--inputs"), "specification"


def _pictures(args: Compile, compiled: Any, function: Any, title: str) -> dict[str, Path]:
    made: dict[str, Path] = {}
    if args.draw is not None:
        from homeo_rl.report.circuits import draw_graph

        made["graph"] = draw_graph(compiled.network, args.draw, title=title)
    if args.raster is not None:
        from homeo_rl.report.rasters import draw_raster
        from homeo_rl.seeding import generator

        rng = generator(args.seed, "raster")
        train = rng.random((RASTER_STEPS, len(function.lines))) < 0.4
        expected = function.run(train[None])[0]
        made["raster"] = draw_raster(compiled.network, train, args.raster, title=title, expected=expected)
    return made
