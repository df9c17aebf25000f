"""Navigation worlds as data: an outer wall, solid polygons and discs, movers, and where episodes begin and end.

A world is a frozen value read from JSON, ours or a user's, and checked before anything runs in it. Unit: metre.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pydantic

from homeo_rl.errors import StorageFault, UsageError, unknown
from homeo_rl.spec import parse
from homeo_rl.storage import bundle, strict_json

Point = tuple[float, float]
Polygon = tuple[Point, ...]

FOLDER = Path(__file__).parent / "worlds"

_STRICT = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class Disc:
    """A solid disc that stands still."""

    center: Point
    radius: float

    def __post_init__(self) -> None:
        if self.radius <= 0:
            raise ValueError(f"disc radius: expected > 0, got {self.radius}")


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class Mover:
    """A cylinder that goes out at constant ``velocity`` (m/s), pauses, comes back, pauses, and so on (seconds)."""

    start: Point
    velocity: Point
    radius: float = 0.25
    out_s: float = 9.6
    pause_s: float = 1.1
    back_s: float = 9.6

    def __post_init__(self) -> None:
        if self.radius <= 0 or self.out_s <= 0 or self.back_s <= 0 or self.pause_s < 0:
            raise ValueError(f"mover: expected radius, out_s, back_s > 0 and pause_s >= 0, got {self}")


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class Places:
    """Where something may be: points on a 0.1 m grid, ``clearance`` or more from every obstacle and keep-out polygon.

    ``within`` is a rectangle ((x least, x most), (y least, y most)), or None for the whole world; ``fixed`` is one
    point instead.
    """

    fixed: Point | None = None
    within: tuple[Point, Point] | None = None
    keepout: tuple[Polygon, ...] = ()
    clearance: float = 0.5

    def __post_init__(self) -> None:
        if self.clearance < 0:
            raise ValueError(f"clearance: expected >= 0, got {self.clearance}")
        if self.fixed is not None and self.within is not None:
            raise ValueError("expected fixed or within, got both; leave one out")
        if self.within is not None and any(low > high for low, high in self.within):
            raise ValueError(f"within: expected ((x least, x most), (y least, y most)), got {self.within}")


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class World:
    """A world. ``outer`` is the wall around everything, ``least_distance`` that from start to goal."""

    name: str
    outer: Polygon
    obstacles: tuple[Polygon, ...] = ()
    discs: tuple[Disc, ...] = ()
    movers: tuple[Mover, ...] = ()
    start: Places = Places()
    goal: Places = Places()
    least_distance: float = 1.0

    def __post_init__(self) -> None:
        named = {"outer": self.outer}
        named |= {f"obstacles[{i}]": polygon for i, polygon in enumerate(self.obstacles)}
        named |= {f"goal.keepout[{i}]": polygon for i, polygon in enumerate(self.goal.keepout)}
        named |= {f"start.keepout[{i}]": polygon for i, polygon in enumerate(self.start.keepout)}
        for name, polygon in named.items():
            fault = fault_of(polygon)
            if fault:
                raise ValueError(f"{name}: {fault}")
        if self.least_distance < 0:
            raise ValueError(f"least_distance: expected >= 0, got {self.least_distance}")
        for i, polygon in enumerate(self.obstacles):
            if not inside(self.outer, np.array(polygon), edge=True).any():
                raise ValueError(f"obstacles[{i}]: expected a corner of it inside the outer wall, found none")
        for name, places in (("discs", [d.center for d in self.discs]), ("movers", [m.start for m in self.movers])):
            for i, place in enumerate(places):
                if not inside(self.outer, np.array([place]), edge=True).any():
                    raise ValueError(f"{name}[{i}]: expected inside the outer wall, got {place}")


def world_names() -> list[str]:
    """Names of the worlds that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def load_world(source: str | dict[str, Any] | World) -> World:
    """Return a world by its name, from a JSON file or from plain data.

    Raises UsageError: there is none, or it is not sound; the message names the polygon.
    """
    if isinstance(source, World):
        return source
    if isinstance(source, dict):
        return parse(World, source, where="world")
    return _read_packaged(source) if source in world_names() else _read(source, Path(source))


@lru_cache
def _read_packaged(name: str) -> World:
    return _read(name, FOLDER / f"{name}.json")


def _read(name: str, path: Path) -> World:
    if not path.is_file():
        if path.suffix != ".json":
            raise unknown("world", name, world_names())
        raise UsageError(f"{path}: expected a world file, found none; worlds by name: {', '.join(world_names())}")
    try:
        data = bundle.read_json(path.resolve(), strict_json.SMALL)
    except StorageFault as fault:
        raise UsageError(
            f"{path}: expected JSON, cannot read it ({str(fault).removeprefix(f'{path.resolve()}: ')})"
        ) from None
    return parse(World, data, where=str(path))


def fault_of(polygon: Polygon) -> str | None:
    """Return what is wrong with a polygon, or None: fewer than three corners, no area, edges that cross."""
    corners = np.array(polygon, dtype=np.float64).reshape(-1, 2)
    if len(corners) < 3:
        return f"expected a polygon of 3 corners or more, got {len(corners)}"
    after = np.roll(corners, -1, axis=0)
    if (np.linalg.norm(after - corners, axis=1) < 1e-6).any():
        return "degenerate polygon: two corners in a row are the same; leave one out"
    area = 0.5 * float(np.sum(corners[:, 0] * after[:, 1] - after[:, 0] * corners[:, 1]))
    for i in range(len(corners)):
        for j in range(i + 1, len(corners)):
            neighbours = j == i + 1 or (i == 0 and j == len(corners) - 1)
            if not neighbours and _cross(corners[i], after[i], corners[j], after[j]):
                return f"crossing polygon: edges {i} and {j} meet; list the corners in order around it"
    if abs(area) < 1e-6:
        return "degenerate polygon: its area is 0"
    return None


def inside(polygon: Polygon, points: np.ndarray, *, edge: bool = False) -> np.ndarray:
    """Whether points [P, 2] lie in a polygon (even-odd rule); with ``edge``, also those on its boundary."""
    corners = np.array(polygon, dtype=np.float64)
    after = np.roll(corners, -1, axis=0)
    odd = np.zeros(len(points), dtype=bool)
    on = np.zeros(len(points), dtype=bool)
    for a, b in zip(corners, after, strict=True):
        spans = (a[1] > points[:, 1]) != (b[1] > points[:, 1])
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing = a[0] + (points[:, 1] - a[1]) * (b[0] - a[0]) / (b[1] - a[1])
        odd ^= spans & (points[:, 0] < crossing)
        along = np.clip(((points - a) @ (b - a)) / ((b - a) @ (b - a)), 0.0, 1.0)
        on |= np.linalg.norm(points - a - along[:, None] * (b - a), axis=1) < 1e-9
    return odd | on if edge else odd & ~on


def _cross(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> bool:
    """Whether two edges of a polygon that are not neighbours meet."""

    def side(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> float:
        return float((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]))

    def between(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> bool:
        return bool((np.minimum(p, q) <= r).all() and (r <= np.maximum(p, q)).all())

    s1, s2, s3, s4 = side(a, b, c), side(a, b, d), side(c, d, a), side(c, d, b)
    if s1 * s2 < 0 and s3 * s4 < 0:
        return True
    return (
        (s1 == 0 and between(a, b, c)) or (s2 == 0 and between(a, b, d))
        or (s3 == 0 and between(c, d, a)) or (s4 == 0 and between(c, d, b))
    )  # fmt: skip
