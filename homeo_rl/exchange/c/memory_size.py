"""How many bytes of memory the controller lays out: what ``homeo_memory`` in ``homeo.c`` computes."""

from homeo_rl.exchange.c.description import Description
from homeo_rl.exchange.c.observer_source import senses_bytes
from homeo_rl.snn.forced_potentials import MAX_STEPS

STACK_BYTES = 2048
"""Most bytes of stack that a call uses on a processor of 32 bits; the tests measure it."""

_WORD = 8
_SCRATCH_ROWS, _SUM_ROWS = 9, 8


def memory_bytes(made: Description, *, writable: bool) -> int:
    """Return the bytes that ``homeo_init`` needs; ``writable``: weights can be damaged or repaired."""
    spec, widths = made.network.spec, made.network.spec.widths
    widest = max(spec.inputs, *widths) + 1
    sizes = _net(made)
    for layer in made.layers:
        inputs, size = layer.shape
        if writable or made.writable:
            sizes += [4 * inputs * size, 4 * size, size]
    sizes += [4 * sum(widths), 4 * spec.outputs, 4 * _SCRATCH_ROWS * widest]
    sizes += 2 * [2 * spec.steps * widest, 4 * spec.steps]
    reflex = made.controller.reflex
    if reflex is not None:
        sizes += [4 * reflex.spec.network.neurons, 4 * (1 + reflex.network.reach) * reflex.network.sources]
    if made.mechanism.sleep is not None:
        sizes += _sleep(made, widest)
    sizes += senses_bytes(made.senses)
    return sum(_align(size) for size in sizes)


def _net(made: Description) -> list[int]:
    sizes: list[int] = []
    for layer in made.layers:
        inputs, size = layer.shape
        if made.mechanism.bcm is not None and layer.fires:
            sizes += [4 * inputs * size, 4 * size, 4 * size]
        if made.mechanism.energy is not None and layer.fires:
            sizes.append(4 * size)
        if made.network.spec.membrane == "episode":
            sizes += 3 * [4 * size]
    return sizes


def _sleep(made: Description, widest: int) -> list[int]:
    steps, count = made.network.spec.steps, made.observations
    sleep = made.mechanism.sleep
    assert sleep is not None
    sizes = [4 * _SUM_ROWS * widest]
    for layer in made.layers:
        inputs, size = layer.shape
        sizes.append(count * _row(steps, size) if layer.fires else 4 * count * size)
        if sleep.form != "none":
            sizes += [4 * inputs * size, 4 * size]
    if sleep.form == "delta":
        sizes.append(max(4 * inputs * size for inputs, size in (layer.shape for layer in made.layers)))
    if sleep.form != "none":
        sizes += 2 * [(count + made.dreams) * _row(steps, widest)]
    if sleep.form == "best":
        sizes += _competition(made, widest)
    return sizes + (_net(made) if made.mechanism.rehearsal is not None else [])


def _competition(made: Description, widest: int) -> list[int]:
    """Return the bytes of healthy models and their dreams, and of what fits of the largest layer work on."""
    steps, shapes = made.network.spec.steps, [layer.shape for layer in made.layers]
    matrices, rows = [4 * (inputs + 1) * size for inputs, size in shapes], max(inputs + 1 for inputs, _ in shapes)
    sizes = list(matrices)
    for layer in made.layers:
        size = layer.shape[1]
        sizes.append(made.dreams * (_row(steps, size) if layer.fires else 4 * steps * size))
    sizes += [*4 * [max(matrices)], 4 * (rows * (rows + 1) // 2)]
    return sizes + (2 * [4 * steps * widest] if steps <= MAX_STEPS else [])


def _row(steps: int, width: int) -> int:
    return (steps * width + 7) // 8


def _align(size: int) -> int:
    return (size + _WORD - 1) // _WORD * _WORD
