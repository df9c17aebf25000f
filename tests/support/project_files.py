"""Where the project's own files lie."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("homeo_rl", "envs", "agents", "degradations")


def sources() -> list[Path]:
    linked = {ROOT / "homeo_rl" / name for name in FOLDERS[1:]}
    return [
        path
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not any(link in path.parents for link in linked)
    ]
