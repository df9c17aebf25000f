"""What pictures of compiled networks share: a sheet with a title, a legend and colours, and how a network is named.

Sheets are laid out in inches, y downwards: text has a width in inches, which decides how far apart things are.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path

from homeo_rl.compiler.lowering import SpikingCircuit
from homeo_rl.errors import UsageError
from homeo_rl.report.colours import COLOURS

SUFFIXES: dict[str, dict[str, None]] = {".svg": {"Date": None}, ".png": {}, ".pdf": {"CreationDate": None}}
"""Formats that circuits are drawn in, and what is left out of each so that equal calls give equal bytes."""

GREY, EXCITES, INHIBITS, OUT = COLOURS[:4]
"""Colours: of inputs, of synapses that excite and that inhibit, and of spikes that leave."""

TEXT, SMALL = 7.5, 6.2  # sizes of letters in points
MARGIN, ABOVE = 0.3, 0.8  # inches beside a picture, and above it for its title

_TITLE = 10.0


def check_suffix(path: Path) -> None:
    """Check that a picture can be written. Raises UsageError: its suffix is none of `SUFFIXES`."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: expected a picture's name that ends in {', '.join(SUFFIXES)}, got {path.suffix!r}")


def width_of(text: str, size: float, weight: str = "normal") -> float:
    """Return the width in inches of a text's longest line; ``size`` in points."""
    font = FontProperties(size=size, weight=weight)
    lines = text.split("\n")
    return max(text_to_path.get_text_width_height_descent(line, font, ismath=False)[0] for line in lines) / 72


def write(axes: Axes, x: float, y: float, text: str, **look: Any) -> None:
    """Write names that users chose: a dollar sign in them is no formula."""
    axes.text(x, y, text, parse_math=False, **{"fontsize": 7.0, "va": "center", **look})


def sheet(texts: Sequence[str], width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure, wider where its title and the grey lines below it need that, and axes in inches over it."""
    sizes = [_TITLE, *[TEXT] * (len(texts) - 1)]
    width = max(width, *(width_of(text, size) + 2 * MARGIN for text, size in zip(texts, sizes, strict=True)))
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    write(axes, MARGIN, 0.25, texts[0], fontsize=_TITLE)
    for i, text in enumerate(texts[1:]):
        write(axes, MARGIN, 0.47 + 0.16 * i, text, fontsize=TEXT, color="0.4")
    return figure, axes


def save(figure: Figure, path: Path, keys: Sequence[Line2D]) -> Path:
    """Put the legend below everything, where texts begin, and write the picture."""
    at = (MARGIN / figure.get_figwidth(), 0.12 / figure.get_figheight())
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": at, "borderaxespad": 0, "borderpad": 0}
    figure.legend(handles=keys, ncols=4, frameon=False, fontsize=TEXT, **place)
    kind = path.suffix.lower()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "homeo-rl"}):
        figure.savefig(path, format=kind[1:], dpi=140, metadata=SUFFIXES[kind])
    return path


def about(circuit: SpikingCircuit) -> str:
    """Return a line on a network's size and its neurons."""
    n = circuit.neurons
    return (
        f"{n} neuron{'s' * (n != 1)}, {len(circuit.synapses)} synapses; leak {circuit.beta}, {circuit.reset} reset, "
        f"{circuit.target} target; latency {circuit.latency}"
    )


def names_of(notes: Sequence[str], longest: int) -> list[str]:
    """Return a name of at most ``longest`` characters for each neuron; those of equal notes are numbered."""
    notes = [note or "neuron" for note in notes]
    times, seen, names = Counter(notes), Counter[str](), list[str]()
    for note in notes:
        seen[note] += 1
        number = f" #{seen[note]}" if times[note] > 1 else ""
        space = longest - len(number)
        names.append((note if len(note) <= space else note[: space - 1] + "\u2026") + number)
    return names
