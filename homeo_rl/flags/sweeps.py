"""Flags of the sweeps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from homeo_rl.flags.common import Common, Flag, Positional, Progress


@dataclass(frozen=True, kw_only=True)
class Sweep(Common):
    """Train and judge every combination of a grid with every seed, each exactly once; the same command goes on."""

    grid: Positional[Path]
    """YAML file: train, grid, zip, seeds, evaluate, resources (docs/sweeps.md)."""
    out: Path
    """Folder of the sweep; several commands, on several machines, may work in one."""
    workers: int | None = None
    """Cells side by side; by default what the cores (or the cluster), memory and GPUs allow."""
    ray: str = ""
    """Use a Ray cluster: local (of this machine, for this command), auto, or its address host:port."""
    dry_run: Flag = False
    """List the cells and what is done, train nothing."""
    progress: Progress = True
    """Show progress."""
