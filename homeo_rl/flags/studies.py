"""Flags of the studies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from homeo_rl.flags.common import Common, Flag, Positional, Progress


@dataclass(frozen=True, kw_only=True)
class Study(Common):
    """Evaluate many policies under many kinds of damage, each cell once, and write a page; the command goes on."""

    study: Positional[str]
    """YAML file (docs/studies.md), the name of a study that comes with the package (robustness, quick), or a folder of
    results, of which only page and pictures are made anew."""
    out: Path
    """Folder of the results."""
    workers: int | None = None
    """Processes; by default one a core. Results do not depend on it."""
    dry_run: Flag = False
    """List hosts and what is done, evaluate nothing."""
    progress: Progress = True
    """Show progress."""
