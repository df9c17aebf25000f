"""How large a network must be, and how large it need be, for the class that a specification belongs to.

Upper bounds are those of the constructions (`splits`, `machines`, `counters`, `rivals`) and hold for every member of
the class, in logical gates (a neuron each under soft reset). Lower bounds count: so many networks of that size cannot
be different enough for all members (T6), so *some* member needs as many; a particular one may need fewer.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

from homeo_rl.compiler import signals as sf
from homeo_rl.compiler.spike_function import Node, SpikeFunction


@dataclass(frozen=True)
class Bounds:
    """Bounds of a class of functions; ``what`` names it and the theorems."""

    what: str
    neurons_at_least: int
    neurons_at_most: int
    weights_at_least: int
    weights_at_most: int


@lru_cache(maxsize=64)
def window_bounds(n: int) -> Bounds:
    """Return the bounds of all functions of n taps (T3, T4, T6)."""
    if n <= 1:
        return Bounds("functions of one tap", 1, 1, 1, 2)
    neurons, weights = [], []
    for b in range(1, n):
        a = n - b
        neurons.append(2**a + 2**b - b)  # monomials, rows, output
        weights.append(2 ** (n - 1) + (a + 2) * 2**a + (b + 1) * (2**b - 1))
        if a >= 3:
            neurons.append(2**b - b + 2 ** (a - 1) + 4)  # four gates for eight rows
    return Bounds(
        f"functions of {n} taps (T3, T4, T6)", _least_neurons(n), min(neurons), _least_weights(n), min(weights)
    )


def _least_neurons(n: int) -> int:
    """Return the least N with sum over i < N of log2(2 sum over k <= n + i of C(2^n - 1, k)) >= 2^n (Cover's count)."""
    total, count, points = 0.0, 0, 2**n - 1
    while total < 2**n:
        choices = sum(math.comb(points, k) for k in range(min(n + count, points) + 1))
        total += 1 + (choices.bit_length() - 1 + math.log2(choices / (1 << (choices.bit_length() - 1))))
        count += 1
    return count


def _least_weights(n: int) -> int:
    """Return the least W with W (n + 1 + log2(n + W)) >= 2^n."""
    w = 1
    while w * (n + 1 + math.log2(n + w)) < 2**n:
        w += 1
    return w


def machine_bounds(states: int, lines: int) -> Bounds:
    """Return the bounds of all machines of so many states (T7): a gate a transition; memory of log2 bits."""
    edges = states * 2**lines
    fan = edges + lines + 1
    return Bounds(
        f"machines of {states} states over {lines} lines (T7)",
        1,
        edges + 1,
        max(1, math.ceil(math.log2(max(states, 2)))),
        edges * fan + edges,
    )


def bounds_of_counter(modulus: int, kept: int) -> Bounds:
    """Return the bounds of keeping spikes by their count modulo m = p q (T8): two rings, a row for each value."""
    p = max(k for k in range(1, math.isqrt(modulus) + 1) if modulus % k == 0)
    q = modulus // p
    neurons = 2 * modulus if p == 1 else 2 * p + 3 * q - 1
    weights = 10 * modulus if p == 1 else 10 * (p + q) + q * (p + 2 * q + 2) + kept
    return Bounds(f"spikes kept by their count modulo {modulus} (T8)", 1, neurons, 1, weights)


def bounds_of(function: SpikeFunction) -> Bounds:
    """Return the bounds of a specification: of its class, or for a composition the sum over its parts."""
    nodes = [node for node in sf.walk([node for _, node in function.outputs]) if not isinstance(node, sf.Line)]
    if len(nodes) == 1:
        return _bounds(nodes[0])
    known = [_bounds(node) for node in nodes if not isinstance(node, sf.Not | sf.Delay)]  # those cost no gate
    ends = len({node for _, node in function.outputs})
    return Bounds(
        f"composition of {len(known)} parts",
        ends,
        sum(b.neurons_at_most for b in known) + ends,
        ends,
        sum(b.weights_at_most for b in known) + 2 * ends,
    )


def _bounds(node: Node) -> Bounds:
    taps = len(node.parts) * node.reach if isinstance(node, sf.Window) else 0
    match node:
        case sf.Table():
            return window_bounds(taps)
        case sf.Automaton():
            return machine_bounds(len(node.follow), len(node.them))
        case sf.Every():
            return bounds_of_counter(node.modulus, len(node.kept))
        case sf.Winner():
            rivals = len(node.parts) - 1
            return Bounds("winner (comparators)", 1, rivals + 1, taps, rivals * (2 * node.window + 1) + rivals + 1)
        case sf.Nearest():
            k = len(node.templates)
            return Bounds(f"nearest of {k} templates (T9)", 1, k, 1, (k - 1) * (taps + 2) + 1)
        case sf.Toggle():
            return Bounds("toggle (T7)", 1, 3, 1, 8)
        case sf.Latch():
            return Bounds("latch", 1, 1, 3, 3)
        case sf.Refractory():
            return Bounds("refractory", 1, 1, 2, node.steps + 1)
    return Bounds("threshold gate", 1, 1, max(taps, 1), taps + 1)
