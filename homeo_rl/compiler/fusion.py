"""Several window signals as one truth table over everything that they look at."""

from collections.abc import Sequence

import numpy as np

from homeo_rl.compiler.gate_plan import Bits, rows
from homeo_rl.compiler.signals import Constant, Node, Window

FUSED = 10  # taps up to which a window signal is also tried as one truth table


def leaves_of(node: Node) -> list[tuple[Node, int]] | None:
    """Return what a window signal looks at, (signal, steps back); None where that is more than `FUSED` of them.

    Parts that are window signals too are looked through, down to signals that are none. One that spikes in silence is 0
    before the first step all the same, which the clock of so many steps ago tells; it is listed as (Constant, steps
    back).
    """
    results: dict[tuple[Node, int], None] = {}
    seen: set[tuple[Node, int]] = set()

    def visit(node: Node, back: int) -> None:
        if (node, back) in seen or len(results) > FUSED:
            return
        seen.add((node, back))
        if not isinstance(node, Window):
            results[(node, back)] = None
            return
        if back and _wakes(node):
            results[(Constant(True), back)] = None
        for part in node.parts:
            for k in range(node.reach):
                visit(part, back + k)

    if isinstance(node, Window) and len(node.parts) * node.reach > 64:
        return None
    visit(node, 0)
    return list(results) if len(results) <= FUSED else None


def _wakes(node: Window) -> bool:
    """Whether a window signal spikes though all its parts are and were silent, as nothing does before the first
    step."""
    return bool(node.decide(np.zeros((len(node.parts), node.reach), dtype=bool)))


def table_of(node: Node, leaves: Sequence[tuple[Node, int]]) -> Bits:
    """Return the truth table [2^n] of a window signal over ``leaves`` [n]: those of `leaves_of`, or its own taps."""
    values = rows(len(leaves)).astype(bool)
    known = {leaf: values[:, i] for i, leaf in enumerate(leaves)}

    def value(node: Node, back: int) -> np.ndarray:
        if (node, back) not in known:
            assert isinstance(node, Window)
            past = np.zeros((len(values), len(node.parts), node.reach), dtype=bool)
            for i, part in enumerate(node.parts):
                for k in range(node.reach):
                    past[:, i, k] = value(part, back + k)
            on = node.decide(past)
            known[(node, back)] = on & known[(Constant(True), back)] if back and _wakes(node) else on
        return known[(node, back)]

    if isinstance(node, Window) and (node, 0) not in known:
        return value(node, 0)
    return known[(node, 0)]
