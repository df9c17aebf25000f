"""What an observer needs of a healthy robot: a forward model, and clean sequences to rehearse on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from homeo_rl.errors import StorageFault
from homeo_rl.observer.forward_model import ForwardModel
from homeo_rl.observer.layout import LAGS
from homeo_rl.observer.recording import Recording
from homeo_rl.seeding import generator

WINDOWS = 24
"""Remembered sequences."""

LENGTH = LAGS + 24
"""Steps of each: the latencies' worth of actions, then those that are rehearsed."""


MOST_BYTES = 4_000_000
"""What the files of an observer may take together: model, remembered sequences, and the sample of a training."""

MOST_ROWS = 60_000
"""Steps of a sample beyond which a model hardly gets better; practice is as long."""


def sample_rows(entries: int, actions: int) -> int:
    """Return how many steps of a training may be kept beside a model and its sequences."""
    width = entries + actions
    others = 20_000 + 4 * ((WINDOWS * LENGTH + 512) * width + 17_000)  # documents, sequences and weights
    return min(max(MOST_BYTES - others, 0) // (4 * width + 2), MOST_ROWS)


@dataclass(frozen=True)
class ObserverMemory:
    """A forward model and the sequences that its use is rehearsed on."""

    model: ForwardModel  # the forward model
    observations: np.ndarray  # true observations of the remembered sequences [W, LENGTH, D]
    actions: np.ndarray  # executed after each [W, LENGTH, K]

    @classmethod
    def of(cls, model: ForwardModel, recording: Recording, *, seed: int = 0) -> ObserverMemory:
        """Draw the sequences from the clean part of a recording.

        Where its episodes are shorter than `LENGTH` there are none, so no estimate is ever used.
        """
        starts = recording.windows(LENGTH)
        chosen = generator(seed, "observer", "windows").permutation(starts)[:WINDOWS]
        rows = chosen[:, None] + np.arange(LENGTH)
        return cls(model, recording.observations[rows], recording.actions[rows])

    @property
    def size(self) -> int:
        """Bytes that it needs."""
        return int(self.model.packed.nbytes + self.observations.nbytes + self.actions.nbytes)

    def to_bundle(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return tensors and document, from which `from_bundle` makes it again."""
        tensors, document = self.model.to_bundle()
        return {**tensors, "observations": self.observations, "actions": self.actions}, document

    @classmethod
    def from_bundle(cls, tensors: dict[str, np.ndarray], document: dict[str, Any], *, where: str) -> ObserverMemory:
        """Return the memory of a bundle.

        Raises:
            StorageFault: a tensor is missing or does not fit the others.
        """
        model = ForwardModel.from_bundle(tensors, document, where=where)
        for name, width in (("observations", model.entries), ("actions", model.actions)):
            value = tensors.get(name)
            if value is None or value.ndim != 3 or value.shape[1:] != (LENGTH, width) or value.dtype != np.float32:
                raise StorageFault(f"{where}: expected float32 sequences {name!r} [W, {LENGTH}, {width}]; fit it again")
        return cls(model, np.array(tensors["observations"]), np.array(tensors["actions"]))
