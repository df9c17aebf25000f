"""Spike-train classification (T9): functions that tell given trains apart, or name the nearest of given templates.

Both are compiled like any other; an output spikes at the last step of a train that it stands for, whenever that train
ends. Shapes: k trains, T steps, d lines.
"""

from collections.abc import Sequence

import numpy as np

from homeo_rl.compiler import signals as sf
from homeo_rl.compiler.spike_function import Node, SpikeFunction
from homeo_rl.errors import UsageError


def separate(trains: np.ndarray, lines: Sequence[str] | None = None) -> SpikeFunction:
    """Return a function whose output i spikes where the last steps agree with train i on the taps that tell them apart.

    At most k - 1 taps (a step of a line) are looked at, and each output is one AND of them.

    ``trains``: [k, T, d], all different. Raises UsageError: two trains are the same, or the shape does not fit.
    """
    flat, names = _flatten(trains, lines)
    k = len(flat)
    group = np.zeros(k, dtype=np.int64)
    taps: list[int] = []
    while group.max() < k - 1:
        # The tap that splits most: it leaves the most groups.
        left = [len(np.unique(group * 2 + flat[:, tap])) for tap in range(flat.shape[1])]
        taps.append(int(np.argmax(left)))
        _, split = np.unique(group * 2 + flat[:, taps[-1]], return_inverse=True)
        if split.max() == group.max():
            same = np.flatnonzero(group == np.bincount(group).argmax())[:2]
            raise UsageError(f"trains: expected all different, got {same[0]} and {same[1]} the same")
        group = split
    steps = trains.shape[1]
    outputs = []
    for i in range(k):
        parts: list[Node] = []
        for tap in sorted(taps):
            line, back = divmod(tap, steps)
            signal = sf.Delay(sf.Line(names[line]), back)
            parts.append(signal if flat[i, tap] else sf.Not(signal))
        outputs.append((f"train{i}", sf.All(tuple(parts))))
    return SpikeFunction(names, tuple(outputs))


def nearest(templates: np.ndarray, lines: Sequence[str] | None = None) -> SpikeFunction:
    """Return a function whose output i spikes at every step at which template i is nearest to the last T steps.

    ``templates``: [k, T, d]; the distance counts the entries that differ, ties go to the earlier template. Raises
    UsageError: the shape does not fit.
    """
    flat, names = _flatten(templates, lines)
    known = tuple(tuple(bool(bit) for bit in row) for row in flat)
    parts = tuple(sf.Line(name) for name in names)
    steps = templates.shape[1]
    return SpikeFunction(names, tuple((f"template{i}", sf.Nearest(parts, steps, i, known)) for i in range(len(flat))))


def _flatten(trains: np.ndarray, lines: Sequence[str] | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the trains [k, d T], entry line * T + steps back, and the lines' names."""
    if trains.ndim != 3 or len(trains) < 2 or not trains.shape[1] or not trains.shape[2]:
        raise UsageError(f"trains: expected an array [trains, steps, lines] of at least two, got shape {trains.shape}")
    names = tuple(lines) if lines is not None else tuple(f"x{i}" for i in range(trains.shape[2]))
    if len(names) != trains.shape[2]:
        raise UsageError(f"lines: expected {trains.shape[2]} names, got {len(names)}")
    backwards = trains[:, ::-1].transpose(0, 2, 1).reshape(len(trains), -1)
    return backwards.astype(np.int64), names
