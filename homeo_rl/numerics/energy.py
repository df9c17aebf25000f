"""What arithmetic costs. Memory, leakage and control are not counted: real chips need more, of both kinds."""

MULTIPLY_ACCUMULATE = 4.6e-12
"""Joules of a 32-bit floating-point multiplication and addition in 45 nm (Horowitz, ISSCC 2014: 3.7 + 0.9 pJ)."""

ACCUMULATE = 0.9e-12
"""Joules of a 32-bit floating-point addition in 45 nm (Horowitz, ISSCC 2014); a spike costs one a synapse."""


def joules(additions: float, products: float) -> float:
    """Return the energy of additions at synapses that a spike reaches, and of products where a number comes in."""
    return additions * ACCUMULATE + products * MULTIPLY_ACCUMULATE
