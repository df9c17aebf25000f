"""The checkpoints of a training: each complete or absent, two kept, the newest sound one is restored.

A run's ``checkpoints/`` holds ``<step>/`` (a bundle: tensors, document, manifest with hashes) and ``replay/`` (segments
of the ring).
"""

import shutil
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm

from homeo_rl.errors import StorageFault
from homeo_rl.storage import bundle
from homeo_rl.training.resume.replay_segments import ReplaySegments, ring_of
from homeo_rl.training.resume.snapshot import Snapshot

KEPT = 2  # checkpoints that are kept: the newest, and one to fall back to


class Checkpoints:
    """The checkpoints in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.segments = ReplaySegments(folder / "replay")

    def save(self, model: BaseAlgorithm, snapshot: Snapshot, files: dict[str, int], *, kept: int = KEPT) -> Path:
        """Write ``snapshot``, then delete what is older than the last ``kept``.

        ``files`` are the sizes (bytes) of the files that only grow (monitors), by name within the run.

        Raises StorageFault: the disk refused; earlier checkpoints are as they were.
        """
        self.folder.mkdir(exist_ok=True)
        ring, named = ring_of(model), []
        added = snapshot.document["steps"] // model.n_envs
        if ring is not None:
            named = self.segments.save(ring, added)
        document = {**snapshot.document, "replay": {"segments": named, "added": added}, "files": files}
        path = self.folder / f"{snapshot.document['steps']:012d}"
        bundle.save(path, snapshot.tensors, document)
        for old in self.paths()[:-kept]:
            shutil.rmtree(old, ignore_errors=True)
        self.segments.prune(self._list_segments())
        return path

    def load(self) -> tuple[Path, Snapshot] | None:
        """Return the newest sound checkpoint; None where there is none.

        Raises StorageFault: there are some, and none is sound; the message is about the newest.
        """
        fault: StorageFault | None = None
        for path in reversed(self.paths()):
            try:
                tensors, document = bundle.load(path)
                return path, Snapshot(tensors, document)
            except StorageFault as error:
                fault = fault or error
        if fault is not None:
            raise fault
        return None

    def load_ring(self, model: BaseAlgorithm, snapshot: Snapshot) -> None:
        """Fill the model's replay ring as it was, and delete segments that no checkpoint names.

        Raises StorageFault: a segment is missing or damaged.
        """
        ring, replay = ring_of(model), snapshot.document["replay"]
        if ring is not None:
            self.segments.load(ring, replay["segments"], replay["added"])
            self.segments.prune(self._list_segments())

    def paths(self) -> list[Path]:
        """Return all checkpoint folders, the oldest first."""
        if not self.folder.is_dir():
            return []
        names = {path.name.removesuffix(".old") for path in self.folder.iterdir()}
        return [self.folder / name for name in sorted(name for name in names if name.isdigit())]

    def _list_segments(self) -> list[dict[str, int]]:
        """Return the segments that the checkpoints that are there name."""
        segments: list[dict[str, int]] = []
        for path in self.paths():
            try:
                document: dict[str, Any] = bundle.read_json(path / "document.json")
                segments += document["replay"]["segments"]
            except (StorageFault, KeyError, TypeError):
                continue
        return segments
