"""The cells of a sweep: one training and its evaluation each, known by what decides their result."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from homeo_rl.spec import dump
from homeo_rl.sweeps.code_fingerprint import code_version, modules_of
from homeo_rl.sweeps.sweep_spec import Combination, Training

NEUTRAL = ("save_freq", "vec_env", "engine")  # fields of a training that its result does not depend on


@dataclass(frozen=True)
class Cell:
    """One training with one seed."""

    key: str  # the first 16 hex digits of the SHA-256 of ``code`` and ``config``
    config: dict[str, Any]  # plain data: all that decides the result but the code
    code: dict[str, str]  # see `homeo_rl.sweeps.code_fingerprint.code_version`
    training: Training
    seed: int
    choice: dict[str, Any]
    label: str  # what varies, for people

    @property
    def title(self) -> str:
        """The label and the seed."""
        return f"{self.label} seed={self.seed}".strip()


def cells_of(combinations: Sequence[Combination], seeds: Sequence[int], evaluation: Mapping[str, Any]) -> list[Cell]:
    """Return all cells, in the order in which they are worked on: every combination with the first seed, and so on.

    Raises UsageError: a module is not there.
    """
    names = short_names([name for combination in combinations[:1] for name in combination.choice])
    cells = []
    for seed in seeds:
        for combination in combinations:
            training = dump(combination.training)
            decisive = {name: value for name, value in training.items() if name not in NEUTRAL}
            config = {"train": decisive, "seed": seed, "evaluate": dict(evaluation)}
            code = code_version(modules_of(combination.training))
            label = " ".join(f"{names[name]}={text(value)}" for name, value in combination.choice.items())
            cells.append(
                Cell(key_of(config, code), config, code, combination.training, seed, combination.choice, label)
            )
    return cells


def key_of(config: Mapping[str, Any], code: Mapping[str, str]) -> str:
    """Return the name of a result."""
    canonical = json.dumps([code, config], sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Return the last words of dotted names, or the names themselves where words are the same."""
    last = {name: name.rpartition(".")[2] for name in names}
    words = list(last.values())
    return {name: word if words.count(word) == 1 else name for name, word in last.items()}


def text(value: Any) -> str:
    """Return a value as it is shown."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return json.dumps(value)
