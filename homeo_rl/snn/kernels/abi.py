"""The compiled decision with everything that stays the same from call to call behind addresses in one array.

Handing an array to compiled code costs 0.2 us; `homeo_rl.snn.kernels.decision_kernel.decide` takes sixteen.
"""

from __future__ import annotations

from homeo_rl.numerics.jit import compiled
from homeo_rl.snn.kernels.decision_kernel import COLUMNS, decide
from homeo_rl.snn.kernels.decision_kernel import NUMBERS as EACH
from homeo_rl.snn.kernels.pointers import Ints, at, whole
from homeo_rl.snn.kernels.scans import Floats

# Addresses of what `decide` takes; CONSTANTS are its constants, and the encoder's span and the read-out's amplitude.
TABLE, STRIDES, WIDTHS, NEURON, CONSTANTS, NUMBERS, SCRATCH, EVENTS, COUNTS = range(9)
# Numbers: how many layers, the widest layer, and what `decide` calls encoder, readout and rule.
LAYERS, WIDE, ENCODER, READOUT, RULE = range(9, 14)
# What surrounds the network: three addresses, how many observations are normalised, how many actions have bounds.
SHIFT, SCALE, BOUNDS, NORMALISED, BOUNDED, SQUASH = range(14, 20)
FRAME, SIZE = slice(14, 20), 20


@compiled
def decide_packed(first: int, last: int, pack: Ints, counts: Ints, x: Floats, noise: Floats, out: Floats) -> None:
    """Do what `decide` does; ``pack`` is as the names above say, ``counts`` an array of the events' type."""
    layers, wide = pack[LAYERS], pack[WIDE]
    neuron = whole(pack[NEURON], 3, pack)
    steps, normalised, bounded = neuron[2], pack[NORMALISED], pack[BOUNDED]
    constants = at(pack[CONSTANTS], 6, x)
    decide(
        first, last,
        whole(pack[TABLE], (layers + 1) * COLUMNS, pack).reshape(layers + 1, COLUMNS),
        whole(pack[STRIDES], (layers + 1) * COLUMNS, pack).reshape(layers + 1, COLUMNS),
        whole(pack[WIDTHS], layers + 1, pack), neuron, constants[:4], pack[ENCODER], constants[4],
        at(pack[SHIFT], normalised, x), at(pack[SCALE], normalised + 1 if normalised > 0 else 0, x),
        pack[READOUT], pack[SQUASH], constants[5], at(pack[BOUNDS], 2 * bounded, x).reshape(2, bounded), pack[RULE],
        at(pack[NUMBERS], layers * EACH, x).reshape(layers, EACH), x, noise, out, at(pack[SCRATCH], 9 * wide, x),
        whole(pack[EVENTS], 2 * steps * wide, counts).reshape(2, steps, wide),
        whole(pack[COUNTS], 2 * steps, counts).reshape(2, steps),
    )  # fmt: skip
