"""Commands that start together, as processes that import little."""

from __future__ import annotations

from pathlib import Path

from homeo_rl.errors import UsageError
from homeo_rl.run import Run
from homeo_rl.spec import RunSpec


def spec(seed: int = 0) -> RunSpec:
    return RunSpec(origin="train", env="Pendulum-v1", agent="mlp", seed=seed)


def make_numbered(folder: Path, number: int) -> list[str]:
    """Make runs of one environment; return their folders."""
    return [str(Run.create_numbered(folder, spec()).path) for _ in range(number)]


def claims(path: Path, seed: int) -> bool:
    """Try to make one run at ``path``; return whether it was this process that did."""
    try:
        Run.create(path, spec(seed))
    except UsageError:
        return False
    return True
