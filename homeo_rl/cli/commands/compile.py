"""``homeo-rl compile``."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from homeo_rl.cli.command import MAKE, Command
from homeo_rl.cli.flags import Common, Flag, Positional, Progress
from homeo_rl.errors import UsageError

COMMAND = Command(MAKE, 4, "compile a function into a spiking network")


@dataclass(frozen=True, kw_only=True)
class Compile(Common):
    """Compile a function of spike trains into a spiking network, and prove that it computes it."""

    specification: Positional[str]
    """A text such as "count(prox, 2, window=3) -> hold(4)", a YAML file, or a reflex that comes with the package."""
    inputs: str = ""
    """Names of the input lines, separated by commas (a text only)."""
    beta: str = ""
    """Leak of the neurons, 7/8 or 0.875; by default 7/8, or what the file says."""
    reset: str = ""
    """soft, hard or soft_next (subtracts a step later, as snnTorch does)."""
    target: str = ""
    """unit: every synapse between neurons takes a step; layered: layers follow each other within a step."""
    delays: str = ""
    """synaptic, or relays: chains of neurons that all readers share."""
    minimise: str = "neurons"
    """neurons or weights."""
    modular: Flag = False
    """A gate for every operation as it is written, instead of several in one."""
    certify: Flag = False
    """Search all states for a train on which the network is wrong."""
    draw: Path | None = None
    """Picture of the network: .svg, .png or .pdf."""
    raster: Path | None = None
    """Picture of spikes over time for a random train."""
    seed: int = 0
    """Draws that train."""
    out: Path | None = None
    """Run folder to save the network in."""
    progress: Progress = True
    """Show progress."""


RASTER_STEPS = 60
"""Steps of the random train that a raster shows."""


def run(args: Compile, words: list[str]) -> dict[str, Any]:
    """Compile a specification into a spiking network."""
    from homeo_rl.cli.console import Bars
    from homeo_rl.compiler.build import compile_function
    from homeo_rl.compiler.certify import certify
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
