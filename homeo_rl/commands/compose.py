"""``homeo-rl compose``."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

from homeo_rl.commands.common import open_run, print_next
from homeo_rl.flags import Compose


def run(args: Compose, words: list[str]) -> dict[str, Any]:
    """Put a compiled reflex beside a policy."""
    from homeo_rl.run import require_new

    require_new(args.out)
    run = open_run(args.run)

    from homeo_rl.compiler.specification import read_document
    from homeo_rl.console import Bars
    from homeo_rl.report.circuits import draw_graph
    from homeo_rl.training.compose import compose

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
