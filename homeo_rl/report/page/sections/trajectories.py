"""Where the robots drove, as drawings that follow the page's theme."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from matplotlib.path import Path as Curve

from homeo_rl.errors import StorageFault
from homeo_rl.report.colours import OUTCOMES
from homeo_rl.report.page.blocks import Section, Table
from homeo_rl.report.page.report_data import Comparison, ReportData
from homeo_rl.report.tables import drive_rows, reflex_rows
from homeo_rl.storage import bundle

_UNIT = 20  # drawn units a metre
_CONDITIONS = 12
_TOLERANCE = 0.6  # units that a simplified path may be beside the driven one


@dataclass(frozen=True)
class Map:
    """A drawing of one arm under one condition: shapes of the world and paths by outcome, all as paths of SVG."""

    title: str
    about: str
    box: str
    walls: str = ""
    obstacles: str = ""
    discs: list[tuple[float, float, float]] = field(default_factory=list)
    movers: list[tuple[float, float, float, str]] = field(default_factory=list)
    drives: list[tuple[str, str]] = field(default_factory=list)
    ends: list[tuple[float, float, str]] = field(default_factory=list)


def drives(material: ReportData) -> Section | None:
    """Return the section on drives; None where no environment told of poses or outcomes."""
    blocks = []
    for one in material.comparisons:
        tables = [
            Table(caption, header, rows, 2)
            for caption, (header, rows) in (
                ("How the drives ended; collisions with Wilson's 95 % interval", drive_rows(one.cells)),
                ("What the reflex did, judged by its specification", reflex_rows(one.cells)),
            )
            if rows
        ]
        maps, said = _maps(one)
        if tables or maps:
            blocks.append({"name": one.name, "maps": maps, "arms": len(one.arms), "said": said, "tables": tables})
    if not blocks:
        return None
    how = (
        "Each line is the path of one episode, coloured by how it ended; a cross marks a collision or where time ran "
        "out. All arms drove the same routes; arms and conditions whose drives are the same share a map."
    )
    return Section("drives", "Where the robots drove", how, "drives.html.j2", {"blocks": blocks, "outcomes": OUTCOMES})


def _maps(one: Comparison) -> tuple[dict[str, list[Map]], str]:
    """Return the maps of every condition, an arm each, and whose they are."""
    path = one.folders[0] / "paths.json"
    if not path.exists():
        return {}, ""
    document = bundle.read_json(path)
    try:
        labels = one.labels[:_CONDITIONS]
        cells = {(cell["condition"], cell["arm"]): cell for cell in document["cells"]}
        found = {label: [_map(cells[label, arm]) for arm in one.arms if (label, arm) in cells] for label in labels}
        said = f"Paths of {one.members[0].name}." if len(one.members) > 1 else ""
        return _shared({label: maps for label, maps in found.items() if maps}), said
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise StorageFault(f"{path}: expected paths as homeo-rl evaluate writes them ({error!r})") from None


def _shared(found: dict[str, list[Map]]) -> dict[str, list[Map]]:
    """Show equal maps once: of arms under a condition, then of conditions, with all their names."""
    merged: dict[str, tuple[list[Map], list[str]]] = {}
    for label, maps in found.items():
        arms: dict[str, list[Map]] = {}
        for one in maps:
            arms.setdefault(repr(replace(one, title="")), []).append(one)
        drawn = [replace(same[0], title=", ".join(one.title for one in same)) for same in arms.values()]
        merged.setdefault(repr(drawn), (drawn, []))[1].append(label)
    return {", ".join(labels): drawn for drawn, labels in merged.values()}


def _map(cell: dict[str, Any]) -> Map:
    world, episodes = cell["world"], cell["episodes"]
    points = [_points(e["path"]) for e in episodes]
    outline = _points(world["outer"]) if world is not None else np.concatenate(points)
    low, high = outline.min(axis=0) - _UNIT / 2, outline.max(axis=0) + _UNIT / 2
    ended = [str(episode["outcome"]) for episode in episodes]
    counts = ", ".join(f"{ended.count(outcome)} {outcome}" for outcome in OUTCOMES if outcome in ended)
    drawn = Map(
        str(cell["arm"]),
        f"{len(episodes)} drives: {counts}",
        f"{low[0]:g} {low[1]:g} {high[0] - low[0]:g} {high[1] - low[1]:g}",
        _ring(world["outer"]) if world is not None else "",
        "".join(_ring(polygon) for polygon in world["obstacles"]) if world is not None else "",
    )
    for disc in world["discs"] if world is not None else ():
        x, y = _points([disc["center"]])[0]
        drawn.discs.append((float(x), float(y), float(disc["radius"]) * _UNIT))
    for mover in world["movers"] if world is not None else ():
        start = np.array(mover["start"], dtype=float)
        end = start + np.array(mover["velocity"], dtype=float) * float(mover["out_s"])
        way = _points([start.tolist(), end.tolist()])
        drawn.movers.append((float(way[0, 0]), float(way[0, 1]), float(mover["radius"]) * _UNIT, _line(way)))
    # Failures last: they are few and must not lie below the others.
    for outcome in OUTCOMES:
        mine = [line for line, end in zip(points, ended, strict=True) if end == outcome]
        if mine:
            drawn.drives.append((outcome, "".join(_line(_simple(line)) for line in mine)))
        if outcome != "success":
            drawn.ends.extend((float(line[-1, 0]), float(line[-1, 1]), outcome) for line in mine)
    return drawn


def _points(path: Iterable[Sequence[float]]) -> np.ndarray:
    """Return metres as drawn units, y downwards, [M, 2]."""
    found = np.asarray(list(path), dtype=float).reshape(-1, 2) * [_UNIT, -_UNIT]
    if not len(found) or not np.isfinite(found).all():
        raise ValueError("a path without finite points")
    return found.round()


def _simple(line: np.ndarray) -> np.ndarray:
    """Leave out points that lie on the way."""
    curve = Curve(line)
    curve.should_simplify, curve.simplify_threshold = len(line) > 2, _TOLERANCE
    found = np.asarray(curve.cleaned(simplify=True).vertices)[:-1].round()  # the last one says that the path stops
    return np.concatenate([found, line[-1:]])


def _line(points: np.ndarray) -> str:
    """Return a path of SVG in whole units, each step relative to the one before: short numbers."""
    whole = points.astype(int)
    moves = np.diff(whole, axis=0)
    steps = "".join(f"l{x} {y}" for x, y in moves.tolist() if x or y)
    return f"M{whole[0, 0]} {whole[0, 1]}{steps}"


def _ring(polygon: Iterable[Sequence[float]]) -> str:
    return _line(_points(polygon)) + "z"
