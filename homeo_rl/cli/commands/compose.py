"""The command ``homeo-rl compose``."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from homeo_rl.cli.command import MAKE, Command
from homeo_rl.cli.common import command_line, open_run, print_next
from homeo_rl.cli.flags import Flag, WithPolicy, WithProgress

COMMAND = Command(MAKE, 5, "add a compiled reflex to a policy")


@dataclass(frozen=True, kw_only=True)
class Compose(WithPolicy, WithProgress):
    """Add a compiled reflex to a policy: sensor events are its input, and its spikes gate the action."""

    reflex: str
    """YAML file with events, outputs and gates, or navigation-brake."""
    out: Path
    """Run folder of the composed policy."""
    beta: str = ""
    """Leak of the neurons; by default that of the file."""
    reset: str = ""
    """soft, hard or soft_next; by default that of the file."""
    target: str = ""
    """layered (acts at once) or unit (one decision late per synapse in a row); by default that of the file."""
    modular: Flag = False
    """One gate for every written operation, instead of several operations in one gate."""


def run(args: Compose, words: list[str]) -> dict[str, Any]:
    """Add a compiled reflex to a policy."""
    from homeo_rl.run import require_new

    require_new(args.out)
    run = open_run(args.run)

    from homeo_rl.cli.console import Bars
    from homeo_rl.compiler.specification import read_document
    from homeo_rl.report.circuits import draw_graph
    from homeo_rl.workflows.compose import compose

    document = read_document(args.reflex)
    flags = {name: value for name in ("beta", "reset", "target") if (value := getattr(args, name))}
    document = replace(document, neurons=replace(document.neurons, **flags))
    with Bars(enabled=args.progress).show() as bars:
        composed, compiled, certificate = compose(
            run, document, args.out, where=args.reflex, which=args.which,
            fuse=not args.modular, command=command_line(words),
            on_level=lambda depth, states: bars.reach(depth, f"{states:,} states"),
        )  # fmt: skip
    net, name = compiled.network, document.name or args.reflex
    picture = draw_graph(net, composed.path / "reflex.svg", title=name)
    late = f"; it acts {net.latency} decisions late" if net.latency else ""
    print(f"run: {composed.path}")
    print(
        f"reflex {name}: {net.neurons} neurons, {net.weights} weights, equal to its specification for every spike "
        f"train ({certificate.states:,} pairs of states){late}"
    )
    print(f"graph: {picture}")
    suite = "navigation-paper" if composed.spec.env.startswith("homeo_rl/Navigation") else "quick"
    print_next("evaluate", composed.path, "--suite", suite, "--homeostasis", "none,no-reflex")
    return {
        "run": str(composed.path),
        "neurons": net.neurons,
        "weights": net.weights,
        "latency": net.latency,
        "certificate": certificate.verdict,
        "states": certificate.states,
        "graph": str(picture),
    }
