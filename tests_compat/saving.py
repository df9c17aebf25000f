"""A backend of matplotlib for scripts that only show: every figure goes to a file, with its number of lines.

MPLBACKEND=module://saving HOMEO_RL_FIGURES=folder python -m rl_zoo3.plots.plot_train ...
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from matplotlib import pyplot
from matplotlib.backends.backend_agg import FigureCanvasAgg, FigureManagerBase

FigureCanvas = FigureCanvasAgg
FigureManager = FigureManagerBase


def show(*args: Any, **kwargs: Any) -> None:
    """Save the open figures."""
    for number in pyplot.get_fignums():
        figure = pyplot.figure(number)
        path = Path(os.environ["HOMEO_RL_FIGURES"]) / f"{number}.png"
        figure.savefig(path)
        print(f"{path}: {sum(len(axes.lines) for axes in figure.axes)} lines")
