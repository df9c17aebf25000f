"""Trajectories of navigation episodes, as drawings that follow the page's theme."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from matplotlib.path import Path as Curve

from homeo_rl.errors import StorageFault
from homeo_rl.report.colours import OUTCOMES, outcome_name
from homeo_rl.report.page.blocks import Section, Table, block_section
from homeo_rl.report.page.context import PageContext
from homeo_rl.report.page.report_data import Comparison
from homeo_rl.report.tables import drive_rows, reflex_rows
from homeo_rl.storage import bundle

_UNIT = 20  # drawn units per metre
_MAX_CONDITIONS = 12
_TOLERANCE = 0.6  # units between a simplified path and the recorded one


@dataclass(frozen=True)
class Map:
    """A drawing of arms under a condition: shapes of the world and paths by outcome, all as paths of SVG."""

    arms: tuple[str, ...]
    about: str
    box: str
    walls: str = ""
    obstacles: str = ""
    discs: list[tuple[float, float, float]] = field(default_factory=list)
    movers: list[tuple[float, float, float, str]] = field(default_factory=list)
    paths: list[tuple[str, str]] = field(default_factory=list)
    ends: list[tuple[float, float, str]] = field(default_factory=list)


def trajectories(context: PageContext) -> Section | None:
    """Return the section on navigation episodes; None where no environment reported poses or outcomes."""
    blocks = []
    for comparison in context.data.comparisons:
        tables = [
            Table(caption, header, rows, 2)
            for caption, (header, rows) in (
                ("Outcomes of the navigation episodes; collisions with Wilson's 95 % interval",
                 drive_rows(comparison.cells)),
                ("Decisions of the reflex, judged by its specification", reflex_rows(comparison.cells)),
            )
            if rows
        ]  # fmt: skip
        maps, note = _maps(comparison)
        if tables or maps:
            blocks.append({"name": comparison.name, "maps": maps, "note": note, "tables": tables})
    how = (
        "Each line is the path of one episode, coloured by its outcome; a cross marks a collision or a timeout. All "
        "arms share the same routes; arms and conditions with identical trajectories share a map."
    )
    outcomes = {outcome: outcome_name(outcome) for outcome in OUTCOMES}
    return block_section("trajectories", "Trajectories", how, "trajectories.html.j2", blocks, outcomes=outcomes)


def _maps(comparison: Comparison) -> tuple[dict[tuple[str, ...], list[Map]], str]:
    """Return the maps of the conditions, one for each arm, and a note on whose they are."""
    path = comparison.folders[0] / "paths.json"
    if not path.exists():
        return {}, ""
    document = bundle.read_json(path)
    try:
        cells = {(cell["condition"], cell["arm"]): cell for cell in document["cells"]}
        maps = {
            label: [_map(cells[label, arm]) for arm in comparison.arms if (label, arm) in cells]
            for label in comparison.labels[:_MAX_CONDITIONS]
        }
        note = f"Paths of {comparison.members[0].name}." if len(comparison.members) > 1 else ""
        return merge_equal({label: several for label, several in maps.items() if several}), note
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise StorageFault(f"{path}: expected paths as homeo-rl evaluate writes them ({error!r})") from None


def merge_equal(maps: dict[str, list[Map]]) -> dict[tuple[str, ...], list[Map]]:
    """Return equal maps once, with all their arms, by all their conditions."""
    merged: dict[str, tuple[list[Map], list[str]]] = {}
    for label, of_arms in maps.items():
        equal: dict[str, list[Map]] = {}
        for drawing in of_arms:
            equal.setdefault(repr(replace(drawing, arms=())), []).append(drawing)
        distinct = [replace(same[0], arms=tuple(arm for each in same for arm in each.arms)) for same in equal.values()]
        merged.setdefault(repr(distinct), (distinct, []))[1].append(label)
    return {tuple(labels): distinct for distinct, labels in merged.values()}


def _map(cell: dict[str, Any]) -> Map:
    world, episodes = cell["world"], cell["episodes"]
    paths = [_points(episode["path"]) for episode in episodes]
    outline = _points(world["outer"]) if world is not None else np.concatenate(paths)
    low, high = outline.min(axis=0) - _UNIT / 2, outline.max(axis=0) + _UNIT / 2
    ends = [str(episode["outcome"]) for episode in episodes]
    counts = ", ".join(f"{ends.count(outcome)} {outcome_name(outcome)}" for outcome in OUTCOMES if outcome in ends)
    drawing = Map(
        (str(cell["arm"]),),
        f"{len(episodes)} episode{'s' * (len(episodes) != 1)}: {counts}",
        f"{low[0]:g} {low[1]:g} {high[0] - low[0]:g} {high[1] - low[1]:g}",
        _ring(world["outer"]) if world is not None else "",
        "".join(_ring(polygon) for polygon in world["obstacles"]) if world is not None else "",
    )
    for disc in world["discs"] if world is not None else ():
        x, y = _points([disc["center"]])[0]
        drawing.discs.append((float(x), float(y), float(disc["radius"]) * _UNIT))
    for mover in world["movers"] if world is not None else ():
        start = np.array(mover["start"], dtype=float)
        end = start + np.array(mover["velocity"], dtype=float) * float(mover["out_s"])
        way = _points([start.tolist(), end.tolist()])
        drawing.movers.append((float(way[0, 0]), float(way[0, 1]), float(mover["radius"]) * _UNIT, _line(way)))
    # Failures last: they are few and must not lie below the others.
    for outcome in OUTCOMES:
        same = [path for path, end in zip(paths, ends, strict=True) if end == outcome]
        if same:
            drawing.paths.append((outcome, "".join(_line(_simplify(path)) for path in same)))
        if outcome != "success":
            drawing.ends.extend((float(path[-1, 0]), float(path[-1, 1]), outcome) for path in same)
    return drawing


def _points(path: Iterable[Sequence[float]]) -> np.ndarray:
    """Return metres as drawn units, y downwards, [M, 2]."""
    points = np.asarray(list(path), dtype=float).reshape(-1, 2) * [_UNIT, -_UNIT]
    if not len(points) or not np.isfinite(points).all():
        raise ValueError("a path without finite points")
    return points.round()


def _simplify(path: np.ndarray) -> np.ndarray:
    """Return a path [M, 2] without the points that lie within the tolerance of a line."""
    curve = Curve(path)
    curve.should_simplify, curve.simplify_threshold = len(path) > 2, _TOLERANCE
    points = np.asarray(curve.cleaned(simplify=True).vertices)[:-1].round()  # the last vertex is the stop code
    return np.concatenate([points, path[-1:]])


def _line(points: np.ndarray) -> str:
    """Return a path of SVG in integer units, each step relative to the previous point, which keeps numbers short."""
    integers = points.astype(int)
    moves = np.diff(integers, axis=0)
    steps = "".join(f"l{x} {y}" for x, y in moves.tolist() if x or y)
    return f"M{integers[0, 0]} {integers[0, 1]}{steps}"


def _ring(polygon: Iterable[Sequence[float]]) -> str:
    return _line(_points(polygon)) + "z"
