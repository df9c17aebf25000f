"""Reading the file of a sweep: every mistake has its line, every combination its training."""

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from homeo_rl.errors import UsageError, unknown
from homeo_rl.processes.executor import Resources
from homeo_rl.spec import dump
from homeo_rl.storage.files import printable
from homeo_rl.storage.yaml_fields import names_of, parse
from homeo_rl.storage.yaml_file import Document, Place, read_yaml
from homeo_rl.sweeps.sweep_spec import Combination, Evaluation, Sweep, Training

MOST_CELLS = 100_000

_OPEN = ("params", "env_kwargs")  # entries of ``train`` whose own entries a dotted key can name

_SECTIONS: dict[Place, type[Any]] = {(): Sweep, ("train",): Training, ("evaluate",): Evaluation,
                                     ("resources",): Resources}  # fmt: skip


def read_sweep(path: Path) -> tuple[Sweep, tuple[Combination, ...]]:
    """Read and check a file; no value of it is executed, and nothing heavy is imported.

    Returns what it says, and its combinations: the last key of ``grid`` varies fastest, ``zip`` slowest. Raises
    UsageError: naming the file, the line and what was expected there.
    """
    document = read_yaml(path)
    if not isinstance(document.data, dict):
        raise UsageError(
            f"{path}: expected {', '.join(names_of(Sweep))}, got "
            f"{printable(repr(document.data), 60)}; see docs/sweeps.md"
        )
    data = {**document.data, **_seeds(document), **_evaluation(document)}
    sweep = parse(Sweep, data, document, _SECTIONS)
    return sweep, _combinations(sweep, document)


def _seeds(document: Document) -> dict[str, Any]:
    value = document.data.get("seeds", 5)
    expected = "a number of seeds (5: 0 to 4) or a list of different ones, each from 0 to 4294967295"
    seeds = list(range(value)) if isinstance(value, int) and not isinstance(value, bool) and value <= 1e6 else value
    integers = isinstance(seeds, list) and all(isinstance(seed, int) and not isinstance(seed, bool) for seed in seeds)
    if not integers or not seeds or len(set(seeds)) != len(seeds) or not all(0 <= seed < 2**32 for seed in seeds):
        raise UsageError(f"{document.where(('seeds',))}: expected {expected}, got {value!r}; correct it")
    return {"seeds": seeds}


def _evaluation(document: Document) -> dict[str, Any]:
    """Let arms be written as the flag has them, separated by commas."""
    section = document.data.get("evaluate")
    if isinstance(section, dict) and isinstance(section.get("homeostasis"), str):
        arms = [arm.strip() for arm in section["homeostasis"].split(",") if arm.strip()]
        return {"evaluate": {**section, "homeostasis": arms}}
    return {}


def _combinations(sweep: Sweep, document: Document) -> tuple[Combination, ...]:
    places: dict[str, Place] = {name: ("grid", name) for name in sweep.grid}
    for name in sweep.zip:
        if name in places:
            raise UsageError(f"{document.where(('zip', name))}: is in grid too; give it in one of them")
        places[name] = ("zip", name)
    _check_keys(places, sweep, document)
    lengths = {len(values) for values in sweep.zip.values()}
    if len(lengths) > 1:
        counts = ", ".join(f"{name} {len(values)}" for name, values in sweep.zip.items())
        raise UsageError(f"{document.where(('zip',))}: expected lists of one length, got {counts}; correct it")
    if sweep.zip:
        _require_different(tuple(zip(*sweep.zip.values(), strict=True)), ("zip",), document)
    together = [dict(zip(sweep.zip, values, strict=True)) for values in zip(*sweep.zip.values(), strict=True)] or [{}]
    total = len(together) * math.prod(len(values) for values in sweep.grid.values()) * len(sweep.seeds)
    if total > MOST_CELLS:
        raise UsageError(f"{document.path}: expected at most {MOST_CELLS:,} cells, got {total:,}; split the sweep")
    base = dump(sweep.train)
    choices = (
        {**zipped, **dict(zip(sweep.grid, values, strict=True))}
        for zipped in together
        for values in itertools.product(*sweep.grid.values())
    )
    return tuple(Combination(choice, _training(base, choice, places, document)) for choice in choices)


def _check_keys(places: Mapping[str, Place], sweep: Sweep, document: Document) -> None:
    for name, place in places.items():
        first, *rest = name.split(".")
        if first not in names_of(Training) or (rest and first not in _OPEN) or not all(rest):
            error = unknown("name", name, [*names_of(Training), "params.learning_rate"])
            raise UsageError(f"{document.where(place)}: {error} Hyper-parameters are written params.NAME.")
        within = next((other for other in places if other.startswith(f"{name}.")), None)
        if within is not None:
            raise UsageError(f"{document.where(place)}: {within} is part of it and varies too; give one of them")
        if place[0] == "grid":
            _require_different(sweep.grid[name], place, document)


def _require_different(values: tuple[Any, ...], place: Place, document: Document) -> None:
    if not values or len({_key(value) for value in values}) < len(values):
        got = printable(repr(list(values)), 60)
        raise UsageError(f"{document.where(place)}: expected different values, at least one, got {got}; correct it")


def _key(value: Any) -> Any:
    """Return what is equal for equal values, and can be looked up."""
    if isinstance(value, list | tuple):
        return tuple(_key(entry) for entry in value)
    return frozenset((name, _key(entry)) for name, entry in value.items()) if isinstance(value, dict) else value


def _training(
    base: dict[str, Any], choice: dict[str, Any], places: Mapping[str, Place], document: Document
) -> Training:
    """Return the training that a choice makes of the base.

    Raises UsageError: a value does not fit; the message points to the list that it is from.
    """
    made = {**base, **{name: dict(base[name]) for name in _OPEN}}
    origins: dict[Place, Place] = {}
    for name, value in choice.items():
        *way, last = name.split(".")
        inner = made
        for part in way:
            inner[part] = inner.get(part) if inner.get(part) is not None else {}
            if not isinstance(inner[part], dict):
                raise UsageError(
                    f"{document.where(places[name])}: expected {part} to be a mapping, it is {inner[part]!r}"
                )
            inner[part] = dict(inner[part])
            inner = inner[part]
        inner[last] = value
        origins[tuple(name.split("."))] = places[name]
    return parse(Training, made, document, _SECTIONS, under=("train",), origins=origins)
