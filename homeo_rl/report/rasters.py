"""Compiled networks over time: every neuron's spikes, and the expected outputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
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
_ROW, _APART = 0.19, 0.26  # inches per row, and above a group of rows
_SPAN = {"arrowstyle": "<->", "color": "0.4", "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 7}


@dataclass(frozen=True)
class _Rows:
    """A group of rows: spikes [T, K] of K lines, neurons or outputs; ``height`` of a row in inches."""

    kind: str
    names: Sequence[str]
    height: float
    spikes: np.ndarray
    colour: str


@dataclass(frozen=True)
class _Plot:
    """The sheet: columns of ``step`` inches from ``first`` to ``last``, from ``ABOVE`` to ``bottom``."""

    axes: Axes
    first: float
    step: float
    last: float
    bottom: float

    def centre(self, t: Any) -> Any:
        """Return the x of the middle of steps, where their marks lie."""
        return self.first + self.step * (t + 0.5)


def draw_raster(
    circuit: SpikingCircuit, trains: np.ndarray, path: Path, *, title: str, expected: np.ndarray | None = None
) -> Path:
    """Draw every spike over time: input lines, neurons, and outputs at the steps at which they spike.

    The network runs for its latency after the train, without input, so that the last outputs are seen. Up to 60
    neurons have their names beside them.

    Args:
        trains: the inputs' spikes [T, d] of one train.
        path: the picture; its suffix is one of `graph_style.SUFFIXES`.
        expected: outputs [T, outputs] for each step of the train; drawn as hollow marks, later by the latency, and
            compared with those of the network.

    Raises UsageError: another suffix, or spikes of another shape; nothing is written.
    """
    check_suffix(path)
    n, ends, late, steps = circuit.neurons, circuit.outputs, circuit.latency, len(trains)
    for what, got, many in (("trains", trains, len(circuit.lines)), ("expected outputs", expected, len(ends))):
        if got is not None and (got.shape != (steps, many) or steps == 0):
            raise UsageError(f"{what}: expected spikes [{steps or 'at least 1'}, {many}], got {list(got.shape)}")
    inputs = np.concatenate([trains, np.zeros((late, len(circuit.lines)))]).astype(bool)
    spikes = simulate(circuit, inputs[None])[0]
    outputs = spikes[:, [neuron for _, neuron in ends]]
    fine = _ROW if n <= _NAMED else float(np.clip(9 / n, 0.04, 0.1))
    groups = (
        _Rows("inputs", circuit.lines, _ROW, inputs, GREY),
        _Rows("neurons", names_of(circuit.notes, 32) if n <= _NAMED else [""] * n, fine, spikes, EXCITES),
        _Rows("outputs", [name for name, _ in ends], _ROW, outputs, OUT),
    )
    texts, wrong = [title, about(circuit)], np.zeros_like(outputs)
    if expected is not None:
        wrong[late:] = outputs[late:] != expected.astype(bool)
        texts.append(f"outputs that differ from what is expected: {wrong.sum()} of {expected.size}")
    first = MARGIN + 0.1 + max(0.5, *(width_of(name, 7.0) for group in groups for name in group.names))
    step = float(np.clip(9 / len(inputs), 0.015, 0.15))
    last = first + step * len(inputs)
    bottom = ABOVE + sum(_APART + group.height * len(group.names) for group in groups)
    figure, axes = sheet(texts, last + MARGIN, bottom + 0.9)
    plot = _Plot(axes, first, step, last, bottom)
    _draw_time_axis(plot, len(inputs))
    middle = _draw_rows(plot, groups)
    _draw_latency(plot, late, middle[0] - _ROW / 2 - 0.12)
    keys = [Line2D([], [], color=OUT, marker="|", markersize=8, markeredgewidth=2, linestyle="", label="spike")]
    if expected is not None:
        keys += _draw_expected(plot, middle, expected, late, wrong)
    return save(figure, path, keys)


def _draw_time_axis(plot: _Plot, steps: int) -> None:
    axes = plot.axes
    stride = next(m * 10**e for e in range(9) for m in (1, 2, 5) if steps <= 12 * m * 10**e)
    for tick in range(0, steps, stride):
        axes.vlines(plot.centre(tick), ABOVE, plot.bottom, color="0.88", linewidth=0.6, zorder=0)
        write(axes, plot.centre(tick), plot.bottom + 0.12, str(tick), ha="center")
    axes.hlines(plot.bottom, plot.first, plot.last, color="0.3", linewidth=0.8)
    write(axes, (plot.first + plot.last) / 2, plot.bottom + 0.3, "step", ha="center")


def _draw_rows(plot: _Plot, groups: Sequence[_Rows]) -> np.ndarray:
    """Draw names and spikes; return the y of the rows of the last group."""
    axes, first = plot.axes, plot.first
    middle: np.ndarray = np.zeros(0)
    top = ABOVE
    for group in groups:
        write(axes, first - 0.1, top + 0.14, group.kind, color="0.4", style="italic", ha="right")
        middle = top + _APART + group.height * (np.arange(len(group.names)) + 0.5)
        axes.hlines(middle, first, plot.last, color="0.93", linewidth=0.5, zorder=0)
        for y, name in zip(middle, group.names, strict=True):
            write(axes, first - 0.1, y, name, ha="right")
        t, k = np.nonzero(group.spikes)
        reach, width = 0.3 * group.height, min(0.4 * plot.step * 72, 4.0)
        axes.vlines(plot.centre(t), middle[k] - reach, middle[k] + reach, color=group.colour, linewidth=width)
        top += _APART + group.height * len(group.names)
    return middle


def _draw_latency(plot: _Plot, late: int, y: float) -> None:
    axes, bottom = plot.axes, plot.bottom
    begin, end = plot.first + plot.step / 2, plot.first + plot.step * (late + 0.5)
    write(axes, end + 0.06, y, f"latency {late}", fontsize=6.5, color="0.4")
    if late:
        axes.annotate("", (end, y), (begin, y), arrowprops=_SPAN)
        axes.vlines([begin, end], y - 0.06, bottom, color="0.4", linewidth=0.6, linestyle=":", zorder=0)
        after = [plot.last - plot.step * late, plot.last]
        axes.fill_between(after, ABOVE, bottom, color="0.95", linewidth=0, zorder=-1)
        write(axes, plot.last, ABOVE + 0.12, "after the train", fontsize=6.5, color="0.4", ha="right")


def _draw_expected(plot: _Plot, middle: np.ndarray, expected: np.ndarray, late: int, wrong: np.ndarray) -> list[Line2D]:
    """Draw expected spikes as boxes and wrong outputs as crosses; return their keys of the legend."""
    t, k = np.nonzero(expected)
    corner = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [0.42 * plot.step, 0.42 * _ROW]
    boxes = np.stack([plot.centre(t + late), middle[k]], 1)[:, None] + corner
    plot.axes.add_collection(PolyCollection(boxes, facecolors="none", edgecolors="k", linewidths=0.7, zorder=3))
    t, k = np.nonzero(wrong)
    plot.axes.plot(plot.centre(t), middle[k], "x", color=INHIBITS, markersize=5, zorder=4)
    keys = [Line2D([], [], color="k", marker="s", markerfacecolor="none", linestyle="", label="expected spike")]
    if wrong.any():
        keys.append(Line2D([], [], color=INHIBITS, marker="x", linestyle="", label="differs"))
    return keys
