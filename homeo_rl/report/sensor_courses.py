"""A picture of one sensor over time: true, measured and estimated, and when the estimate was used."""

from pathlib import Path

import numpy as np

from homeo_rl.evaluation.recording import Course
from homeo_rl.report.figures import new_figure

SHOWN = 150
"""Steps that are drawn, from a little before the onset on."""


def draw_course(course: Course, entry: int, onset: int, path: Path, *, title: str) -> None:
    """Draw one entry of the observation over time and write the picture."""
    first = max(0, min(onset - 20, len(course.used) - SHOWN))
    shown = slice(first, first + SHOWN)
    steps = np.arange(len(course.used))[shown]
    figure, (axes,) = new_figure(8.0, 3.6)
    axes.plot(steps, course.measured[shown, entry], ".", color="0.6", markersize=4, label="measured")
    axes.plot(steps, course.true[shown, entry], color="black", linewidth=1.6, label="true")
    used = course.used[shown]
    estimated = np.where(used, course.estimated[shown, entry], np.nan)
    axes.plot(steps, estimated, color="#d95f02", linewidth=1.4, label="estimated, where it was used")
    low, high = np.nanpercentile(np.concatenate([course.true[shown, entry], course.measured[shown, entry]]), [1, 99])
    margin = 0.1 * max(float(high - low), 1e-6)
    axes.set_ylim(low - margin, high + margin)
    if first < onset:
        axes.axvline(onset, color="0.7", linestyle=":", linewidth=1.0)
    axes.set_xlabel("decision of the episode")
    axes.set_ylabel(f"observation entry {entry}")
    axes.set_title(title, loc="left", fontsize=10)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=130)
