"""The replay ring on disk: immutable segments of new transitions, named by the checkpoints that need them.

A memory map of the ring would hold, after a crash, transitions of a future that the checkpoint does not know. Segments
are only ever added, each a bundle with its own hashes, so saving costs what is new since the last checkpoint and not
the whole ring.
Shapes: S slots of the ring, E environments.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.buffers import ReplayBuffer

from homeo_rl.errors import StorageFault
from homeo_rl.storage import bundle

_ARRAYS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


class ReplaySegments:
    """Segments of one training's ring in ``folder``; transition j of the training lies in slot j mod S."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.named: list[dict[str, int]] = []

    def save(self, ring: ReplayBuffer, total: int) -> list[dict[str, int]]:
        """Write what is new since the last segment, of ``total`` transitions ever added; return what matters now."""
        slots = ring.buffer_size
        begin = max(self.named[-1]["to"] if self.named else 0, total - slots)
        if total > begin:
            self.folder.mkdir(exist_ok=True)
            rows = np.arange(begin, total) % slots
            parts = {name: getattr(ring, name)[rows] for name in _ARRAYS if hasattr(ring, name)}
            bundle.save(self._path(begin, total), parts, {"from": begin, "to": total})
            self.named.append({"from": begin, "to": total})
        self.named = [segment for segment in self.named if segment["to"] > total - slots]
        return list(self.named)

    def load(self, ring: ReplayBuffer, named: list[dict[str, int]], total: int) -> None:
        """Fill the ring as it was after ``total`` transitions.

        Raises StorageFault: a segment is missing or damaged, or they leave a gap.
        """
        slots = ring.buffer_size
        reached = max(0, total - slots)
        for segment in named:
            arrays, _ = bundle.load(self._path(segment["from"], segment["to"]))
            if segment["from"] > reached:
                raise StorageFault(f"{self.folder}: transitions {reached} to {segment['from']} are missing")
            begin, end = max(segment["from"], total - slots), min(segment["to"], total)
            rows = np.arange(begin, end)
            for name in _ARRAYS:
                if hasattr(ring, name):
                    getattr(ring, name)[rows % slots] = arrays[name][rows - segment["from"]]
            reached = end
        if reached < total:
            raise StorageFault(f"{self.folder}: transitions {reached} to {total} are missing")
        ring.pos, ring.full = total % slots, total >= slots
        self.named = list(named)

    def prune(self, needed: list[dict[str, int]]) -> None:
        """Delete segments that no kept checkpoint names."""
        names = {self._path(segment["from"], segment["to"]).name for segment in needed}
        if self.folder.is_dir():
            for path in self.folder.iterdir():
                if path.name not in names:
                    shutil.rmtree(path, ignore_errors=True)

    def _path(self, begin: int, end: int) -> Path:
        return self.folder / f"{begin:012d}-{end:012d}"


def ring_of(model: Any) -> ReplayBuffer | None:
    """Return the replay ring of an off-policy algorithm, None of another."""
    ring = getattr(model, "replay_buffer", None)
    return ring if isinstance(ring, ReplayBuffer) else None
