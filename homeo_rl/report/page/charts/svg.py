"""Charts as data, and their layout on a sheet of SVG; templates draw them, the stylesheet colours them.

Colours are indices: class ``c0`` is the first arm's in the light and in the dark theme. Coordinates are rounded to a
tenth of a pixel, which keeps pages small and equal on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np

from homeo_rl.report.colours import COLOURS
from homeo_rl.report.page.charts.axes import Scale, labels, span

Points = Sequence[tuple[float, float]]

NARROW, WIDE, SMALL = (460, 280), (920, 330), (350, 230)
"""Sizes of sheets in pixels: for a phone or half a page, for a page, and for three in a row."""

LEFT, RIGHT, TOP, BOTTOM = 54, 16, 30, 48  # margins of a sheet, for the numbers and names of the axes

_COLOURS = len(COLOURS)

_LETTER, _LINE = 7.0, 15.0  # approximate width of a letter and height of a line, in pixels


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line through ``points``; ``low`` and ``high`` (one value per point) are the ends of its band.

    ``arm`` is the arm that it belongs to, and then its name; ``label`` is the name of any other line.
    """

    points: Points
    colour: int
    arm: str = ""
    label: str = ""
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    faint: bool = False
    dashed: bool = False
    tips: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Dot:
    """A mark with its interval, if it has one, and a name beside it."""

    x: float
    y: float
    colour: int
    low: float | None = None
    high: float | None = None
    arm: str = ""
    name: str = ""
    tip: str = ""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A thin vertical line across the sheet, with a name."""

    x: float
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart. ``about`` is its description for screen readers; ranges None follow from the data.

    ``percent`` and ``integer`` concern the numbers of the vertical axis; ``condition`` is the one that is drawn, if it
    is one.
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
    integer: bool = False
    condition: str = ""
    size: Literal["wide", "half", "small"] = "half"

    @property
    def sheets(self) -> list[Sheet]:
        """The chart on each of its sheets: a wide chart also has a narrow sheet for small screens."""
        if self.size == "wide":
            return [draw(self, *WIDE, "wide"), draw(self, *NARROW, "narrow")]
        return [draw(self, *(SMALL if self.size == "small" else NARROW), self.size)]


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A dot on a sheet; ``y0`` to ``y1`` is its interval, ``text`` the height of its name, left or right of it."""

    x: float
    y: float
    y0: float
    y1: float
    text: float
    colour: int
    arm: str
    name: str
    tip: str
    anchor: str


@dataclass(frozen=True)
class Sheet:
    """A chart in pixels: paths of SVG with their colours, and ticks (position, text).

    ``x_scale`` and ``y_scale`` are for the script that shows the values below the pointer: ends, and log or %.
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
    bands: list[tuple[str, int, str]] = field(default_factory=list)
    lines: list[tuple[str, int, str, str, str]] = field(default_factory=list)
    hits: list[tuple[float, float, str]] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    rules: list[tuple[float, str]] = field(default_factory=list)


def draw(chart: Chart, width: int, height: int, kind: str) -> Sheet:
    """Return a chart on a sheet of ``width`` x ``height`` pixels."""
    xs = [x for line in chart.lines for x, _ in line.points] + [dot.x for dot in chart.dots]
    ys = [y for line in chart.lines for _, y in line.points] + [dot.y for dot in chart.dots]
    ys += [y for line in chart.lines for y in (*line.low, *line.high)]
    ys += [y for dot in chart.dots for y in (dot.low, dot.high) if y is not None]
    x_low, x_high = chart.x_range or span(xs, 0.12 if chart.dots else 0.0, log=chart.x_log)
    y_low, y_high = chart.y_range or span(ys, 0.06)
    left, right, top, bottom = LEFT, width - RIGHT, TOP, height - BOTTOM
    x = Scale(x_low, x_high, left, right, log=chart.x_log)
    y = Scale(y_low, y_high, bottom, top)
    x_values, y_values = x.ticks(8 if kind == "wide" else 5), y.ticks(5, integer=chart.integer)
    sheet = Sheet(
        kind, width, height, left, right, top, bottom,
        f"{x.low:.6g} {x.high:.6g}{' log' if chart.x_log else ''}",
        f"{y.low:.6g} {y.high:.6g}{' %' if chart.percent else ''}",
        list(zip([x(v) for v in x_values], labels(x_values), strict=True)),
        list(zip([y(v) for v in y_values], labels(y_values, percent=chart.percent), strict=True)),
    )  # fmt: skip
    for line in chart.lines:
        points = [(x(a), y(b)) for a, b in line.points]
        if line.low:
            lower = [(x(a), y(v)) for (a, _), v in zip(line.points, line.low, strict=True)]
            upper = [(x(a), y(v)) for (a, _), v in zip(line.points, line.high, strict=True)]
            sheet.bands.append((path([*upper, *reversed(lower)]) + "Z", line.colour % _COLOURS, line.arm))
        look = "faint" if line.faint else "dashed" if line.dashed else ""
        sheet.lines.append((path(points), line.colour % _COLOURS, look, line.arm, line.label))
        sheet.hits.extend((a, b, tip) for (a, b), tip in zip(points, line.tips, strict=False))
    sheet.marks.extend(_marks(chart.dots, x, y))
    sheet.rules.extend((x(rule.x), rule.name) for rule in chart.rules)
    return sheet


def _marks(dots: Sequence[Dot], x: Scale, y: Scale) -> list[Mark]:
    """Return marks of dots, highest first, with names that do not overlap."""
    marks: list[Mark] = []
    names: list[tuple[float, float, float]] = []  # left, right, height
    for dot in sorted(dots, key=lambda dot: -dot.y):
        column, height = x(dot.x), y(dot.y)
        is_left = column > x.first + 0.7 * (x.last - x.first)
        width = _LETTER * len(dot.name) + 12
        left, right = (column - width, column) if is_left else (column, column + width)
        text = height
        for other_left, other_right, other in sorted(names, key=lambda name: name[2]):
            if left < other_right and other_left < right and abs(text - other) < _LINE:
                text = other + _LINE
        names.append((left, right, text))
        low, high = (dot.y if end is None else end for end in (dot.low, dot.high))
        marks.append(
            Mark(x=column, y=height, y0=y(low), y1=y(high), text=round(text + 4, 1), colour=dot.colour % _COLOURS,
                 arm=dot.arm, name=dot.name, tip=dot.tip, anchor="end" if is_left else "start")
        )  # fmt: skip
    return marks


def path(points: Points) -> str:
    """Return the path of SVG through points."""
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points)


def steps_of(edges: Sequence[float], heights: Sequence[float]) -> list[tuple[float, float]]:
    """Return the outline of a histogram with ``edges`` [K + 1] and ``heights`` [K]."""
    corners = [(e, h) for h, (a, b) in zip(heights, pairwise(edges), strict=True) for e in (a, b)]
    return [(edges[0], 0.0), *corners, (edges[-1], 0.0)]


def thin(points: Points, limit: int) -> list[tuple[float, float]]:
    """Return at most ``limit`` of the points, evenly spaced, with both ends."""
    if len(points) <= limit:
        return list(points)
    return [points[int(index)] for index in np.linspace(0, len(points) - 1, limit).round()]
