"""Compiled networks over time: every neuron's spikes, and what the outputs should be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D

from homeo_rl.compiler.lowering import SpikingCircuit
from homeo_rl.compiler.simulate import simulate
from homeo_rl.errors import UsageError
from homeo_rl.report.graph_style import (
    ABOVE,
    EXCITES,
    GREY,
    INHIBITS,
    MARGIN,
    OUT,
    about,
    check_suffix,
    names_of,
    save,
    sheet,
    width_of,
    write,
)

_NAMED = 60  # neurons up to which names stand beside them
_ROW, _APART = 0.19, 0.26  # inches a row, and above a group of rows
_SPAN = {"arrowstyle": "<->", "color": "0.4", "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 7}


def draw_raster(
    circuit: SpikingCircuit, trains: np.ndarray, path: Path, *, title: str, expected: np.ndarray | None = None
) -> Path:
    """Draw every spike over time: the input lines, all neurons, and the outputs at the steps at which they spike.

    The network runs on for its latency after the train, without input, so that the last outputs are seen. Up to 60
    neurons have their names beside them.

    Args:
        circuit: the network.
        trains: the inputs' spikes [T, d] of one train.
        path: where the picture goes; its suffix is one of `sheets.SUFFIXES`.
        title: a line above it.
        expected: what the outputs [T, outputs] should be for each step of the train; drawn as hollow marks, later by
            the latency, and compared with what the network does.

    Raises:
        UsageError: another suffix, or spikes of another shape; nothing is written.
    """
    check_suffix(path)
    d, n, ends, late, steps = len(circuit.lines), circuit.neurons, circuit.outputs, circuit.latency, len(trains)
    for what, got, many in (("trains", trains, d), ("expected outputs", expected, len(ends))):
        if got is not None and (got.shape != (steps, many) or steps == 0):
            raise UsageError(f"{what}: expected spikes [{steps or 'at least 1'}, {many}], got {list(got.shape)}")
    inputs = np.concatenate([trains, np.zeros((late, d))]).astype(bool)
    spikes = simulate(circuit, inputs[None])[0]
    out = spikes[:, [neuron for _, neuron in ends]]
    fine = _ROW if n <= _NAMED else float(np.clip(9 / n, 0.04, 0.1))
    groups = (
        ("inputs", circuit.lines, _ROW, inputs, GREY),
        ("neurons", names_of(circuit.notes, 32) if n <= _NAMED else [""] * n, fine, spikes, EXCITES),
        ("outputs", [name for name, _ in ends], _ROW, out, OUT),
    )
    texts = [title, about(circuit)]
    wrong = np.zeros_like(out)
    if expected is not None:
        wrong[late:] = out[late:] != expected.astype(bool)
        texts.append(f"outputs that differ from what is expected: {wrong.sum()} of {expected.size}")
    first = MARGIN + 0.1 + max(0.5, *(width_of(name, 7.0) for _, names, *_ in groups for name in names))
    step = float(np.clip(9 / len(inputs), 0.015, 0.15))
    last = first + step * len(inputs)
    bottom = ABOVE + sum(_APART + high * len(names) for _, names, high, *_ in groups)
    figure, axes = sheet(texts, last + MARGIN, bottom + 0.9)

    # Marks lie in the middle of their steps.
    stride = next(m * 10**e for e in range(9) for m in (1, 2, 5) if len(inputs) <= 12 * m * 10**e)
    for tick in range(0, len(inputs), stride):
        axes.vlines(first + step * (tick + 0.5), ABOVE, bottom, color="0.88", linewidth=0.6, zorder=0)
        write(axes, first + step * (tick + 0.5), bottom + 0.12, str(tick), ha="center")
    axes.hlines(bottom, first, last, color="0.3", linewidth=0.8)
    write(axes, (first + last) / 2, bottom + 0.3, "step", ha="center")
    top = ABOVE
    middle: np.ndarray = np.zeros(0)
    for kind, names, high, found, colour in groups:
        write(axes, first - 0.1, top + 0.14, kind, color="0.4", style="italic", ha="right")
        middle = top + _APART + high * (np.arange(len(names)) + 0.5)
        axes.hlines(middle, first, last, color="0.93", linewidth=0.5, zorder=0)
        for y, name in zip(middle, names, strict=True):
            write(axes, first - 0.1, y, name, ha="right")
        t, k = np.nonzero(found)
        reach, wide = 0.3 * high, min(0.4 * step * 72, 4.0)
        axes.vlines(first + step * (t + 0.5), middle[k] - reach, middle[k] + reach, color=colour, linewidth=wide)
        top += _APART + high * len(names)
    keys = [Line2D([], [], color=OUT, marker="|", markersize=8, markeredgewidth=2, linestyle="", label="spike")]
    begin, end, y = first + step / 2, first + step * (late + 0.5), middle[0] - _ROW / 2 - 0.12
    write(axes, end + 0.06, y, f"latency {late}", fontsize=6.5, color="0.4")
    if late:  # an input at step 0 is answered where the arrow ends
        axes.annotate("", (end, y), (begin, y), arrowprops=_SPAN)
        axes.vlines([begin, end], y - 0.06, bottom, color="0.4", linewidth=0.6, linestyle=":", zorder=0)
        axes.fill_between([last - step * late, last], ABOVE, bottom, color="0.95", linewidth=0, zorder=-1)
        write(axes, last, ABOVE + 0.12, "after the train", fontsize=6.5, color="0.4", ha="right")
    if expected is not None:
        t, k = np.nonzero(expected)
        corner = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [0.42 * step, 0.42 * _ROW]
        boxes = np.stack([first + step * (t + late + 0.5), middle[k]], 1)[:, None] + corner
        axes.add_collection(PolyCollection(boxes, facecolors="none", edgecolors="k", linewidths=0.7, zorder=3))
        t, k = np.nonzero(wrong)
        axes.plot(first + step * (t + 0.5), middle[k], "x", color=INHIBITS, markersize=5, zorder=4)
        keys.append(Line2D([], [], color="k", marker="s", markerfacecolor="none", linestyle="", label="expected spike"))
        if wrong.any():
            keys.append(Line2D([], [], color=INHIBITS, marker="x", linestyle="", label="differs"))
    return save(figure, path, keys)
