"""What all commands share."""

from __future__ import annotations

from dataclasses import dataclass

import tyro

Words = tuple[str, ...]
Flag = tyro.conf.FlagCreatePairsOff[bool]


@dataclass(frozen=True, kw_only=True)
class Common:
    """Flags of every command."""

    json: Flag = False
    """Print one machine-readable line last."""
    debug: Flag = False
    """Show tracebacks."""
