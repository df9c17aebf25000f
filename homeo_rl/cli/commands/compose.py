"""``homeo-rl compose``."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from homeo_rl.cli.command import MAKE, Command
from homeo_rl.cli.common import open_run, print_next
from homeo_rl.cli.flags import Common, Flag, Positional, Progress

COMMAND = Command(MAKE, 5, "add a compiled reflex to a policy")


@dataclass(frozen=True, kw_only=True)
class Compose(Common):
    """Put a compiled reflex beside a policy: sensor events go in, its spikes gate the action."""

    run: Positional[Path]
    """Run folder, or the name of an agent that comes with the package (homeo-rl agents)."""
    reflex: str
    """YAML file with events, outputs and gates, or navigation-brake."""
    out: Path
    """Where the composed run goes."""
    beta: str = ""
    """Leak of the neurons; by default what the file says."""
    reset: str = ""
    """soft, hard or soft_next; by default what the file says."""
    target: str = ""
    """layered (acts at once) or unit (a decision late for every synapse in a row); by default what the file says."""
    modular: Flag = False
    """A gate for every operation as it is written, instead of several in one."""
    best: Flag = False
    """Take the best policy seen in training instead of the last one."""
    progress: Progress = True
    """Show progress."""


def run(args: Compose, words: list[str]) -> dict[str, Any]:
    """Put a compiled reflex beside a policy."""
    from homeo_rl.run import require_new

    require_new(args.out)
    run = open_run(args.run)

    from homeo_rl.cli.console import Bars
    from homeo_rl.compiler.specification import read_document
    from homeo_rl.report.circuits import draw_graph
    from homeo_rl.workflows.compose import compose

    document = read_document(args.reflex)
    flags = {"beta": args.beta, "reset": args.reset, "target": args.target}
    document = replace(
        document, neurons=replace(document.neurons, **{name: value for name, value in flags.items() if value})
    )
    with Bars(enabled=args.progress).shown() as bars:
        made, compiled, certificate = compose(
            run, document, args.out, where=args.reflex, which="best" if args.best else "policy",
            fuse=not args.modular, command=shlex.join(["homeo-rl", *words]),
            on_level=lambda depth, states: bars.reach(depth, f"{states:,} states"),
        )  # fmt: skip
    net = compiled.network
    picture = draw_graph(net, made.path / "reflex.svg", title=document.name or args.reflex)
    late = f"; it acts {net.latency} decisions late" if net.latency else ""
    print(f"run: {made.path}")
    print(
        f"reflex {document.name or args.reflex}: {net.neurons} neurons, {net.weights} weights, equal to its "
        f"specification for every train ({certificate.states:,} pairs of states){late}"
    )
    print(f"graph: {picture}")
    suite = "navigation-paper" if made.spec.env.startswith("homeo_rl/Navigation") else "quick"
    print_next("evaluate", made.path, "--suite", suite, "--homeostasis", "none,no-reflex")
    return {
        "run": str(made.path),
        "neurons": net.neurons,
        "weights": net.weights,
        "latency": net.latency,
        "certificate": certificate.verdict,
        "states": certificate.states,
        "graph": str(picture),
    }
