"""Where hyper-parameters are looked for, as data: entries of a YAML file, and what a drawn number stands for.

Optuna draws *coordinates*: numbers on the scale that an entry names, or texts that stand for choices. What a training
gets is computed from them here.
"""

import copy
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pydantic

from homeo_rl.errors import UsageError
from homeo_rl.spec import parse
from homeo_rl.storage.files import printable
from homeo_rl.storage.yaml_file import read_yaml
from homeo_rl.training.algorithms import algorithm
from homeo_rl.training.hyperparams import param_names

_STRICT = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)

_DIGITS = 4  # of a drawn number: what a person can read and copy is what was trained with


@pydantic.with_config(_STRICT)
@dataclass(frozen=True, kw_only=True)
class Entry:
    """Where one hyper-parameter is looked for: among ``choices``, or from ``low`` to ``high`` on a ``scale``.

    Whole limits give whole numbers. "one-minus-log": 1 - x is drawn on a logarithmic scale. ``schedule`` "lin": the
    value is written ``lin_VALUE``, a rate that falls to 0. ``first`` is what the first trial takes.
    """

    choices: tuple[Any, ...] = ()
    low: int | float | None = None
    high: int | float | None = None
    scale: Literal["linear", "log", "one-minus-log", "power-of-two"] = "linear"
    schedule: Literal["", "lin"] = ""
    first: Any = None

    def __post_init__(self) -> None:
        low, high = self.low, self.high
        if self.choices:
            if low is not None or high is not None or self.schedule or self.scale != "linear":
                raise ValueError("expected choices alone, or low and high")
            texts = [json.dumps(choice) for choice in self.choices]
            if len(set(texts)) < max(len(texts), 2):
                raise ValueError(f"choices: expected different ones, at least two, got {list(self.choices)}")
        elif low is None or high is None or isinstance(low, bool) or isinstance(high, bool) or not low < high:
            raise ValueError(f"expected choices, or low < high, got {low} and {high}")
        elif self.scale == "log" and low <= 0:
            raise ValueError(f"scale log: expected low > 0, got {low}")
        elif self.scale == "one-minus-log" and not 0 <= low < high < 1:
            raise ValueError(f"scale one-minus-log: expected 0 <= low < high < 1, got {low} and {high}")
        elif self.scale == "power-of-two" and not all(_is_power(limit) for limit in (low, high)):
            raise ValueError(f"scale power-of-two: expected powers of two, got {low} and {high}")
        if self.first is not None and self.coordinate(self.first) is None:
            raise ValueError(f"first: expected a value of the entry, got {self.first!r}")

    @property
    def whole(self) -> bool:
        """Whether values are whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def limits(self) -> tuple[float, float]:
        """Least and largest coordinate of an entry without choices."""
        assert self.low is not None
        assert self.high is not None
        if self.scale == "power-of-two":
            return round(math.log2(self.low)), round(math.log2(self.high))
        return (1 - self.high, 1 - self.low) if self.scale == "one-minus-log" else (self.low, self.high)

    def value(self, coordinate: Any) -> Any:
        """Return what a drawn coordinate stands for, as ``-params`` would be given it."""
        if self.choices:
            return next(copy.deepcopy(choice) for choice in self.choices if json.dumps(choice) == coordinate)
        if self.scale == "power-of-two":
            return 2 ** int(coordinate)
        if self.whole:
            return int(coordinate)
        short = float(f"{coordinate:.{_DIGITS}g}")
        if self.scale == "one-minus-log":
            short = round(1.0 - short, 12)
        return f"lin_{short!r}" if self.schedule else short

    def coordinate(self, value: Any) -> Any:
        """Return the coordinate of a value, or None if the entry does not hold it."""
        if self.choices:
            return next((json.dumps(choice) for choice in self.choices if choice == value), None)
        if isinstance(value, str) and self.schedule and value.startswith("lin_"):
            try:
                value = float(value.removeprefix("lin_"))
            except ValueError:
                return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        if self.whole and not isinstance(value, int):
            return None
        if self.scale == "power-of-two" and not _is_power(value):
            return None
        assert self.low is not None
        assert self.high is not None
        if not self.low <= value <= self.high:
            return None
        if self.scale == "power-of-two":
            return round(math.log2(value))
        low, high = self.limits
        return min(max(1.0 - value, low), high) if self.scale == "one-minus-log" else value

    @property
    def text(self) -> str:
        """The entry for people."""
        if self.choices:
            return ", ".join(json.dumps(choice) for choice in self.choices)
        end = "" if self.scale == "linear" else f", {self.scale}"
        return f"{self.low:g} to {self.high:g}{end}{', falls to 0' if self.schedule else ''}"


Space = dict[str, Entry]  # entries by dotted name


def default_space(algo: str, agent: str) -> Space:
    """Return the entries of ``spaces.yaml`` for an algorithm and an agent.

    An algorithm that has no section there gets those entries of its family that it knows.

    Raises UsageError: there is no such algorithm.
    """
    names, family = param_names(algo), "off-policy" if algorithm(algo).off_policy else "on-policy"
    document = read_yaml(Path(__file__).parent / "spaces.yaml").data
    section = document["algorithms"].get(algo, document["families"][family])
    entries = {name: entry for name, entry in section.items() if name in names} | document["agents"].get(agent, {})
    return {name: parse(Entry, entry, where=f"spaces.yaml: {name}") for name, entry in entries.items()}


def read_space(path: Path) -> Space:
    """Read a user's entries: a mapping from dotted names of hyper-parameters to what `Entry` holds.

    Raises UsageError: naming the line and what was expected there.
    """
    document = read_yaml(path)
    if not isinstance(document.data, dict) or not document.data:
        raise UsageError(
            f"{path}: expected names of hyper-parameters, got {printable(repr(document.data), 60)}; write for example "
            "learning_rate: {low: 1e-4, high: 1e-2, scale: log}"
        )
    space = {}
    for name, entry in document.data.items():
        if not all(name.split(".")):
            raise UsageError(f"{document.where((name,))}: expected a name, dotted for what lies deeper, got {name!r}")
        space[name] = parse(Entry, entry, where=document.where((name,)))
    within = next((other for name in space for other in space if other.startswith(f"{name}.")), None)
    if within is not None:
        raise UsageError(f"{document.where((within,))}: is part of another entry; give one of them")
    return space


def without(space: Space, fixed: Mapping[str, Any]) -> Space:
    """Return the entries that ``fixed`` hyper-parameters leave open."""
    return {name: entry for name, entry in space.items() if not _holds(fixed, name)}


def lookup(values: Mapping[str, Any], name: str) -> Any:
    """Return what lies at a dotted name, or None."""
    inner: Any = values
    for part in name.split("."):
        inner = inner.get(part) if isinstance(inner, Mapping) else None
    return inner


def lay_out(space: Space, coordinates: Mapping[str, Any], under: Mapping[str, Any]) -> dict[str, Any]:
    """Return hyper-parameters: the values of ``coordinates`` over those of ``under``, mapping by mapping."""
    params = copy.deepcopy(dict(under))
    for name, entry in space.items():
        *way, last = name.split(".")
        inner = params
        for part in way:
            inner = inner.setdefault(part, {})
        inner[last] = entry.value(coordinates[name])
    return params


def _holds(fixed: Mapping[str, Any], name: str) -> bool:
    inner: Any = fixed
    for part in name.split("."):
        if not isinstance(inner, Mapping):
            return True  # something that is no mapping stands where the entry would be part of one
        if part not in inner:
            return False
        inner = inner[part]
    return True


def _is_power(value: float) -> bool:
    return isinstance(value, int) and value > 0 and value & (value - 1) == 0
