"""Fixed routes: where each episode of a navigation evaluation begins and ends."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pydantic

from homeo_rl.errors import StorageFault, UsageError
from homeo_rl.spec import parse
from homeo_rl.storage import bundle, strict_json


@pydantic.with_config(pydantic.ConfigDict(extra="forbid", allow_inf_nan=False))
@dataclass(frozen=True, kw_only=True)
class Route:
    """Start (x, y in metres, heading in radians) and goal (x, y)."""

    start: tuple[float, float, float]
    goal: tuple[float, float]

    @property
    def options(self) -> dict[str, Any]:
        """Options of the environment's ``reset``."""
        return asdict(self)


@pydantic.with_config(pydantic.ConfigDict(extra="forbid"))
@dataclass(frozen=True, kw_only=True)
class _RoutesText:
    routes: tuple[Route, ...]
    note: str = ""


def read_routes(path: Path) -> tuple[Route, ...]:
    """Read ``{"routes": [{"start": [x, y, heading], "goal": [x, y]}, ...]}``.

    Raises UsageError: the file is missing or does not hold routes; the message names the first bad one.
    """
    if not path.is_file():
        raise UsageError(f"--routes {path}: expected a JSON file, found none; check the path")
    try:
        data = bundle.read_json(path.resolve(), strict_json.SMALL)
    except StorageFault as fault:
        raise UsageError(
            f"--routes {path}: expected JSON, cannot read it ({str(fault).removeprefix(f'{path.resolve()}: ')})"
        ) from None
    routes = parse(_RoutesText, data, where=str(path)).routes
    if not routes:
        raise UsageError(f"--routes {path}: expected at least one route, found none")
    return routes
