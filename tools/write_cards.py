"""Write what the studies in docs/results measured of the pretrained agents to `agents/pretrained/cards.json`.

``python tools/write_cards.py`` after a study was added or evaluated anew; a test compares the file with the scores.
An agent's card is from the first study of `STUDIES` that has it, frozen, with the mechanism of its training if any.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from homeo_rl.report.decimals import fixed
from homeo_rl.storage.pretrained import CARDS, list_pretrained
from homeo_rl.studies.results import CLEAN, DAMAGED, Cell, read_results

ROOT = Path(__file__).resolve().parent.parent
STUDIES = ("robustness", "senses", "network-twins", "million-steps")


def cards(root: Path = ROOT) -> dict[str, Any]:
    """Return the cards of all agents that a study has, by name."""
    found: dict[str, Any] = {}
    for study in STUDIES:
        results = read_results(root / "docs" / "results" / study)
        for cell in results.cells:
            if cell.kind not in CLEAN or cell.host not in list_pretrained() or cell.host in found:
                continue
            damaged = results.of(cell.group, cell.arm, host=cell.host, kinds=DAMAGED)
            if damaged and cell.arm == results.reference(cell.group):
                found[cell.host] = _card(study, cell, damaged)
    return dict(sorted(found.items()))


def _card(study: str, clean: Cell, damaged: list[Cell]) -> dict[str, Any]:
    drives = not np.isnan(clean.figures["success"]).any()
    return {
        "study": study,
        "episodes": len(clean.value),
        "return": float(fixed(clean.figures["return"].mean(), 1)),
        "measure": "success" if drives else "retention",
        "clean": float(fixed(clean.value.mean(), 3)),
        "damaged": float(fixed(np.mean([cell.value.mean() for cell in damaged]), 3)),
        "conditions": {cell.condition: float(fixed(cell.value.mean(), 3)) for cell in damaged},
    }


if __name__ == "__main__":
    CARDS.write_text(json.dumps(cards(), indent=1) + "\n")
