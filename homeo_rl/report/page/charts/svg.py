"""Charts as data, and where their marks lie on a sheet of SVG; templates draw them, the stylesheet colours them.

Colours are numbers: class ``c0`` is the first arm's in the light and in the dark theme, so no figure has a colour of
its own. Coordinates are rounded to a tenth of a pixel, which keeps pages small and equal on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np

from homeo_rl.report.page.charts.axes import Scale, labels, span

Points = Sequence[tuple[float, float]]

NARROW, WIDE, SMALL = (460, 280), (920, 330), (350, 230)
"""Sheets in pixels: what a phone and half a page show, what a page shows, and what stands three in a row."""

LEFT, RIGHT, TOP, BOTTOM = 54, 16, 30, 48
"""Margins of a sheet, for the numbers and names of the axes."""

COLOURS = 8

_LETTER, _LINE = 7.0, 15.0
"""Pixels of a letter of a name, about, and of a line of names."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line through ``points``; with ``low`` and ``high`` (as many values) it has a band."""

    points: Points
    colour: int
    label: str = ""
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    faint: bool = False
    dashed: bool = False
    tips: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Dot:
    """A mark, with the extent of its interval where there is one, and a name beside it."""

    x: float
    y: float
    colour: int
    low: float | None = None
    high: float | None = None
    name: str = ""
    tip: str = ""
    hollow: bool = False


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A thin line across the sheet at ``x`` or at ``y``, with a name."""

    x: float | None = None
    y: float | None = None
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart. ``about`` is what a reader who does not see it is told; ranges None follow from the data.

    ``percent`` and ``whole`` are about the numbers of the vertical axis.
    """

    title: str
    x: str
    y: str
    about: str
    lines: tuple[Line, ...] = ()
    dots: tuple[Dot, ...] = ()
    rules: tuple[Rule, ...] = ()
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    x_log: bool = False
    percent: bool = False
    whole: bool = False
    size: Literal["wide", "half", "small"] = "half"

    @property
    def sheets(self) -> list[Sheet]:
        """The chart on each of its sheets: a wide one has a narrow one for small screens."""
        if self.size == "wide":
            return [draw(self, *WIDE, "wide"), draw(self, *NARROW, "narrow")]
        return [draw(self, *(SMALL if self.size == "small" else NARROW), self.size)]


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A dot on a sheet; ``y0`` to ``y1`` is its interval; its name stands at height ``text``, before or after it."""

    x: float
    y: float
    y0: float
    y1: float
    text: float
    colour: int
    name: str
    tip: str
    hollow: bool
    anchor: str


@dataclass(frozen=True)
class Sheet:
    """A drawn chart: paths of SVG with their colours, and ticks (place, text).

    ``x_scale`` and ``y_scale`` are what the script needs to name the values below a mouse: ends, and log or %.
    """

    kind: str
    width: int
    height: int
    left: float
    right: float
    top: float
    bottom: float
    x_scale: str
    y_scale: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    bands: list[tuple[str, int]] = field(default_factory=list)
    lines: list[tuple[str, int, str, str]] = field(default_factory=list)
    hits: list[tuple[float, float, str]] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    rules: list[tuple[float | None, float | None, str]] = field(default_factory=list)


def draw(chart: Chart, width: int, height: int, kind: str) -> Sheet:
    """Lay a chart out on a sheet of so many pixels."""
    xs = [x for line in chart.lines for x, _ in line.points] + [dot.x for dot in chart.dots]
    ys = [y for line in chart.lines for _, y in line.points] + [dot.y for dot in chart.dots]
    ys += [y for line in chart.lines for y in (*line.low, *line.high)]
    ys += [y for dot in chart.dots for y in (dot.low, dot.high) if y is not None]
    ys += [rule.y for rule in chart.rules if rule.y is not None]
    x_low, x_high = chart.x_range or span(xs, 0.12 if chart.dots else 0.0, log=chart.x_log)
    y_low, y_high = chart.y_range or span(ys, 0.06)
    left, right, top, bottom = LEFT, width - RIGHT, TOP, height - BOTTOM
    x = Scale(x_low, x_high, left, right, log=chart.x_log)
    y = Scale(y_low, y_high, bottom, top)
    x_values, y_values = x.ticks(8 if kind == "wide" else 5), y.ticks(5, whole=chart.whole)
    sheet = Sheet(
        kind, width, height, left, right, top, bottom,
        f"{x.low:.6g} {x.high:.6g}{' log' if chart.x_log else ''}",
        f"{y.low:.6g} {y.high:.6g}{' %' if chart.percent else ''}",
        list(zip([x(v) for v in x_values], labels(x_values), strict=True)),
        list(zip([y(v) for v in y_values], labels(y_values, percent=chart.percent), strict=True)),
    )  # fmt: skip
    for line in chart.lines:
        places = [(x(a), y(b)) for a, b in line.points]
        if line.low:
            lower = [(x(a), y(v)) for (a, _), v in zip(line.points, line.low, strict=True)]
            upper = [(x(a), y(v)) for (a, _), v in zip(line.points, line.high, strict=True)]
            sheet.bands.append((path([*upper, *reversed(lower)]) + "Z", line.colour % COLOURS))
        look = "faint" if line.faint else "dashed" if line.dashed else ""
        sheet.lines.append((path(places), line.colour % COLOURS, look, line.label))
        sheet.hits.extend((a, b, tip) for (a, b), tip in zip(places, line.tips, strict=False))
    sheet.marks.extend(_marks(chart.dots, x, y))
    for rule in chart.rules:
        at = None if rule.x is None else x(rule.x)
        sheet.rules.append((at, None if rule.y is None else y(rule.y), rule.name))
    return sheet


def _marks(dots: Sequence[Dot], x: Scale, y: Scale) -> list[Mark]:
    """Place dots, highest first, with names that do not lie over each other."""
    marks: list[Mark] = []
    taken: list[tuple[float, float, float]] = []  # left, right, height of the names
    for dot in sorted(dots, key=lambda dot: -dot.y):
        place, height = x(dot.x), y(dot.y)
        before = place > x.first + 0.7 * (x.last - x.first)
        wide = _LETTER * len(dot.name) + 12
        left, right = (place - wide, place) if before else (place, place + wide)
        text = height
        for one_left, one_right, one in sorted(taken, key=lambda entry: entry[2]):
            if left < one_right and one_left < right and abs(text - one) < _LINE:
                text = one + _LINE
        taken.append((left, right, text))
        low, high = (dot.y if end is None else end for end in (dot.low, dot.high))
        marks.append(
            Mark(x=place, y=height, y0=y(low), y1=y(high), text=round(text + 4, 1), colour=dot.colour % COLOURS,
                 name=dot.name, tip=dot.tip, hollow=dot.hollow, anchor="end" if before else "start")
        )  # fmt: skip
    return marks


def path(places: Points) -> str:
    """Return the path of SVG through places."""
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in places)


def steps_of(edges: Sequence[float], heights: Sequence[float]) -> list[tuple[float, float]]:
    """Return the outline of a histogram: ``edges`` are one more than ``heights``."""
    corners = [(e, h) for h, (a, b) in zip(heights, pairwise(edges), strict=True) for e in (a, b)]
    return [(edges[0], 0.0), *corners, (edges[-1], 0.0)]


def thinned(points: Points, most: int) -> list[tuple[float, float]]:
    """Return at most ``most`` of the points, evenly, with both ends."""
    if len(points) <= most:
        return list(points)
    return [points[int(index)] for index in np.linspace(0, len(points) - 1, most).round()]
