"""What compiled decisions are given: addresses in tables instead of dozens of arrays, and records made of them.

Handing an array to compiled code costs 0.2 us, which for a decision of 10 us is too much, so everything that stays the
same from call to call stands behind addresses in one array, the pack. Whoever fills a table of addresses keeps the
tensors behind them alive.
"""

from typing import Any, NamedTuple

import numba
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from homeo_rl.numerics.jit import jit
from homeo_rl.snn.kernels.scans import Floats

Ints = NDArray[Any]

# Columns of the table of a layer: addresses, 0 for what is not there, and beside them numbers from row to row.
(
    WEIGHT, BIAS, ALIVE, STUCK, DELTA, BIAS_DELTA, GAIN, SYNAPSE, POTENTIAL, SPIKES, MEAN_RATE, MEAN_SQUARE,
    REFERENCE_RATE, INITIAL, LEARNING_RATE, ENERGY,
) = range(16)  # fmt: skip
COLUMNS = 16
# Columns of the table's last row, which are read as they lie.
ENCODER_MEAN, ENCODER_STD, READOUT_WEIGHT, READOUT_BIAS = range(4)

RULE_NUMBERS = 5  # numbers of a layer's rules: rate, zeta, tau and bound of BCM, psi of energy thresholds

# Addresses in a pack; CONSTANTS are the neuron's four, the encoder's span and the read-out's amplitude.
TABLE, STRIDES, WIDTHS, NEURON, CONSTANTS, NUMBERS, SCRATCH, EVENTS, COUNTS = range(9)
# Numbers: how many layers, the widest layer, and the codes of encoder, read-out and rules.
LAYERS, WIDEST, ENCODER, READOUT, RULES = range(9, 14)
# The transform of inputs and outputs: three addresses, how many observations are normalised and actions bounded.
SHIFT, SCALE, BOUNDS, NORMALISED, BOUNDED, SQUASH = range(14, 20)
TRANSFORM, SIZE = slice(14, 20), 20


class Network(NamedTuple):
    """What is the same for all rows."""

    # addresses [layers + 1, COLUMNS]; the last row has means and widths of the encoder's population and weights and
    # biases of the read-out's
    table: Ints
    strides: Ints  # numbers from one row of the batch to the next [layers + 1, COLUMNS], 0 where rows share
    widths: Ints  # [layers + 1]
    neuron: Ints  # kind, hard reset, steps
    constants: Floats  # current decay, voltage decay, tau, threshold, the encoder's span, the read-out's amplitude
    encoder: int
    readout: int
    rules: int  # compiled rules of the mechanism, one bit each
    numbers: Floats  # the rules' numbers [layers, RULE_NUMBERS]


class Transform(NamedTuple):
    """What surrounds the network."""

    shift: Floats  # observations' means [D], or empty [0] where they are used as they are
    scale: Floats  # observations' deviations [D], and at the end what they are clipped to
    bounds: Floats  # middle and half width of each action [2, K] (for CLIP: lowest and highest), or empty [2, 0]
    squash: int  # what becomes of the outputs


class Workspace(NamedTuple):
    """Memory that a decision works in: scratch [9 widest], events [2, T, widest] and their counts [2, T]."""

    scratch: Floats
    events: Ints
    counts: Ints


@intrinsic
def _pointer(typing: Any, address: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.int64), generate


@jit
def array_at(address: int, size: int, like: Any) -> Any:
    """Return the ``size`` numbers that begin at ``address``, of the type of ``like``."""
    return numba.carray(_pointer(address), (size,), like.dtype)  # type: ignore[call-arg,attr-defined]  # numba's types are partial


@jit
def part_at(network: Network, layer: int, column: int, row: int, size: int, like: Floats) -> Any:
    """Return what a column of a layer's table points to, for one row of the batch; empty where it is not there."""
    address = network.table[layer, column]
    if address == 0:
        return like[:0]
    return array_at(address + row * network.strides[layer, column] * like.itemsize, size, like)


@jit
def unpack(pack: Ints, counts: Ints, like: Floats) -> tuple[Network, Transform, Workspace]:
    """Return the records of a pack; ``counts`` is an array of the events' type."""
    layers, widest = pack[LAYERS], pack[WIDEST]
    neuron = array_at(pack[NEURON], 3, pack)
    steps, normalised, bounded = neuron[2], pack[NORMALISED], pack[BOUNDED]
    network = Network(
        array_at(pack[TABLE], (layers + 1) * COLUMNS, pack).reshape(layers + 1, COLUMNS),
        array_at(pack[STRIDES], (layers + 1) * COLUMNS, pack).reshape(layers + 1, COLUMNS),
        array_at(pack[WIDTHS], layers + 1, pack),
        neuron,
        array_at(pack[CONSTANTS], 6, like),
        pack[ENCODER],
        pack[READOUT],
        pack[RULES],
        array_at(pack[NUMBERS], layers * RULE_NUMBERS, like).reshape(layers, RULE_NUMBERS),
    )
    transform = Transform(
        array_at(pack[SHIFT], normalised, like),
        array_at(pack[SCALE], normalised + 1 if normalised > 0 else 0, like),
        array_at(pack[BOUNDS], 2 * bounded, like).reshape(2, bounded),
        pack[SQUASH],
    )
    workspace = Workspace(
        array_at(pack[SCRATCH], 9 * widest, like),
        array_at(pack[EVENTS], 2 * steps * widest, counts).reshape(2, steps, widest),
        array_at(pack[COUNTS], 2 * steps, counts).reshape(2, steps),
    )
    return network, transform, workspace
