"""What a circuit is built for, and what it costs by that."""

from dataclasses import dataclass

from homeo_rl.compiler.circuit import Circuit


@dataclass(frozen=True)
class Objective:
    """What the circuit is for."""

    minimise: str = "neurons"
    banked: bool = False  # a gate with M firing levels costs M neurons (hard reset with a leak)
    deep_loops: bool = False  # loops of several gates without delay run inside a step (layered target)
    integrators: bool = False  # neurons keep their potential, so one of them counts (no leak, soft reset)
    fuse: bool = True


def cost(circuit: Circuit, objective: Objective) -> tuple[int, int]:
    """Return neurons and weights, the one to be minimised first."""
    copies = [max(gate.high, 1) if objective.banked else 1 for gate in circuit.gates]
    neurons = sum(copies)
    weights = sum(c * len(gate.taps) for c, gate in zip(copies, circuit.gates, strict=True))
    return (neurons, weights) if objective.minimise == "neurons" else (weights, neurons)
