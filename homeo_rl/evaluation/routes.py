"""Fixed routes: where each episode of a navigation evaluation begins and ends."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pydantic

from homeo_rl.errors import UsageError
from homeo_rl.spec import parse


@pydantic.with_config(pydantic.ConfigDict(extra="forbid", allow_inf_nan=False))
@dataclass(frozen=True, kw_only=True)
class Route:
    """Start (x, y in metres, heading in radians) and goal (x, y)."""

    start: tuple[float, float, float]
    goal: tuple[float, float]

    @property
    def options(self) -> dict[str, Any]:
        """What the environment's ``reset`` is told."""
        return asdict(self)


@pydantic.with_config(pydantic.ConfigDict(extra="forbid"))
@dataclass(frozen=True, kw_only=True)
class _RoutesText:
    routes: tuple[Route, ...]
    note: str = ""


def read_routes(path: Path) -> tuple[Route, ...]:
    """Read ``{"routes": [{"start": [x, y, heading], "goal": [x, y]}, ...]}``.

    Raises:
        UsageError: the file is missing or does not hold routes; the message names the first bad one.
    """
    if not path.is_file():
        raise UsageError(f"--routes {path}: expected a JSON file, found none; check the path")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise UsageError(f"--routes {path}: expected JSON, cannot read it ({error})") from None
    routes = parse(_RoutesText, data, where=str(path)).routes
    if not routes:
        raise UsageError(f"--routes {path}: expected at least one route, found none")
    return routes
