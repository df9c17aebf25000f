"""The command ``homeo-rl compile``."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from homeo_rl.cli.command import MAKE, Command
from homeo_rl.cli.common import command_line
from homeo_rl.cli.flags import Flag, Positional, WithProgress
from homeo_rl.errors import UsageError

COMMAND = Command(MAKE, 4, "compile a function into a spiking network")


@dataclass(frozen=True, kw_only=True)
class Compile(WithProgress):
    """Compile a function of spike trains into a spiking network, and prove that the network computes it."""

    specification: Positional[str]
    """A text such as "count(prox, 2, window=3) -> hold(4)", a YAML file, or a reflex of the package."""
    inputs: str = ""
    """Names of the input lines, separated by commas (for a text)."""
    beta: str = ""
    """Leak of the neurons, 7/8 or 0.875; by default 7/8, or that of the file."""
    reset: str = ""
    """soft, hard or soft_next (subtracts one step later, as snnTorch does)."""
    target: str = ""
    """unit: every synapse between neurons takes one step; layered: all layers are computed within one step."""
    delays: str = ""
    """synaptic, or relays: chains of neurons that all readers share."""
    minimise: str = "neurons"
    """neurons or weights."""
    modular: Flag = False
    """One gate for every written operation, instead of several operations in one gate."""
    certify: Flag = False
    """Search all states for a spike train on which the network is wrong."""
    draw: Path | None = None
    """Plot of the network: .svg, .png or .pdf."""
    raster: Path | None = None
    """Raster plot for a random spike train."""
    seed: int = 0
    """Seed of that spike train."""
    out: Path | None = None
    """Run folder for the network."""


RASTER_STEPS = 60  # steps of the random spike train of a raster plot


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
    compiled = compile_function(function, document.neurons.neurons(), minimise=args.minimise, fuse=not args.modular)
    certificate = None
    if args.certify:
        with Bars(enabled=args.progress).show() as bars:
            certificate = certify(
                compiled.network, function, on_level=lambda depth, states: bars.reach(depth, f"{states:,} states")
            )
    _print_size(compiled)
    net, gates = compiled.network, compiled.gates
    result: dict[str, Any] = {
        "neurons": net.neurons,
        "weights": net.weights,
        "latency": net.latency,
        "gates": {"neurons": len(gates.gates), "weights": gates.weights},
        "bounds": asdict(compiled.bounds),
        "certificate": None,
    }
    if certificate is not None:
        wrong = certificate.counterexample
        result["certificate"] = certificate.verdict if wrong is None else asdict(certificate)
        print(f"certificate: {certificate.verdict}, {certificate.states:,} pairs of states, depth {certificate.depth}")
        if wrong is not None:
            print(f"shortest spike train: {wrong}, expected {certificate.expected}, got {certificate.got}")
    title = document.name or ", ".join(document.outputs.values())
    for what, path in _pictures(args, compiled, function, title).items():
        result[what] = str(path)
        print(f"{what}: {path}")
    if args.out is not None:
        from homeo_rl.compiler.storage import save_compiled

        saved = save_compiled(args.out, document, compiled, certificate, command=command_line(words))
        result["run"] = str(saved.path)
        print(f"run: {saved.path}")
    return result


def _print_size(compiled: Any) -> None:
    net, bounds = compiled.network, compiled.bounds
    print(
        f"{_count(net.neurons, 'neuron')}, {_count(net.weights, 'weight')}, latency {net.latency} "
        f"(beta {net.beta}, {net.reset} reset, {net.target} target)"
    )
    print(f"logical: {_count(len(compiled.gates.gates), 'gate')}, {_count(compiled.gates.weights, 'weight')}")
    print(
        f"bounds, {bounds.what}: {bounds.neurons_at_least} to {_count(bounds.neurons_at_most, 'gate')}, "
        f"{bounds.weights_at_least} to {_count(bounds.weights_at_most, 'weight')}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _document(args: Compile) -> tuple[Any, str]:
    """Return the specification and its source: a file, a name in the package, or the text itself."""
    from homeo_rl.compiler.specification import Document, read_document, reflex_names

    flags = {name: value for name in ("beta", "reset", "target", "delays") if (value := getattr(args, name))}
    text = args.specification
    if Path(text).suffix in (".yml", ".yaml") or text in reflex_names():
        if args.inputs:
            raise UsageError("--inputs: expected none beside a file, which names its inputs itself; leave it out")
        document = read_document(text)
        return replace(document, neurons=replace(document.neurons, **flags)), text
    lines = [name.strip() for name in args.inputs.split(",") if name.strip()]
    if not lines:
        raise UsageError("--inputs: expected the input lines' names, separated by commas, got none; write --inputs a,b")
    from homeo_rl.spec import parse

    data = {"inputs": lines, "outputs": {"out": text}, "neurons": {"target": "unit", **flags}}
    return parse(Document, data, where="--inputs"), "specification"


def _pictures(args: Compile, compiled: Any, function: Any, title: str) -> dict[str, Path]:
    paths: dict[str, Path] = {}
    if args.draw is not None:
        from homeo_rl.report.circuits import draw_graph

        paths["graph"] = draw_graph(compiled.network, args.draw, title=title)
    if args.raster is not None:
        from homeo_rl.report.rasters import draw_raster
        from homeo_rl.seeding import generator

        rng = generator(args.seed, "raster")
        spikes = rng.random((RASTER_STEPS, len(function.lines))) < 0.4
        expected = function.run(spikes[None])[0]
        paths["raster"] = draw_raster(compiled.network, spikes, args.raster, title=title, expected=expected)
    return paths
