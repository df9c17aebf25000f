"""``homeo-rl inspect``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homeo_rl.cli.command import EVALUATE, Command
from homeo_rl.cli.flags import Common, Positional
from homeo_rl.errors import HomeoError, StorageFault
from homeo_rl.storage.files import printable

COMMAND = Command(EVALUATE, 6, "show what a run or a file holds")


@dataclass(frozen=True, kw_only=True)
class Inspect(Common):
    """Tell what a run, a policy bundle, a Stable-Baselines3 zip or an .npz holds; nothing in it is executed."""

    path: Positional[Path]
    """Folder or file, or the name of an agent that comes with the package."""


_MAX_ROWS = 200
"""Lines of a list that are printed; --json has them all."""


def run(args: Inspect, words: list[str]) -> dict[str, Any]:
    """Tell what lies at a path.

    Raises:
        UsageError: it is nothing that we know.
        StorageFault: it, or a part of a run, is damaged; the others were told before.
    """
    from homeo_rl.inspection.run_folder import describe

    try:
        found = describe(args.path)
    except HomeoError as error:
        raise type(error)(printable(error, 1000)) from None  # names in a file must not control the terminal
    for line in _LINES[found["kind"]](found):
        print(line)
    faults = found.get("faults") or []
    if faults:
        more = "" if len(faults) == 1 else f" (and {len(faults) - 1} more damaged parts)"
        raise StorageFault(f"{faults[0]}{more}", result=found)
    return found


def _run_lines(found: dict[str, Any]) -> Iterator[str]:
    spec = found["spec"]
    yield f"run: {printable(found['path'])}"
    yield f"origin: {spec['origin']}, {_words(spec, 'env', 'agent', 'algo', 'source', 'homeostasis_in_training')}"
    of = f" of {spec['planned']}" if spec["planned"] else ""
    yield f"trained: {spec['steps']}{of} steps, seed {spec['seed']}"
    if spec["command"]:
        yield f"command: {printable(spec['command'], 400)}"
    if spec["versions"]:
        yield "versions: " + printable(", ".join(f"{name} {text}" for name, text in spec["versions"].items()), 400)
    yield from _network_lines(found["policy"])
    for name, bundle in found["bundles"].items():
        yield f"{name}: {_size(bundle)}"
        yield from _network_lines(bundle.get("compiled"))
    for name, bundle in found["checkpoints"].items():
        yield f"checkpoint {printable(name)}: {_size(bundle)}"
    if found["replay_segments"]:
        yield f"replay: {found['replay_segments']} segments"
    for one in _few(found["evaluations"]):
        state = "finished" if one["finished"] else "not finished"
        told = ", ".join(f"{key} {printable(one[key])}" for key in ("suite", "arms", "episodes", "seed") if key in one)
        yield f"evaluation {printable(one['name'])}: {state}{', ' if told else ''}{told}"
    if found["archives"]:
        yield "archives, not opened: " + printable(", ".join(found["archives"]), 400)
    for fault in found["faults"]:
        yield f"DAMAGED: {printable(fault, 400)}"


def _bundle_lines(found: dict[str, Any]) -> Iterator[str]:
    yield f"bundle: {printable(found['path'])}"
    yield f"sound: {len(found['tensors'])} tensors, {found['numbers']} numbers, {found['bytes']} bytes, all finite"
    yield from _network_lines(found["policy"])
    yield from _network_lines(found["compiled"])
    for key, value in _few(list(found["document"].items())):
        yield f"document: {printable(key)}: {printable(value)}"
    yield from _array_lines(found["tensors"])


def _sb3_lines(found: dict[str, Any]) -> Iterator[str]:
    yield f"Stable-Baselines3 zip: {printable(found['path'])}, {found['bytes']} bytes"
    yield f"version: {printable(found['version']) or 'not told'}"
    yield from _member_lines(found["members"], pickles=set(found["pickles"]))
    for key, value in _few(list(found["data"].items())):
        yield f"data: {printable(key)}: {printable(value)}"
    yield from (f"system: {printable(line)}" for line in found["system"])
    yield f"pickles: {len(found['pickles'])}, none of them opened; loading this file with Stable-Baselines3 runs them"


def _npz_lines(found: dict[str, Any]) -> Iterator[str]:
    yield f"numpy archive: {printable(found['path'])}, {found['bytes']} bytes"
    yield from _member_lines(found["members"], pickles=set())
    yield from _array_lines(found["arrays"])
    yield "values were not read"


def _member_lines(members: list[dict[str, Any]], pickles: set[str]) -> Iterator[str]:
    for member in _few(members):
        note = ", pickled, not opened" if member["name"] in pickles else ""
        odd = f", {member['odd'].upper()}" if member["odd"] else ""
        yield f"member {printable(member['name'])}: {member['bytes']} bytes, packed {member['compressed']}{note}{odd}"


def _array_lines(arrays: list[dict[str, Any]]) -> Iterator[str]:
    for one in _few(arrays):
        yield f"array {printable(one['name'])}: {printable(one['dtype'])} {printable(one['shape'])}"


def _network_lines(told: dict[str, Any] | None) -> Iterator[str]:
    if told is not None:
        yield "network: " + ", ".join(f"{key} {printable(value)}" for key, value in told.items() if value)


def _few(rows: list[Any]) -> Iterator[Any]:
    yield from rows[:_MAX_ROWS]


def _size(bundle: dict[str, Any]) -> str:
    if not bundle["sound"]:
        return "DAMAGED"
    return f"sound, {bundle['tensors']} tensors, {bundle['numbers']} numbers, {bundle['bytes']} bytes"


def _words(spec: dict[str, Any], *keys: str) -> str:
    return ", ".join(f"{key} {printable(spec[key])}" for key in keys if spec[key]) or "nothing told"


_LINES = {"run": _run_lines, "bundle": _bundle_lines, "sb3": _sb3_lines, "npz": _npz_lines}
